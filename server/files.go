package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/place"
	"github.com/outposts-dev/outposts/server/reload"
	"github.com/outposts-dev/outposts/server/site"
)

// CheckFiles returns everything that is wrong with what cfg and the files of flavors and credits say of servers. A
// start of a made-up user is planned for every profile, choice and flavor of every hub.
func CheckFiles(cfg config.Config) error {
	_, err := checkFiles(cfg)
	return err
}

// checkFiles is CheckFiles; it also returns the warnings about the files.
func checkFiles(cfg config.Config) (warnings []config.Problem, err error) {
	quiet := slog.New(slog.DiscardHandler)
	flavors, flavorsErr := readFlavors(cfg, quiet)
	credits, creditsErr := readCredits(cfg, quiet)
	for _, file := range []struct {
		path string
		read *flavor.Flavors
	}{{cfg.FlavorsPath, flavors}, {cfg.CreditsPath, credits}} {
		if file.read == nil {
			continue
		}
		for _, w := range file.read.Warnings {
			name := filepath.Base(file.path) + ": " + w.Key
			warnings = append(warnings, config.Problem{Name: name, Message: w.Text, Line: w.Line})
		}
	}
	if m := cfg.Maintenance; m != nil && m.Over(time.Now()) {
		warnings = append(warnings, config.Problem{
			Name: filepath.Base(cfg.ConfigFile) + ": maintenance", Message: "is over, and has no effect any more",
		})
	}
	s := siteOf(cfg, flavors)
	warnings = append(problemsOf(cfg, slices.Concat(s.Unused(), s.Raised(), s.OpenEnded())), warnings...)
	return warnings, errors.Join(checkOptions(cfg), flavorsErr, creditsErr)
}

// problemsOf are faults of the files of configuration and flavors, with their lines there.
func problemsOf(cfg config.Config, faults []site.Fault) (problems config.Problems) {
	paths := map[site.File]string{site.Config: cfg.ConfigFile, site.Flavors: cfg.FlavorsPath}
	lines := map[site.File]place.Lines{}
	for _, fault := range faults {
		path := paths[fault.File]
		if _, read := lines[fault.File]; !read {
			text, _ := os.ReadFile(path) // for the lines; what it says has been read
			lines[fault.File] = place.Of(text)
		}
		problems = append(problems, config.Problem{
			Name: filepath.Base(path) + ": " + fault.Key, Message: fault.Text, Line: lines[fault.File].Of(fault.Key),
		})
	}
	return problems
}

// Explain returns what a user of a hub may start, limits aside, and by which rules. Authentication is decoded JSON, nil
// or an object.
func Explain(cfg config.Config, hub string, authentication any) ([]site.Reason, error) {
	if !slices.Contains(cfg.HubNames(), hub) {
		return nil, fmt.Errorf("no hub of the name %q may log in; there are %s",
			hub, strings.Join(cfg.HubNames(), ", "))
	}
	if err := CheckFiles(cfg); err != nil {
		return nil, err
	}
	flavors, err := readFlavors(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return siteOf(cfg, flavors).Explain(cfg.Of(hub).Hub, authentication)
}

// Namespaces returns the namespaces that the files name for servers, in whatever layer of options.
func Namespaces(cfg config.Config) []string {
	quiet := slog.New(slog.DiscardHandler)
	flavors, _ := readFlavorsFile("", cfg.FlavorsPath, flavor.Parse, quiet) // checked when it is used
	var all []string
	for _, setting := range siteOf(cfg, flavors).Settings("namespace") {
		if name, ok := setting.Value.(string); ok && !strings.Contains(name, "{") { // else a user's own value
			all = append(all, name)
		}
	}
	return all
}

// checkOptions returns what is wrong with the spawner options of the configuration file.
func checkOptions(cfg config.Config) error {
	problems := problemsOf(cfg, siteOf(cfg, nil).Check())
	if problems == nil {
		return nil
	}
	return problems
}

// siteOf is what the files say together.
func siteOf(cfg config.Config, flavors *flavor.Flavors) site.Site {
	return site.Site{Namespace: cfg.Namespace, Spawner: cfg.Spawner, Hubs: cfg.Hubs(), Flavors: flavors}
}

// flavorsParser parses the flavors file and checks its resources as they are used: with the options of cfg.
func flavorsParser(cfg config.Config) func([]byte) (*flavor.Flavors, error) {
	return func(text []byte) (*flavor.Flavors, error) {
		flavors, err := flavor.Parse(text)
		var faults flavor.Faults
		if err != nil && !errors.As(err, &faults) {
			return nil, err
		}
		lines, known := place.Of(text), sync.OnceValue(siteOf(cfg, nil).Check)
		for _, fault := range siteOf(cfg, flavors).Check() {
			switch {
			case fault.File == site.Flavors:
				faults = append(faults, flavor.Fault{Line: lines.Of(fault.Key), Key: fault.Key, Text: fault.Text})
			case !slices.Contains(known(), fault): // right by itself, and wrong below a flavor of this file
				key := "with these flavors, " + filepath.Base(cfg.ConfigFile) + ": " + fault.Key
				faults = append(faults, flavor.Fault{Key: key, Text: fault.Text})
			}
		}
		if len(faults) > 0 {
			slices.SortStableFunc(faults, func(a, b flavor.Fault) int { return a.Line - b.Line })
			return nil, faults
		}
		return warningOfHubs(flavors, cfg), nil
	}
}

// creditsParser parses the credits file.
func creditsParser(cfg config.Config) func([]byte) (*flavor.Flavors, error) {
	return func(text []byte) (*flavor.Flavors, error) {
		credits, err := flavor.ParseCredits(text)
		if err != nil {
			return nil, err
		}
		return warningOfHubs(credits, cfg), nil
	}
}

// warningOfHubs adds the warnings about hubs that may not log in; f may be nil.
func warningOfHubs(f *flavor.Flavors, cfg config.Config) *flavor.Flavors {
	if f != nil {
		f.Warnings = append(f.Warnings, f.UnknownHubs(cfg.HubNames())...)
	}
	return f
}

// readFlavors reads the flavors file. The default path may have none, which is nil; one that is named may not.
func readFlavors(cfg config.Config, log *slog.Logger) (*flavor.Flavors, error) {
	flavors, err := readFlavorsFile("OUTPOST_FLAVORS_PATH", cfg.FlavorsPath, flavorsParser(cfg), log)
	return noneByDefault(flavors, err, cfg.FlavorsPath == config.Default().FlavorsPath)
}

// readCredits reads the credits file as readFlavors does the flavors.
func readCredits(cfg config.Config, log *slog.Logger) (*flavor.Flavors, error) {
	credits, err := readFlavorsFile("OUTPOST_CREDITS_PATH", cfg.CreditsPath, creditsParser(cfg), log)
	return noneByDefault(credits, err, cfg.CreditsPath == config.Default().CreditsPath)
}

// noneByDefault turns the error about a file that does not exist into none where nobody named that file.
func noneByDefault(flavors *flavor.Flavors, err error, byDefault bool) (*flavor.Flavors, error) {
	if byDefault && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return flavors, err
}

// readFlavorsFile reads a file of limits. One without content is an error like one that is missing: without limits
// everything is open, and a file that is there was meant to set some.
func readFlavorsFile(
	variable, path string, parse func([]byte) (*flavor.Flavors, error), log *slog.Logger,
) (*flavor.Flavors, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	flavors, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", variable, path, err)
	}
	if flavors == nil {
		return nil, fmt.Errorf("%s: %s has no content; write flavors or credits into it, or take it away and restart",
			variable, path)
	}
	for _, w := range flavors.Warnings {
		log.Warn("flavors", "file", path, "message", w.Error())
	}
	return flavors, nil
}

// reloadLimits reads a file of limits again. What is in use stays if there are none any more: the file has vanished, is
// empty, or has lost the key that holds them all. Only a start without the file means that there are no limits.
func reloadLimits(
	variable, path string, parse func([]byte) (*flavor.Flavors, error), log *slog.Logger, use func(*flavor.Flavors),
) error {
	limits, err := readFlavorsFile(variable, path, parse, log)
	if err != nil {
		return err
	}
	if limits.Empty() {
		return fmt.Errorf(
			"%s: %s defines nothing any more; to run without it, take it away and restart", variable, path,
		)
	}
	use(limits)
	return nil
}

// watchFiles names the files that are read again when they change.
func (s *Server) watchFiles() {
	s.reloader = reload.New(s.component("reload"), s.metrics.reloaded)
	s.reloader.Add("flavors", func() error {
		return reloadLimits(
			"OUTPOST_FLAVORS_PATH", s.cfg.FlavorsPath, flavorsParser(s.cfg), s.log, s.manager.SetFlavors)
	}, s.cfg.FlavorsPath)
	s.reloader.Add("credits", func() error {
		return reloadLimits(
			"OUTPOST_CREDITS_PATH", s.cfg.CreditsPath, creditsParser(s.cfg), s.log, s.manager.SetCredits)
	}, s.cfg.CreditsPath)
	s.reloader.Add("maintenance", s.reloadMaintenance, s.cfg.ConfigFile)
	in := func(name string) string { return filepath.Join(s.cfg.UsersDir, name) }
	s.reloader.Add("users", s.reloadUsers, in("usernames"), in("passwords"))
	if s.cert != nil {
		s.reloader.Add("certificate", s.cert.reload, s.cert.certFile, s.cert.keyFile)
	}
}

// reloadMaintenance takes the maintenance over from the configuration file. All else in it holds until a restart.
func (s *Server) reloadMaintenance() error {
	text, err := os.ReadFile(s.cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("OUTPOST_CONFIG_FILE: %w", err)
	}
	file, problems := config.ParseFile(filepath.Base(s.cfg.ConfigFile), text, nil)
	if problems != nil {
		return problems
	}
	s.manager.SetMaintenance(file.Maintenance)
	return nil
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
	for _, w := range changed.Warnings {
		s.log.Warn("setting", "name", w.Name, "message", w.Message)
	}
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
