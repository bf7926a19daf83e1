// Package seal keeps what an outpost stores about its services unreadable without a key: Fernet at rest.
//
// A [Keyring] holds one or more keys. The first seals, all open, so a key is changed by putting the new one in front
// and sealing everything anew; afterwards the old one can go. Tokens do not expire. They are those of the Python
// outpost, which has one key (protocol 6.4).
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/fernet/fernet-go"
)

var (
	// ErrWrongKey says that no key of the ring signed the token, or that somebody changed the token.
	ErrWrongKey = errors.New("no key opens it")
	// ErrNoToken says that the bytes are not a Fernet token at all, whatever the key.
	ErrNoToken = errors.New("not a sealed value")
)

// Keyring seals with its first key and opens with any. It is immutable and safe for concurrent use; printing one shows
// how many keys it has, never the keys.
type Keyring struct {
	keys []*fernet.Key
	now  func() time.Time
}

// keyLength is the length of a key as text: 32 bytes in Base64 with padding.
const keyLength = 44

// New returns a ring of keys in the order given: 32 bytes each in URL-safe Base64 with padding, 44 characters, as
// the Python outpost takes it. Errors name every bad key by its place, counted from 1, and never show one.
func New(keys ...string) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("no key given")
	}
	r := &Keyring{now: time.Now}
	var errs []error
	for i, text := range keys {
		key, err := decodeKey(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("key %d of %d: %w", i+1, len(keys), err))
			continue
		}
		r.keys = append(r.keys, key)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

func decodeKey(text string) (*fernet.Key, error) {
	// The length comes first because the library also takes a key in hex, which the Python outpost refuses.
	if len(text) != keyLength {
		return nil, fmt.Errorf("has %d characters, not %d (32 bytes in URL-safe Base64)", len(text), keyLength)
	}
	key, err := fernet.DecodeKey(text)
	if err != nil {
		// The library's text would repeat a byte of the key.
		return nil, errors.New("is not 32 bytes in URL-safe Base64")
	}
	return key, nil
}

// Seal returns plain sealed with the first key: an ASCII token. Errors come from the random source only.
func (r *Keyring) Seal(plain []byte) ([]byte, error) {
	token, err := fernet.EncryptAndSignAtTime(plain, r.keys[0], r.now())
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return token, nil
}

// Open returns what a token holds, whatever its age. Errors: ErrNoToken, ErrWrongKey.
func (r *Keyring) Open(token []byte) ([]byte, error) {
	plain, _, err := r.open(token)
	return plain, err
}

// Current reports whether the first key opens a token; if not, it is to be sealed anew.
func (r *Keyring) Current(token []byte) bool {
	_, place, err := r.open(token)
	return err == nil && place == 0
}

// open returns what a token holds and the place of the key that opened it.
func (r *Keyring) open(token []byte) ([]byte, int, error) {
	if err := checkShape(token); err != nil {
		return nil, 0, err
	}
	for i := range r.keys {
		if plain := fernet.VerifyAndDecrypt(token, 0, r.keys[i:i+1]); plain != nil {
			return plain, i, nil
		}
	}
	return nil, 0, ErrWrongKey
}

const (
	version  = 0x80
	overhead = 1 + 8 + aes.BlockSize + sha256.Size // version, time, initial vector, signature
)

// checkShape refuses what cannot be a token before the library sees it. The library takes the part of a broken Base64
// text in front of the first bad character, and indexes out of range on a signed token that is too short.
func checkShape(token []byte) error {
	// Strict refuses set bits behind the end but skips line breaks; a token has none.
	if bytes.ContainsAny(token, "\r\n") {
		return ErrNoToken
	}
	raw, err := base64.URLEncoding.Strict().AppendDecode(nil, token)
	if err != nil || len(raw) < overhead+aes.BlockSize || raw[0] != version || (len(raw)-overhead)%aes.BlockSize != 0 {
		return ErrNoToken
	}
	return nil
}

// Fingerprints names the keys in their order, for people to tell them apart: 16 hexadecimal digits each. A key has 256
// random bits; nothing can be learned of it from them.
func (r *Keyring) Fingerprints() []string {
	prints := make([]string, len(r.keys))
	for i, key := range r.keys {
		sum := sha256.Sum256(append([]byte("outpost fingerprint\x00"), key[:]...))
		prints[i] = hex.EncodeToString(sum[:8])
	}
	return prints
}

// String says how many keys there are, never which.
func (r *Keyring) String() string { return fmt.Sprintf("keyring of %d keys", len(r.keys)) }

// GoString is String, for %#v.
func (r *Keyring) GoString() string { return r.String() }

// MarshalText is String, so that no encoder writes a key.
func (r *Keyring) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
