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

// fakePulumi and fakeKubectl keep what there is in files of the world, see theWorld. With LATE=yes a destroy that is
// aborted ends halfway.
const (
	fakePulumi = `
[ "$KUBECONFIG" = /of/the/hub ] || echo "KUBECONFIG is $KUBECONFIG" >> log
case "$1 ${2-}" in
  "config -s" | "config rm") ;;
  "config get")
    path=${6#outposts:}
    case "$4 $path" in
      "local outposts["*"].name")
        i=${path#*[}; i=${i%%]*}; found=$(sed -n "$((i + 1))p" systems) ;;
      *) lookup config "$4 $path" || found= ;;
    esac
    [ -n "$found" ] || fail "configuration key '$6' not found for stack '$4'"
    [ "$found" != sealed ] || fail "could not decrypt configuration value"
    echo "$found" ;;
  "stack export")
    echo '{"type": "pulumi:pulumi:Stack", "outputs": {"clusterId": "uid-of-there"}}'
    echo '{"type": "kubernetes:core/v1:Namespace", "outputs": {"metadata": {"uid": "uid-of-outpost"}}}'
    [ ! -s installed ] || echo '{"urn": "urn:pulumi:remote::outposts::kubernetes:apps/v1:Deployment::outpost"}' ;;
  "stack output") lookup outputs "$6 $8" || fail "no stack or output"; echo "$found" ;;
esac
case "$1" in destroy | up) [ ! -f "locked-$3" ] || fail "$(cat "locked-$3")" ;; esac
case "$1" in
  destroy)
    [ ! -s installed ] || { [ -f begun ] && [ "$(cat servers)" = 0 ]; } || echo "servers were lost" >> log
    rm -f installed; late; rm -f rest ;;
  up) cp systems applied ;;
esac
[ "$1 $2" != "config rm" ] || sed -i "$((${6//[!0-9]/} + 1))d" systems
`
	fakeKubectl = `
all=$*
case " $all" in
  *" --kubeconfig "*)
    at=${all#*--kubeconfig }; at=${at%% *}
    if [ -f "$at" ]; then cat "$at"; else echo "$at"; fi > kubeconfig ;;
esac
case "$*" in
  *"--context there --namespace outpost get namespace "*)
    of=${all#*get namespace }; of=${of%% *}
    [ -s "uid-$of" ] || fail "namespaces \"$of\" is forbidden"
    cat "uid-$of" ;;
  *"--context there --namespace outpost get deploy outpost"*) [ ! -s installed ] || echo deployment.apps/outpost ;;
  *"-- outpost status")
    if [ -s drained ] && [ -f undrain ]; then : > drained; fi
    if [ -f silent ]; then echo "no servers are started; maintenance from 2100-01-01T18:00:00Z"; exit; fi
    waits=$(cat waits)
    ends="until ` + "\\`outpost undrain\\`" + `$(cat evict): $(cat drained)"
    if [ ! -s drained ]; then
      echo "servers are started"
    elif [ "$waits" -gt 0 ]; then
      echo "servers are started; maintenance from 2100-01-01T18:00:00Z $ends"; echo $((waits - 1)) > waits
    else
      echo "no servers are started; maintenance from 2100-01-01T18:00:00Z $ends"; touch begun
    fi
    servers=$(cat servers)
    echo "jupyterhub: $servers servers"
    if [ -f begun ] && [ "$servers" -gt 0 ]; then echo $((servers - 1)) > servers; fi
    if [ "$servers" = 0 ] && [ -f later ]; then mv later systems; fi ;;
  *"-- outpost drain "*)
    echo "This system is being taken away." > drained; : > evict; echo 0 > waits
    case "$*" in *--evict*) printf ", servers that run are stopped when it begins" > evict ;; esac
    case "$*" in *--from*) echo 2 > waits ;; esac ;;
  *) exit 1 ;;
esac
`
)

// theWorld has the files of a hub with a remote on which three servers run.
func theWorld() map[string]string {
	return map[string]string{
		"systems": "local\nremote\nnorth\n", // of the hub's stack
		"config": "remote cluster.context=there\nremote outpost.name=remote\nlocal outposts[1].address=10.0.0.3\n" +
			"remote hubs[0].name=jupyterhub\nremote hubs[0].stack=organization/outposts/local\n",
		"outputs":         "",             // of other stacks
		"uid-kube-system": "uid-of-there", // of the cluster that kubectl reaches; empty where it may not be read
		"uid-outpost":     "uid-of-outpost",
		"installed":       "yes", // the outpost, in the state and in the cluster
		"rest":            "yes", // what a destroy takes away after it
		"servers":         "3",
		"drained":         "",  // the text
		"evict":           "",  // what status says of it
		"waits":           "0", // times that status says of a drain that it has not begun
	}
}

// newWorld makes a world that differs from theWorld in some files.
func newWorld(t *testing.T, files map[string]string) string {
	t.Helper()
	return makeWorld(t, theWorld(), files)
}

// remove runs the script in a world.
func remove(t *testing.T, world string, env []string, args ...string) (out string, code int) {
	t.Helper()
	m := newMachine(t, "dirname", "sleep", "cp", "mv", "tee")
	m.env = append(m.env, "HOME=/home/of/me", "KUBECONFIG=/of/the/hub", "PAUSE=0")
	m.env = append(m.env, env...)
	return m.play(t, world, fakePulumi, fakeKubectl, append([]string{abs(t, "remove")}, args...)...)
}

// checkRemoved holds that the remote is gone: no server was lost, nothing but data is left of its stack, the hub's
// stack is applied with these systems, and nothing but kubectl got the remote's kubeconfig.
func checkRemoved(t *testing.T, world, systems string) {
	t.Helper()
	log := logOf(t, world)
	if diff := cmp.Diff(systems, read(t, filepath.Join(world, "applied"))); diff != "" {
		t.Errorf("systems of the hub (-want +got):\n%s", diff)
	}
	leaks := slices.ContainsFunc(log, func(line string) bool { return strings.HasPrefix(line, "KUBECONFIG is ") })
	if there(filepath.Join(world, "rest")) || slices.Contains(log, "servers were lost") || leaks {
		t.Errorf("the stack is still there, was destroyed too early, or a kubeconfig leaked:\n%s",
			strings.Join(log, "\n"))
	}
}

// TestRemoveGoesOnAfterAnAbort aborts the removal of a remote at each of its calls, before and after their effect. The
// same command then ends it: nothing is destroyed while servers run, the right entry goes, and the hub's stack is
// applied without it.
func TestRemoveGoesOnAfterAnAbort(t *testing.T) {
	world := newWorld(t, nil)
	if out, code := remove(t, world, nil, "remote"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	checkRemoved(t, world, "local\nnorth\n")
	calls := logOf(t, world)
	if len(calls) < 15 {
		t.Fatalf("only %d calls", len(calls))
	}
	changes := regexp.MustCompile(` (drain|status|destroy|rm|up) ?`)
	for i, call := range calls {
		abort := strconv.Itoa(i + 1)
		for _, late := range []string{"", "yes"} {
			if strings.HasPrefix(call, "pulumi config get") || late != "" && !changes.MatchString(call) {
				continue // it has no effect
			}
			t.Run(fmt.Sprintf("call %s, after its effect %t", abort, late != ""), func(t *testing.T) {
				world := newWorld(t, nil)
				remove(t, world, []string{"ABORT=" + abort, "LATE=" + late}, "remote")
				if out, code := remove(t, world, nil, "remote"); code != 0 {
					t.Fatalf("exit code %d\n%s", code, out)
				}
				checkRemoved(t, world, "local\nnorth\n")
			})
		}
	}
}

// TestRemove holds by which kubeconfig kubectl reaches the remote, what of a drain is awaited, and which entry goes.
func TestRemove(t *testing.T) {
	const kubeconfig = `{"apiVersion": "v1"}`
	other := "remote cluster.stack=acme/infra/north\n"
	for _, tt := range []struct {
		name       string
		remote     string // default: remote, as its stack
		env        []string
		world      map[string]string
		systems    string // afterwards; default: all but remote
		kubeconfig string // that kubectl was given
		want       []string
	}{
		{
			name: "a file", kubeconfig: "/home/of/me/there",
			world: map[string]string{"config": "remote cluster.kubeconfig=~/there\n"},
		},
		{
			name: "a kubeconfig", kubeconfig: kubeconfig,
			world: map[string]string{"config": "remote cluster.kubeconfig=" + kubeconfig + "\n"},
		},
		{
			name: "the kubeconfig of another stack", kubeconfig: kubeconfig,
			world: map[string]string{"config": other, "outputs": "acme/infra/north kubeconfig=" + kubeconfig + "\n"},
		},
		{
			name: "another output of another stack", kubeconfig: kubeconfig,
			world: map[string]string{
				"config":  other + "remote cluster.output=admin\n",
				"outputs": "acme/infra/north kubeconfig={}\nacme/infra/north admin=" + kubeconfig + "\n",
			},
		},
		{name: "no right to read kube-system", world: map[string]string{"uid-kube-system": ""}},
		{name: "known by its namespace", world: map[string]string{"uid-kube-system": "uid-of-others"}},
		{
			name: "begins later", env: []string{"FROM=65m"}, world: map[string]string{"servers": "0"},
			want: []string{"remote starts servers until the drain begins, 0 run; waiting", "no server runs on remote"},
		},
		{
			name: "its entry moves meanwhile", systems: "north\nlocal\n",
			world: map[string]string{"later": "north\nlocal\nremote\n"},
		},
		{
			name: "its entry is gone meanwhile", systems: "north\nlocal\n",
			world: map[string]string{"later": "north\nlocal\n"},
		},
		{
			name: "has another name now", remote: "new", systems: "local\nnorth\n",
			world: map[string]string{
				"systems": "local\nnew\nnorth\n",
				"config":  "local outposts[1].formerNames[0]=old\nlocal outposts[1].formerNames[1]=remote\n",
			},
		},
		{name: "only the rest is left", world: map[string]string{"installed": ""}},
		{
			name:  "told by a stack between",
			world: map[string]string{"config": "remote hubs[0].stack=acme/between/north\n"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := newWorld(t, tt.world)
			out, code := remove(t, world, tt.env, or(tt.remote, "remote"), "remote")
			if code != 0 {
				t.Fatalf("exit code %d\n%s", code, out)
			}
			checkRemoved(t, world, or(tt.systems, "local\nnorth\n"))
			got := ""
			if there(filepath.Join(world, "kubeconfig")) {
				got = strings.TrimSpace(read(t, filepath.Join(world, "kubeconfig")))
			}
			if got != tt.kubeconfig {
				t.Errorf("kubectl got %q, want %q", got, tt.kubeconfig)
			}
			for _, want := range tt.want {
				if !strings.Contains(out, "remove-remote: "+want+"\n") {
					t.Errorf("it lacks %q:\n%s", want, out)
				}
			}
		})
	}
}

func TestRemoveRefuses(t *testing.T) {
	looks := regexp.MustCompile(`^(pulumi (config (-s|get)|stack (export|output))|kubectl .* get) `)
	refuses := func(t *testing.T, files map[string]string, want, remote string) {
		t.Helper()
		world := newWorld(t, files)
		out, code := remove(t, world, nil, remote)
		if code == 0 || !strings.Contains(out, want) || !strings.Contains(out, "; nothing was changed\n") {
			t.Errorf("exit code %d, want %q in\n%s", code, want, out)
		}
		for _, call := range logOf(t, world) {
			if call != "" && !looks.MatchString(call) {
				t.Errorf("call %s", call)
			}
		}
	}
	t.Run("no stack", func(t *testing.T) { refuses(t, nil, "Pulumi.nowhere.yaml does not exist", "nowhere") })
	for _, tt := range []struct {
		name, want string
		world      map[string]string
	}{
		{"the only system", "no other system", map[string]string{"systems": "remote\n"}},
		{
			"the hub's own cluster", "remote is in the hub's own cluster",
			map[string]string{"systems": "remote\nlocal\n"},
		},
		{
			"a hub of its own", "make down STACK=remote destroys it",
			map[string]string{"config": "remote hub.url=http://10.0.0.2\n"},
		},
		{
			"no entry",
			"name the hub's stack by HUB=..., or destroy that of an outpost without a hub by make down STACK=remote",
			map[string]string{"systems": "local\nnorth\n"},
		},
		{
			"the outpost of another entry", "is south, and remote in stack local was never called so",
			map[string]string{"config": "remote outpost.name=south\nlocal outposts[1].formerNames[0]=old\n"},
		},
		{
			"an outpost without a name", "has no outposts:outpost.name",
			map[string]string{"config": "remote outpost.name=\n"},
		},
		{
			"the outpost of another hub", "name the hub's by HUB=staging",
			map[string]string{"config": "remote hubs[0].stack=organization/outposts/staging\n"},
		},
		{"two hubs", "serves several hubs", map[string]string{"config": "remote hubs[1].name=theirs\n"}},
		{
			"an entry that cannot be read", "outposts:outposts[1].address of stack local cannot be read",
			map[string]string{"config": "local outposts[1].address=sealed\n"},
		},
		{
			"a kubeconfig that cannot be decrypted", "outposts:cluster.kubeconfig of stack remote cannot be read",
			map[string]string{"config": "remote cluster.kubeconfig=sealed\n"},
		},
		{
			"a kubeconfig that another stack does not tell",
			"output kubeconfig of stack acme/infra/north, the kubeconfig of stack remote, cannot be read",
			map[string]string{"config": "remote cluster.stack=acme/infra/north\n"},
		},
		{
			"no kubeconfig of another stack", "output kubeconfig of stack acme/infra/north is no kubeconfig",
			map[string]string{
				"config":  "remote cluster.stack=acme/infra/north\n",
				"outputs": "acme/infra/north kubeconfig=there\n",
			},
		},
		{
			"another cluster", "does not reach the cluster that stack remote was made in",
			map[string]string{"uid-kube-system": "uid-of-others", "uid-outpost": "uid-of-theirs"},
		},
		{
			"a cluster that cannot be told from another", "does not reach the cluster that stack remote was made in",
			map[string]string{"uid-kube-system": "", "uid-outpost": ""},
		},
		{
			"another cluster, after an abort", "does not reach the cluster that stack remote was made in",
			map[string]string{"uid-kube-system": "uid-of-others", "uid-outpost": "", "installed": ""},
		},
	} {
		t.Run(tt.name, func(t *testing.T) { refuses(t, tt.world, tt.want, "remote") })
	}
}

// TestRemoveDrains holds when an outpost is drained that is drained already: where only now its servers are to end.
func TestRemoveDrains(t *testing.T) {
	const text, evicts = "This system is being taken away.", ", servers that run are stopped when it begins"
	drain := func(flags string) []string {
		return []string{"kubectl --context there --namespace outpost exec deploy/outpost -c outpost -- " +
			"outpost drain --text " + text + flags}
	}
	for _, tt := range []struct {
		name           string
		env            []string
		drained, evict string
		want           []string
	}{
		{"not yet", nil, "", "", drain("")},
		{"for something else", nil, "New disks.", "", drain("")},
		{"already", nil, text, "", nil},
		{"already, and begins later", []string{"FROM=65m"}, text, "", nil},
		{"already, with the end of servers", nil, text, evicts, nil},
		{"the end of servers", []string{"EVICT=yes"}, text, "", drain(" --evict")},
		{"the end of servers later", []string{"EVICT=yes", "FROM=65m"}, text, "", drain(" --from 65m --evict")},
		{"the end of servers already", []string{"EVICT=yes", "FROM=65m"}, text, evicts, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := newWorld(t, map[string]string{"drained": tt.drained, "evict": tt.evict})
			if out, code := remove(t, world, tt.env, "remote"); code != 0 {
				t.Fatalf("exit code %d\n%s", code, out)
			}
			var got []string
			for _, call := range logOf(t, world) {
				if strings.Contains(call, " outpost drain ") {
					got = append(got, call)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			checkRemoved(t, world, "local\nnorth\n")
		})
	}
}

// TestRemoveSaysWhoHasTheLock holds that a stack which another Pulumi has locked, or one that was killed, ends it in
// words, that it goes on when the lock is gone, and that other failures stay those of Pulumi.
func TestRemoveSaysWhoHasTheLock(t *testing.T) {
	const (
		locked = "the stack is currently locked by 2 lock(s). Either wait for the other process(es) to end or delete " +
			"the lock file with `pulumi cancel`.\n" +
			"  s3://states/.pulumi/locks/organization/outposts/x/1.json: created by ann@desk (pid 4711) at " +
			"2100-01-01T18:00:00Z\n" +
			"  s3://states/.pulumi/locks/organization/outposts/x/2.json: created by root@ci-7 (pid 1) at " +
			"2100-01-01T18:00:01+01:00\x1b[0m\n"
		ofCloud = "[409] Conflict: Another update is currently in progress.\nTo learn more, visit https://pulumi.com/\n"
		by      = "ann@desk (process 4711) since 2100-01-01T18:00:00Z, root@ci-7 (process 1) since " +
			"2100-01-01T18:00:01+01:00"
		drained   = "remote is drained (`outpost undrain` ends that), nothing else was changed"
		destroyed = "stack remote is destroyed, data excepted, and its entry is taken out of Pulumi.local.yaml"
	)
	says := func(stack, by, changed string) string {
		return "remove-remote: stack " + stack + " is locked by " + by + ": wait for the end of that run, or, if it " +
			"was killed, remove its lock by `pulumi cancel -s " + stack + "`. Then the same command goes on; " +
			changed + "\n"
	}
	for _, tt := range []struct{ name, stack, text, want string }{
		{"the remote's", "remote", locked, says("remote", by, drained)},
		{"the hub's", "local", locked, says("local", by, destroyed)},
		{"in Pulumi Cloud", "remote", ofCloud, says("remote", "another run of Pulumi", drained)},
		{"something else", "remote", "the passphrase is wrong\n", "error: the passphrase is wrong\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := newWorld(t, map[string]string{"locked-" + tt.stack: tt.text})
			out, code := remove(t, world, nil, "remote")
			if code == 0 || !strings.HasSuffix(out, tt.want) || !strings.Contains(out, "error: "+tt.text) {
				t.Errorf("exit code %d, want %q at the end of\n%s", code, tt.want, out)
			}
			if err := os.Remove(filepath.Join(world, "locked-"+tt.stack)); err != nil {
				t.Fatal(err)
			}
			if out, code := remove(t, world, nil, "remote"); code != 0 {
				t.Fatalf("exit code %d\n%s", code, out)
			}
			checkRemoved(t, world, "local\nnorth\n")
		})
	}
}

// TestRemoveStopsAfterTheDrain holds that nothing is destroyed unless the outpost says that it starts nothing, and
// that the message says what was done.
func TestRemoveStopsAfterTheDrain(t *testing.T) {
	for file, want := range map[string]string{
		"undrain": "somebody has ended the drain of remote, which starts servers again; nothing else was changed\n",
		"silent": "does not say how many servers run: no servers are started; maintenance from 2100-01-01T18:00:00Z; " +
			"remote is drained (`outpost undrain` ends that), nothing else was changed\n",
	} {
		t.Run(file, func(t *testing.T) {
			world := newWorld(t, map[string]string{file: "", "servers": "0"})
			out, code := remove(t, world, nil, "remote")
			if code == 0 || !strings.Contains(out, want) {
				t.Errorf("exit code %d, want %q in\n%s", code, want, out)
			}
			changes := regexp.MustCompile(`^pulumi (destroy|config rm|up) `)
			if log := logOf(t, world); slices.ContainsFunc(log, changes.MatchString) {
				t.Errorf("something was changed:\n%s", strings.Join(log, "\n"))
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
