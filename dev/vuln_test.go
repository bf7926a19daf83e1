package dev

import (
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestVuln holds what is looked at, with which database and toolchain, what is shown of it, and how the script ends.
func TestVuln(t *testing.T) {
	const scan = `run -v golang.org/x/vuln/cmd/govulncheck@v1.9.0 -show verbose -db file:///modules/vulndb@v1/data/osv `
	for _, test := range []struct {
		name, run string // lines of shell in place of the scanner
		download  string // and of the download
		args      []string
		env       string
		code      int
		calls     string
		want      string
	}{
		{
			name: "what is shipped",
			want: "is reached by ./server/cmd/outpost ./stacks ./e2e/verify dev/release as go1.26.10 builds it",
			calls: "go1.26.10 0 " + scan + "./server/cmd/outpost\ngo1.26.10 0 " + scan + "./stacks\n" +
				"go1.26.10 0 " + scan + "./e2e/verify\ngo1.26.10 0 " + scan + "-C dev/release .\n",
		},
		{
			name: "one package", args: []string{"./stacks"}, calls: "go1.26.10 0 " + scan + "./stacks\n",
			want: "vulnerabilities (2 of 2): ./stacks ",
		},
		{
			name: "a toolchain of the user", env: "GOTOOLCHAIN=local", args: []string{"./stacks"},
			calls: "go1.26.0 0 " + scan + "./stacks\n",
		},
		{
			name: "a vulnerability, the report whole", run: "seq 100; exit 1", code: 1,
			calls: "go1.26.10 0 " + scan + "./server/cmd/outpost\n",
			want:  "vuln: ./server/cmd/outpost with go1.26.10\n1\n2\n3\n",
		},
		{
			name: "out of time", run: "exit 124", env: "VULN_TIMEOUT=2s", code: 1, want: "is not done within 2s",
			calls: "go1.26.10 0 " + scan + "./server/cmd/outpost\n",
		},
		{
			name: "no database", download: `echo '	"Error": "not served"'; exit 1`,
			code: 1, want: "cannot be downloaded",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, vulnPrograms...)
			vuln := vulnScript(t)
			calls := filepath.Join(t.TempDir(), "calls")
			write(t, calls, "")
			m.program(t, "timeout", `shift; exec "$@"`)
			m.program(t, "go", `case $1 in
mod) `+or(test.download, `printf '{\n\t"Path": "x",\n\t"Dir": "/modules/vulndb@v1",\n\t"Sum": "h1"\n}\n'`)+` ;;
env) [ "$GOTOOLCHAIN" = local ] && echo go1.26.0 || echo go1.26.10 ;;
*) echo "$GOTOOLCHAIN $CGO_ENABLED $*" >>`+calls+"; "+or(test.run, ":")+` ;;
esac`)
			m.env = append(m.env, test.env)
			out, code := m.run(t, append([]string{vuln}, test.args...)...)
			got, err := os.ReadFile(calls)
			if err != nil || code != test.code || string(got) != test.calls || !strings.Contains(out, test.want) {
				t.Errorf("exit %d, want %d; %v; want %q in\n%s\ncalls (-want +got)\n%s",
					code, test.code, err, test.want, out, cmp.Diff(test.calls, string(got)))
			}
		})
	}
}

// vulnPrograms are those of the machine that the script runs.
var vulnPrograms = []string{"dirname", "mkdir", "tr", "cut", "sleep", "seq"}

// vulnScript is the script in a checkout of its own, where it keeps its logs.
func vulnScript(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	copyScripts(t, filepath.Join(top, "dev"), "vuln", "go", "steps.sh", "terminal.sh")
	write(t, filepath.Join(top, "dev/release/go.mod"), "module example.org/release\n")
	return filepath.Join(top, "dev", "vuln")
}

// TestVulnScansWhatIsShipped holds that every program of ours that `make bundle` or an image has in it is looked at.
func TestVulnScansWhatIsShipped(t *testing.T) {
	scanned := regexp.MustCompile(`set -- (.*)`).FindStringSubmatch(read(t, "vuln"))
	if scanned == nil {
		t.Fatal("dev/vuln has no programs that it looks at without being told")
	}
	shipped := map[string]bool{"./server/cmd/outpost": true} // by images/outpost
	made := regexp.MustCompile(`dev/go build (?:-C (\S+) )?-o \S+(?: (\./\S+))?\n`)
	for _, found := range made.FindAllStringSubmatch(read(t, "bundle"), -1) {
		folder := or(found[1], found[2])
		if folder == "stacks" { // a folder of the top module
			folder = "./stacks"
		}
		shipped[folder] = true
	}
	if image := read(t, "../images/outpost/build.go"); !strings.Contains(image, `"./server/cmd/outpost"`) {
		t.Error("images/outpost is made of another program")
	}
	want, got := slices.Sorted(maps.Keys(shipped)), strings.Fields(scanned[1])
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is looked at differs from what is shipped (-want +got)\n%s", diff)
	}
}

// TestVulnInterrupted holds that an interrupt from the keyboard ends the scanner too.
func TestVulnInterrupted(t *testing.T) {
	m := newMachine(t, append(vulnPrograms, "timeout")...)
	runs := filepath.Join(t.TempDir(), "runs") // open for as long as the scanner runs
	if err := syscall.Mkfifo(runs, 0o600); err != nil {
		t.Fatal(err)
	}
	m.program(t, "go", `case $1 in run) exec 8>`+runs+`; echo >&8; exec sleep 3600 ;; esac`)
	cmd := exec.CommandContext(t.Context(), vulnScript(t), "./stacks")
	cmd.Env, cmd.SysProcAttr = m.env, &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scanner, err := os.Open(runs)
	if err != nil {
		t.Fatal(err)
	}
	defer scanner.Close()
	if _, err := scanner.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("success")
	}
	if rest, err := io.ReadAll(scanner); err != nil || len(rest) > 0 || time.Since(began) > 50*time.Minute {
		t.Errorf("the scanner ended after %s, %q, %v", time.Since(began), rest, err)
	}
}
