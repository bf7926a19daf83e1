package server

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/sshd/keys"
)

// ensureHostKey creates an SSH host key in a directory without one, so that an installation without a Secret for it
// keeps one identity on its volume. A directory with a key is left alone; one that is not writable is an error.
func ensureHostKey(dir string, log *slog.Logger) error {
	found, err := filepath.Glob(filepath.Join(dir, "ssh_host_*_key"))
	if err != nil || len(found) > 0 {
		return err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("create a host key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "outpost")
	if err != nil {
		return fmt.Errorf("create a host key: %w", err)
	}
	if err := writeNew(dir, "ssh_host_ed25519_key", pem.EncodeToMemory(block)); err != nil {
		return fmt.Errorf("OUTPOST_HOST_KEYS_DIR: no file ssh_host_*_key in %s, and none can be created: %w", dir, err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("create a host key: %w", err)
	}
	log.Info("ssh host key created", "dir", dir, "fingerprint", ssh.FingerprintSHA256(key))
	return nil
}

// HostKeys returns the fingerprints of the SSH host keys that cfg names, as ssh-keygen -l prints them, by file name.
// What cannot be read is left out.
func HostKeys(cfg config.Config) []string {
	var prints []string
	found, _ := filepath.Glob(filepath.Join(cfg.HostKeysDir, "ssh_host_*_key")) // the pattern is good
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if key, err := keys.ParsePrivate(text); err == nil {
			prints = append(prints, ssh.FingerprintSHA256(key.PublicKey()))
		}
	}
	return prints
}

// writeNew writes a file that appears whole or not at all.
func writeNew(dir, name string, text []byte) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return f.Close()
}
