package dev

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakePulumi and fakeKubectl keep what there is in files of the folder WORLD: the systems of the hub's stack, whether
// the remote's is installed, and how many servers run. Each call is written into the file log; the one of number ABORT
// ends before it has any effect, or with LATE=yes after it.
const (
	fakeStep = `
set -eu
cd "$WORLD"
n=$(($(cat n) + 1)); echo $n > n; echo "${0##*/} $*" >> log
early() { [ "$n" != "${ABORT-}" ] || [ -n "${LATE-}" ] || exit 137; }
late() { [ "$n" != "${ABORT-}" ] || exit 137; }
early
`
	fakePulumi = fakeStep + `
case "$1 ${2-}" in
  "config -s" | "config rm") ;;
  "config get")
    [ "$n" != "${ABORT-}" ] || exit 0
    case "$4 $6" in
      "local outposts:outposts["*"].name")
        i=${6#*[}; i=${i%%]*}; name=$(sed -n "$((i + 1))p" systems); [ -n "$name" ] || exit 255; echo "$name" ;;
      "local outposts:outposts[1].address") echo 10.0.0.3 ;;
      "remote outposts:cluster.context") echo there ;;
      *) exit 255 ;;
    esac ;;
esac
case "$1" in
  stack) [ ! -f installed ] || echo "urn:pulumi:remote::outposts::kubernetes:apps/v1:Deployment::outpost" ;;
  destroy) [ "$(cat servers)" = 0 ] || echo "servers were lost" >> log; rm -f installed ;;
  up) cp systems applied ;;
esac
[ "$1 $2" != "config rm" ] || sed -i "$((${6//[!0-9]/} + 1))d" systems
late
`
	fakeKubectl = fakeStep + `
case "$*" in
  *"--namespace outpost --context there get deploy outpost"*) [ ! -f installed ] || echo deployment.apps/outpost ;;
  *"-- outpost status") [ ! -f drained ] || echo "no servers are started; maintenance from now: $(cat drained)"
    echo "jupyterhub: $(cat servers) servers"
    [ "$(cat servers)" = 0 ] || [ ! -f drained ] || echo $(($(cat servers) - 1)) > servers ;;
  *"-- outpost drain "*) echo "This system is being taken away." > drained ;;
  *) exit 1 ;;
esac
late
`
)

// remove runs the script in a world, which it makes anew if there is none.
func remove(t *testing.T, world string, abort int, late bool, args ...string) (out string, code int) {
	t.Helper()
	m := newMachine(t, "dirname", "sleep", "cp", "head")
	m.program(t, "pulumi", fakePulumi)
	m.program(t, "kubectl", fakeKubectl)
	m.env = append(m.env, "WORLD="+world, "PULUMI=pulumi", "PAUSE=0", "ABORT="+strconv.Itoa(abort))
	if late {
		m.env = append(m.env, "LATE=yes")
	}
	if _, err := os.Stat(filepath.Join(world, "log")); err != nil {
		for name, text := range map[string]string{
			"n": "0", "log": "", "systems": "local\nremote\nnorth\n", "installed": "", "servers": "3",
		} {
			write(t, filepath.Join(world, name), text)
		}
	}
	write(t, filepath.Join(world, "n"), "0")
	return m.run(t, append([]string{filepath.Join(m.bin, "bash"), abs(t, "remove")}, args...)...)
}

func logOf(t *testing.T, world string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(world, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// TestRemoveGoesOnAfterAnAbort aborts the removal of a remote at each of its calls, before and after their effect. The
// same command then ends it: nothing is destroyed while servers run, the right entry goes, and the hub's stack is
// applied without it.
func TestRemoveGoesOnAfterAnAbort(t *testing.T) {
	world := t.TempDir()
	if out, code := remove(t, world, 0, false, "remote"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	calls := logOf(t, world)
	if len(calls) < 15 {
		t.Fatalf("only %d calls", len(calls))
	}
	changes := regexp.MustCompile(` (drain|status|destroy|rm|up) ?`)
	for i, call := range calls {
		abort := i + 1
		for _, late := range []bool{false, true} {
			if strings.HasPrefix(call, "pulumi config get") || late && !changes.MatchString(call) {
				continue // it has no effect
			}
			t.Run(fmt.Sprintf("call %d, after its effect %v", abort, late), func(t *testing.T) {
				world := t.TempDir()
				remove(t, world, abort, late, "remote")
				out, code := remove(t, world, 0, false, "remote")
				if code != 0 {
					t.Fatalf("exit code %d\n%s", code, out)
				}
				applied, err := os.ReadFile(filepath.Join(world, "applied"))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff("local\nnorth\n", string(applied)); diff != "" {
					t.Errorf("systems of the hub (-want +got):\n%s", diff)
				}
				log := logOf(t, world)
				_, err = os.Stat(filepath.Join(world, "installed"))
				if err == nil || slices.Contains(log, "servers were lost") {
					t.Errorf("the stack is still there, or was destroyed too early:\n%s", strings.Join(log, "\n"))
				}
			})
		}
	}
}

func TestRemoveRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		args       []string
		systems    string
	}{
		{"no stack", "Pulumi.nowhere.yaml does not exist", []string{"nowhere"}, "local\nremote\n"},
		{"the only system", "no other system", []string{"remote"}, "remote\n"},
		{"the hub's own cluster", "remote is in the hub's own cluster", []string{"remote"}, "remote\nlocal\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := t.TempDir()
			for name, text := range map[string]string{
				"n": "0", "log": "", "systems": tt.systems, "installed": "", "servers": "3",
			} {
				write(t, filepath.Join(world, name), text)
			}
			out, code := remove(t, world, 0, false, tt.args...)
			if code == 0 || !strings.Contains(out, tt.want) || !strings.Contains(out, "nothing was changed") {
				t.Errorf("exit code %d\n%s", code, out)
			}
			for _, call := range logOf(t, world) {
				if call != "" && !strings.HasPrefix(call, "pulumi config") {
					t.Errorf("call %s", call)
				}
			}
		})
	}
}

// TestRemoveRemoteTakesNamesAsTheyAre holds that make gives no shell what it is told to remove.
func TestRemoveRemoteTakesNamesAsTheyAre(t *testing.T) {
	make := exec.CommandContext(t.Context(), "make", "-C", "..", "remove-remote", "NAME=it's; echo no")
	out, err := make.CombinedOutput()
	if want := "Pulumi.it's; echo no.yaml does not exist; "; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v, want %q in\n%s", err, want, out)
	}
}
