package sshd

import (
	"strings"
	"testing"
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
