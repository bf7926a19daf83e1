package backup

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/seal"
)

// A file has a line that says what it is, "outpost-backup", the number of the format and the fingerprint of the key
// that seals it, and then sealed lines: what there is but services, services, and the end. Each says to which file it
// belongs and which line it is: lines that are missing, swapped or of another file are noticed.
const (
	magic  = "outpost-backup"
	format = "1"

	partSize = 1 << 20  // bytes of sealed columns in a line, one more row may be in it
	maxLine  = 64 << 20 // of a line
	maxFirst = 256      // of the first one
)

// part is a sealed line.
type part struct {
	ID       string    `json:"id"`
	Number   int       `json:"number"`
	About    *Snapshot `json:"about,omitempty"`
	Services []Service `json:"services,omitempty"`
	End      *end      `json:"end,omitempty"`
}

// end is the last line.
type end struct {
	Services int `json:"services"`
}

// Write writes a snapshot, sealed with the first key of a ring.
func Write(w io.Writer, s Snapshot, ring *seal.Keyring) error {
	if _, err := fmt.Fprintln(w, magic, format, ring.Fingerprints()[0]); err != nil {
		return err
	}
	id, number := rand.Text(), 0
	put := func(p part) error {
		p.ID, p.Number = id, number
		number++
		plain, err := json.Marshal(p)
		if err != nil {
			return err
		}
		token, err := ring.Seal(plain)
		if err != nil {
			return err
		}
		_, err = w.Write(append(token, '\n'))
		return err
	}
	if err := put(part{About: &s}); err != nil {
		return err
	}
	for from, to, size := 0, 0, 0; from < len(s.Services); from, size = to, 0 {
		for ; to < len(s.Services) && size < partSize; to++ {
			row := s.Services[to]
			size += len(row.Body) + len(row.State) + len(row.StartResponse)
		}
		if err := put(part{Services: s.Services[from:to]}); err != nil {
			return err
		}
	}
	return put(part{End: &end{Services: len(s.Services)}})
}

// Read reads a snapshot that a key of the ring has sealed. Errors are for the operator, and say what is to be done.
func Read(r io.Reader, ring *seal.Keyring) (Snapshot, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	first, err := line(lines, maxFirst)
	if len(first) > 0 && !bytes.HasPrefix(first, []byte(magic+" ")) {
		return Snapshot{}, unusable("this is no backup of an outpost: its first line does not begin with " + magic)
	}
	if err == nil {
		err = checkFirst(string(first), ring)
	}
	if err != nil {
		return Snapshot{}, err
	}
	var s Snapshot
	var id string
	for number := 0; ; number++ {
		p, err := readPart(lines, ring, number)
		switch {
		case err != nil:
			return Snapshot{}, err
		case number == 0 && p.About != nil:
			id, s = p.ID, *p.About
		case p.ID != id || p.About != nil || number == 0:
			return Snapshot{}, broken("line %d is of another backup", number+2)
		case p.End == nil:
			s.Services = append(s.Services, p.Services...)
		case p.End.Services != len(s.Services):
			return Snapshot{}, broken("it holds %d services, and says %d", len(s.Services), p.End.Services)
		default:
			if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
				return Snapshot{}, broken("something follows its end")
			}
			return s, nil
		}
	}
}

// checkFirst judges the line that says what the file is.
func checkFirst(text string, ring *seal.Keyring) error {
	fields := strings.Split(text, " ")
	switch {
	case len(fields) != 3:
		return broken("its first line is not whole")
	case fields[1] != format:
		return fmt.Errorf("the backup has the format %q, and this program reads %q: restore it with the version of "+
			"the program that made it, or a newer one", fields[1], format)
	case !slices.Contains(ring.Fingerprints(), fields[2]):
		return fmt.Errorf("the backup is sealed with the key of fingerprint %q, and OUTPOST_CRYPT_KEY has %s: "+
			"give that key too, behind the first one", fields[2], strings.Join(ring.Fingerprints(), ", "))
	}
	return nil
}

// readPart reads the sealed line of a number.
func readPart(lines *bufio.Reader, ring *seal.Keyring, number int) (p part, err error) {
	text, err := line(lines, maxLine)
	if err != nil {
		return p, err
	}
	plain, err := ring.Open(text)
	if err != nil {
		return p, broken("line %d is not as it was written", number+2)
	}
	if err := json.Unmarshal(plain, &p); err != nil {
		return p, broken("line %d holds something else", number+2)
	}
	if p.Number != number {
		return p, broken("line %d was line %d", number+2, p.Number+2)
	}
	return p, nil
}

// line reads a line without its end. With an error it returns what it has read.
func line(lines *bufio.Reader, limit int) ([]byte, error) {
	var text []byte
	for {
		more, err := lines.ReadSlice('\n')
		text = append(text, more...)
		switch {
		case len(text) > limit:
			return text, broken("a line is longer than any that is written")
		case err == nil:
			return bytes.TrimSuffix(text, []byte("\n")), nil
		case errors.Is(err, io.EOF) && len(text) == 0:
			return nil, broken("it ends too early")
		case errors.Is(err, io.EOF):
			return text, broken("it ends in the middle of a line")
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, fmt.Errorf("read the backup: %w", err)
		}
	}
}

// unusable is the error of a file that is no whole backup, whatever the keys.
type unusable string

func (u unusable) Error() string { return string(u) }

// broken is the error of a file that is not whole.
func broken(how string, args ...any) error {
	return unusable(fmt.Sprintf("the backup is broken: "+how+"; take another copy of it", args...))
}
