package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/fernet/fernet-go"
	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/infra/schema"
)

// formats are the values of "format" in config.schema.json. What is wrong with a secret is said without the secret.
var formats = []schema.Format{
	{Name: "address", Validate: checkAddress},
	{Name: "url", Validate: checkURL},
	{Name: "authorized-key", Validate: checkAuthorizedKey},
	{Name: "certificates", Validate: checkCertificates},
	{Name: "fernet-key", Validate: checkFernetKey},
}

var dnsName = regexp.MustCompile(
	`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// checkAddress accepts IPv4 addresses and DNS names. The last label of a name begins with a letter, so that 10.77.0.300
// is neither. The hub's client cannot write an IPv6 address.
func checkAddress(text string) error {
	ip := net.ParseIP(text)
	if ip.To4() != nil || ip == nil && len(text) <= 253 && dnsName.MatchString(text) {
		return nil
	}
	return fmt.Errorf("%q is neither an IPv4 address nor a DNS name", text)
}

// checkURL checks host and port; the form as a whole is for a pattern.
func checkURL(text string) error {
	at, err := url.Parse(text)
	if err != nil || at.Host == "" {
		return nil
	}
	if port, err := strconv.Atoi(at.Port()); err == nil && (port == 0 || port > 65535) {
		return fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	return checkAddress(at.Hostname())
}

func checkAuthorizedKey(text string) error {
	if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(text)); err != nil || strings.TrimSpace(string(rest)) != "" {
		return errors.New(`is not a line of authorized_keys ("ssh-ed25519 AAAA... comment")`)
	}
	return nil
}

// plainKeys returns public keys as the tunnels read them, without what a line of authorized_keys or ssh-keyscan may
// have beside the key: options, a host, a comment.
func plainKeys(lines []string) ([]string, error) {
	var keys []string
	for _, line := range lines {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, err
		}
		keys = append(keys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))))
	}
	return keys, nil
}

// checkCertificates accepts any number of certificates, also none.
func checkCertificates(text string) error {
	for rest := []byte(text); strings.TrimSpace(string(rest)) != ""; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return errors.New("is not PEM")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return errors.New("is not a certificate")
		}
	}
	return nil
}

func checkFernetKey(text string) error {
	if _, err := fernet.DecodeKey(text); err != nil {
		return errors.New("is not a Fernet key (32 bytes, URL-safe base64)")
	}
	return nil
}
