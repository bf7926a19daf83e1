package outpost

import (
	"regexp"
	"strconv"
	"strings"
)

// hostForm is a host name or an IPv4 address in lower case.
const hostForm = `[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?`

var (
	hostPattern    = regexp.MustCompile(`\A` + hostForm + `\z`)
	addressPattern = regexp.MustCompile(`\Ahttp://(` + hostForm + `):([1-9][0-9]{0,4})\z`)
)

// IsHost reports whether a string can be the host of an address: a host name or an IPv4 address in lower case.
func IsHost(host string) bool { return hostPattern.MatchString(host) }

// ParseAddress splits the address of a started server, "http://host:port" and nothing else. The hub's client takes it
// apart at the colons and puts it into a command line, so ok is false for any other form: another scheme, IPv6, a path.
func ParseAddress(address string) (host, port string, ok bool) {
	m := addressPattern.FindStringSubmatch(address)
	if m == nil {
		return "", "", false
	}
	if n, err := strconv.Atoi(m[2]); err != nil || n > 65535 {
		return "", "", false
	}
	return m[1], m[2], true
}

// ParseStored is ParseAddress for the address of a stored service. Rows of the Python outpost may hold other forms:
// https with internal TLS, or no scheme.
func ParseStored(address string) (host, port string, ok bool) {
	if rest, tls := strings.CutPrefix(address, "https://"); tls {
		address = "http://" + rest
	} else if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return ParseAddress(address)
}

// IsIP reports whether a host is an IP address rather than a name, in any notation that a resolver takes for one: a
// name does not end in a number (10.1, 0x7f.0.0.1, 167772161).
func IsIP(host string) bool {
	host = strings.TrimSuffix(host, ".")
	_, err := strconv.ParseUint(host[strings.LastIndex(host, ".")+1:], 0, 64)
	return err == nil || strings.Contains(host, ":")
}
