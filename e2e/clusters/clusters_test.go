//go:build e2e

package clusters

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestE2EClusters walks through the life of two clusters. The steps share them, because starting
// takes most of the time.
func TestE2EClusters(t *testing.T) {
	tb := newTestbed(t)
	before := look(t)

	tb.buildHello(t)
	if !t.Run("load before up", func(t *testing.T) { tb.mustRun(t, "load", tb.archive) }) {
		t.FailNow()
	}
	if !t.Run("up", tb.testUp) {
		t.FailNow()
	}
	tb.t1.connect(t)
	tb.t2.connect(t)
	t.Run("has", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"DNS":                      tb.testDNS,
			"NodePort":                 tb.testNodePort,
			"LoadBalancer":             tb.testLoadBalancer,
			"volumes":                  tb.testVolume,
			"Ingress":                  tb.testIngress,
			"Gateway API":              tb.testGateway,
			"NetworkPolicy":            tb.testNetworkPolicy,
			"logs, exec, port-forward": tb.testKubectl,
			"images":                   tb.testImages,
			"images of the same name":  tb.testRenew,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	// Each needs what the one before has left; without a bridge the next would ask addresses that are not ours.
	_ = t.Run("up again changes nothing", tb.testUpAgain) &&
		t.Run("up from another checkout is refused", tb.testOtherCheckout) &&
		t.Run("up mends a killed bridge", tb.testKilledBridge) &&
		t.Run("up mends a killed node", tb.testKilledNode) &&
		t.Run("up after everything was killed", tb.testKilledAll) &&
		t.Run("down leaves nothing behind", func(t *testing.T) { tb.testDown(t, before) }) &&
		t.Run("a run killed at any step", func(t *testing.T) { tb.testKilledRun(t, before) })
}

// buildHello makes the image of the tests, twice to see that it comes out the same.
func (tb *testbed) buildHello(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	tb.hello, tb.archive = filepath.Join(dir, "hello"), filepath.Join(dir, "first.tar")
	build := exec.Command("go", "build", "-trimpath", "-o", tb.hello, "./hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var digests []string
	for _, archive := range []string{tb.archive, filepath.Join(dir, "second.tar")} {
		out := tb.mustRun(t, "image", "-o", archive, "--ref", helloImage, "--add",
			tb.hello+":/hello:755", "--entrypoint",
			"/hello", "--user", "1000:1000")
		digests = append(digests, strings.Fields(out)[1])
	}
	if digests[0] != digests[1] {
		t.Errorf("the same image written twice has digests %v", digests)
	}
}

func (tb *testbed) testUp(t *testing.T) {
	// What a node listens on is its own: these ports of the machine may be taken, by us or by whoever was here before.
	for _, port := range []string{"53", "80", "443", "2379", "5000", "6443", "10250", "30080"} {
		if listener, err := net.Listen("tcp", ":"+port); err == nil {
			defer listener.Close()
		}
	}
	began := time.Now()
	out := tb.mustRun(t, "up", "t1", "t2")
	t.Logf("up took %.1f s\n%s", time.Since(began).Seconds(), out)
	for _, want := range []string{
		"t1: node is Ready", "t2: DNS answers",
		"export KUBECONFIG=" + tb.kubeconfig(), "kubectl --context t1",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q", want)
		}
	}
	for name, r := range tb.status(t) {
		if r.State != "ready" || r.Kubernetes == "" || r.PID == 0 || r.MemoryBytes == 0 || r.Pods == 0 {
			t.Errorf("status of %s: %+v", name, r)
		}
		t.Logf("%s: %d MiB", name, r.MemoryBytes>>20)
	}
	contexts := tb.t1.kubectl(t, "", "config", "get-contexts", "-o", "name")
	if contexts != "t1\nt2\n" {
		t.Errorf("contexts: %q", contexts)
	}
}

func (tb *testbed) testUpAgain(t *testing.T) {
	was := tb.status(t)
	tb.t1.kubectl(t, "", "cordon", "t1")
	began := time.Now()
	tb.mustRun(t, "up", "t1", "t2")
	if held := tb.t1.kubectl(t, "", "get", "node", "t1", "-o", "jsonpath={.spec.unschedulable}"); held != "" {
		t.Errorf("the node is still cordoned: %s", held)
	}
	t.Logf("up again took %.1f s", time.Since(began).Seconds())
	for name, r := range tb.status(t) {
		if r.PID != was[name].PID || r.State != "ready" {
			t.Errorf("%s: %+v, was %+v", name, r, was[name])
		}
	}
}
