package sshd

import (
	"bytes"
	"encoding/binary"
	"net"
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
		if got.port == 0 || got.host == "" || len(got.host) > maxHost || strings.Trim(got.host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
			t.Errorf("accepted %+v", got)
		}
	})
}

// A line is refused, or read the same way again from what it said.
func FuzzParseAuthorizedKey(f *testing.F) {
	key := authorizedLine("", newKey(f))
	for _, line := range []string{
		key, "# comment", "", "restrict,port-forwarding " + key, `from="10.0.0.0/8,!10.0.0.1",permitopen="a:1",expiry-time="20300101Z" ` + key,
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

// However a stream of packets is cut into pieces, its ends are found.
func FuzzFollow(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{4, 200, 7})
	f.Add([]byte{0}, []byte{1, 1, 1})
	f.Fuzz(func(t *testing.T, sizes, cuts []byte) {
		var stream []byte
		ends := map[int]bool{}
		for _, s := range sizes {
			stream = binary.BigEndian.AppendUint32(stream, uint32(s))
			stream = append(stream, make([]byte, int(s)+gcmTagSize)...)
			ends[len(stream)] = true
		}
		w := newWire(&net.TCPConn{})
		w.gcm = true
		for at := 0; at < len(stream); {
			n := 1
			if len(cuts) > 0 {
				n = int(cuts[0]) + 1
				cuts = cuts[1:]
			}
			n = min(n, len(stream)-at)
			at += n
			if got := w.follow(stream[at-n : at]); got != ends[at] {
				t.Fatalf("at %d of %d: whole is %v", at, len(stream), got)
			}
		}
	})
}
