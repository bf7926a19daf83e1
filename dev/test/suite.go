package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// suite is one command that runs tests.
type suite struct {
	name  string
	about string
	dir   string // below the root
	// {junit} becomes an empty folder in which the command must write JUnit files; {apart} and {alone} the packages of
	// these names below, {deployed} all others with tests of their build tag.
	argv   []string
	pair   string // of JupyterHub and client, which the program takes from PAIR
	whole  bool   // the program says by its exit code alone whether all is well: one test
	yields bool   // it only computes, and takes what others leave of the processors
}

// beside are the packages with tests end to end that need nothing of what `make up` has deployed but the images: those
// apart have clusters of their own, those alone have none.
var beside = map[string][]string{
	"{apart}": {"./e2e/clusters", "./e2e/stacks"},
	"{alone}": {"./infra/hub", "./server/sshd", "./stacks"},
}

// suites are all there are, the cheap ones first.
var suites = []suite{
	{
		name: "unit", about: "every package of the module, race detector on, offline",
		argv:   []string{"go", "test", "-json", "-race", "-timeout", "60m", "./..."},
		yields: true,
	},
	{
		name: "dev", about: "the programs that make the local clusters",
		dir: "dev/clusters", argv: []string{"go", "test", "-json", "-race", "-timeout", "60m", "./..."},
		yields: true,
	},
	{
		name: "addons", about: "load balancer, volumes and Ingress of the local clusters",
		dir: "dev/kube", argv: []string{"go", "test", "-json", "-race", "-timeout", "60m", "./addons/..."},
		yields: true,
	},
	{
		name: "gateway", about: "Gateway API of the local clusters",
		dir: "dev/kube/gateway", argv: []string{"go", "test", "-json", "-race", "-timeout", "60m", "./..."},
		yields: true,
	},
	{
		name: "image", about: "the writer of the outpost's image",
		dir: "images/outpost", argv: []string{"go", "test", "-json", "-race", "-timeout", "60m", "./..."},
		yields: true,
	},
	{
		name: "release", about: "what makes, pushes and checks releases",
		dir: "dev/release", argv: []string{"go", "test", "-json", "-race", "-timeout", "60m", "./..."},
		yields: true,
	},
	{
		name: "runner", about: "this program",
		dir: "dev/test", argv: []string{"go", "test", "-json", "-race", "./..."},
	},
	{
		name: "fuzz", about: "what the server parses of others, 5,000 inputs for each target",
		// Other suites vet the same files.
		// A number, not a time: go test at times takes the end of the time for a failure, "context deadline exceeded".
		argv:   []string{"dev/fuzz", "5000x", "server", "-json", "-ldflags=-w", "-vet=off"},
		yields: true,
	},
	{
		name: "docs", about: "the manual as a site",
		argv:   []string{"dev/docs/run", "test", "--junitxml={junit}/docs.xml"},
		yields: true,
	},
	{
		name: "vuln", about: "known vulnerabilities that what is shipped reaches",
		argv:  []string{"dev/vuln"},
		whole: true, yields: true,
	},
	{
		name: "hub-5.5", about: "the hub-side module against the older pair of JupyterHub and client",
		argv: []string{"infra/hub/tests/run", "--junitxml={junit}/{pair}.xml"},
		pair: "jupyterhub-5.5",
	},
	{
		name: "hub-6.1", about: "the hub-side module against the newer pair",
		argv: []string{"infra/hub/tests/run", "--junitxml={junit}/{pair}.xml"},
		pair: "jupyterhub-6.1",
	},
	{
		name: "e2e", about: "on the two clusters of `make up`, with the real engine, hub and browser",
		argv: endToEnd("{deployed}"),
	},
	{
		name: "apart", about: "on clusters of their own",
		argv: endToEnd("{apart}"),
	},
	{
		name: "alone", about: "with the real engine, pip or ssh, without clusters",
		argv: endToEnd("{alone}"),
	},
}

// endToEnd returns the command that runs the tests end to end of packages, one package at a time.
func endToEnd(packages string) []string {
	return []string{
		"go", "test", "-json", "-tags", "e2e", "-p", "1", "-count", "1", "-timeout", "60m", "-run", "^TestE2E",
		packages,
	}
}

// again returns the command that runs a failed test of the suite alone, from the top of the checkout, with a shell's
// quotes. module is the path of the suite's module.
func (s suite) again(f failure, module string) string {
	if s.whole {
		return strings.Join(s.argv, " ")
	}
	if s.argv[0] == "dev/fuzz" || s.argv[0] == "go" {
		words := []string{"go", "test"}
		if s.dir != "" {
			words = append(words, "-C", s.dir)
		}
		if slices.Contains(s.argv, "-race") {
			words = append(words, "-race")
		}
		if i := slices.Index(s.argv, "-tags"); i >= 0 {
			words = append(words, s.argv[i:i+2]...)
		}
		words = append(words, "-count", "1")
		if f.test != "" {
			names := strings.Split(f.test, "/")
			for i, name := range names {
				names[i] = "^" + regexp.QuoteMeta(name) + "$"
			}
			words = append(words, "-run", "'"+strings.ReplaceAll(strings.Join(names, "/"), "'", `'\''`)+"'")
		}
		in := strings.TrimPrefix(strings.TrimPrefix(f.in, module), "/")
		return strings.Join(append(words, "./"+in), " ")
	}
	name, _, _ := strings.Cut(f.test, "[") // pytest takes no brackets there
	words := slices.DeleteFunc(slices.Clone(s.argv), ofJUnit)
	if s.pair != "" {
		words = slices.Insert(words, 0, "PAIR="+s.pair)
	}
	return strings.Join(append(words, "-k", name), " ")
}

// modulePath reads the path of the module in a folder.
func modulePath(folder string) string {
	text, _ := os.ReadFile(filepath.Join(folder, "go.mod")) // without one, go test has said more
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(path)
		}
	}
	return ""
}

// run runs the suite until it or ctx ends. In a group of processes of its own an interrupt from the keyboard reaches it
// once, by ctx, and this program waits for what it then has to end.
func (s suite) run(ctx context.Context, root, logs string, w io.Writer) result {
	junit, err := filepath.Abs(filepath.Join(logs, s.name))
	if err != nil {
		return result{broken: err.Error()}
	}
	argv, err := s.command(root, junit)
	if err != nil {
		return result{broken: err.Error()}
	}
	log, err := os.Create(filepath.Join(logs, s.name+".log"))
	if err != nil {
		return result{broken: err.Error()}
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = filepath.Join(root, s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	if s.pair != "" {
		cmd.Env = append(os.Environ(), "PAIR="+s.pair)
	}
	var r result
	switch {
	case s.whole:
		err = runShown(cmd, log, w)
		r = ofExit(err, s.argv[0], log.Name())
	case s.writesJUnit():
		if err := errors.Join(os.RemoveAll(junit), os.MkdirAll(junit, 0o755)); err != nil {
			return result{broken: err.Error()}
		}
		err = runShown(cmd, log, w)
		r = readJUnit(junit)
	default:
		r, err = runGoTest(cmd, log, w)
	}
	if cmd.ProcessState != nil {
		r.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	module := modulePath(cmd.Dir)
	for i, f := range r.failures {
		r.failures[i].again = s.again(f, module)
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		r.broken = "interrupted"
	case err != nil && !errors.As(err, &exit):
		r.broken = err.Error()
	case err != nil && r.failed == 0 && r.broken == "":
		r.broken = fmt.Sprintf("%s, see %s", err, log.Name())
	}
	return r
}

// writesJUnit reports whether the suite's program writes JUnit files.
func (s suite) writesJUnit() bool { return slices.ContainsFunc(s.argv, ofJUnit) }

// ofJUnit reports whether an argument says where JUnit files are to be.
func ofJUnit(arg string) bool { return strings.Contains(arg, "{junit}") }

// command returns what is to be run in the folder of the suite; junit is the folder for JUnit files.
func (s suite) command(root, junit string) ([]string, error) {
	var argv []string
	for _, a := range s.argv {
		if packages := beside[a]; packages != nil {
			argv = append(argv, packages...)
			continue
		}
		if a == "{deployed}" {
			packages, err := tagged(filepath.Join(root, s.dir))
			if err != nil {
				return nil, err
			}
			argv = append(argv, slices.DeleteFunc(packages, isBeside)...)
			continue
		}
		argv = append(argv, strings.ReplaceAll(a, "{junit}", junit))
	}
	if strings.Contains(argv[0], "/") {
		program, err := filepath.Abs(filepath.Join(root, s.dir, argv[0]))
		if err != nil {
			return nil, err
		}
		argv[0] = program
	}
	if argv[0] == "go" {
		// What debuggers read takes 40 % of the time to link a test, and nothing reads it.
		argv = slices.Insert(argv, 2, "-ldflags=-w")
	}
	if s.yields {
		argv = append([]string{"nice", "-n", "10"}, argv...)
	}
	return argv, nil
}

// isBeside reports whether a package is one of beside.
func isBeside(name string) bool {
	for _, packages := range beside {
		if slices.Contains(packages, name) {
			return true
		}
	}
	return false
}

// runShown runs a program whose output is shown as it comes.
func runShown(cmd *exec.Cmd, log, w io.Writer) error {
	cmd.Stdout = io.MultiWriter(log, w)
	cmd.Stderr = cmd.Stdout
	return cmd.Run()
}

// tagged returns the packages of the module in root, as go test takes them, with tests that have the build tag e2e. To
// link the tests of all the others, in which it would find none, takes minutes.
func tagged(root string) ([]string, error) {
	packages := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod")) // another module, unless it is the root's
			if file != root &&
				(err == nil || strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" ||
					entry.Name() == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "package ") {
				break
			}
			if strings.HasPrefix(line, "//go:build ") && strings.Contains(line, "e2e") {
				relative, err := filepath.Rel(root, filepath.Dir(file))
				if err != nil {
					return err
				}
				packages["./"+filepath.ToSlash(relative)] = true
			}
		}
		return nil
	})
	if err == nil && len(packages) == 0 {
		err = fmt.Errorf("%s: no test has the build tag e2e", root)
	}
	return slices.Sorted(maps.Keys(packages)), err
}

func runGoTest(cmd *exec.Cmd, log io.Writer, w io.Writer) (result, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	cmd.Stderr = io.MultiWriter(log, w)
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	r := readGoEvents(out, log, w)
	return r, cmd.Wait()
}
