package server

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
)

// certificate is the API's certificate, read again when its files change. It is safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// newCertificate reads a certificate for the first time.
func newCertificate(certFile, keyFile string) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.reload()
}

// reload reads the files; if they do not match, the certificate stays as it is.
func (c *certificate) reload() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("OUTPOST_TLS_CERT_FILE: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// config returns the TLS configuration of the API.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}
