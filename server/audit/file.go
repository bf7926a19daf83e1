package audit

import (
	"io"
	"os"
)

// File appends to a file, which may be renamed or removed meanwhile: then the next line makes it anew.
type File struct {
	path string
	f    *os.File
}

var _ io.WriteCloser = (*File)(nil)

// OpenFile opens a file, which is made if it is missing; its folder must exist.
func OpenFile(path string) (*File, error) {
	a := &File{path: path}
	return a, a.open()
}

func (a *File) open() (err error) {
	a.f, err = os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	return err
}

// Write implements io.Writer. It is called by one goroutine at a time.
func (a *File) Write(line []byte) (int, error) {
	if !a.there() {
		_ = a.Close() // whoever has taken it away has what was written
		if err := a.open(); err != nil {
			return 0, err
		}
	}
	return a.f.Write(line)
}

// there reports whether the path still leads to the file that is open.
func (a *File) there() bool {
	if a.f == nil {
		return false
	}
	have, err1 := a.f.Stat()
	want, err2 := os.Stat(a.path)
	return err1 == nil && err2 == nil && os.SameFile(have, want)
}

// Close implements io.Closer.
func (a *File) Close() error {
	if a.f == nil {
		return nil
	}
	f := a.f
	a.f = nil
	return f.Close()
}
