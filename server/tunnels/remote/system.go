// Package remote is the outpost of another system as the tunnels see it: where it is, by which keys it is known, and an
// SSH connection to it.
package remote

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/crypto/ssh"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/place"
)

// System is the SSH server of an outpost.
type System struct {
	// DialsOut says that the outpost makes the connections. Then it has no Host and no Port.
	DialsOut bool
	// Host is a name or an IPv4 address.
	Host string
	// Port is its TCP port.
	Port uint16
	// User is the name to log in with.
	User string
	// HostKeys are its public keys, at least one. A server that proves none of them is refused.
	HostKeys []ssh.PublicKey
}

// DefaultUser is the only user of an outpost.
const DefaultUser = "jhuboutpost"

const (
	defaultPort = 22
	dialOut     = "dialOut" // of connect
)

var (
	// Name is what the name of a system looks like.
	Name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	user = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
)

// maxHost is the length of the longest host name, RFC 1035 section 2.3.4.
const maxHost = 253

// IsHost reports whether a text looks like a host name or an IPv4 address: [A-Za-z0-9.-], and a letter or digit at
// either end. It is no regular expression, which would take some microseconds: the targets of all Services are looked
// at whenever one changes.
func IsHost(text string) bool {
	if text == "" || len(text) > maxHost || !isAlphanumeric(text[0]) || !isAlphanumeric(text[len(text)-1]) {
		return false
	}
	for _, b := range []byte(text) {
		if !isAlphanumeric(b) && b != '.' && b != '-' {
			return false
		}
	}
	return true
}

func isAlphanumeric(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
}

// Parse reads the file of systems, YAML such as
//
//	systems:
//	  remote:
//	    host: 10.0.0.3
//	    port: 30022         # optional; 22
//	    user: jhuboutpost   # optional
//	    hostKeys: [ssh-ed25519 AAAA...]
//	  inner:
//	    connect: dialOut    # in place of host and port
//	    hostKeys: [ssh-ed25519 AAAA...]
//
// The error names every fault with its line.
func Parse(text []byte) (map[string]System, error) {
	var file struct {
		Systems map[string]systemText `json:"systems"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, err
	}
	if file.Systems == nil {
		return nil, errors.New("systems: is missing; write {} for none")
	}
	lines := place.Of(text)
	var faults []error
	systems := map[string]System{}
	for _, name := range slices.Sorted(maps.Keys(file.Systems)) {
		key := "systems." + name
		fault := func(of, format string, args ...any) {
			message := fmt.Sprintf(format, args...)
			faults = append(faults, fmt.Errorf("%s: %s (line %d)", key+of, message, lines.Of(key+of)))
		}
		if !Name.MatchString(name) {
			fault("", "is not a name of [a-z0-9-], at most 32 characters")
		}
		systems[name] = file.Systems[name].system(fault)
	}
	return systems, errors.Join(faults...)
}

// systemText is a system as it is written.
type systemText struct {
	Connect  string   `json:"connect"`
	Host     string   `json:"host"`
	Port     *int     `json:"port"`
	User     string   `json:"user"`
	HostKeys []string `json:"hostKeys"`
}

// system calls fault for each key that is wrong, ".host".
func (t systemText) system(fault func(of, format string, args ...any)) System {
	s := System{DialsOut: t.Connect == dialOut, User: cmp.Or(t.User, DefaultUser)}
	if s.DialsOut {
		if t.Host != "" {
			fault(".host", "has no effect with connect: dialOut")
		}
		if t.Port != nil {
			fault(".port", "has no effect with connect: dialOut")
		}
	} else {
		t.address(&s, fault)
	}
	if !user.MatchString(s.User) {
		fault(".user", "%q is not a user name", excerpt.Of(s.User, excerpt.Name))
	}
	if len(t.HostKeys) == 0 {
		fault(".hostKeys", "is empty; list the public keys of the SSH server")
	}
	for i, line := range t.HostKeys {
		k, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
			fault(fmt.Sprintf(".hostKeys[%d]", i), "is not a public key such as ssh-ed25519 AAAA...")
			continue
		}
		s.HostKeys = append(s.HostKeys, k)
	}
	return s
}

// address reads where a system is that we connect to.
func (t systemText) address(s *System, fault func(of, format string, args ...any)) {
	if t.Connect != "" {
		fault(".connect", "%q is not dialOut; leave it out for a system with a host",
			excerpt.Of(t.Connect, excerpt.Name))
	}
	if !IsHost(t.Host) {
		fault(".host", "%q is not a host name or IPv4 address", excerpt.Of(t.Host, excerpt.Name))
	}
	port := defaultPort
	if t.Port != nil {
		port = *t.Port
	}
	if port < 1 || port > 65535 {
		fault(".port", "%d is not a port, 1 to 65535", port)
	}
	s.Host, s.Port = t.Host, uint16(port)
}

// address is host:port.
func (s System) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// Trusts reports whether a server with this key is the system.
func (s System) Trusts(key ssh.PublicKey) bool {
	wire := key.Marshal()
	return slices.ContainsFunc(s.HostKeys, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), wire) })
}

// algorithms are the signatures that the host keys make. RSA makes none with SHA-1.
func (s System) algorithms() []string {
	var list []string
	for _, k := range s.HostKeys {
		if k.Type() == ssh.KeyAlgoRSA {
			list = append(list, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		list = append(list, k.Type())
	}
	slices.Sort(list)
	return slices.Compact(list)
}
