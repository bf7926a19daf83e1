package dev

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The stacks are hub and north; south is that of another hub, and new was never applied. What there is is in files of
// the world: versions are lines of STACK PART VERSION, servers what runs on a stack's cluster.
const (
	upgradePulumi = `
case "$1 $2" in
  "config get")
    lookup config "$4 ${6#outposts:}" || fail "configuration key '$6' not found for stack '$4'"
    echo "$found" ;;
  "stack export")
    [ -f "state-$4" ] || fail "no stack named '$4' found"
    cat "state-$4" ;;
  "preview -s") echo "preview of $3"; [ ! -f "faulty-$3" ] || fail "outposts:hub.url is missing" ;;
  "up -s")
    [ ! -f "locked-$3" ] || fail "$(cat "locked-$3")"
    sed -i "s/^\($3 [a-z]*\) .*/\1 $(cat comes)/" versions
    if [ -f "lost-$3" ]; then cat "lost-$3" > "servers-$3"; fi
    rm -f others ;;
esac
`
	upgradeKubectl = `
all=" $* " at=${2}
version() { sed -n "/^$at $1 /{s///p;q}" versions; }
case "$all" in
  *" get namespace "*)
    [ ! -f "away-$at" ] || fail "Unable to connect to the server"
    echo "uid-of-$at" ;;
  *" get deploy "*".image} ") cat image ;;
  *" get deploy outpost "*) version outpost ;;
  *" get deploy outposts-hub-tunnels "*) version tunnels ;;
  *" get deploy hub "* | *" get deploy proxy "*) version module ;;
  *" get configmap outposts-hub-module "*) version module ;;
  *" deploy/outpost "*" outpost version ")
    [ ! -f silent ] || fail "no pod"
    echo "outpost $(version outpost) (go1.26.5)" ;;
  *" deploy/outposts-hub-tunnels "*" outpost version ") echo "outpost $(version tunnels) (go1.26.5)" ;;
  *" --all-namespaces "*) [ ! -f tenant ] || fail "$(cat tenant)"
    cat "servers-$at"
    case "$all" in *outposts.dev/installation=0a1b*) ;; *) [ ! -f others ] || cat others ;; esac ;;
  *" -n outpost get pods "*) grep ^outpost/ "servers-$at" || : ;;
  *" get pods "*) grep ^outpost-servers/ "servers-$at" || : ;;
  *" outpost backup ")
    if [ -f no-backup ]; then cat no-backup >&2; exit 2; fi
    echo "backup of 2 services and 0 homes, made now by version 1, installation 0a1b; it opens with the key" >&2
    echo "rows of $at" ;;
  *" rollout status "*) echo rolled out ;;
  *) exit 1 ;;
esac
`
)

// newRelease makes a checkout of version 0.2.0 with its stacks, and the world that they are in.
func newRelease(t *testing.T, files map[string]string) string {
	t.Helper()
	all := map[string]string{
		"charts/outpost/Chart.yaml": "name: outpost\nversion: 0.2.0\nappVersion: 0.2.0\n", "comes": "0.2.0",
		"config": "hub hub.url=http://10.0.0.2\nhub cluster.context=hub\nhub outpost.name=here\n" +
			"north cluster.context=north\nnorth hubs[0].name=jupyterhub\n" +
			"north hubs[0].stack=organization/outposts/hub\n" +
			"south cluster.context=south\nsouth hubs[0].name=theirs\nsouth hubs[0].stack=acme/outposts/theirs\n",
		"versions": "hub module 0.1.3\nhub tunnels 0.1.3\nhub outpost 0.1.3\n" +
			"north outpost 0.1.0\nsouth outpost 0.1.0\n",
	}
	for _, stack := range []string{"hub", "north", "south", "new"} {
		all["Pulumi."+stack+".yaml"] = "config: {}\n"
		all["servers-"+stack] = "outpost/a uid-a\noutpost-servers/b uid-b\n"
		if stack != "new" {
			all["state-"+stack] = `{"kubernetes:core/v1:Namespace": "` + `uid-of-` + stack + `"}`
		}
	}
	world := makeWorld(t, all, files)
	if err := os.Symlink(abs(t, "."), filepath.Join(world, "dev")); err != nil {
		t.Fatal(err)
	}
	return world
}

func upgrade(t *testing.T, world string, env []string, stacks ...string) (out string, code int) {
	t.Helper()
	m := newMachine(t, "dirname", "mkdir", "mv", "grep", "date", "tee")
	m.program(t, "git", `[ ! -f "$WORLD/revision" ] || cat "$WORLD/revision"`)
	m.env = append(m.env, "STATE="+world, "KUBECTL=kubectl")
	m.env = append(m.env, env...)
	script := filepath.Join(world, "dev", "upgrade")
	return m.play(t, world, upgradePulumi, upgradeKubectl, append([]string{script}, stacks...)...)
}

// changes are the calls that changed something, without their flags.
func changes(t *testing.T, world string) (all []string) {
	t.Helper()
	for _, call := range logOf(t, world) {
		if strings.HasPrefix(call, "pulumi up ") {
			all = append(all, strings.TrimSuffix(call, " --yes --skip-preview"))
		}
	}
	return all
}

// keptFiles are what is kept of stacks, by folder without its time.
func keptFiles(t *testing.T, world string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(world, "upgrade", "*"))
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{}
	for _, file := range files {
		inside, _ := filepath.Glob(filepath.Join(file, "*"))
		name := regexp.MustCompile(`-\d+T\d+Z$`).ReplaceAllString(filepath.Base(file), "")
		for _, one := range inside {
			kept[name+"/"+filepath.Base(one)] = read(t, one)
		}
		if len(inside) == 0 {
			kept[name] = read(t, file)
		}
	}
	return kept
}

func TestUpgradeRefuses(t *testing.T) {
	const between = "at most one minor version may be between the sides"
	for _, tt := range []struct {
		name   string
		stacks []string
		files  map[string]string
		want   string
	}{
		{"no file", []string{"nowhere"}, nil, "Pulumi.nowhere.yaml does not exist"},
		{"never applied", []string{"new"}, nil, "stack new has not been applied yet: make up STACK=new"},
		{
			"two versions at once", nil,
			map[string]string{"versions": "north outpost 0.0.9\n"},
			"stack north has outpost 0.0.9",
		},
		{
			"two versions back",
			[]string{"hub"},
			map[string]string{"versions": "hub tunnels 0.4.0\n"},
			"stack hub has tunnels 0.4.0, which does not work with 0.2.0: " + between,
		},
		{
			"another major version",
			[]string{"hub"},
			map[string]string{"versions": "hub outpost 1.2.0\n"},
			"stack hub has outpost 1.2.0",
		},
		{
			"an outpost that would be left behind",
			[]string{"hub"},
			map[string]string{"versions": "north outpost 0.0.9\n"},
			"stack north, which works with stack hub and is not upgraded, has outpost 0.0.9",
		},
		{
			"a hub that would be left behind",
			[]string{"north"},
			map[string]string{"versions": "hub module 0.0.9\n"},
			"stack hub, which works with stack north and is not upgraded, has module 0.0.9",
		},
		{
			"an image that would stay",
			[]string{"north"},
			map[string]string{"config": "north outpost.image.tag=0.1.0\n"},
			"outposts:outpost.image.tag of stack north is 0.1.0, and this checkout is 0.2.0; set it to 0.2.0",
		},
		{
			"tunnels that would stay",
			[]string{"hub"},
			map[string]string{"config": "hub hub.tunnels.image.tag=0.1.0\n"},
			"outposts:hub.tunnels.image.tag of stack hub is 0.1.0, and this checkout is 0.2.0",
		},
		{
			"a digest that would stay",
			[]string{"north"},
			map[string]string{
				"config": "north outpost.image.digest=sha256:aa\n", "image": "example.org/outpost@sha256:aa",
			},
			"outposts:outpost.image.digest of stack north is the image that runs, of 0.1.0, and this checkout is 0.2.0",
		},
		{
			"tunnels of a digest that would stay",
			[]string{"hub"},
			map[string]string{
				"config": "hub hub.tunnels.image.digest=sha256:aa\n", "image": "example.org/outpost:0.1.3@sha256:aa",
			},
			"outposts:hub.tunnels.image.digest of stack hub is the image that runs, of 0.1.3",
		},
		{
			"a cluster that is away",
			[]string{"north"},
			map[string]string{"away-north": ""},
			"kubectl does not reach the cluster that stack north was made in",
		},
		{
			"the cluster of its hub that is away",
			[]string{"north"},
			map[string]string{"away-hub": ""},
			"KUBECONFIG where that names no kubeconfig; if that cluster is away, AWAY=hub goes on",
		},
		{
			"one of several that is away", nil,
			map[string]string{"away-south": ""},
			"names no kubeconfig; if that cluster is away, AWAY=south and the others as STACK='...' go on",
		},
		{
			"servers that cannot be listed",
			[]string{"north"},
			map[string]string{"tenant": "request timed out"},
			"the servers of stack north cannot be listed",
		},
		{
			"another cluster",
			[]string{"north"},
			map[string]string{"state-north": `{"kubernetes:": "uid-of-others"}`},
			"kubectl does not reach the cluster that stack north was made in",
		},
		{
			"no backup",
			[]string{"north"},
			map[string]string{"no-backup": "outpost: backup: disk I/O error\n"},
			"the outpost of stack north makes no backup; BACKUP=no goes on without one",
		},
		{"a faulty config", []string{"hub"}, map[string]string{"faulty-hub": ""}, "outposts:hub.url is missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := newRelease(t, tt.files)
			out, code := upgrade(t, world, []string{"YES=yes"}, tt.stacks...)
			if code == 0 || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %q in\n%s", code, tt.want, out)
			}
			// Pulumi speaks for itself.
			if _, faulty := tt.files["faulty-hub"]; !faulty && !strings.HasSuffix(out, "; nothing was changed\n") {
				t.Errorf("it does not say that nothing was changed:\n%s", out)
			}
			if got := changes(t, world); got != nil {
				t.Errorf("changed: %q", got)
			}
		})
	}
}

// TestUpgradeRefusesWhoIsAway holds that a name in AWAY that would have no effect is refused.
func TestUpgradeRefusesWhoIsAway(t *testing.T) {
	for _, tt := range []struct {
		away   string
		stacks []string
		want   string
	}{
		{"nroth", []string{"hub"}, "AWAY names nroth, and Pulumi.nroth.yaml does not exist; it takes names of stacks"},
		{"north acme/sout", []string{"hub"}, "AWAY names acme/sout, and Pulumi.sout.yaml does not exist"},
		{"north", nil, "AWAY names north, and all stacks are to be upgraded; name the others by STACK='...'"},
		{
			"north",
			[]string{"hub", "acme/outposts/north"},
			"AWAY names north, which STACK says is to be upgraded; leave it out in one of the two",
		},
	} {
		t.Run(tt.away, func(t *testing.T) {
			world := newRelease(t, map[string]string{"away-north": ""})
			out, code := upgrade(t, world, []string{"YES=yes", "AWAY=" + tt.away}, tt.stacks...)
			if want := "upgrade: " + tt.want; code == 0 || !strings.Contains(out, want) ||
				!strings.HasSuffix(out, "; nothing was changed\n") {
				t.Errorf("exit code %d, want %q in\n%s", code, want, out)
			}
			if got := changes(t, world); got != nil {
				t.Errorf("changed: %q", got)
			}
		})
	}
}

// TestUpgradeAsks holds that without a terminal nothing is applied unless YES says so, and that all previews are shown.
func TestUpgradeAsks(t *testing.T) {
	world := newRelease(t, nil)
	out, code := upgrade(t, world, nil, "hub", "north")
	for _, want := range []string{
		"preview of hub\n", "preview of north\n", "YES=yes applies this; nothing was changed\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it lacks %q:\n%s", want, out)
		}
	}
	if got := changes(t, world); code != 1 || got != nil || len(keptFiles(t, world)) > 0 {
		t.Errorf("exit code %d, changed: %q", code, got)
	}
}

// TestUpgrade holds that the hub's side comes first, what is said, and what is kept.
func TestUpgrade(t *testing.T) {
	world := newRelease(t, map[string]string{"revision": "abc1234\n", "upgrade/hub.revision": "0000aaa\n"})
	out, code := upgrade(t, world, []string{"YES=yes"}, "north", "hub")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	if diff := cmp.Diff([]string{"pulumi up -s hub", "pulumi up -s north"}, changes(t, world)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	const servers = "outpost/a uid-a\noutpost-servers/b uid-b\n"
	want := map[string]string{"hub.revision": "abc1234\n", "north.revision": "abc1234\n"}
	for _, stack := range []string{"hub", "north"} {
		want[stack+"/state.json"] = read(t, filepath.Join(world, "state-"+stack)) + "\n"
		want[stack+"/servers"] = servers
		want[stack+"/outpost.backup"] = "rows of " + stack + "\n"
	}
	if diff := cmp.Diff(want, keptFiles(t, world)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	out = regexp.MustCompile(`-\d+T\d+Z|(?m)^rolled out\n`).ReplaceAllString(strings.ReplaceAll(out, world, ""), "")
	wantOut := `STACK                PART     RUNS             COMES
hub                  module   0.1.3            0.2.0
hub                  tunnels  0.1.3            0.2.0
hub                  outpost  0.1.3            0.2.0
north                outpost  0.1.0            0.2.0
upgrade: what would change in stack hub:
preview of hub
upgrade: stack hub runs 0.2.0; the 2 servers that ran before run still
upgrade: back again: git checkout 0000aaa && make upgrade STACK=hub
upgrade: what was before is in /upgrade/hub; docs/howto/upgrade.md says what it is for
upgrade: what would change in stack north:
preview of north
upgrade: stack north runs 0.2.0; the 2 servers that ran before run still
upgrade: back again: git checkout VERSION && make upgrade STACK=north
upgrade: what was before is in /upgrade/north; docs/howto/upgrade.md says what it is for
upgrade: hub north: done, 0.2.0 runs
`
	if diff := cmp.Diff(wantOut, out); diff != "" {
		t.Errorf("it says (-want +got):\n%s", diff)
	}
}

// TestUpgradeOf holds what is upgraded in special cases.
func TestUpgradeOf(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stacks []string
		files  map[string]string
		env    string
		want   []string // what is applied
		said   string
	}{
		{
			name: "all", want: []string{"pulumi up -s hub", "pulumi up -s north", "pulumi up -s south"},
			said: "upgrade: hub north south: done, 0.2.0 runs",
		},
		{
			name: "one version back", stacks: []string{"north"},
			files: map[string]string{"versions": "north outpost 0.3.1\n"},
			want:  []string{"pulumi up -s north"}, said: "stack north runs 0.2.0",
		},
		{
			name: "no version", stacks: []string{"north"},
			files: map[string]string{"versions": "north outpost development\n"},
			want:  []string{"pulumi up -s north"}, said: "north                outpost  development",
		},
		{
			name: "an outpost that does not run", stacks: []string{"north"}, files: map[string]string{"silent": ""},
			want: []string{"pulumi up -s north"}, said: "north                outpost  0.1.0",
		},
		{
			name: "an outpost of another hub that is older", stacks: []string{"north"},
			files: map[string]string{"versions": "south outpost 0.0.1\n"}, want: []string{"pulumi up -s north"},
		},
		{
			name: "a cluster away that has nothing to do with it", stacks: []string{"hub", "north"},
			files: map[string]string{"away-south": ""},
			want:  []string{"pulumi up -s hub", "pulumi up -s north"}, said: "upgrade: hub north: done, 0.2.0 runs",
		},
		{
			name: "a remote away whose hub is upgraded", stacks: []string{"hub"}, env: "AWAY=north",
			files: map[string]string{"away-north": ""}, want: []string{"pulumi up -s hub"},
			said: "north                -        unknown          stays",
		},
		{
			name: "a remote away by its whole name, and one that has nothing to do with it", stacks: []string{"hub"},
			env: "AWAY=acme/outposts/north south", files: map[string]string{"away-north": "", "away-south": ""},
			want: []string{"pulumi up -s hub"}, said: "north                -        unknown          stays",
		},
		{
			name: "another digest than what runs", stacks: []string{"north"},
			files: map[string]string{
				"config": "north outpost.image.digest=sha256:bb\n", "image": "example.org/outpost@sha256:aa",
			},
			want: []string{"pulumi up -s north"},
		},
		{
			name: "a server that its user has ended", stacks: []string{"north"},
			files: map[string]string{"lost-north": "outpost/a uid-a\n"}, want: []string{"pulumi up -s north"},
			said: "upgrade: stack north runs 0.2.0; of 2 servers that ran before, these do not run any more: " +
				"outpost-servers/b. Their users may have ended them",
		},
		{
			name: "a quarter of the servers", stacks: []string{"north"},
			files: map[string]string{
				"servers-north": "a/1 1\na/2 2\na/3 3\na/4 4\na/5 5\na/6 6\na/7 7\na/8 8\n",
				"lost-north":    "a/1 1\na/2 2\na/3 3\na/4 4\na/5 5\na/6 6\n",
			},
			want: []string{"pulumi up -s north"},
			said: "of 8 servers that ran before, these do not run any more: a/7, a/8",
		},
		{
			name: "servers of other outposts", stacks: []string{"north"},
			files: map[string]string{"others": "theirs/c uid-c\n"}, want: []string{"pulumi up -s north"},
			said: "the 2 servers that ran before run still",
		},
		{
			name: "too old for backups", stacks: []string{"north"},
			files: map[string]string{"no-backup": "outpost: unknown command\nRun `outpost --help` for usage.\n"},
			want:  []string{"pulumi up -s north"},
			said:  "the outpost of stack north is of a version that makes no backups",
		},
		{
			name: "no backup, as wished", stacks: []string{"north"}, env: "BACKUP=no",
			files: map[string]string{"no-backup": "outpost: backup: disk I/O error\n"},
			want:  []string{"pulumi up -s north"},
		},
		{
			name: "rights in namespaces alone", stacks: []string{"north"},
			files: map[string]string{"tenant": "pods is forbidden"},
			want:  []string{"pulumi up -s north"}, said: "the 2 servers that ran before run still",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := newRelease(t, tt.files)
			out, code := upgrade(t, world, []string{"YES=yes", or(tt.env, "BACKUP=")}, tt.stacks...)
			if code != 0 || !strings.Contains(out, tt.said) {
				t.Errorf("exit code %d, want %q in\n%s", code, tt.said, out)
			}
			if diff := cmp.Diff(tt.want, changes(t, world)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUpgradeStops holds that what is not as it should be after a stack keeps the next one as it is, and that the same
// command goes on.
func TestUpgradeStops(t *testing.T) {
	for _, tt := range []struct{ name, file, text, want string }{
		{
			"servers are gone", "lost-hub", "outpost-servers/b uid-of-another\n",
			"of 2 servers that ran before, these do not run any more: outpost/a, outpost-servers/b. " +
				"If their users have ended them",
		},
		{
			"another version came", "comes", "0.1.9\n",
			"the module of stack hub says that it is 0.1.9, not 0.2.0",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := newRelease(t, map[string]string{tt.file: tt.text})
			out, code := upgrade(t, world, []string{"YES=yes"}, "hub", "north")
			if code == 0 || !strings.Contains(out, tt.want) ||
				!strings.HasSuffix(out, "; stack hub is applied; the same command goes on\n") {
				t.Errorf("exit code %d, want %q in\n%s", code, tt.want, out)
			}
			if diff := cmp.Diff([]string{"pulumi up -s hub"}, changes(t, world)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			write(t, filepath.Join(world, "comes"), "0.2.0")
			if out, code := upgrade(t, world, []string{"YES=yes"}, "hub", "north"); code != 0 {
				t.Errorf("the second run: exit code %d\n%s", code, out)
			}
		})
	}
}

// TestUpgradeSaysWhoHasTheLock holds that a stack which somebody else applies, or whose Pulumi was killed, ends it in
// words, and that it goes on when the lock is gone.
func TestUpgradeSaysWhoHasTheLock(t *testing.T) {
	world := newRelease(t, map[string]string{
		"locked-north": "the stack is currently locked by 1 lock(s).\n" +
			"  file:///s/1.json: created by ann@desk (pid 4711) at 2100-01-01T18:00:00Z\n",
	})
	out, code := upgrade(t, world, []string{"YES=yes"}, "north")
	want := "upgrade: stack north is locked by ann@desk (process 4711) since 2100-01-01T18:00:00Z: wait for the end " +
		"of that run, or, if it was killed, remove its lock by `pulumi cancel -s north`. Then the same command " +
		"goes on; nothing was changed\n"
	if code == 0 || !strings.HasSuffix(out, want) {
		t.Errorf("exit code %d, want %q at the end of\n%s", code, want, out)
	}
	if err := os.Remove(filepath.Join(world, "locked-north")); err != nil {
		t.Fatal(err)
	}
	if out, code := upgrade(t, world, []string{"YES=yes"}, "north"); code != 0 {
		t.Errorf("the second run: exit code %d\n%s", code, out)
	}
}

// TestUpgradeGoesOnAfterAnAbort aborts an upgrade at each call that is not about config, before and after its effect.
// The same command then ends it, and compares with what there was before the first.
func TestUpgradeGoesOnAfterAnAbort(t *testing.T) {
	alone := map[string]string{"state-hub": "", "state-south": ""}
	world := newRelease(t, alone)
	if out, code := upgrade(t, world, []string{"YES=yes"}, "north"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	calls := logOf(t, world)
	begin := slices.IndexFunc(calls, func(call string) bool { return strings.HasPrefix(call, "pulumi preview ") })
	if begin < 0 || len(calls) < begin+6 {
		t.Fatalf("calls: %q", calls)
	}
	for i, call := range calls {
		if i < begin || strings.HasPrefix(call, "pulumi config get") {
			continue // nothing has happened yet
		}
		for _, late := range []string{"", "yes"} {
			if late != "" && !strings.HasPrefix(call, "pulumi up") {
				continue // it has no effect
			}
			abort := strconv.Itoa(i + 1)
			t.Run("call "+abort+late, func(t *testing.T) {
				world := newRelease(t, alone)
				write(t, filepath.Join(world, "lost-north"), "")
				want := "of 2 servers that ran before, these do not run any more: outpost/a, outpost-servers/b."
				out, code := upgrade(t, world, []string{"YES=yes", "ABORT=" + abort, "LATE=" + late}, "north")
				if strings.Contains(out, want) {
					return // it does without what this call says
				}
				if code == 0 {
					t.Fatalf("it was not aborted:\n%s", out)
				}
				out, code = upgrade(t, world, []string{"YES=yes"}, "north")
				if code != 1 || !strings.Contains(out, want) {
					t.Errorf("exit code %d, want %q in\n%s", code, want, out)
				}
			})
		}
	}
}
