package backup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/outposts-dev/outposts/server/seal"
)

// Series is a backup and those before it: the newest has the name, the one before it the name with ".1" behind it, and
// so on. Whoever writes has locked an empty file beside it, ".<name>.lock".
type Series struct {
	Name string
	Keep int // files there are in the end, at least 1
}

// Write writes a snapshot as the newest file, which appears whole or not at all, readable by its owner only. Of the
// files that were there before, Keep less one stay.
//
// No backup with rows goes for one that is worth less: a snapshot of another installation than the newest of them is
// refused, and one without rows goes into a file of its own, until the next one that has some. Then aside is its name,
// and why it is there. Errors are for the operator.
func (s Series) Write(snapshot Snapshot, ring *seal.Keyring) (aside string, err error) {
	unlock, err := s.lock()
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	last, name, err := s.newest(ring)
	if err != nil {
		return "", err
	}
	empty := s.Name + ".empty"
	switch {
	case last == nil:
	case last.Installation != snapshot.Installation:
		return "", fmt.Errorf("%s is a backup of another installation, %s, with %d services and %d homes; this "+
			"database is of installation %s, with %d and %d, and no backup of the other one goes for it. If that "+
			"database was lost, restore the backup; if this outpost is to begin anew, move %s and those before it to "+
			"another folder",
			name, last.Installation, len(last.Services), len(last.Homes),
			snapshot.Installation, len(snapshot.Services), len(snapshot.Homes), s.Name)
	case snapshot.rows() == 0:
		return fmt.Sprintf("%s: it has no services and no homes, and %s has %d and %d, which stays", empty, name,
			len(last.Services), len(last.Homes)), s.writeWhole(empty, nil, snapshot, ring)
	}
	if err := s.writeWhole(s.Name, s.makeRoom, snapshot, ring); err != nil {
		return "", err
	}
	if err := os.Remove(empty); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return "", nil
}

// rows is how many services and homes a snapshot has.
func (s Snapshot) rows() int { return len(s.Services) + len(s.Homes) }

// lock keeps other processes from writing. Where the file system has no locks it does nothing: of two that write at
// once there, one file is lost.
func (s Series) lock() (unlock func() error, err error) {
	name := filepath.Join(filepath.Dir(s.Name), "."+filepath.Base(s.Name)+".lock")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("another process is writing a backup to %s; try again when it has ended",
			s.Name), file.Close())
	case err == nil:
		s.removeUnfinished()
	}
	return file.Close, nil
}

// unfinished is what the names begin with of files that are being written.
func (s Series) unfinished() string { return "." + filepath.Base(s.Name) + ".new-" }

// removeUnfinished removes what killed writers have left, each as large as a backup. What cannot be removed stays.
func (s Series) removeUnfinished() {
	dir := filepath.Dir(s.Name)
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), s.unfinished()) {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// newest reads the newest backup that is whole and has rows, and returns its file; nil if there is none. The error is
// for one of which nobody can tell whose it is.
func (s Series) newest(ring *seal.Keyring) (*Snapshot, string, error) {
	for n := range s.Keep {
		name := s.at(n)
		file, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		snapshot, err := Read(file, ring)
		_ = file.Close() // it was only read
		if _, broken := errors.AsType[unusable](err); err != nil && !broken {
			return nil, "", fmt.Errorf("nobody can tell of which installation %s is: %w; or move it to another folder",
				name, err)
		}
		if err == nil && snapshot.rows() > 0 {
			return &snapshot, name, nil
		}
	}
	return nil, "", nil
}

// at is the name of a file by how many are newer.
func (s Series) at(n int) string {
	if n == 0 {
		return s.Name
	}
	return fmt.Sprintf("%s.%d", s.Name, n)
}

// makeRoom makes each file the one before, and the last of those that are kept goes.
func (s Series) makeRoom() error {
	for n := s.Keep - 1; n > 0; n-- {
		if err := os.Rename(s.at(n-1), s.at(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// writeWhole writes a file that appears whole or not at all. makeRoom, unless it is nil, is called right before.
func (s Series) writeWhole(name string, makeRoom func() error, snapshot Snapshot, ring *seal.Keyring) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), s.unfinished()) // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	buffered := bufio.NewWriter(f)
	if err := errors.Join(Write(buffered, snapshot, ring), buffered.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if makeRoom != nil {
		if err := makeRoom(); err != nil {
			return err
		}
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return nil //nolint:nilerr // it is there; a folder that cannot be opened cannot be synced
	}
	return errors.Join(dir.Sync(), dir.Close())
}
