package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/hubclient"
)

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
