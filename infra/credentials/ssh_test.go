package credentials

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
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
