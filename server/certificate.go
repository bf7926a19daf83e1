package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync/atomic"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/hubclient"
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

// hubRoots reads which CAs to trust in calls to hubs: the public ones and the operator's. The file for all hubs may be
// absent, one that is named for a hub may not.
func hubRoots(cfg config.Config) (o hubclient.Options, err error) {
	o.Roots = map[string]*x509.CertPool{}
	o.DefaultRoots, err = readRoots("OUTPOST_HUB_CA_FILE", cfg.HubCAFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	errs := []error{err}
	for _, name := range slices.Sorted(maps.Keys(cfg.File.Hubs)) {
		roots, err := readRoots("hubs."+name+".callbackCaFile", cfg.File.Hubs[name].CallbackCAFile)
		errs = append(errs, err)
		if roots != nil {
			o.Roots[name] = roots
		}
	}
	return o, errors.Join(errs...)
}

// readRoots adds the certificates of a PEM file to the public ones; nil without a path.
func readRoots(setting, path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate (PEM) in %s", setting, path)
	}
	return roots, nil
}
