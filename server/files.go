package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/flavor"
)

// readFlavors reads the flavors file; nil without one.
func readFlavors(cfg config.Config, log *slog.Logger) (*flavor.Flavors, error) {
	return readFlavorsFile("OUTPOST_FLAVORS_PATH", cfg.FlavorsPath, flavor.Parse, log)
}

// readCredits reads the credits file; nil without one.
func readCredits(cfg config.Config, log *slog.Logger) (*flavor.Flavors, error) {
	return readFlavorsFile("OUTPOST_CREDITS_PATH", cfg.CreditsPath, flavor.ParseCredits, log)
}

func readFlavorsFile(
	variable, path string, parse func([]byte) (*flavor.Flavors, error), log *slog.Logger,
) (*flavor.Flavors, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	flavors, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", variable, path, err)
	}
	for _, w := range flavors.Warnings {
		log.Warn("flavors", "file", path, "message", w)
	}
	return flavors, nil
}

// watchFiles names the files that are read again when they change.
func (s *Server) watchFiles() {
	s.reloader = newReloader(s.component("reload"), s.metrics.reloaded)
	s.reloader.add("flavors", func() error {
		flavors, err := readFlavors(s.cfg, s.log)
		if err == nil {
			s.manager.SetFlavors(flavors)
		}
		return err
	}, s.cfg.FlavorsPath)
	s.reloader.add("credits", func() error {
		credits, err := readCredits(s.cfg, s.log)
		if err == nil {
			s.manager.SetCredits(credits)
		}
		return err
	}, s.cfg.CreditsPath)
	in := func(name string) string { return filepath.Join(s.cfg.UsersDir, name) }
	s.reloader.add("users", s.reloadUsers, in("usernames"), in("passwords"))
	if s.cert != nil {
		s.reloader.add("certificate", s.cert.reload, s.cert.certFile, s.cert.keyFile)
	}
}

// reloadUsers puts changed logins into use: hubs first, so that no hub logs in that the Manager does not know.
func (s *Server) reloadUsers() error {
	changed, err := s.cfg.ReadUsers()
	if err != nil {
		return err
	}
	if err := s.manager.SetHubs(changed.Hubs()); err != nil {
		return err
	}
	s.api.SetUsers(changed.Passwords())
	if s.ssh == nil {
		return nil
	}
	for _, name := range changed.HubNames() {
		if !slices.Contains(s.cfg.HubNames(), name) {
			s.log.Warn("a new hub can use SSH only after a restart of this process", "hub", name)
		}
	}
	return nil
}
