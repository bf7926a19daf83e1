package remote

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const somePublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9FMVMsmBDDk4PWlkQDDtDgvVFzLWTY6SOPLQUOjXO"

func TestParseSystems(t *testing.T) {
	const line = somePublicKey
	got, err := Parse([]byte("systems:\n" +
		"  remote: {host: 10.0.0.3, port: 30022, user: hub, hostKeys: [" + line + "]}\n" +
		"  north: {host: outpost.example.org, hostKeys: [" + line + " outpost-north]}\n" +
		"  inner: {connect: dialOut, hostKeys: [" + line + "]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	type plain struct {
		DialsOut      bool
		Address, User string
		Keys          int
	}
	plains := map[string]plain{}
	for name, s := range got {
		plains[name] = plain{s.DialsOut, s.address(), s.User, len(s.HostKeys)}
	}
	want := map[string]plain{
		"remote": {false, "10.0.0.3:30022", "hub", 1},
		"north":  {false, "outpost.example.org:22", "jhuboutpost", 1},
		"inner":  {true, ":0", "jhuboutpost", 1},
	}
	if diff := cmp.Diff(want, plains); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if none, err := Parse([]byte("systems: {}")); err != nil || len(none) != 0 {
		t.Errorf("none: %v, %v", none, err)
	}
}

func TestParseSystemsRefuses(t *testing.T) {
	_, err := Parse([]byte(`systems:
  North: {host: n, hostKeys: []}
  inner: {connect: dialOut, host: n, port: 22}
  outer: {connect: dialIn, host: n, hostKeys: ["` + somePublicKey + `"]}
  remote:
    host: "10.0.0.3 -oProxyCommand=id"
    port: 0
    user: Root
    hostKeys:
    - ssh-ed25519 AAAA
    - from="*" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9FMVMsmBDDk4PWlkQDDtDgvVFzLWTY6SOPLQUOjXO
`))
	want := `systems.North: is not a name of [a-z0-9-], at most 32 characters (line 2)
systems.North.hostKeys: is empty; list the public keys of the SSH server (line 2)
systems.inner.host: has no effect with connect: dialOut (line 3)
systems.inner.port: has no effect with connect: dialOut (line 3)
systems.inner.hostKeys: is empty; list the public keys of the SSH server (line 3)
systems.outer.connect: "dialIn" is not dialOut; leave it out for a system with a host (line 4)
systems.remote.host: "10.0.0.3 -oProxyCommand=id" is not a host name or IPv4 address (line 6)
systems.remote.port: 0 is not a port, 1 to 65535 (line 7)
systems.remote.user: "Root" is not a user name (line 8)
systems.remote.hostKeys[0]: is not a public key such as ssh-ed25519 AAAA... (line 10)
systems.remote.hostKeys[1]: is not a public key such as ssh-ed25519 AAAA... (line 11)`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for name, text := range map[string]string{
		"nothing": "", "no systems": "{}", "an unknown key": "systems: {a: {hots: x}}", "a list": "systems: [a]",
		"no YAML": "systems: {", "a key twice": "systems: {}\nsystems: {}",
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestIsHost(t *testing.T) {
	for text, want := range map[string]bool{
		"lab":                          true,
		"7":                            true,
		"10.0.0.3":                     true,
		"Lab-1.ns.svc":                 true,
		"a..b":                         true, // who resolves it says so
		strings.Repeat("a", maxHost):   true,
		"":                             false,
		strings.Repeat("a", maxHost+1): false,
		"-lab":                         false,
		"lab-":                         false,
		".lab":                         false,
		"lab.":                         false,
		"-":                            false,
		"lab\n":                        false,
		"la b":                         false,
		"lab_1":                        false,
		"lab;id":                       false,
		"[::1]":                        false,
		"l\u00e4b":                     false,
		"lab\x00":                      false,
		"user@lab":                     false,
	} {
		if got := IsHost(text); got != want {
			t.Errorf("IsHost(%q) = %v, want %v", text, got, want)
		}
	}
}
