package dev

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newUp is a checkout in which dev/up begins, ends and says everything, but does nothing: each program writes what it
// is asked for to the file calls. The tools are built by lines of shell.
func newUp(t *testing.T, builds string) (m machine, top string) {
	t.Helper()
	c := newCheckout(t)
	m, top = c.machine, t.TempDir()
	copyScripts(t, filepath.Join(top, "dev"), "up", "steps.sh", "terminal.sh", "parts.sh")
	for _, part := range []string{"kube", "runtime", "netpol", "dns", "clusters"} {
		write(t, filepath.Join(top, "dev", part, "build.sh"), "")
	}
	const called = `echo "${0##*/} $*" >>calls; `
	for name, lines := range map[string]string{
		"stack": "", "packages": called, "disk": called, "build": called + builds,
		"run": `case "$*" in "clusters up") [ ! -e begins ] || echo >begins ;; esac; ` + called,
	} {
		write(t, filepath.Join(top, "dev", name), "#!/bin/bash\n"+lines+"\n")
	}
	write(t, filepath.Join(top, "e2e/verify/run"), "#!/bin/bash\n")
	write(t, filepath.Join(top, "Pulumi.local.yaml"), "url: http://10.77.0.2:30000\naddress: 10.77.0.3\n")
	m.program(t, "make", called)
	m.program(t, "sleep", "")
	m.env = append(m.env, "TOP="+top)
	return m, top
}

// calls are those of dev/up, in the order in which they began.
func calls(t *testing.T, top string) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(read(t, filepath.Join(top, "calls"))), "\n")
}

// madeOf are lines of shell that build what the clusters are made of.
const madeOf = `dev=$TOP/dev; . dev/parts.sh; for part in $cluster_parts; do mkdir -p "$(folder "$part")"; done; `

// TestUp holds that the clusters begin while tools that they are not made of are still built, and that everything else
// of `make up` waits for what it needs.
func TestUp(t *testing.T) {
	// Opened for reading and writing, a FIFO waits for what is written. The build ends when the clusters have begun.
	m, top := newUp(t, `echo "  kube: built in 678 s, 11.2 CPU-min, 420M"; `+madeOf+
		`exec 3<>begins; read -r -t 60 -u 3 || { echo "the clusters did not begin"; exit 1; }`)
	if err := syscall.Mkfifo(filepath.Join(top, "begins"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := m.run(t, filepath.Join(top, "dev/up"))
	took := regexp.MustCompile(`(?s)^tools .* s\n  kube 678 s, 11\.2 CPU-min\n.*\nThe hub is up after \d+ s\.\n`)
	if code != 0 || !took.MatchString(out) {
		t.Fatalf("exit %d\n%s", code, out)
	}
	got := calls(t, top)
	ours := slices.DeleteFunc(slices.Clone(got), func(call string) bool {
		return call == "make hub-images" || call == "make stacks" || call == "run clusters up" // beside
	})
	want := []string{
		"packages tools clusters images", "disk tools clusters images", "build ", "make image", "make images-load",
		"run pulumi stack select --create local", "run pulumi up -s local --yes --skip-preview --non-interactive",
		"run pulumi stack select --create remote", "run pulumi up -s remote --yes --skip-preview --non-interactive",
		"run clusters renew local remote", "make verify",
		"run pulumi stack output -s local --show-secrets hubUrl",
		"run pulumi stack output -s local --show-secrets loginPassword",
	}
	if diff := cmp.Diff(want, ours); diff != "" {
		t.Errorf("one after the other (-want +got)\n%s", diff)
	}
	for _, call := range []string{"make hub-images", "make stacks", "run clusters up"} {
		if at := slices.Index(got, call); at < 0 || at > slices.Index(got, "make images-load") {
			t.Errorf("%s is not among the calls before the images are loaded: %q", call, got)
		}
	}
}

// TestUpOnAnotherNetwork holds that clusters on another network than the addresses of the hub's stack are refused
// before anything begins, with a line that mends it: the check would ask the hub of another checkout.
func TestUpOnAnotherNetwork(t *testing.T) {
	const refusal = "Pulumi.local.yaml has the address 10.77.0.2, and the clusters get those of 10.61.0.0/16 " +
		"(OUTPOSTS_NETWORK):\n"
	const mends = "sed -i s/10.77./10.61./ Pulumi.local.yaml"
	m, top := newUp(t, madeOf)
	up := filepath.Join(top, "dev/up")
	m.env = append(m.env, "OUTPOSTS_NETWORK=10.61.0.0/16")
	out, code := m.run(t, up)
	if want := refusal + mends + ", or set OUTPOSTS_NETWORK=10.77.0.0/16\n"; code != 2 || out != want {
		t.Errorf("exit %d, got\n%s\nwant\n%s", code, out, want)
	}
	if there(filepath.Join(top, "calls")) {
		t.Errorf("calls %q", calls(t, top))
	}
	if out, code := m.run(t, "bash", "-c", "cd "+top+" && "+mends); code != 0 {
		t.Fatalf("%s: exit %d\n%s", mends, code, out)
	}
	const want = "url: http://10.61.0.2:30000\naddress: 10.61.0.3\n"
	if diff := cmp.Diff(want, read(t, filepath.Join(top, "Pulumi.local.yaml"))); diff != "" {
		t.Errorf("the stack (-want +got)\n%s", diff)
	}
	if out, code := m.run(t, up); code != 0 {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// TestUpWithoutTools holds that the clusters never begin where what they are made of cannot be built, and that the
// reason is shown.
func TestUpWithoutTools(t *testing.T) {
	m, top := newUp(t, `echo "the reason"; exit 1`)
	out, code := m.run(t, filepath.Join(top, "dev/up"))
	if want := "the end of .state/logs/tools-built-once-then-cached-.log:\nthe reason\n"; code != 1 ||
		!strings.HasSuffix(out, want) {
		t.Errorf("exit %d, want 1; got\n%s\nwant at its end\n%s", code, out, want)
	}
	if got := calls(t, top); slices.Contains(got, "run clusters up") || slices.Contains(got, "make image") {
		t.Errorf("calls %q", got)
	}
	if _, err := os.Stat(filepath.Join(top, ".state/logs/clusters-local-and-remote.began")); !os.IsNotExist(err) {
		t.Errorf("the clusters have begun: %v", err)
	}
}

// TestWhen holds that the time of a step that waits for another counts from when it begins, and that it begins at the
// latest when it is waited for.
func TestWhen(t *testing.T) {
	for _, test := range []struct{ name, condition, before, want string }{
		{
			"what it waits for comes", "[ -e there ] && SECONDS=1000",
			"until [ -e begun ]; do :; done; SECONDS=1400", ` s more\n400\n$`,
		},
		{"what it waits for never comes", "false", "[ ! -e begun ]", ` s more\n$`},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, "tr", "cut", "mkdir")
			top := t.TempDir()
			copyScripts(t, filepath.Join(top, "dev"), "steps.sh", "terminal.sh")
			m.program(t, "sleep", ": >there") // it is there after a second
			write(t, filepath.Join(top, "steps"), `set -euo pipefail
cd "`+top+`"
. dev/steps.sh
unset SECONDS; SECONDS=0 # from here on it is a variable as others are, however long the test takes
condition() { `+test.condition+`; }
when condition "the work" touch begun
`+test.before+`
finish "the work"
[ -e begun ]
[ ! -e .state/logs/the-work.seconds ] || cat .state/logs/the-work.seconds
`)
			out, code := m.run(t, "bash", filepath.Join(top, "steps"))
			if want := regexp.MustCompile(test.want); code != 0 || !want.MatchString(out) {
				t.Errorf("exit %d, got\n%s\nwant at its end\n%s", code, out, want)
			}
		})
	}
}
