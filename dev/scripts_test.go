// Package dev tests the scripts of this folder: what they look for, install, build and keep. They run with programs of
// the tests in place of those that would look at this machine or change it.
package dev

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// machine is what a script sees of the system.
type machine struct {
	bin string // the only folder with programs
	env []string
}

// newMachine returns a machine on which the named programs are those of this one.
func newMachine(t *testing.T, programs ...string) machine {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the scripts are for Linux")
	}
	m := machine{bin: t.TempDir()}
	for _, name := range append([]string{"bash", "sh", "sed", "mktemp", "tail", "rm", "cat", "touch", "env"},
		programs...) {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		if err := os.Symlink(path, filepath.Join(m.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	m.env = []string{"PATH=" + m.bin, "HOME=" + t.TempDir(), "LC_ALL=C"}
	return m
}

// program gives the machine a program of a few lines of shell.
func (m machine) program(t *testing.T, name, lines string) {
	t.Helper()
	write(t, filepath.Join(m.bin, name), "#!/bin/bash\n"+lines+"\n")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// copyScripts copies scripts of this folder to another.
func copyScripts(t *testing.T, to string, scripts ...string) {
	t.Helper()
	for _, script := range scripts {
		write(t, filepath.Join(to, script), read(t, script))
	}
}

func (m machine) run(t *testing.T, argv ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	var both bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = m.env, &both, &both
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return both.String(), cmd.ProcessState.ExitCode()
}

func abs(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPackages runs on a machine without any of what the scripts need: in a mount namespace where
// its folders are empty.
func TestPackages(t *testing.T) {
	const all = "gcc libc6-dev libseccomp-dev pkg-config util-linux nftables ipset iptables iproute2 mount"
	const install = "install --no-install-recommends -y " + all
	const shown = " (INSTALL=no only prints the command); log .state/logs/packages-of-the-system.log\n"
	for _, test := range []struct {
		name    string
		release string // of the system
		user    string
		kernel  string
		env     string
		has     []string // programs
		broken  bool     // apt-get
		args    string
		code    int
		want    []string // in the output
		calls   string   // of apt-get
	}{
		{
			name: "fresh Debian, lists empty", release: "ID=debian", args: "tools clusters",
			want: []string{"installing " + all + shown}, calls: install + "\nupdate\n" + install + "\n",
		},
		{
			name: "Ubuntu", release: "ID=ubuntu\nID_LIKE=debian", args: "tools clusters",
			want: []string{"installing " + all + shown}, calls: install + "\nupdate\n" + install + "\n",
		},
		{
			name: "INSTALL=no", release: "ID=debian", env: "INSTALL=no", args: "tools clusters", code: 1,
			want: []string{"missing: gcc include/stdio.h", "install them with: apt-get " + install},
		},
		{
			name: "not root", release: "ID=debian", user: "1000", args: "tools clusters", code: 1,
			want: []string{"install them with: sudo apt-get " + install},
		},
		{
			name: "another distribution", release: "ID=fedora\nID_LIKE=\"rhel centos\"",
			args: "tools clusters", code: 1,
			want: []string{"missing: gcc", "Debian calls the packages: " + all, "package manager"},
		},
		{
			name: "no distribution", args: "clusters", code: 1,
			want: []string{"missing: nft ipset iptables ip nsenter mount"},
		},
		{
			name: "no Linux", kernel: "Darwin", release: "ID=debian", args: "clusters", code: 1,
			want: []string{"clusters need Linux", "this is Darwin"},
		},
		{
			name: "nothing missing",
			has:  []string{"nft", "ipset", "iptables", "ip", "nsenter", "mount"}, args: "clusters",
		},
		{
			name: "nothing missing, not root", has: []string{"nft", "ipset", "iptables", "ip", "nsenter", "mount"},
			user: "1000", args: "clusters", code: 1, want: []string{"clusters need root"},
		},
		{
			name: "unknown target", release: "ID=debian", args: "everything", code: 2,
			want: []string{"no target everything; choose from: tools clusters images tests"},
		},
		{
			name: "nothing to install from", release: "ID=debian", broken: true, args: "tools clusters", code: 1,
			want: []string{
				"failed: packages of the system; the end of .state/logs/", "packages-of-the-system.log:\nbroken",
			},
			calls: install + "\nupdate\n",
		},
		{name: "no target", code: 2, want: []string{"dev/packages TARGET..."}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, "dirname", "mkdir", "tr", "cut", "sleep")
			mount, mountErr := exec.LookPath("mount")
			unshare, unshareErr := exec.LookPath("unshare")
			if err := errors.Join(mountErr, unshareErr); err != nil {
				t.Skip(err)
			}
			top := t.TempDir() // the log is there
			copyScripts(t, filepath.Join(top, "dev"), "packages", "steps.sh", "terminal.sh")
			calls := filepath.Join(t.TempDir(), "calls")
			write(t, calls, "")
			for _, name := range test.has {
				m.program(t, name, "")
			}
			m.program(t, "id", "echo "+or(test.user, "0"))
			m.program(t, "uname", "echo "+or(test.kernel, "Linux"))
			update := "touch " + calls + ".lists"
			if test.broken {
				update = "echo broken; exit 1"
			}
			m.program(t, "apt-get",
				`echo "$*" >>`+calls+`; case $1 in update) `+update+` ;; *) [ -e `+calls+`.lists ] ;; esac`)
			release := filepath.Join(t.TempDir(), "os-release")
			write(t, release, test.release+"\n")
			m.env = append(m.env, test.env)
			// The kernel's headers have a seccomp.h too, of another kind.
			script := `for dir in /usr/include /usr/sbin /usr/lib/postgresql; do
	[ ! -d $dir ] || ` + mount + ` -t tmpfs none $dir || exit 77
done
mkdir -p /usr/include/linux && : >/usr/include/linux/seccomp.h
` + mount + ` --bind ` + release + ` /etc/os-release || exit 77
exec ` + filepath.Join(top, "dev/packages") + ` "$@"`
			out, code := m.run(t,
				append([]string{unshare, "-rm", "bash", "-c", script, "packages"}, strings.Fields(test.args)...)...)
			if code == 77 || strings.Contains(out, "unshare failed") {
				t.Skip("cannot make namespaces here: ", out)
			}
			for _, want := range test.want {
				if !strings.Contains(out, want) {
					t.Errorf("it lacks %q:\n%s", want, out)
				}
			}
			got, err := os.ReadFile(calls)
			if err != nil || string(got) != test.calls || code != test.code {
				t.Errorf("exit %d, want %d; %v; apt-get was called with (-want +got):\n%s\n%s", code, test.code, err,
					cmp.Diff(test.calls, string(got)), out)
			}
		})
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// TestInstalledPulumi holds which pulumi on PATH is used as it is.
func TestInstalledPulumi(t *testing.T) {
	for _, test := range []struct {
		name, version, env string
		alone              bool // without the language host beside it
		want               bool
	}{
		{name: "the oldest that does", version: "v3.200.0", want: true},
		{name: "a newer one", version: "v3.1000.1", want: true},
		{name: "the next major one", version: "v4.0.0-alpha.1", want: true},
		{name: "too old", version: "v3.199.9"},
		{name: "no version", version: ""},
		{name: "without Go", version: "v3.276.0", alone: true},
		{name: "our own is wanted", version: "v3.276.0", env: "OUTPOSTS_PULUMI=own"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, "sort", "head")
			m.program(t, "pulumi", "echo "+test.version)
			if !test.alone {
				m.program(t, "pulumi-language-go", "")
			}
			m.env = append(m.env, test.env)
			out, code := m.run(t, abs(t, "pulumi/installed"))
			if used := code == 0; used != test.want {
				t.Errorf("used is %v, want %v: %s", used, test.want, out)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if out, code := newMachine(t).run(t, abs(t, "pulumi/installed")); code == 0 {
			t.Errorf("used: %s", out)
		}
	})
}

// TestPulumiKeepsNoKubeconfig holds that what one run of Pulumi leaves in TMPDIR is gone after the next,
// and readable by nobody else.
func TestPulumiKeepsNoKubeconfig(t *testing.T) {
	c := newCheckout(t)
	c.program(t, "pulumi",
		`case $1 in version) echo v3.276.0 ;; *) echo secret >"$TMPDIR/kubeconfig$1"; echo "$TMPDIR" ;; esac`)
	c.program(t, "pulumi-language-go", "")
	state := t.TempDir()
	c.env = append(c.env, "OUTPOSTS_STATE="+state)
	var last string
	for _, run := range []string{"1", "2"} {
		out, code := c.script(t, "run", "pulumi", run)
		if last = strings.TrimSpace(out); code != 0 || filepath.Dir(last) != filepath.Join(state, "pulumi-tmp") {
			t.Fatalf("run %s says %q, code %d", run, out, code)
		}
	}
	left, err := filepath.Glob(filepath.Join(state, "pulumi-tmp", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(last, "kubeconfig2")}, left); diff != "" {
		t.Errorf("what is left (-want +got)\n%s", diff)
	}
	if info, err := os.Stat(last); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v, want mode 0700", info, err)
	}
}

// TestPulumiKeepsNoLog holds that a run of our own Pulumi cannot make the folder of its logs, and that those of earlier
// runs go.
func TestPulumiKeepsNoLog(t *testing.T) {
	c := newCheckout(t)
	folder := c.folder(t, "pulumi")
	write(t, filepath.Join(folder, "bin/pulumi"),
		"#!/bin/sh\n"+`mkdir -p "$PULUMI_HOME/logs" 2>/dev/null || echo none`+"\n")
	write(t, filepath.Join(folder, "home/logs/a.log"), "values")
	c.env = append(c.env, "OUTPOSTS_PULUMI=own", "OUTPOSTS_STATE="+t.TempDir())
	for range 2 {
		if out, code := c.script(t, "run", "pulumi", "preview"); code != 0 || out != "none\n" {
			t.Errorf("says %q, code %d", out, code)
		}
	}
}

// TestPulumiTakesNoFolderInUse holds that the folder of a run stays while the run lasts, and goes although a process of
// the same number lives: in a container Pulumi is always number 1.
func TestPulumiTakesNoFolderInUse(t *testing.T) {
	c := newCheckout(t)
	c.program(t, "pulumi",
		`case $1 in version) echo v3.276.0 ;;
first) "$0" second "$TMPDIR"; "$RUN" pulumi second "$TMPDIR" ;;
second) [ -d "$2" ] && echo there ;; esac`)
	c.program(t, "pulumi-language-go", "")
	state := t.TempDir()
	c.env = append(c.env, "OUTPOSTS_STATE="+state, "RUN="+filepath.Join(c.dev, "run"))
	dead := filepath.Join(state, "pulumi-tmp", strconv.Itoa(os.Getpid()))
	write(t, filepath.Join(dead, "kubeconfig"), "secret")
	if out, code := c.script(t, "run", "pulumi", "first"); code != 0 || out != "there\nthere\n" {
		t.Errorf("says %q, code %d", out, code)
	}
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a dead run has left: %v", err)
	}
}

// TestPulumiRunsBegunAtOnce holds that runs which begin together leave one another's folders alone
// from the first moment.
func TestPulumiRunsBegunAtOnce(t *testing.T) {
	c := newCheckout(t)
	c.program(t, "pulumi", `case $1 in version) echo v3.276.0 ;;
all) for n in 0 1 2 3 4 5 6 7; do for m in 0 1 2 3 4; do "$RUN" pulumi one & done; done; wait ;;
one) n=0; while [ $n -lt 3000 ]; do n=$((n+1)); done; [ -d "$TMPDIR" ] || echo gone ;; esac`)
	c.program(t, "pulumi-language-go", "")
	c.env = append(c.env, "OUTPOSTS_STATE="+t.TempDir(), "RUN="+filepath.Join(c.dev, "run"))
	if out, code := c.script(t, "run", "pulumi", "all"); code != 0 || out != "" {
		t.Errorf("says %q, code %d", out, code)
	}
}

// TestPulumiBackend holds where the state of stacks is: that of the local clusters' in this checkout, that of others
// where the user has logged in, and that of all where the user says, whose passphrase stays.
func TestPulumiBackend(t *testing.T) {
	c := newCheckout(t)
	c.program(t, "pulumi",
		`case $1 in version) echo v3.276.0 ;; *) echo "$PULUMI_BACKEND_URL ${PULUMI_CONFIG_PASSPHRASE-none}" ;; esac`)
	c.program(t, "pulumi-language-go", "")
	state := t.TempDir()
	c.env = append(c.env, "OUTPOSTS_STATE="+state)
	write(t, filepath.Join(c.dev, "..", "Pulumi.local.yaml"), "    kubeconfig: .state/kubeconfig\n")
	write(t, filepath.Join(c.dev, "..", "Pulumi.prod.yaml"), "    kubeconfig: ~/.kube/config\n")
	ours := "file://" + state + "/pulumi?metadata=skip \n"
	for _, test := range []struct {
		name, want string
		env, args  []string
	}{
		{"of this checkout", ours, nil, nil},
		{"of the user", "file:///own none\n", []string{"PULUMI_BACKEND_URL=file:///own"}, nil},
		{
			"of the user, with a passphrase", "file:///own word\n",
			[]string{"PULUMI_BACKEND_URL=file:///own", "PULUMI_CONFIG_PASSPHRASE=word"},
			nil,
		},
		{"of a stack of the local clusters", ours, nil, []string{"-s", "local"}},
		{"of a stack that is not there", ours, nil, []string{"-s", "missing"}},
		{"of another stack", " none\n", nil, []string{"-s", "prod"}},
		{"of another stack, with its organization", " none\n", nil, []string{"--stack=acme/prod"}},
		{
			"of another stack, of the user", "file:///own none\n",
			[]string{"PULUMI_BACKEND_URL=file:///own"},
			[]string{"--stack", "acme/outposts/prod"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := c
			c.env = append(slices.Clone(c.env), test.env...)
			out, code := c.script(t, "run", append([]string{"pulumi", "stack"}, test.args...)...)
			if code != 0 || out != test.want {
				t.Errorf("code %d, got %q, want %q", code, out, test.want)
			}
		})
	}
}

// TestSteps holds what is shown of a step that takes long, and how steps end. Time is what the test says it is.
func TestSteps(t *testing.T) {
	m := newMachine(t, "tr", "cut", "mkdir")
	folder := t.TempDir()
	copyScripts(t, filepath.Join(folder, "dev"), "steps.sh", "terminal.sh")
	m.program(t, "sleep", `[ -e asleep ] && { rm asleep; exit 1; }; : >asleep`) // twice, then follow ends
	write(t, filepath.Join(folder, ".state/logs/long-work.log"),
		"  1 of 10 parts\n  2 of 10 parts\n\n")
	write(t, filepath.Join(folder, ".state/logs/long-work.seconds"), "840\n")
	write(t, filepath.Join(folder, "steps"), `set -euo pipefail
cd "`+folder+`"
. dev/steps.sh
unset SECONDS; SECONDS=1000 # from here on it is a variable as others are, however long the test takes
follow "long work" 0
follow "work of less than three seconds" 5000
true &
ended "long work" 0 $! 0
echo "took $(cut -c1-2 .state/logs/long-work.seconds).."
step "quick work" true
spent work-of-the-past; echo "640 32" >cpu; echo "took$(spent cpu)"; echo "2 0" >cpu; echo "took$(spent cpu)"
spent() { echo " and $(sed 's/[0-9][0-9]*/N/g' "$1")"; }
step "work in front" eval 'echo the log; set -- lost'
beside "work beside" bash -c 'echo the log >&2'
finish "work beside"
cat .state/logs/work-in-front.log .state/logs/work-beside.log
step "Work (that fails)" bash -c 'echo the reason; exit 3'
`)
	out, code := m.run(t, "bash", filepath.Join(folder, "steps"))
	//nolint:lll // what is shown
	want := regexp.MustCompile(`^long work +1000 s \(840 last time\); log \.state/logs/long-work\.log: 2 of 10 parts
took 10\.\.
quick work +0 s
took, 11\.2 CPU-min
took
work in front +0 s and N N
work beside +0 s more and N N
the log
the log
failed: Work \(that fails\); the end of \.state/logs/work-that-fails-\.log:
the reason
$`)
	if code != 1 || !want.MatchString(out) {
		t.Errorf("exit %d, want 1; got\n%s\nwant\n%s", code, out, want)
	}
}

// TestChart writes the committed stack of the hub with another chart than the stand-in, and nothing else of it changes.
func TestChart(t *testing.T) {
	stack, err := os.ReadFile("../Pulumi.local.yaml")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("chart")
	if err != nil {
		t.Fatal(err)
	}
	const standIn = "    chart:\n      path: e2e/charts/hub\n"
	const want = "; want a version of zero-to-jupyterhub, as 4.4.0, or a folder with its chart\n"
	for _, c := range []struct {
		name, chart, repository string
		stack                   string // in place of the committed one
		line, refused           string
	}{
		{name: "version", chart: "4.4.0", line: "chart: {version: 4.4.0}"},
		{name: "development version", chart: "4.4.1-0.dev.git.1+h2", line: "chart: {version: 4.4.1-0.dev.git.1+h2}"},
		{
			name: "repository", chart: "4.4.0", repository: "https://charts.example.org/a&b",
			line: `chart: {version: 4.4.0, repository: "https://charts.example.org/a&b"}`,
		},
		{name: "folder", chart: "charts/hub", line: `chart: {path: "TOP/charts/hub"}`},
		{name: "half a version", chart: "4.4", refused: "CHART=4.4: is not a folder" + want},
		{name: "folder without a chart", chart: "charts", refused: "CHART=charts: has no Chart.yaml" + want},
		{
			name: "another stack", chart: "4.4.0", stack: "config: {}\n",
			refused: "Pulumi.local.yaml has another chart than the stand-in; " +
				"restore it with git checkout Pulumi.local.yaml\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, "dirname", "mkdir", "awk")
			m.env = append(m.env, "CHART_REPOSITORY="+c.repository)
			top := t.TempDir()
			write(t, filepath.Join(top, "Pulumi.local.yaml"), or(c.stack, string(stack)))
			write(t, filepath.Join(top, "charts/hub/Chart.yaml"), "name: jupyterhub\n")
			write(t, filepath.Join(top, "dev/chart"), string(script))
			out, code := m.run(t, filepath.Join(top, "dev/chart"), c.chart)
			if c.refused != "" {
				if code != 2 || out != c.refused {
					t.Errorf("exit %d, got %q, want %q", code, out, c.refused)
				}
				return
			}
			if code != 0 || out != ".state/Pulumi.local.yaml\n" {
				t.Fatalf("exit %d, got %q", code, out)
			}
			got, err := os.ReadFile(filepath.Join(top, ".state/Pulumi.local.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(stack), standIn, "    "+strings.Replace(c.line, "TOP", top, 1)+"\n", 1)
			if diff := cmp.Diff(changed, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestBuildShowsProgress holds that a build that takes a while says how far it is: which module it fetches, then how
// many packages it has compiled of those of all its programs; and how long it took the last time.
func TestBuildShowsProgress(t *testing.T) {
	for _, test := range []struct {
		name string
		at   string // what the build has said last while it waits to be shown
		want string
	}{
		{"while modules are fetched", "go: downloading n v2", "fetching module 2, n v2"},
		{"while the first program is compiled", "m/package", "1 of 3 packages"},
		{"while the second program is compiled", "m/c", "3 of 3 packages"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCheckout(t)
			write(t, filepath.Join(c.cache, "kube-0123456789ab.seconds"), "840\n")
			shown := filepath.Join(t.TempDir(), "shown")
			c.program(t, "go", `says() { # LINE...
	for line in "$@"; do
		echo "$line" >&2
		[ "$line" != '`+test.at+`' ] || until [ -e `+shown+` ]; do :; done
	done
}
case "$*" in
"env GOVERSION") echo go1.26.99 ;;
"list -deps -f {{if .Stale}}{{.Dir}}{{end}} `+noDebugger+` -tags a .")
	says "go: downloading m v1" "go: downloading n v2"
	printf '\n/m/package\n\n/m/b\n' ;;
"list -deps -f {{if .Stale}}{{.Dir}}{{end}} `+noDebugger+` ./c") printf '/m/package\n/m/c\n' ;;
"build -v `+noDebugger+` -o "*"/bin/kube -tags a .") [ "$GOTOOLCHAIN" = go1.26.99 ] && says m/package m/b ;;
"build -v `+noDebugger+` -o "*"/bin/c ./c") says m/c ;;
*) echo "go $*" >&2; exit 1 ;;
esac`)
			write(t, filepath.Join(c.dev, "kube/build.sh"), "#!/bin/sh\nset -e\nmkdir -p $1/bin\n"+
				"go build -o $1/bin/kube -tags a .\ngo build -o $1/bin/c ./c\n")
			// The second time that the status is asked to sleep, it has been shown.
			c.program(t, "sleep", `[ -e `+shown+`.once ] && { : >`+shown+`; exit 1; }
until grep -qx '`+test.at+`' `+c.folder(t, "kube")+`.log 2>/dev/null; do :; done; : >`+shown+`.once`)
			out, code := c.script(t, "build", "kube")
			want := regexp.MustCompile(`(?m)^  kube: building, 840 s last time; log \S+kube-[0-9a-f]+\.log
  0 of 1 parts; kube \d+ s \(840 last time\), ` + test.want + `$`)
			if code != 0 || !want.MatchString(out) {
				t.Errorf("exit %d; got\n%s\nwant\n%s", code, out, want)
			}
		})
	}
}

// noDebugger is the flag with which everything that `make up` makes is compiled.
const noDebugger = "-gcflags=all=-dwarf=false"

// TestProgramsAreMadeAlike holds that the tools, the outpost and, by Pulumi, the program of the stacks are made with
// the flags of dev/go: with others, all that they link would be compiled again.
func TestProgramsAreMadeAlike(t *testing.T) {
	c := newCheckout(t)
	c.env = append(c.env, "OUTPOSTS_STATE="+t.TempDir(), "GOFLAGS=-p=1")
	const say = `echo "$CGO_ENABLED $GOFLAGS" `
	c.program(t, "go", `case $1 in env) echo go1.26.99 ;; *) `+say+`"$GOTOOLCHAIN" "$@" ;; esac`)
	c.program(t, "pulumi", "case $1 in version) echo v3.276.0 ;; *) "+say+" ;; esac")
	c.program(t, "pulumi-language-go", "")
	const flags = "0 -p=1 -trimpath -buildvcs=false " + noDebugger
	out, code := c.script(t, "go", "build", "./stacks")
	if want := flags + " go1.26.99 build ./stacks\n"; code != 0 || out != want {
		t.Errorf("dev/go: exit %d, got %q, want %q", code, out, want)
	}
	if out, code := c.script(t, "run", "pulumi", "up"); code != 0 || out != flags+"\n" {
		t.Errorf("pulumi: exit %d, got %q, want %q", code, out, flags+"\n")
	}
	c.program(t, "go", `case $1 in build) echo "$GOGC $*" >>`+c.cache+`.made ;; env) echo go1.26.99 ;; esac`)
	const build = "go build -trimpath -buildvcs=false -o $1/dns ."
	write(t, filepath.Join(c.dev, "dns/build.sh"), "#!/bin/sh\nmkdir -p $1; "+build+"\n")
	for _, collects := range []string{"", "100"} {
		c.env = append(c.env, "GOGC="+collects, "XDG_CACHE_HOME="+t.TempDir())
		if out, code := c.script(t, "build", "dns"); code != 0 {
			t.Fatalf("exit %d, %s", code, out)
		}
	}
	want := regexp.MustCompile(`^(off|400) build -v ` + noDebugger + ` -trimpath -buildvcs=false -o \S+/dns \.
100 build -v ` + noDebugger + ` -trimpath -buildvcs=false -o \S+/dns \.
$`)
	if got := read(t, c.cache+".made"); !want.MatchString(got) {
		t.Errorf("dev/build: got %q, want %s", got, want)
	}
	if image := read(t, "../images/outpost/build.go"); !strings.Contains(image, `"`+noDebugger+`"`) {
		t.Errorf("images/outpost is made without %s", noDebugger)
	}
}

// TestPulumiCollectsLess holds that Pulumi, and what it starts, collects garbage as the user says, and else less often
// than by itself.
func TestPulumiCollectsLess(t *testing.T) {
	c := newCheckout(t)
	c.env = append(c.env, "OUTPOSTS_STATE="+t.TempDir())
	c.program(t, "pulumi", `case $1 in version) echo v3.276.0 ;; *) echo "$GOGC" ;; esac`)
	c.program(t, "pulumi-language-go", "")
	for _, test := range []struct{ set, want string }{{"", "400"}, {"50", "50"}} {
		c.env = append(c.env, "GOGC="+test.set)
		if out, code := c.script(t, "run", "pulumi", "up"); code != 0 || out != test.want+"\n" {
			t.Errorf("GOGC=%s: exit %d, got %q, want %s", test.set, code, out, test.want)
		}
	}
}

// checkout is a copy of the scripts with parts that take no time to build.
type checkout struct {
	machine
	dev, cache string
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	c := checkout{
		machine: newMachine(t, "dirname", "basename", "find", "xargs", "sort", "sha256sum", "cut", "tr",
			"uname", "flock", "mkdir", "mv", "ln", "cp", "du", "df", "awk", "nproc", "head", "grep", "chmod"),
		dev: t.TempDir(),
	}
	c.cache = filepath.Join(t.TempDir(), "outposts")
	c.env = append(c.env, "XDG_CACHE_HOME="+filepath.Dir(c.cache))
	c.program(t, "go", "")
	c.program(t, "sleep", "exit 1") // nothing takes long enough to be shown
	copyScripts(t, c.dev,
		"build", "cache", "disk", "go", "run", "stack", "parts.sh", "terminal.sh", "pulumi/installed")
	for _, part := range []string{
		"kube", "runtime", "netpol", "dns", "acme", "clusters", "pulumi/cli",
		"pulumi/kubernetes", "pulumi/language-go", "pulumi/random",
	} {
		write(t, filepath.Join(c.dev, part, "build.sh"),
			"#!/bin/sh\nset -e\nmkdir -p $1/bin $1/plugins/"+filepath.Base(part)+"\necho "+part+
				" >$1/bin/"+filepath.Base(part)+"\n")
	}
	return c
}

func (c checkout) script(t *testing.T, name string, args ...string) (string, int) {
	t.Helper()
	return c.run(t, append([]string{filepath.Join(c.dev, name)}, args...)...)
}

func (c checkout) folder(t *testing.T, part string) string {
	t.Helper()
	out, code := c.script(t, "cache", part)
	if code != 0 {
		t.Fatalf("cache %s: %s", part, out)
	}
	return strings.TrimSpace(out)
}

func there(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

func TestBuild(t *testing.T) {
	c := newCheckout(t)
	out, code := c.script(t, "build")
	if code != 0 || !strings.Contains(out, "are built") {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	for _, file := range []string{
		c.folder(t, "kube") + "/bin/kube", c.folder(t, "pulumi") + "/bin/cli",
		c.folder(t, "pulumi") + "/home/plugins/random", filepath.Join(c.cache, "tools.seconds"),
		c.folder(t, "kube") + ".cpu",
	} {
		if !there(file) {
			t.Errorf("%s is not there after:\n%s", file, out)
		}
	}
	if out, code := c.script(t, "build"); code != 0 || strings.Contains(out, "building") {
		t.Errorf("a second time, exit %d:\n%s", code, out)
	}

	// A fresh clone finds what this one has built; tests and texts do not count, and anything else does.
	was := c.folder(t, "kube")
	write(t, filepath.Join(c.dev, "kube/main_test.go"), "package main\n")
	write(t, filepath.Join(c.dev, "kube/README.md"), "text\n")
	if is := c.folder(t, "kube"); is != was {
		t.Errorf("a test moves the part from %s to %s", was, is)
	}
	write(t, filepath.Join(c.dev, "kube/go.sum"), "pins\n")
	if c.folder(t, "kube") == was {
		t.Error("another pin does not move the part")
	}
	if out, _ := c.script(t, "cache"); !strings.Contains(out, "kube                 absent") ||
		!strings.Contains(out, "runtime              built") {
		t.Errorf("cache says:\n%s", out)
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		on   func(t *testing.T, c checkout)
		args []string
		want string
	}{
		{name: "no such part", args: []string{"nosuch"}, want: "no part is called nosuch; the parts are: pulumi"},
		{name: "no Go", args: []string{"kube"}, want: "go is not on PATH", on: func(t *testing.T, c checkout) {
			if err := os.Remove(filepath.Join(c.bin, "go")); err != nil {
				t.Fatal(err)
			}
		}},
		{
			name: "disk nearly full", args: []string{"kube"}, want: "has 2 GiB of free space left",
			on: func(t *testing.T, c checkout) {
				replace(t, c, "df", `echo Filesystem; echo "/dev/x 9 9 3000000 9% /"`)
			},
		},
		{name: "a part that fails", args: []string{"kube"}, want: "kube: FAILED", on: func(t *testing.T, c checkout) {
			write(t, filepath.Join(c.dev, "kube/build.sh"),
				"#!/bin/sh\nmkdir -p $1/bin\necho half >$1/bin/kube\necho the reason >&2\nexit 1\n")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCheckout(t)
			if test.on != nil {
				test.on(t, c)
			}
			out, code := c.script(t, "build", test.args...)
			if code == 0 || !strings.Contains(out, test.want) {
				t.Errorf("exit %d, want %q in:\n%s", code, test.want, out)
			}
			if test.args[0] == "kube" && there(c.folder(t, "kube")) {
				t.Error("something half-made is in the cache")
			}
		})
	}
}

// TestDisk holds that work for which the disk has too little room is refused before it begins, with what to delete; and
// that what is there already counts.
func TestDisk(t *testing.T) {
	const all = "tools clusters images tests"
	for _, test := range []struct {
		name string
		free map[string]int // MiB, by the last element of the folder that df is asked for; of all others 1000000
		has  int            // MiB in each folder
		args string
		code int
		want []string
	}{
		{name: "room for all", args: all},
		{name: "nothing to do", args: "", code: 2, want: []string{"refuses the targets"}},
		{name: "no such target", args: "tool", code: 2, want: []string{"no target tool; choose from: tools clusters"}},
		{
			name: "too little for anything", args: all, code: 1,
			free: map[string]int{"outposts": 900, "build": 900, "modules": 900, "state": 900, "temp": 900},
			want: []string{
				"/mount/build has 900 MiB free, and tools clusters images tests need ",
				"more in /go/build, which has 0 (go clean -cache)", "(go clean -modcache)", "(make down)",
				"what may be deleted stands in brackets",
			},
		},
		{name: "too little from nothing", args: "tools", code: 1, free: map[string]int{"modules": 2000}, want: []string{
			"/mount/modules has 2000 MiB free, and tools need ",
		}},
		{name: "all there already", args: "tools", free: map[string]int{"modules": 2000}, has: 50000},
		{name: "full, with all there already", args: "tools", code: 1, has: 50000, free: map[string]int{"build": 400}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCheckout(t)
			temp := t.TempDir()
			folders := map[string]string{"GOCACHE": "build", "GOMODCACHE": "modules"}
			for name, folder := range folders {
				folders[name] = filepath.Join(temp, "go", folder)
			}
			for _, folder := range []string{
				c.cache, folders["GOCACHE"], folders["GOMODCACHE"], temp + "/state", temp + "/temp",
			} {
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			c.env = append(c.env, "OUTPOSTS_STATE="+temp+"/state", "TMPDIR="+temp+"/temp")
			c.program(t, "go",
				`case $2 in GOCACHE) echo `+folders["GOCACHE"]+` ;; *) echo `+folders["GOMODCACHE"]+` ;; esac`)
			replace(t, c, "du", `printf '`+strconv.Itoa(test.has)+`\tfolder\n'`)
			lines := `name=${2##*/} free=1000000; case $name in `
			for name, free := range test.free {
				lines += name + `) free=` + strconv.Itoa(free) + ` ;; `
			}
			replace(t, c, "df", lines+`esac; echo Filesystem; echo "/dev/x 9 9 $((free * 1024)) 9% /mount/$name"`)
			out, code := c.script(t, "disk", strings.Fields(test.args)...)
			if code != test.code {
				t.Errorf("exit %d, want %d:\n%s", code, test.code, out)
			}
			for _, want := range test.want {
				if !strings.Contains(strings.ReplaceAll(out, temp, ""), want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
		})
	}
}

// TestDiskOfALink holds that what is there counts too where a link leads to it, as to another disk.
func TestDiskOfALink(t *testing.T) {
	c := newCheckout(t)
	temp := t.TempDir()
	state, link := filepath.Join(temp, "state"), filepath.Join(temp, "link")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "image"), make([]byte, 5<<19), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(state, link); err != nil {
		t.Fatal(err)
	}
	c.env = append(c.env, "OUTPOSTS_STATE="+link)
	c.program(t, "go", "")
	replace(t, c, "df", `echo Filesystem; echo "/dev/x 9 9 0 9% /mount"`)
	out, code := c.script(t, "disk", "clusters")
	if want := link + ", which has 3 (make down)"; code != 1 || !strings.Contains(out, want) {
		t.Errorf("exit %d, want %q in:\n%s", code, want, out)
	}
}

// replace gives the checkout's machine a program in place of the one that it has.
func replace(t *testing.T, c checkout, name, lines string) {
	t.Helper()
	if err := os.Remove(filepath.Join(c.bin, name)); err != nil {
		t.Fatal(err)
	}
	c.program(t, name, lines)
}

// TestBuildPrunes holds what of the cache goes when something new comes: what this checkout does not have and
// nobody has used for 30 days.
func TestBuildPrunes(t *testing.T) {
	c := newCheckout(t)
	if out, code := c.script(t, "build"); code != 0 {
		t.Fatal(out)
	}
	long, short := time.Now().Add(-31*24*time.Hour), time.Now().Add(-29*24*time.Hour)
	entries := map[string]bool{ // those that stay
		"kube-0123456789ab": false, "kube-0123456789ab.log": false, "pulumi-ba9876543210": false,
		"pulumi-cli-ba9876543210": false,
		"image-0123456789abcdef":  true, "python-hub-0123456789ab": true, "tools.seconds": true,
		filepath.Base(c.folder(t, "dns")):              true,
		filepath.Base(c.folder(t, "dns")) + ".seconds": true, // with its part
	}
	for name := range entries {
		file := filepath.Join(c.cache, name)
		if strings.HasPrefix(name, "dns") || name == "tools.seconds" {
			// there already
		} else if filepath.Ext(name) == "" {
			write(t, filepath.Join(file, "bin/program"), "")
		} else {
			write(t, file, "")
		}
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(c.cache, "kube-ffffffffffff/bin/kube"), "")
	if err := os.Chtimes(filepath.Join(c.cache, "kube-ffffffffffff"), short, short); err != nil {
		t.Fatal(err)
	}
	entries["kube-ffffffffffff"] = true

	write(t, filepath.Join(c.dev, "kube/go.sum"), "new pins\n")
	if out, code := c.script(t, "build", "kube"); code != 0 {
		t.Fatal(out)
	}
	got := map[string]bool{}
	for name := range entries {
		got[name] = there(filepath.Join(c.cache, name))
	}
	if diff := cmp.Diff(entries, got); diff != "" {
		t.Errorf("what stayed (-want +got):\n%s", diff)
	}
}
