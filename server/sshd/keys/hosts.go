package keys

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Hosts are the private keys of this host as read at one time. It is never changed.
type Hosts struct {
	// Signers are all of them, by file name. One of RSA must be asked for a signature with SHA-2.
	Signers []ssh.AlgorithmSigner
}

// InUse returns the keys that handshakes use: the first of each type.
func (h *Hosts) InUse() []ssh.Signer {
	var out []ssh.Signer
	for _, s := range h.Signers {
		same := func(o ssh.Signer) bool { return o.PublicKey().Type() == s.PublicKey().Type() }
		if !slices.ContainsFunc(out, same) {
			out = append(out, s)
		}
	}
	return out
}

// Find returns the private key to a public key in wire form, or nil.
func (h *Hosts) Find(wire []byte) ssh.AlgorithmSigner {
	for _, s := range h.Signers {
		if bytes.Equal(s.PublicKey().Marshal(), wire) {
			return s
		}
	}
	return nil
}

// parseHosts reads every file named ssh_host_*_key. All of them must be good.
func parseHosts(files []file) (*Hosts, error) {
	h := &Hosts{}
	var errs []error
	for _, f := range files {
		if ok, _ := filepath.Match("ssh_host_*_key", f.name); !ok {
			continue
		}
		signer, err := ParsePrivate(f.text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
			continue
		}
		h.Signers = append(h.Signers, signer)
	}
	if len(h.Signers) == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no file is named ssh_host_*_key"))
	}
	return h, errors.Join(errs...)
}

// ParsePrivate reads a private key without a passphrase. One of RSA will not sign with SHA-1. The error repeats nothing
// of the text.
func ParsePrivate(text []byte) (ssh.AlgorithmSigner, error) {
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
