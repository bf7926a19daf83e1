package credentials

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSHKey is an ed25519 key pair made from a seed: a hub's client key or an outpost's host key.
type SSHKey struct {
	private ed25519.PrivateKey
	comment string
}

// NewSSHKey makes the key pair of a seed of 32 random bytes. The same seed and comment give the same key files,
// byte for byte. The comment is in both of them: it says whose key it is and must contain no white space.
func NewSSHKey(seed []byte, comment string) (SSHKey, error) {
	if len(seed) != SeedBytes {
		return SSHKey{}, fmt.Errorf("make SSH key: seed has %d bytes, want %d", len(seed), SeedBytes)
	}
	if strings.ContainsAny(comment, " \t\r\n") {
		return SSHKey{}, fmt.Errorf("make SSH key: comment %q contains white space", comment)
	}
	return SSHKey{private: ed25519.NewKeyFromSeed(derive(seed, "ssh")), comment: comment}, nil
}

// PrivatePEM returns the private key as OpenSSH writes it ("-----BEGIN OPENSSH PRIVATE KEY-----"), not encrypted.
//
// x/crypto/ssh.MarshalPrivateKey draws the two check words of the format at random, so it would write another text on
// each run; here they come from the key. Source: openssh-portable, PROTOCOL.key.
func (k SSHKey) PrivatePEM() string {
	public := k.private.Public().(ed25519.PublicKey)
	sum := sha256.Sum256(append([]byte("outposts ssh check "), public...))
	check := binary.BigEndian.Uint32(sum[:])
	publicBlob := ssh.Marshal(struct {
		Type string
		Key  []byte
	}{ssh.KeyAlgoED25519, public})
	secret := ssh.Marshal(struct {
		Check1, Check2 uint32
		Type           string
		Public         []byte
		Private        []byte
		Comment        string
	}{check, check, ssh.KeyAlgoED25519, public, k.private, k.comment})
	const blockSize = 8 // of the cipher "none"
	for i := byte(1); len(secret)%blockSize != 0; i++ {
		secret = append(secret, i)
	}
	body := ssh.Marshal(struct {
		Cipher, KDF, KDFOptions string
		Keys                    uint32
		Public                  []byte
		Secret                  []byte
	}{"none", "none", "", 1, publicBlob, secret})
	return string(pem.EncodeToMemory(&pem.Block{
		Type:  "OPENSSH PRIVATE KEY",
		Bytes: append([]byte("openssh-key-v1\x00"), body...),
	}))
}

// AuthorizedKey returns the public key as a line of authorized_keys, without line break: "ssh-ed25519 AAAA... comment".
func (k SSHKey) AuthorizedKey() string {
	public, err := ssh.NewPublicKey(k.private.Public())
	if err != nil {
		panic(err) // an ed25519 key of the right length is always taken
	}
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(public)), "\n") + " " + k.comment
}
