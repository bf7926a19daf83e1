//go:build e2e

package clusters

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func (tb *testbed) testDNS(t *testing.T) {
	ns := tb.t1.namespace(t, "dns")
	tb.t1.kubectl(t, helloPod("one", "role: plain", "", "8080")+`---
apiVersion: v1
kind: Service
metadata: {name: svc}
spec: {selector: {app: one}, ports: [{port: 80, targetPort: 8080}]}
`, "-n", ns, "apply", "-f", "-")
	tb.t1.ready(t, ns, "app=one")
	for _, name := range []string{"svc", "svc.dns", "svc.dns.svc.cluster.local", "kubernetes.default"} {
		eventually(t, "lookup of "+name, func() error {
			got, err := tb.t1.ask(t.Context(), ns, "one", "/lookup", url.Values{"name": {name}})
			return want(err, got, "[10.98.")
		})
	}
	eventually(t, "lookup of a name with an address in it", func() error {
		got, err := tb.t1.ask(t.Context(), ns, "one", "/lookup", url.Values{"name": {"hub.10-77-0-2.ip.test"}})
		return want(err, got, "[10.77.0.2] <nil>")
	})
	eventually(t, "lookup of an unknown name", func() error {
		got, err := tb.t1.ask(t.Context(), ns, "one", "/lookup", url.Values{"name": {"nothing.dns.svc"}})
		return want(err, got, "no such host")
	})
	eventually(t, "fetch by name", func() error {
		got, err := tb.t1.ask(t.Context(), ns, "one", "/fetch", url.Values{"url": {"http://svc.dns/"}})
		return want(err, got, "one fetched: hello from one on t1")
	})
}

// want returns an error unless a text was got that holds another.
func want(err error, got, wanted string) error {
	if err == nil && !strings.Contains(got, wanted) {
		err = fmt.Errorf("got %q, want %q in it", got, wanted)
	}
	return err
}

// fromEverywhere holds that an address of cluster c answers on this machine, in a pod of the same
// cluster and in one of the other.
func (tb *testbed) fromEverywhere(t *testing.T, ns, address, wanted string) {
	t.Helper()
	eventually(t, address+" from this machine", func() error {
		got, err := get(t.Context(), direct, address)
		return want(err, got, wanted)
	})
	for _, c := range []*cluster{tb.t1, tb.t2} {
		eventually(t, address+" from a pod in "+c.name, func() error {
			got, err := c.ask(t.Context(), ns, "asker", "/fetch", url.Values{"url": {address}})
			return want(err, got, wanted)
		})
	}
}

// askers runs a pod in each cluster that can be sent to ask others.
func (tb *testbed) askers(t *testing.T, ns string) {
	t.Helper()
	for _, c := range []*cluster{tb.t1, tb.t2} {
		c.namespace(t, ns)
		c.kubectl(t, helloPod("asker", "role: plain", "", "8080"), "-n", ns, "apply", "-f", "-")
		c.ready(t, ns, "app=asker")
	}
}

func (tb *testbed) testNodePort(t *testing.T) {
	const ns = "nodeport"
	tb.askers(t, ns)
	for _, c := range []*cluster{tb.t1, tb.t2} {
		c.kubectl(t, `
apiVersion: v1
kind: Service
metadata: {name: port}
spec: {type: NodePort, selector: {app: asker}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
`, "-n", ns, "apply", "-f", "-")
		tb.fromEverywhere(t, ns, "http://"+c.node+":30080/", "hello from asker on "+c.name)
	}
}

func (tb *testbed) testLoadBalancer(t *testing.T) {
	const ns = "loadbalancer"
	tb.askers(t, ns)
	for _, c := range []*cluster{tb.t1, tb.t2} {
		seen := map[string]bool{}
		for _, name := range []string{"one", "two"} {
			c.kubectl(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {type: LoadBalancer, selector: {app: asker}, ports: [{port: 80, targetPort: 8080}]}
`, name), "-n", ns, "apply", "-f", "-")
			var address string
			eventually(t, "address of "+name, func() error {
				address = c.kubectl(t, "", "-n", ns, "get", "service", name, "-o",
					"jsonpath={.status.loadBalancer.ingress[0].ip}")
				return want(nil, address, c.loadBalancers)
			})
			if seen[address] {
				t.Errorf("two Services have the address %s", address)
			}
			seen[address] = true
			tb.fromEverywhere(t, ns, "http://"+address+"/", "hello from asker on "+c.name)
		}
	}
}

func (tb *testbed) testKubectl(t *testing.T) {
	c, ns := tb.t2, "kubectl"
	c.namespace(t, ns)
	c.kubectl(t, helloPod("one", "role: plain", "", "8080"), "-n", ns, "apply", "-f", "-")
	c.ready(t, ns, "app=one")
	if got := c.kubectl(t, "", "-n", ns, "logs", "one"); !strings.Contains(got, "listening on") {
		t.Errorf("logs: %q", got)
	}
	// The image has no shell: the program itself is run a second time and says that its port is taken.
	got, err := c.tryKubectl(t, "", "-n", ns, "exec", "one", "--", "/hello", "8080")
	if err == nil || !strings.Contains(got, "address already in use") {
		t.Errorf("exec: %v %q", err, got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	forward := c.kubectlCommand(t, "", "-n", ns, "port-forward", "pod/one", ":8080")
	out, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = forward.Process.Kill()
		_ = forward.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	port := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindStringSubmatch(line)
	if err != nil || port == nil {
		t.Fatalf("port-forward: %v %q", err, line)
	}
	answer, err := get(ctx, direct, "http://127.0.0.1:"+port[1]+"/")
	if err := want(err, answer, "hello from one on t2"); err != nil {
		t.Error("port-forward:", err)
	}
}

func (tb *testbed) testKilledBridge(t *testing.T) {
	kill(t, "outposts-switch", tb.state)
	// Nothing is sent now: without the route it would go to the default gateway.
	eventually(t, "end of the bridge's interface", func() error {
		if out := ipOutput(t, "-o", "link"); strings.Contains(out, "outposts66") {
			return errors.New(out)
		}
		return nil
	})
	was := tb.status(t)
	tb.mustRun(t, "up", "t1", "t2")
	for name, r := range tb.status(t) {
		if r.PID != was[name].PID || r.State != "ready" {
			t.Errorf("%s: %+v, was %+v", name, r, was[name])
		}
	}
	tb.fromEverywhere(t, "nodeport", "http://"+tb.t2.node+":30080/", "hello from asker on t2")
}

func TestE2ERouteInUse(t *testing.T) {
	tb := newTestbed(t)
	route := []string{"blackhole", "10.66.200.0/24"}
	ip(t, append([]string{"route", "add"}, route...)...)
	t.Cleanup(func() { ip(t, append([]string{"route", "del"}, route...)...) })
	out, err := tb.run(t, "up", "t1")
	if err == nil || !strings.Contains(out, "collides with a route of this machine: 10.66.200.0/24") {
		t.Errorf("up beside a route in its network: %v %s", err, out)
	}
	if out := ipOutput(t, "-o", "link"); strings.Contains(out, "outposts66") {
		t.Errorf("something was made all the same:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(tb.state, "t1")); err == nil {
		t.Error("the refused cluster has a folder")
	}
}

func ip(t *testing.T, args ...string) { t.Helper(); ipOutput(t, args...) }

func ipOutput(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("ip", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}
