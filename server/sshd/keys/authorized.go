// Package keys has the keys of SSH: the private keys of this host, and the public keys of hubs with what they may do.
// It reads them from files, in OpenSSH's formats, and reads them again when they change.
package keys

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/excerpt"
)

// Authorized is one line of an authorized_keys file: a key, the hub it is bound to, and what it may do. It is never
// changed. Format and options: sshd(8), AUTHORIZED_KEYS FILE FORMAT, and OpenSSH's auth-options.c.
type Authorized struct {
	// Hub is the name of the hub that the key is bound to.
	Hub string
	// Key is the public key.
	Key ssh.PublicKey
	// Fingerprint is that of the key, as OpenSSH prints it: SHA256 and base64.
	Fingerprint string

	forwarding bool      // port forwarding is not switched off
	opens      []permit  // permitopen; empty permits what the hub may open
	from       []string  // patterns; empty allows any source
	expires    time.Time // zero for never
}

// permit is the value of a permitopen option. Host and port are compared as text and number, "*" is any.
type permit struct {
	host string
	port uint16 // 0 is any
}

// quote shortens what a message quotes from a file.
func quote(text string) string { return excerpt.Of(text, 40) }

// minRSABits is the shortest RSA key that is accepted, as OpenSSH's RequiredRSASize suggests for new keys.
const minRSABits = 2048

// parseAuthorized reads one line. A line that is blank or a comment gives nil and no error. The hub is set by the
// caller. An option that is unknown or malformed refuses the key, as in OpenSSH.
func parseAuthorized(line string) (*Authorized, error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	k := &Authorized{forwarding: true}
	first, rest, _ := cutBlank(line)
	if !keyTypes[first] {
		options, after, err := splitOptions(line)
		if err != nil {
			return nil, err
		}
		for _, o := range options {
			if err := k.apply(o); err != nil {
				return nil, err
			}
		}
		first, rest, _ = cutBlank(after)
	}
	if !keyTypes[first] {
		return nil, fmt.Errorf("key type %q is not supported", quote(first))
	}
	blob, _, _ := cutBlank(rest)
	raw, err := base64.StdEncoding.DecodeString(blob)
	if err != nil {
		return nil, errors.New("the key is not base64")
	}
	if k.Key, err = ssh.ParsePublicKey(raw); err != nil {
		return nil, errors.New("the key cannot be read")
	}
	if k.Key.Type() != first {
		return nil, fmt.Errorf("the line says %s but the key is %s", first, k.Key.Type())
	}
	if err := checkStrength(k.Key); err != nil {
		return nil, err
	}
	k.Fingerprint = ssh.FingerprintSHA256(k.Key)
	return k, nil
}

// keyTypes are the public keys that may log in. Certificates are not among them: no authority binds a hub's name.
var keyTypes = map[string]bool{
	ssh.KeyAlgoED25519: true, ssh.KeyAlgoSKED25519: true, ssh.KeyAlgoRSA: true,
	ssh.KeyAlgoECDSA256: true, ssh.KeyAlgoECDSA384: true, ssh.KeyAlgoECDSA521: true, ssh.KeyAlgoSKECDSA256: true,
}

// checkStrength refuses short RSA keys, of hubs and of this host alike.
func checkStrength(key ssh.PublicKey) error {
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if p, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && p.N.BitLen() < minRSABits {
		return fmt.Errorf("an RSA key of %d bits is too short; use one of at least %d", p.N.BitLen(), minRSABits)
	}
	return nil
}

// cutBlank cuts at the first run of blanks.
func cutBlank(s string) (before, after string, found bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", false
	}
	return s[:i], strings.TrimLeft(s[i:], " \t"), true
}

// option is one word of the options field.
type option struct {
	name  string // lower case
	value string
	given bool // there was a value
}

// splitOptions reads the comma-separated options at the start of a line and returns what follows the blank after
// them. Values are quoted; \" stands for a quote, every other backslash for itself.
func splitOptions(line string) (options []option, rest string, err error) {
	for i := 0; ; {
		start := i
		for i < len(line) && line[i] != '=' && line[i] != ',' && line[i] != ' ' && line[i] != '\t' {
			if line[i] == '"' {
				return nil, "", errors.New("a quote is outside an option's value")
			}
			i++
		}
		o := option{name: strings.ToLower(line[start:i])}
		if o.name == "" {
			return nil, "", errors.New("an option is empty")
		}
		if i < len(line) && line[i] == '=' {
			if o.value, i, err = quoted(line, i+1); err != nil {
				return nil, "", fmt.Errorf("option %s: %w", quote(o.name), err)
			}
			o.given = true
		}
		options = append(options, o)
		switch {
		case i == len(line):
			return nil, "", errors.New("the key is missing")
		case line[i] == ',':
			i++
		case line[i] == ' ' || line[i] == '\t':
			return options, strings.TrimLeft(line[i:], " \t"), nil
		default:
			return nil, "", fmt.Errorf("option %s: text follows the closing quote", quote(o.name))
		}
	}
}

// quoted reads a quoted value that begins at line[i] and returns the index behind it.
func quoted(line string, i int) (value string, next int, err error) {
	if i >= len(line) || line[i] != '"' {
		return "", 0, errors.New("the value is not quoted")
	}
	var b strings.Builder
	for i++; i < len(line); i++ {
		switch {
		case line[i] == '\\' && i+1 < len(line) && line[i+1] == '"':
			b.WriteByte('"')
			i++
		case line[i] == '"':
			return b.String(), i + 1, nil
		default:
			b.WriteByte(line[i])
		}
	}
	return "", 0, errors.New("the closing quote is missing")
}

// apply sets what an option says. Options work in their order, as in OpenSSH: "restrict,port-forwarding" permits.
func (k *Authorized) apply(o option) error {
	switch o.name {
	case "from", "permitopen", "expiry-time", "command", "permitlisten":
		if !o.given {
			return fmt.Errorf("option %s needs a value", o.name)
		}
	default:
		if o.given {
			return fmt.Errorf("option %q with a value is unknown", quote(o.name))
		}
	}
	switch o.name {
	case "restrict", "no-port-forwarding":
		k.forwarding = false
	case "port-forwarding":
		k.forwarding = true
	case "permitopen":
		p, err := parsePermitOpen(o.value)
		if err != nil {
			return err
		}
		k.opens = append(k.opens, p)
	case "from":
		if k.from != nil {
			return errors.New("option from is given twice")
		}
		var err error
		k.from, err = parseFrom(o.value)
		return err
	case "expiry-time":
		t, err := parseExpiry(o.value)
		if err != nil {
			return err
		}
		if k.expires.IsZero() || t.Before(k.expires) {
			k.expires = t
		}
	case "command", "permitlisten",
		"pty", "agent-forwarding", "x11-forwarding", "user-rc",
		"no-pty", "no-agent-forwarding", "no-x11-forwarding", "no-user-rc":
		// About things that this server does not have.
	default:
		return fmt.Errorf("option %q is unknown", quote(o.name))
	}
	return nil
}

// parsePermitOpen reads "host:port", "[address]:port", or "*" for either.
func parsePermitOpen(value string) (permit, error) {
	i := strings.LastIndexByte(value, ':')
	if i <= 0 {
		return permit{}, fmt.Errorf("option permitopen: %q is not host:port", quote(value))
	}
	host, port := value[:i], value[i+1:]
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	} else if strings.Contains(host, ":") {
		return permit{}, fmt.Errorf("option permitopen: %q needs brackets around the address", quote(value))
	}
	if host == "" {
		return permit{}, fmt.Errorf("option permitopen: %q has no host", quote(value))
	}
	if port == "*" {
		return permit{host: host}, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return permit{}, fmt.Errorf("option permitopen: %q has no valid port", quote(value))
	}
	return permit{host: host, port: uint16(n)}, nil
}

// parseFrom reads a list of addresses, networks and patterns with * and ?, each possibly negated by "!".
func parseFrom(value string) ([]string, error) {
	patterns := strings.Split(value, ",")
	for i, p := range patterns {
		p = strings.TrimSpace(p)
		patterns[i] = p
		bare := strings.TrimPrefix(p, "!")
		if bare == "" {
			return nil, errors.New("option from: a pattern is empty")
		}
		if strings.Contains(bare, "/") {
			prefix, err := netip.ParsePrefix(bare)
			if err != nil || prefix != prefix.Masked() {
				return nil, fmt.Errorf("option from: %q is not a network", quote(bare))
			}
		} else if strings.ContainsAny(bare, `[]\`) {
			return nil, fmt.Errorf("option from: %q is not a pattern", quote(bare))
		}
	}
	return patterns, nil
}

// parseExpiry reads YYYYMMDD or YYYYMMDDHHMM[SS], in local time unless a Z follows.
func parseExpiry(value string) (time.Time, error) {
	text, zone := value, time.Local
	if t, ok := strings.CutSuffix(value, "Z"); ok {
		text, zone = t, time.UTC
	}
	layouts := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}
	t, err := time.ParseInLocation(layouts[len(text)], text, zone)
	if layouts[len(text)] == "" || err != nil {
		return time.Time{}, fmt.Errorf("option expiry-time: %q is not YYYYMMDD[HHMM[SS]][Z]", quote(value))
	}
	return t, nil
}

// allows reports whether the key may log in from a source at a time.
func (k *Authorized) allows(source netip.Addr, now time.Time) bool {
	if !k.expires.IsZero() && !now.Before(k.expires) {
		return false
	}
	return k.from == nil || matchFrom(k.from, source)
}

// matchFrom reports whether a pattern matches the source and no negated one does.
func matchFrom(patterns []string, source netip.Addr) bool {
	matched := false
	for _, p := range patterns {
		bare, negated := strings.CutPrefix(p, "!")
		var hit bool
		if prefix, err := netip.ParsePrefix(bare); err == nil {
			hit = prefix.Contains(source)
		} else if addr, err := netip.ParseAddr(bare); err == nil {
			hit = addr.Unmap() == source
		} else {
			hit, _ = path.Match(bare, source.String())
		}
		if hit && negated {
			return false
		}
		matched = matched || hit
	}
	return matched
}

// Permits reports whether the key's options let it open host:port.
func (k *Authorized) Permits(host string, port uint16) bool {
	if !k.forwarding {
		return false
	}
	for _, o := range k.opens {
		if (o.host == "*" || o.host == host) && (o.port == 0 || o.port == port) {
			return true
		}
	}
	return len(k.opens) == 0
}
