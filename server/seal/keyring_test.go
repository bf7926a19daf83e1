package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	keyA = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="
	keyB = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
)

func newRing(t testing.TB, keys ...string) *Keyring {
	t.Helper()
	r, err := New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func readJSON(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestNewRefusesBadKeysByPlaceWithoutShowingThem(t *testing.T) {
	hex := strings.Repeat("ab", 32)
	tests := []struct {
		name string
		keys []string
		want string
	}{
		{"none", nil, "no key given"},
		{"empty", []string{""}, "key 1 of 1: has 0 characters, not 44 (32 bytes in URL-safe Base64)"},
		{"without padding", []string{keyA[:43]}, "key 1 of 1: has 43 characters, not 44 (32 bytes in URL-safe Base64)"},
		{
			"hex, which Python refuses",
			[]string{hex},
			"key 1 of 1: has 64 characters, not 44 (32 bytes in URL-safe Base64)",
		},
		{"not Base64", []string{keyA, "%%%" + keyA[3:]}, "key 2 of 2: is not 32 bytes in URL-safe Base64"},
		{"33 bytes", []string{strings.Repeat("A", 44)}, "key 1 of 1: is not 32 bytes in URL-safe Base64"},
		{
			"two bad ones",
			[]string{"x", keyA, "yy"},
			"key 1 of 3: has 1 characters, not 44 (32 bytes in URL-safe Base64)\n" +
				"key 3 of 3: has 2 characters, not 44 (32 bytes in URL-safe Base64)",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := New(test.keys...)
			if err == nil {
				t.Fatalf("got %v, want an error", r)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	r := newRing(t, keyA)
	sealed, err := r.Seal([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	// The byte is one of the token's: a changed character of its Base64 may be none of that alphabet.
	changed, err := base64.URLEncoding.AppendDecode(nil, sealed)
	if err != nil {
		t.Fatal(err)
	}
	changed[len(changed)/2] ^= 1
	changed = base64.URLEncoding.AppendEncode(nil, changed)
	tests := []struct {
		name  string
		ring  *Keyring
		token []byte
		want  error
	}{
		{"nothing", r, nil, ErrNoToken},
		{"text", r, []byte("hello"), ErrNoToken},
		{"the plain text of a row", r, []byte(`{"env": {}}`), ErrNoToken},
		{"another key", newRing(t, keyB), sealed, ErrWrongKey},
		{"a changed byte", r, changed, ErrWrongKey},
		{"a byte more", r, append(bytes.Clone(sealed), '!'), ErrNoToken},
		{"a line break more", r, append(bytes.Clone(sealed), '\n'), ErrNoToken},
		{"a block less", r, sealed[:len(sealed)-24], ErrNoToken},
		{"without padding", r, bytes.TrimRight(sealed, "="), ErrNoToken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if plain, err := test.ring.Open(test.token); !errors.Is(err, test.want) {
				t.Errorf("got %q, %v, want %v", plain, err, test.want)
			}
		})
	}
}

func TestSealedWithTheFirstKeyOpenedWithAny(t *testing.T) {
	old, both := newRing(t, keyA), newRing(t, keyB, keyA)
	sealed, err := old.Seal([]byte("before the change"))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := both.Open(sealed); err != nil || string(plain) != "before the change" {
		t.Errorf("the ring with both keys opens %q, %v", plain, err)
	}
	if both.Current(sealed) || !old.Current(sealed) {
		t.Error("a token of the second key counts as current, or one of the first does not")
	}
	sealed, err = both.Seal([]byte("after the change"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Open(sealed); !errors.Is(err, ErrWrongKey) {
		t.Errorf("the old ring opens what the new key sealed: %v", err)
	}
	if plain, err := newRing(t, keyB).Open(sealed); err != nil || string(plain) != "after the change" {
		t.Errorf("the new key alone opens %q, %v", plain, err)
	}
}

func TestEmptyAndLargeTextsComeBack(t *testing.T) {
	r := newRing(t, keyA)
	for _, n := range []int{0, 1, 15, 16, 17, 3 << 20} {
		plain := bytes.Repeat([]byte{'x'}, n)
		sealed, err := r.Seal(plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Open(sealed); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: %d bytes come back, %v", n, len(got), err)
		}
	}
}

func TestTokensOfPythonOpen(t *testing.T) {
	var vectors struct {
		Key    string
		Tokens []struct {
			Time         int64
			Plain, Token string
		}
	}
	readJSON(t, "python.json", &vectors)
	if len(vectors.Tokens) == 0 {
		t.Fatal("no vectors")
	}
	r := newRing(t, vectors.Key)
	for _, v := range vectors.Tokens {
		plain, err := r.Open([]byte(v.Token))
		if err != nil {
			t.Errorf("%s: %v", v.Plain, err)
		}
		if diff := cmp.Diff(v.Plain, string(plain)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		// What we seal has the same shape: version, time, length.
		r.now = func() time.Time { return time.Unix(v.Time, 0) }
		sealed, err := r.Seal([]byte(v.Plain))
		if err != nil {
			t.Fatal(err)
		}
		if want := v.Token[:12]; string(sealed[:12]) != want || len(sealed) != len(v.Token) {
			t.Errorf("sealed as %s (%d characters), want %s... (%d)", sealed, len(sealed), want, len(v.Token))
		}
	}
}

func TestVectorsOfTheSpecification(t *testing.T) {
	var good []struct{ Token, Src, Secret string }
	readJSON(t, "spec-verify.json", &good)
	generated := good
	readJSON(t, "spec-generate.json", &generated)
	for _, v := range append(good, generated...) {
		if plain, err := newRing(t, v.Secret).Open([]byte(v.Token)); err != nil || string(plain) != v.Src {
			t.Errorf("%s: got %q, %v", v.Token, plain, err)
		}
	}
	var bad []struct {
		Desc, Token, Secret string
		TTL                 int `json:"ttl_sec"`
	}
	readJSON(t, "spec-invalid.json", &bad)
	for _, v := range bad {
		plain, err := newRing(t, v.Secret).Open([]byte(v.Token))
		switch {
		case v.Desc == "expired TTL" || strings.HasPrefix(v.Desc, "far-future TS"):
			// These are refused for their time alone, which does not count here.
			if err != nil {
				t.Errorf("%s: %v", v.Desc, err)
			}
		case err == nil:
			t.Errorf("%s: opened as %q", v.Desc, plain)
		}
	}
}

// A token that is signed with the right key but has no whole block of cipher text makes the library index out of range.
func TestShortSignedTokenIsRefused(t *testing.T) {
	r := newRing(t, keyA)
	for length := range overhead + 2*aes.BlockSize {
		body := make([]byte, length)
		if length > 0 {
			body[0] = version
		}
		mac := hmac.New(sha256.New, r.keys[0][:16])
		mac.Write(body)
		token := []byte(base64.URLEncoding.EncodeToString(mac.Sum(body)))
		if plain, err := r.Open(token); err == nil {
			t.Errorf("%d signed bytes open as %q", length, plain)
		}
	}
}

func TestAKeyringIsNeverPrinted(t *testing.T) {
	r := newRing(t, keyA, keyB)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "ring", r)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "ring", r)
	encoded, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	all := fmt.Sprint(r) + fmt.Sprintf("%v %+v %#v %s", r, r, r, r) + log.String() + string(encoded)
	for _, secret := range []string{keyA, keyB, "defghijk", "100 101 102", "0x64, 0x65", "646566"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is printed: %s", secret, all)
		}
	}
}

func FuzzOpen(f *testing.F) {
	r := newRing(f, keyA)
	var bad []struct{ Token string }
	readJSON(f, "spec-invalid.json", &bad)
	for _, v := range bad {
		f.Add([]byte(v.Token))
	}
	sealed := []byte("gAAAAABpVbkAAAECAwQFBgcICQoLDA0OD9YDhwk_TLo3U4ykHbLCgZ6PF2b86NvpviHBz5xv" +
		"BXSoK0oeb9QQsx35q3mrGTUXKw==")
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, token []byte) {
		// Nothing may panic, and only what was sealed opens: no input but a seed can carry a good signature.
		if plain, err := r.Open(token); err == nil && !bytes.Equal(token, sealed) {
			t.Errorf("%q opens as %q", token, plain)
		} else if err != nil && plain != nil {
			t.Errorf("%q comes with %v", plain, err)
		}
	})
}

func TestFingerprintsTellKeysApartAndShowNone(t *testing.T) {
	const a, b = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM=", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	both, err := New(a, b)
	if err != nil {
		t.Fatal(err)
	}
	one, err := New(b)
	if err != nil {
		t.Fatal(err)
	}
	prints := both.Fingerprints()
	if len(prints) != 2 || prints[0] == prints[1] || len(prints[0]) != 16 || one.Fingerprints()[0] != prints[1] {
		t.Errorf("%v and %v", prints, one.Fingerprints())
	}
}
