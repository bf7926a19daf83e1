package credentials

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"github.com/fernet/fernet-go"
)

// SeedBytes is how many random bytes every secret is made from.
const SeedBytes = 32

// derive gives the bytes of one purpose, so that no two secrets made of one seed are equal or tell of each other.
func derive(seed []byte, purpose string) []byte {
	out, err := hkdf.Key(sha256.New, seed, nil, "outposts "+purpose, SeedBytes)
	if err != nil {
		panic(err) // only for more than 255 blocks
	}
	return out
}

// FernetKey makes a key of the Fernet specification (32 bytes, URL-safe base64 with padding) from a seed.
func FernetKey(seed []byte) string {
	var key fernet.Key
	copy(key[:], derive(seed, "fernet"))
	return key.Encode()
}

// Password makes a password of 43 letters, digits, '-' and '_' (256 bits) from a seed. None of them means anything to
// a shell, a URL, Basic auth (":") or the outpost's list of passwords (";"); the first is never '-'.
func Password(seed []byte) string {
	password := base64.RawURLEncoding.EncodeToString(derive(seed, "password"))
	if password[0] == '-' {
		return "_" + password[1:]
	}
	return password
}

// Hex makes 64 hexadecimal digits (256 bits) from a seed: the form that JupyterHub takes its secrets in.
func Hex(seed []byte) string { return hex.EncodeToString(derive(seed, "hex")) }
