package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/dev/clusters/image"
)

// call runs the program with a state folder of its own.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	state := t.TempDir()
	code = run(t.Context(), args, func(name string) string {
		return map[string]string{"OUTPOSTS_STATE": state, "HOME": state}[name]
	}, &out, &errs)
	return code, out.String(), errs.String()
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}} {
		code, out, _ := call(t, args...)
		if code != 0 {
			t.Errorf("%v ends with %d", args, code)
		}
		for name := range commands() {
			if !strings.Contains(out, "clusters "+name) {
				t.Errorf("help of %v lacks %s", args, name)
			}
		}
	}
	for name := range commands() {
		if code, _, errs := call(t, name, "--help"); code != 0 || !strings.Contains(errs, "usage: clusters "+name) {
			t.Errorf("%s --help ends with %d: %s", name, code, errs)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"bounce"}, `unknown command "bounce"`},
		{[]string{"up", "--nonsense"}, "not defined: -nonsense"},
		{[]string{"up", "Bad_Name"}, `cluster name "Bad_Name"`},
		{[]string{"up", "a", "--network", "10.77.0.0/8"}, "must be a /16"},
		{[]string{"load"}, "name one OCI archive"},
		{[]string{"registry", "a"}, "takes no argument"},
		{[]string{"registry", "--listen", "5077"}, "want an address and a port"},
		{[]string{"registry", "--listen", "0.0.0.0:5077"}, "on a loopback address only"},
		{[]string{"load", "a", "b", "--ref", "x:1"}, "several without --ref"},
		{[]string{"image"}, "-o and at least one"},
		{[]string{"image", "-o", "x"}, "-o and at least one"},
		{[]string{"image", "-o", "x", "--add", "a"}, "want SOURCE:/TARGET"},
		{[]string{"image", "-o", "x", "--add", "a:b"}, "want SOURCE:/TARGET"},
		{[]string{"image", "-o", "x", "--add", "a:/b:9"}, `mode "9": not octal`},
		{[]string{"image", "-o", "x", "--add", "a:/b", "--label", "x"}, `label "x": want NAME=VALUE`},
		{[]string{"image", "-o", "x", "--add", "a:/b", "--ref", "a b"}, "not of the form HOST/NAME:TAG"},
		{[]string{"image", "-o", "x", "--add", "a:/b", "more"}, `unexpected argument "more"`},
	} {
		if code, _, errs := call(t, test.args...); code != 2 || !strings.Contains(errs, test.want) {
			t.Errorf("%v ends with %d: %q, want %q", test.args, code, errs, test.want)
		}
	}
}

func TestWithoutClusters(t *testing.T) {
	if code, out, _ := call(t, "status"); code != 0 || !strings.Contains(out, "no clusters") {
		t.Errorf("status: %d %q", code, out)
	}
	if code, out, _ := call(t, "status", "--json"); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("status --json: %d %q", code, out)
	}
	if code, _, errs := call(t, "status", "other"); code != 1 ||
		!strings.Contains(errs, "no cluster other; there are none") {
		t.Errorf("status other: %d %q", code, errs)
	}
	if code, _, errs := call(t, "kubeconfig"); code != 1 || !strings.Contains(errs, "there are no clusters") {
		t.Errorf("kubeconfig: %d %q", code, errs)
	}
	if code, _, errs := call(t, "load", "/nowhere.tar"); code != 1 || !strings.Contains(errs, "no such file") {
		t.Errorf("load: %d %q", code, errs)
	}
}

func TestLayersKeepTheirOrder(t *testing.T) {
	var layers []image.Layer
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Var(layerFlag{&layers, false}, "layer", "")
	flags.Var(layerFlag{&layers, true}, "add", "")
	rest, err := parse(flags,
		[]string{
			"x", "--layer", "base.tar", "--add", "a:/a:755", "y", "--add", "b/:/b",
			"--layer", "top.tar", "--add", "c:/c",
		})
	if err != nil {
		t.Fatal(err)
	}
	want := []image.Layer{
		{Tar: "base.tar"},
		{Files: []image.File{{Source: "a", Target: "/a", Mode: 0o755}, {Source: "b", Target: "/b"}}},
		{Tar: "top.tar"},
		{Files: []image.File{{Source: "c", Target: "/c"}}},
	}
	if diff := cmp.Diff(want, layers); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x", "y"}, rest); diff != "" {
		t.Errorf("rest (-want +got):\n%s", diff)
	}
}

func TestImageAndLoad(t *testing.T) {
	dir := t.TempDir()
	program, archive := filepath.Join(dir, "program"), filepath.Join(dir, "image.tar")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	code, out, errs := call(t, "image", "-o", archive, "--ref", "localhost/a/b:1", "--add", program+":/program",
		"--entrypoint", "/program", "--user", "1:1", "--label", "a=b", "--expose", "80/tcp")
	if code != 0 {
		t.Fatalf("image ends with %d: %s", code, errs)
	}
	digest := strings.Fields(out)[1]
	code, out, errs = call(t, "load", archive, "--ref", "quay.io/c:2", "--ref", "d:3")
	if code != 0 || !strings.Contains(out, "loaded quay.io/c:2 "+digest) ||
		!strings.Contains(out, "loaded docker.io/library/d:3 "+digest) {
		t.Errorf("load ends with %d: %s%s", code, out, errs)
	}
}

func TestMissing(t *testing.T) {
	err := missing([]string{"sh", "no-such-program", "env", "nor-this"})
	if err == nil || !strings.Contains(err.Error(), "missing programs: no-such-program nor-this;") {
		t.Errorf("missing: %v", err)
	}
	if err := missing([]string{"sh"}); err != nil {
		t.Error(err)
	}
}

func TestSpareWatchers(t *testing.T) {
	if err := spareWatchers(2); err != nil {
		t.Fatal(err)
	}
	// So many that this process may not have as many files; the machine's own limit stays untouched.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 20, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	err := spareWatchers(32)
	if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "fewer than 32 instances of inotify") ||
		!strings.Contains(err.Error(), "sysctl -w fs.inotify.max_user_instances") {
		t.Errorf("got %v", err)
	}
}

func TestTail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(file, []byte("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(file); got != "  3\n  4\n  5\n  6\n  7\n  8\n  9\n  10" {
		t.Errorf("tail: %q", got)
	}
	if got := tail(file + "x"); !strings.Contains(got, "no such file") {
		t.Errorf("tail of nothing: %q", got)
	}
}
