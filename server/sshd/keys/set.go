package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// onlyHubFile is the file whose keys belong to the only hub: the name that the published chart mounts.
const onlyHubFile = "authorized_keys"

// maxFile bounds what is read of one file.
const maxFile = 1 << 20

// authorizedSet is what the authorized keys files said at one time. It is never changed.
type authorizedSet struct {
	lines map[string][]*Authorized // by the key's wire form, in the order of the files
}

// find returns the first line for a key that lets it in from a source now, or nil.
func (s *authorizedSet) find(key ssh.PublicKey, source netip.Addr, now time.Time) *Authorized {
	for _, k := range s.lines[string(key.Marshal())] {
		if k.allows(source, now) {
			return k
		}
	}
	return nil
}

// file is the content of a file of a directory of keys.
type file struct {
	name string
	text []byte
}

// readFiles returns a directory's files by name. Names that begin with a dot are left out (a mounted ConfigMap
// has its versions there), and so are directories. The error says which files cannot be read; the others are returned.
func readFiles(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []file
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name)
		if missing(err) {
			continue // removed meanwhile
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if info.IsDir() {
			continue
		}
		if !info.Mode().IsRegular() || info.Size() > maxFile {
			errs = append(errs, fmt.Errorf("%s is not a file of at most %d bytes", name, maxFile))
			continue
		}
		text, err := os.ReadFile(name)
		if missing(err) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files = append(files, file{e.Name(), text})
	}
	return files, errors.Join(errs...)
}

// sameFiles reports whether names and content are the same.
func sameFiles(a, b []file) bool {
	return slices.EqualFunc(a, b, func(a, b file) bool { return a.name == b.name && bytes.Equal(a.text, b.text) })
}

// parseSet reads the lines of all files. What is wrong is left out, with an error that names file and line: one bad
// line does not lock out the others. structural are the errors of whole files.
func parseSet(files []file, hubs []string) (set *authorizedSet, structural, lines []error) {
	set = &authorizedSet{lines: map[string][]*Authorized{}}
	where := map[*Authorized]string{}
	for _, f := range files {
		hub := f.name
		switch {
		case slices.Contains(hubs, f.name):
		case f.name == onlyHubFile && len(hubs) == 1:
			hub = hubs[0]
		case f.name == onlyHubFile:
			err := fmt.Errorf("%s: there are %d hubs; name one file after each hub", f.name, len(hubs))
			structural = append(structural, err)
			continue
		default:
			structural = append(structural, fmt.Errorf("%s: no hub has this name", f.name))
			continue
		}
		n := 0
		for line := range bytes.Lines(f.text) {
			n++
			k, err := parseAuthorized(string(line))
			if err != nil {
				lines = append(lines, fmt.Errorf("%s line %d: %w", f.name, n, err))
			}
			if k == nil {
				continue
			}
			k.Hub = hub
			where[k] = fmt.Sprintf("%s line %d", f.name, n)
			wire := string(k.Key.Marshal())
			set.lines[wire] = append(set.lines[wire], k)
		}
	}
	// A key of two hubs would let one act as the other: it belongs to neither.
	for wire, ks := range set.lines {
		for _, k := range ks[1:] {
			if k.Hub != ks[0].Hub {
				lines = append(lines, fmt.Errorf("%s: the key is also in %s, for another hub", where[k], where[ks[0]]))
				delete(set.lines, wire)
				break
			}
		}
	}
	return set, structural, lines
}

// Check returns everything that is wrong with the two directories of [Open], bad lines of authorized keys included.
func Check(hostKeysDir, authorizedKeysDir string, hubs []string) error {
	k := &Ring{hostDir: hostKeysDir, authorizedDir: authorizedKeysDir, hubs: hubs}
	_, hosts, files, lines := k.read()
	return errors.Join(hosts, files, lines)
}

// missing reports whether a file or directory is gone: that counts as empty, in contrast to one that cannot be read.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
