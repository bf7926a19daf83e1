// Package sshkey makes SSH keys for tests and for the processes of a measurement.
package sshkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"

	"golang.org/x/crypto/ssh"
)

// New makes a private key, and returns it also as OpenSSH reads it.
func New() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	return signer, pem.EncodeToMemory(block), err
}

// Write makes a private key, writes it to a file as OpenSSH reads it, and returns it.
func Write(name string) (ssh.Signer, error) {
	signer, text, err := New()
	if err != nil {
		return nil, err
	}
	return signer, os.WriteFile(name, text, 0o600)
}
