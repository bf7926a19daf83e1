package deployed

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// OwnClusters are local clusters of one test, beside those of `make up`, whose images they have.
type OwnClusters struct {
	// Kubeconfig has their contexts, which have their names.
	Kubeconfig string
	root       string // of the checkout
}

// Report is what the runner says of a cluster. PID is the process of its node, 0 while none runs.
type Report struct {
	Name, Node, LoadBalancers string
	PID                       int
}

// NewClusters brings up clusters, and removes them with their data at the end, and before if a killed run has left
// them. Where they cannot run, the test is skipped. root is the checkout.
func NewClusters(t testing.TB, root, kubeconfig string, names ...string) OwnClusters {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: nodes are namespaces of the kernel")
	}
	if _, err := os.Stat(filepath.Join(root, ".state", "clusters", "registry")); err != nil {
		t.Skip("no images for the clusters; run `make up` first")
	}
	c := OwnClusters{Kubeconfig: kubeconfig, root: root}
	c.remove(t, names)
	t.Cleanup(func() { c.remove(t, names) })
	c.Run(t, append([]string{"up"}, names...)...)
	return c
}

// Run runs the runner of the local clusters. It works at the end of a test, too.
func (c OwnClusters) Run(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(c.root, "dev", "run"),
		append([]string{"clusters"}, args...)...)
	cmd.Env = append(os.Environ(), "OUTPOSTS_KUBECONFIG="+c.Kubeconfig)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("clusters %s: %v\n%s%s", strings.Join(args, " "), err, out, &complaint)
	}
	return string(out)
}

// Report is that of a cluster, which has to be there.
func (c OwnClusters) Report(t testing.TB, name string) Report {
	t.Helper()
	r, ok := c.find(t, name)
	if !ok {
		t.Fatalf("cluster %s is not there", name)
	}
	return r
}

// Running is what the runner says of a local cluster of the checkout root; ok is false unless its node runs.
func Running(t testing.TB, root, name string) (r Report, ok bool) {
	t.Helper()
	r, ok = OwnClusters{root: root}.find(t, name)
	return r, ok && r.PID != 0
}

func (c OwnClusters) find(t testing.TB, name string) (Report, bool) {
	t.Helper()
	for _, r := range c.reports(t) {
		if r.Name == name {
			return r, true
		}
	}
	return Report{}, false
}

func (c OwnClusters) reports(t testing.TB) []Report {
	t.Helper()
	var all []Report
	if err := json.Unmarshal([]byte(c.Run(t, "status", "--json")), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (c OwnClusters) remove(t testing.TB, names []string) {
	t.Helper()
	args := []string{"down", "--purge"}
	for _, r := range c.reports(t) {
		if slices.Contains(names, r.Name) {
			args = append(args, r.Name)
		}
	}
	if len(args) > 2 { // without a name all clusters would end
		c.Run(t, args...)
	}
}
