package credentials

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// CertificateLifetime is how long a certificate made here is valid. It is long because the only ones that trust it are
// the hubs that were given its CA, and because a new one is one word in config away.
const CertificateLifetime = 10 * 365 * 24 * time.Hour

// Certificate is a server certificate and the CA that signed it, which signs nothing else.
type Certificate struct {
	CA   string // PEM, what clients trust
	Cert string // PEM, what the server shows: itself, then the CA
	Key  string // PEM (PKCS#8), secret
	Ends time.Time
}

// NewCertificate makes a server certificate for addresses (IP addresses or DNS names), valid from an hour before
// issued for CertificateLifetime. The same arguments give the same PEM: keys come from the seed, serial numbers from
// seed and content, and ECDSA is signed as in RFC 6979. The CA depends on seed and time alone, so that another address
// needs no new trust.
func NewCertificate(seed []byte, name string, addresses []string, issued time.Time) (Certificate, error) {
	fail := func(err error) (Certificate, error) {
		return Certificate{}, fmt.Errorf("make certificate of %s: %w", name, err)
	}
	if len(seed) != SeedBytes {
		return fail(fmt.Errorf("seed has %d bytes, want %d", len(seed), SeedBytes))
	}
	if len(addresses) == 0 {
		return fail(fmt.Errorf("no address"))
	}
	caKey, err := newECDSAKey(seed, "ca")
	if err != nil {
		return fail(err)
	}
	key, err := newECDSAKey(seed, "server")
	if err != nil {
		return fail(err)
	}
	from := issued.UTC().Truncate(time.Second).Add(-time.Hour)
	ca := template("outposts CA of "+name, from, serial(seed, "ca", from.String(), name))
	ca.IsCA, ca.MaxPathLenZero, ca.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	server := template(name, from, serial(seed, append([]string{"server", from.String(), name}, addresses...)...))
	server.KeyUsage, server.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, address := range addresses {
		if ip := net.ParseIP(address); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, address)
		}
	}
	// A nil source of randomness makes the signatures deterministic; it is used for nothing else, since both
	// serial numbers are given.
	caDER, err := x509.CreateCertificate(nil, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return fail(err)
	}
	if ca, err = x509.ParseCertificate(caDER); err != nil {
		return fail(err)
	}
	serverDER, err := x509.CreateCertificate(nil, server, ca, key.Public(), caKey)
	if err != nil {
		return fail(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fail(err)
	}
	caPEM := pemText("CERTIFICATE", caDER)
	return Certificate{
		CA:   caPEM,
		Cert: pemText("CERTIFICATE", serverDER) + caPEM,
		Key:  pemText("PRIVATE KEY", keyDER),
		Ends: server.NotAfter,
	}, nil
}

// template is what the CA and the server's certificate have in common.
func template(commonName string, from time.Time, serial *big.Int) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             from,
		NotAfter:              from.Add(CertificateLifetime),
		BasicConstraintsValid: true,
		SignatureAlgorithm:    x509.ECDSAWithSHA256,
	}
}

// newECDSAKey makes a P-256 key from a seed: the first of the seed's derived numbers that is a valid private key.
func newECDSAKey(seed []byte, purpose string) (*ecdsa.PrivateKey, error) {
	var err error
	for i := range 16 { // one in 2^32 numbers is refused
		var key *ecdsa.PrivateKey
		number := derive(seed, fmt.Sprintf("ecdsa %s %d", purpose, i))
		if key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), number); err == nil {
			return key, nil
		}
	}
	return nil, err
}

// serial makes a positive serial number of 127 bits that differs with everything a certificate says.
func serial(seed []byte, parts ...string) *big.Int {
	h := sha256.New()
	h.Write(derive(seed, "serial"))
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	n := h.Sum(nil)[:16]
	n[0] = n[0]&0x7f | 0x40
	return new(big.Int).SetBytes(n)
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
