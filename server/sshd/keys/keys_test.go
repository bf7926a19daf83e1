package keys

import (
	"bytes"
	"crypto/ed25519"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

func newKey(t testing.TB) ssh.PublicKey {
	t.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// line is a line of an authorized_keys file.
func line(key ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) }

// The published file name works with one hub, and a key of two hubs belongs to neither (protocol 5.3).
func TestFilesOfHubs(t *testing.T) {
	a, b, both := newKey(t), newKey(t), newKey(t)
	set, structural, lines := parseSet([]file{
		{"hub-a", []byte(line(a) + "\r\n" + line(both) + "\n")},
		{"hub-b", []byte(line(b) + "\n" + line(both))},
	}, []string{"hub-a", "hub-b"})
	const want = "hub-b line 2: the key is also in hub-a line 2"
	if len(structural) != 0 || len(lines) != 1 || !strings.Contains(lines[0].Error(), want) {
		t.Errorf("errors: %v, %v", structural, lines)
	}
	got := map[string]string{}
	for name, k := range map[string]ssh.PublicKey{"a": a, "b": b, "both": both} {
		if line := set.find(k, netip.MustParseAddr("10.0.0.1"), time.Now()); line != nil {
			got[name] = line.Hub
		}
	}
	if diff := cmp.Diff(map[string]string{"a": "hub-a", "b": "hub-b"}, got); diff != "" {
		t.Errorf("hubs (-want +got):\n%s", diff)
	}
	set, structural, lines = parseSet([]file{{onlyHubFile, []byte(line(a))}}, []string{"hub-a"})
	line := set.find(a, netip.Addr{}, time.Now())
	if line == nil || line.Hub != "hub-a" || len(structural)+len(lines) > 0 {
		t.Errorf("authorized_keys: %v, %v, %v", line, structural, lines)
	}
}

// A line is refused, or read the same way again from what it said.
func FuzzParseAuthorized(f *testing.F) {
	key := line(newKey(f))
	for _, text := range []string{
		key, "# comment", "", "restrict,port-forwarding " + key,
		`from="10.0.0.0/8,!10.0.0.1",permitopen="a:1",expiry-time="20300101Z" ` + key,
		`command="a \"b\" c" ` + key, "ssh-ed25519", "ssh-ed25519 AAAA", `from="` + key, "\x00", "no-pty\t" + key,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseAuthorized(text)
		if err != nil && k != nil {
			t.Fatal("a key with an error")
		}
		if k == nil {
			return
		}
		if !keyTypes[k.Key.Type()] || k.Fingerprint != ssh.FingerprintSHA256(k.Key) {
			t.Errorf("accepted a key of type %s", k.Key.Type())
		}
		again, err := parseAuthorized(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.Key))))
		if err != nil || !bytes.Equal(again.Key.Marshal(), k.Key.Marshal()) {
			t.Errorf("the key alone is refused: %v", err)
		}
		if !k.forwarding && k.Permits("jupyter-alice", 8888) {
			t.Error("permits without forwarding")
		}
	})
}
