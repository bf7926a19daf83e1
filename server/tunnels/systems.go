package tunnels

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
	// Host is a name or an IPv4 address.
	Host string
	// Port is its TCP port.
	Port uint16
	// User is the name to log in with.
	User string
	// HostKeys are its public keys, at least one. A server that proves none of them is refused.
	HostKeys []ssh.PublicKey
}

const (
	defaultPort = 22
	defaultUser = "jhuboutpost" // the only user of an outpost
)

var (
	systemName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	systemHost = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	systemUser = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
)

// ParseSystems reads the file of systems, YAML such as
//
//	systems:
//	  remote:
//	    host: 10.0.0.3
//	    port: 30022         # optional; 22
//	    user: jhuboutpost   # optional
//	    hostKeys: [ssh-ed25519 AAAA...]
//
// The error names every fault with its line.
func ParseSystems(text []byte) (map[string]System, error) {
	var file struct {
		Systems map[string]struct {
			Host     string   `json:"host"`
			Port     *int     `json:"port"`
			User     string   `json:"user"`
			HostKeys []string `json:"hostKeys"`
		} `json:"systems"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return nil, err
	}
	if file.Systems == nil {
		return nil, errors.New("systems: is missing; write {} for none")
	}
	lines := place.Of(text)
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: %s (line %d)", key, fmt.Sprintf(format, args...), lines.Of(key)))
	}
	systems := map[string]System{}
	for _, name := range slices.Sorted(maps.Keys(file.Systems)) {
		read, key := file.Systems[name], "systems."+name
		if !systemName.MatchString(name) {
			fault(key, "is not a name of [a-z0-9-], at most 32 characters")
		}
		if !systemHost.MatchString(read.Host) {
			fault(key+".host", "%q is not a host name or IPv4 address", excerpt.Of(read.Host, excerpt.Name))
		}
		port := defaultPort
		if read.Port != nil {
			port = *read.Port
		}
		if port < 1 || port > 65535 {
			fault(key+".port", "%d is not a port, 1 to 65535", port)
		}
		user := cmp.Or(read.User, defaultUser)
		if !systemUser.MatchString(user) {
			fault(key+".user", "%q is not a user name", excerpt.Of(user, excerpt.Name))
		}
		if len(read.HostKeys) == 0 {
			fault(key+".hostKeys", "is empty; list the public keys of the SSH server")
		}
		system := System{Host: read.Host, Port: uint16(port), User: user}
		for i, line := range read.HostKeys {
			k, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
			if err != nil || len(options) > 0 || len(bytes.TrimSpace(rest)) > 0 {
				fault(fmt.Sprintf("%s.hostKeys[%d]", key, i), "is not a public key such as ssh-ed25519 AAAA...")
				continue
			}
			system.HostKeys = append(system.HostKeys, k)
		}
		systems[name] = system
	}
	return systems, errors.Join(faults...)
}

// address is host:port.
func (s System) address() string { return net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))) }

// trusts reports whether a server with this key is the system.
func (s System) trusts(key ssh.PublicKey) bool {
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
