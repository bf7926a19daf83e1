//go:build e2e

// Package stacks takes the committed stacks through their life on two real clusters of its own, with the real engine:
// made, changed, killed, refused, rotated, destroyed.
package stacks

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// TestE2EStacks goes through the life of a hub's stack and of a remote outpost's. The steps build on one another.
func TestE2EStacks(t *testing.T) {
	s := newSite(t)
	step := func(name string, f func(*testing.T, *site)) {
		if !t.Run(name, func(t *testing.T) { f(t, s) }) {
			t.FailNow()
		}
	}
	step("remote before local is refused", remoteFirst)
	step("first up", firstUp)
	step("second up and preview change nothing", nothingToDo)
	step("operators see one another's stack", operators)
	step("published addresses answer", publishedAddresses)
	step("no secret in clear", noSecretInClear)
	step("secrets of the operator's stay secret", plantedSecrets)
	step("bad input is refused", badInput)
	step("unreachable remote does not block local", unreachableRemote)
	step("servers start", startServers)
	step("second remote comes and goes", secondRemote)
	step("tunnels that do not come leave the hub as it is", tunnelsDoNotCome)
	step("secrets rotate", rotate)
	step("secrets of the hub alone rotate", rotateHub)
	step("rights in namespaces alone", tenants)
	step("charts of the next version and larger claims", upgrade)
	step("data of the Python outpost under the chart", pythonData)
	step("data outlives mistakes", dataOutlives)
	step("database of the hub is lost", hubDatabaseLost)
	step("state is lost", stateLost)
	step("passphrase is lost", passphraseLost)
	step("a kernel runs through a rename and a restore", kernelRunsOn)
	step("destroy with the key leaves nothing", destroyAll)
	step("tutorials by Helm", tutorialsByHelm)
	step("bundle for a site without internet", withoutInternet)
	step("tutorial of kind", tutorialOfKind)
}

func remoteFirst(t *testing.T, s *site) {
	s.refused(t, "remote", "outposts:hubs[0].stack: organization/outposts/local", "run `pulumi up` on it first")
}

func firstUp(t *testing.T, s *site) {
	for _, stack := range []string{"local", "remote"} {
		s.firstUp[stack] = s.up(t, stack)
		t.Logf("first up of %s: %.1f s (aim %.0f s)", stack, s.firstUp[stack].Seconds(), aimFirstUp.Seconds())
	}
}

func nothingToDo(t *testing.T, s *site) {
	for _, stack := range []string{"local", "remote"} {
		_, took := s.pulumi(t, stack, "preview", "--non-interactive", "--expect-no-changes")
		t.Logf("preview of %s without change: %.1f s (aim %.0f s)", stack, took.Seconds(), aimNoPreview.Seconds())
		s.unchanged(t, stack)
	}
}

// publishedAddresses asks from the hub's pod, which is where the published texts mean the first ones from and which has
// no ssh, and from outside.
func publishedAddresses(t *testing.T, s *site) {
	if err := s.hub.RolledOut(t.Context(), deployed.HubNamespace, "hub"); err != nil {
		t.Fatal(err)
	}
	said, err := s.hub.Exec(t.Context(), deployed.HubNamespace, deployed.HubPod, "python3", "-c", `
import shutil, socket, urllib.request
print(urllib.request.urlopen("http://outpost.outpost.svc:8080/ping", timeout=10).status)
try: urllib.request.urlopen("http://outpost.outpost.svc:8080/services/", timeout=10)
except urllib.error.HTTPError as e: print(e.code)
with socket.create_connection(("outpost.outpost.svc", 22), timeout=10) as c: print(c.recv(8).decode())
print(shutil.which("ssh"))
`)
	if diff := cmp.Diff("200\n401\nSSH-2.0-\nNone\n", said); diff != "" || err != nil {
		t.Errorf("answers in the hub's cluster, %v (-want +got):\n%s", err, diff)
	}
	remote := s.system(t, "remote")
	at := remote.Exposure.Endpoint(remote.Address)
	if want := "https://" + s.remote.node + ":30080"; at.API != want || at.SSHPort != 30022 {
		t.Errorf("the remote outpost is at %s and %s:%d, want %s and port 30022", at.API, at.SSHHost, at.SSHPort, want)
	}
	remote.answersPinned(t)
}

// badInput holds refusals for which a real cluster is asked, and two by the way in which the engine shows them.
// TestBadInput of package stacks has the others.
func badInput(t *testing.T, s *site) {
	s.kubectl(t, s.hub, "", "create", "service", "nodeport", "squatter", "--tcp=80", "--node-port=30333")
	for _, tt := range []struct {
		name  string
		path  []any
		value any
		want  []string
	}{
		{
			"no kubeconfig",
			[]any{"outposts:cluster", "kubeconfig"},
			"/nowhere/kubeconfig",
			[]string{"outposts:cluster.kubeconfig: no file /nowhere/kubeconfig"},
		},
		{
			"no context",
			[]any{"outposts:cluster", "context"},
			"elsewhere",
			[]string{
				`outposts:cluster.context: `,
				`has no context "elsewhere"; it has: ` + hubContext + ", " + remoteContext,
			},
		},
		{
			"another cluster",
			[]any{"outposts:cluster", "context"},
			remoteContext,
			[]string{"outposts:cluster: context " + remoteContext + " is another cluster than last time"},
		},
		{
			"unknown key",
			[]any{"outposts:outposts", 0, "displayname"},
			"x",
			[]string{"outposts:outposts[0].displayname: unknown key"},
		},
		{
			"node port taken",
			[]any{"outposts:hub", "exposure", "nodePort"},
			30333,
			[]string{"outposts:hub.exposure.nodePort: node port 30333 is taken by Service default/squatter"},
		},
		{
			"no chart",
			[]any{"outposts:hub", "chart", "path"},
			"e2e",
			[]string{"outposts:hub.chart.path: " + filepath.Join(s.dir, "e2e") + " is not a chart"},
		},
		{
			"no such option of the outpost",
			[]any{"outposts:outpost", "config", "spawner", "mem_limt"},
			"1G",
			[]string{"outposts:outpost.config.spawner.mem_limt: unknown option; did you mean mem_limit?"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, running := s.read(t, "local"), s.hub.outpost(t)
			defer s.write(t, "local", before)
			s.set(t, "local", tt.value, tt.path...)
			s.refused(t, "local", tt.want...)
			if diff := cmp.Diff(running, s.hub.outpost(t)); diff != "" {
				t.Errorf("the outpost is another one (-before +after):\n%s", diff)
			}
		})
	}
}

// outpost is what an outpost runs as: the pods by uid, and the version of each file that it reads.
func (c cluster) outpost(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	pods, err := c.API.CoreV1().Pods(deployed.OutpostNamespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: deployed.OutpostPod})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		found["pod "+pod.Name] = string(pod.UID)
	}
	files, err := c.API.CoreV1().ConfigMaps(deployed.OutpostNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files.Items {
		found["file "+file.Name] = file.ResourceVersion
	}
	return found
}

// unreachableRemote points the remote stack at an address where nobody answers.
func unreachableRemote(t *testing.T, s *site) {
	text, err := os.ReadFile(s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(t.TempDir(), "kubeconfig")
	err = os.WriteFile(dead,
		bytes.ReplaceAll(text, []byte(s.remote.node+":6443"), []byte("127.0.0.1:1")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	before := s.read(t, "remote")
	s.set(t, "remote", dead, "outposts:cluster", "kubeconfig")
	s.refused(t, "remote", "outposts:cluster: context "+remoteContext,
		"no answer from the cluster at https://127.0.0.1:1")
	s.pulumi(t, "local", append(upArgs, "--expect-no-changes")...)
	s.write(t, "remote", before)
}
