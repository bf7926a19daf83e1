package sshd

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

// maxKeyFile bounds what is read of one file.
const maxKeyFile = 1 << 20

// keySet is what the authorized keys files said at one time. It is never changed.
type keySet struct {
	lines map[string][]*authorizedKey // by the key's wire form, in the order of the files
}

// find returns the first line for a key that lets it in from a source now, or nil.
func (s *keySet) find(key ssh.PublicKey, source netip.Addr, now time.Time) *authorizedKey {
	for _, k := range s.lines[string(key.Marshal())] {
		if k.allows(source, now) {
			return k
		}
	}
	return nil
}

// keyFile is the content of a file of a directory of keys.
type keyFile struct {
	name string
	text []byte
}

// readKeyFiles returns a directory's files by name. Names that begin with a dot are left out (a mounted ConfigMap
// has its versions there), and so are directories. The error says which files cannot be read; the others are returned.
func readKeyFiles(dir string) ([]keyFile, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []keyFile
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
		if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
			errs = append(errs, fmt.Errorf("%s is not a file of at most %d bytes", name, maxKeyFile))
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
		files = append(files, keyFile{e.Name(), text})
	}
	return files, errors.Join(errs...)
}

// sameFiles reports whether names and content are the same.
func sameFiles(a, b []keyFile) bool {
	return slices.EqualFunc(a, b, func(a, b keyFile) bool { return a.name == b.name && bytes.Equal(a.text, b.text) })
}

// parseKeySet reads the lines of all files. What is wrong is left out, with an error that names file and line: one bad
// line does not lock out the others. structural are the errors of whole files.
func parseKeySet(files []keyFile, hubs []string) (set *keySet, structural, lines []error) {
	set = &keySet{lines: map[string][]*authorizedKey{}}
	where := map[*authorizedKey]string{}
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
			k, err := parseAuthorizedKey(string(line))
			if err != nil {
				lines = append(lines, fmt.Errorf("%s line %d: %w", f.name, n, err))
			}
			if k == nil {
				continue
			}
			k.hub = hub
			where[k] = fmt.Sprintf("%s line %d", f.name, n)
			wire := string(k.key.Marshal())
			set.lines[wire] = append(set.lines[wire], k)
		}
	}
	// A key of two hubs would let one act as the other: it belongs to neither.
	for wire, ks := range set.lines {
		for _, k := range ks[1:] {
			if k.hub != ks[0].hub {
				lines = append(lines, fmt.Errorf("%s: the key is also in %s, for another hub", where[k], where[ks[0]]))
				delete(set.lines, wire)
				break
			}
		}
	}
	return set, structural, lines
}

// hostKeys are the private keys of this host as read at one time. It is never changed.
type hostKeys struct {
	signers []ssh.AlgorithmSigner // by file name
}

// inUse returns the keys that handshakes use: the first of each type.
func (h *hostKeys) inUse() []ssh.Signer {
	var out []ssh.Signer
	for _, s := range h.signers {
		same := func(o ssh.Signer) bool { return o.PublicKey().Type() == s.PublicKey().Type() }
		if !slices.ContainsFunc(out, same) {
			out = append(out, s)
		}
	}
	return out
}

// find returns the private key to a public key in wire form.
func (h *hostKeys) find(wire []byte) ssh.AlgorithmSigner {
	for _, s := range h.signers {
		if bytes.Equal(s.PublicKey().Marshal(), wire) {
			return s
		}
	}
	return nil
}

// parseHostKeys reads every file named ssh_host_*_key. All of them must be good.
func parseHostKeys(files []keyFile) (*hostKeys, error) {
	h := &hostKeys{}
	var errs []error
	for _, f := range files {
		if ok, _ := filepath.Match("ssh_host_*_key", f.name); !ok {
			continue
		}
		signer, err := parseHostKey(f.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
			continue
		}
		h.signers = append(h.signers, signer)
	}
	if len(h.signers) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no file is named ssh_host_*_key"))
	}
	return h, errors.Join(errs...)
}

// parseHostKey reads a private key. One of RSA will not sign with SHA-1.
func parseHostKey(text []byte) (ssh.AlgorithmSigner, error) {
	parsed, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, errors.New("not a private key without a passphrase")
	}
	signer, ok := parsed.(ssh.AlgorithmSigner)
	if kind := parsed.PublicKey().Type(); !ok || !keyTypes[kind] {
		return nil, fmt.Errorf("key type %s is not supported", kind)
	}
	if err := checkStrength(signer.PublicKey()); err != nil {
		return nil, err
	}
	if signer.PublicKey().Type() != ssh.KeyAlgoRSA {
		return signer, nil
	}
	return ssh.NewSignerWithAlgorithms(signer, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
}

// CheckKeys returns everything that is wrong with the two directories, bad lines of keys included.
func CheckKeys(hostKeysDir, authorizedKeysDir string, hubs []string) error {
	var errs []error
	if files, err := readKeyFiles(hostKeysDir); err != nil {
		errs = append(errs, fmt.Errorf("read host keys: %w", err))
	} else if _, err := parseHostKeys(files); err != nil {
		errs = append(errs, fmt.Errorf("host keys in %s: %w", hostKeysDir, err))
	}
	files, err := readKeyFiles(authorizedKeysDir)
	if err != nil {
		errs = append(errs, fmt.Errorf("read authorized keys: %w", err))
	}
	_, structural, lines := parseKeySet(files, hubs)
	for _, err := range append(structural, lines...) {
		errs = append(errs, fmt.Errorf("authorized keys in %s: %w", authorizedKeysDir, err))
	}
	return errors.Join(errs...)
}

// missing reports whether a file or directory is gone: that counts as empty, in contrast to one that cannot be read.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
