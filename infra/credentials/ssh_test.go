package credentials

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func testSeed(fill byte) []byte { return bytes.Repeat([]byte{fill}, SeedBytes) }

func TestSSHKeyRefuses(t *testing.T) {
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		seed    []byte
		comment string
		want    string
	}{
		{"short seed", testSeed(1)[:31], "hub", "make SSH key: seed has 31 bytes, want 32"},
		{"comment with a blank", testSeed(1), "a hub", `make SSH key: comment "a hub" contains white space`},
		{"comment with a second line", testSeed(1), "hub\nssh-rsa", `make SSH key: comment "hub\nssh-rsa" contains white space`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewSSHKey(tt.seed, tt.comment)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// TestSSHKey holds the texts of a key to a golden file, so that no change of a library gives an outpost another
// identity, and reads them back with x/crypto.
func TestSSHKey(t *testing.T) {
	key, err := NewSSHKey(testSeed(7), "jupyterhub")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "ssh-key.golden.txt", key.PrivatePEM()+key.AuthorizedKey()+"\n")

	raw, err := ssh.ParseRawPrivateKey([]byte(key.PrivatePEM()))
	if err != nil {
		t.Fatal(err)
	}
	private := raw.(*ed25519.PrivateKey)
	public, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(key.AuthorizedKey()))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(public.Marshal(), signer.PublicKey().Marshal()); diff != "" || comment != "jupyterhub" {
		t.Errorf("the two halves differ, or the comment %q is not the hub's: %s", comment, diff)
	}
}

// TestSSHKeyOpenSSH lets OpenSSH's own program read the private key.
func TestSSHKeyOpenSSH(t *testing.T) {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("no ssh-keygen here")
	}
	key, err := NewSSHKey(testSeed(7), "jupyterhub")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key.PrivatePEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := exec.CommandContext(t.Context(), program, "-y", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if diff := cmp.Diff(key.AuthorizedKey()+"\n", string(got)); diff != "" {
		t.Errorf("public key (-want +got):\n%s", diff)
	}
}

func TestKnownHostsRefuses(t *testing.T) {
	key, err := NewSSHKey(testSeed(1), "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, alias string
		lines       []string
	}{
		{"pattern as alias", "*", nil},
		{"two names as alias", "a,b", nil},
		{"no alias", "", nil},
		{"no key", "outpost-a", []string{"hello"}},
		{"two keys in one line", "outpost-a", []string{key.AuthorizedKey() + "\n" + key.AuthorizedKey()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := KnownHosts(tt.alias, tt.lines); err == nil {
				t.Errorf("accepted: %q", got)
			}
		})
	}
}

// TestKnownHosts holds that a file trusts the listed keys for its alias, and no other key or name.
func TestKnownHosts(t *testing.T) {
	var lines []string
	var keys []ssh.PublicKey
	for fill := range byte(3) {
		key, err := NewSSHKey(testSeed(fill), "outpost-remote")
		if err != nil {
			t.Fatal(err)
		}
		public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key.AuthorizedKey()))
		if err != nil {
			t.Fatal(err)
		}
		lines, keys = append(lines, key.AuthorizedKey()), append(keys, public)
	}
	text, err := KnownHosts("outpost-remote", lines[:2])
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text, "outpost-remote ssh-ed25519 "); n != 2 {
		t.Errorf("%d lines for the alias, want 2:\n%s", n, text)
	}
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(path)
	if err != nil {
		t.Fatal(err)
	}
	at := addr("10.0.0.3:22")
	for i, key := range keys {
		if err := check("outpost-remote:22", at, key); (err == nil) != (i < 2) {
			t.Errorf("key %d: %v", i, err)
		}
	}
	if err := check("outpost-other:22", at, keys[0]); err == nil {
		t.Error("the key is trusted for another name too")
	}
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }
