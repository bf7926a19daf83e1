package sshd

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Whatever a payload holds, what is accepted of it is a name and a port and nothing else.
func FuzzParseTarget(f *testing.F) {
	f.Add(directTCPIP(serviceHost, servicePort))
	f.Add(directTCPIP("", 0))
	f.Add([]byte{0, 0, 0, 1, 'a', 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, payload []byte) {
		got, err := parseTarget(payload)
		if err != nil {
			return
		}
		const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-"
		if got.port == 0 || got.host == "" || len(got.host) > maxHost || strings.Trim(got.host, allowed) != "" {
			t.Errorf("accepted %+v", got)
		}
	})
}

// A line is refused, or read the same way again from what it said.
func FuzzParseAuthorizedKey(f *testing.F) {
	key := authorizedLine("", newKey(f))
	for _, line := range []string{
		key, "# comment", "", "restrict,port-forwarding " + key,
		`from="10.0.0.0/8,!10.0.0.1",permitopen="a:1",expiry-time="20300101Z" ` + key,
		`command="a \"b\" c" ` + key, "ssh-ed25519", "ssh-ed25519 AAAA", `from="` + key, "\x00", "no-pty\t" + key,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		k, err := parseAuthorizedKey(line)
		if err != nil && k != nil {
			t.Fatal("a key with an error")
		}
		if k == nil {
			return
		}
		if !keyTypes[k.key.Type()] || k.fingerprint != ssh.FingerprintSHA256(k.key) {
			t.Errorf("accepted a key of type %s", k.key.Type())
		}
		again, err := parseAuthorizedKey(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.key))))
		if err != nil || !bytes.Equal(again.key.Marshal(), k.key.Marshal()) {
			t.Errorf("the key alone is refused: %v", err)
		}
		if !k.forwarding && k.permits(serviceHost, servicePort) {
			t.Error("permits without forwarding")
		}
	})
}
