package server

import (
	"errors"
	"io/fs"
	"os"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/sshd/keys"
)

// Check returns everything that is wrong with the files that cfg names, without opening a database or a socket, and
// what has no effect or is likely a mistake, beside the warnings of cfg itself.
func Check(cfg config.Config) (warnings []config.Problem, err error) {
	warnings, err = checkFiles(cfg)
	errs := []error{err}
	_, err = Keyring(cfg)
	errs = append(errs, err)
	if sshWanted(cfg) {
		if found, globErr := fs.Glob(os.DirFS(cfg.HostKeysDir), "ssh_host_*_key"); globErr != nil || len(found) > 0 {
			errs = append(errs, keys.Check(cfg.HostKeysDir, cfg.AuthorizedKeysDir, cfg.HubNames()))
		}
	}
	if cfg.TLSCertFile != "" {
		_, err := newCertificate(cfg.TLSCertFile, cfg.TLSKeyFile)
		errs = append(errs, err)
	}
	_, err = hubRoots(cfg)
	return warnings, errors.Join(append(errs, err)...)
}

// sshWanted reports whether hubs may come by SSH: there is an address, or hubs are dialled, and there is a folder for
// their keys, even an empty one.
func sshWanted(cfg config.Config) bool {
	_, err := os.Stat(cfg.AuthorizedKeysDir)
	return (cfg.SSHListen != "" || len(cfg.DialOutURLs) > 0) && !errors.Is(err, fs.ErrNotExist)
}
