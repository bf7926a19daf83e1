package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/outposts-dev/outposts/server/outpost"
)

// readFlavors reads a flavors or credits file; a missing one is not configured.
func readFlavors(name, path string, parse func([]byte) (*outpost.Flavors, error)) (*outpost.Flavors, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	flavors, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", name, path, err)
	}
	return flavors, nil
}

func (s *Server) warnFlavors(path string, f *outpost.Flavors) {
	if f == nil {
		return
	}
	for _, w := range f.Warnings {
		s.log.Warn("flavors", "file", path, "message", w)
	}
}

// watchFiles names what is read again when it changes. The SSH server looks after its keys by itself.
func (s *Server) watchFiles() {
	s.reloader = newReloader(s.component("reload"), s.metrics.reloaded)
	s.reloader.add("flavors", func() error {
		f, err := readFlavors("OUTPOST_FLAVORS_PATH", s.cfg.FlavorsPath, outpost.ParseFlavors)
		if err != nil {
			return err
		}
		s.warnFlavors(s.cfg.FlavorsPath, f)
		s.manager.SetFlavors(f)
		return nil
	}, s.cfg.FlavorsPath)
	s.reloader.add("credits", func() error {
		f, err := readFlavors("OUTPOST_CREDITS_PATH", s.cfg.CreditsPath, outpost.ParseCredits)
		if err != nil {
			return err
		}
		s.warnFlavors(s.cfg.CreditsPath, f)
		s.manager.SetCredits(f)
		return nil
	}, s.cfg.CreditsPath)
	s.reloader.add("users", s.reloadUsers, filepath.Join(s.cfg.UsersDir, "usernames"), filepath.Join(s.cfg.UsersDir, "passwords"))
	if s.cert != nil {
		s.reloader.add("certificate", s.cert.reload, s.cert.certFile, s.cert.keyFile)
	}
}

// reloadUsers takes over changed logins: hubs first, so that nobody logs in whom the Manager does not know.
func (s *Server) reloadUsers() error {
	list, err := s.cfg.ReadUsers()
	if err != nil {
		return err
	}
	if err := s.manager.SetHubs(hubs(s.cfg, list)); err != nil {
		return err
	}
	s.api.SetUsers(users(list))
	if s.ssh == nil {
		return nil
	}
	known := map[string]bool{}
	for _, name := range s.cfg.Hubs() {
		known[name] = true
	}
	for _, u := range list {
		if !known[u.Name] {
			s.log.Warn("a new hub can use SSH only after a restart of this process", "hub", u.Name)
		}
	}
	return nil
}
