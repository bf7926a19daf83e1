//go:build e2e

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// TestE2ESecondPair changes one key of the hub's stack, its image, to the newest JupyterHub and client. The hub takes
// over a copy of the database, a running server and a stream to it outlive the change, and the check passes. Then the
// first pair is put back: a database does not go back to an older JupyterHub, which is why the second pair has a copy.
func TestE2ESecondPair(t *testing.T) {
	d := deployed.Open(t)
	ctx := t.Context()
	run := func(command ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, filepath.Join(d.Root, command[0]), command[1:]...)
		cmd.Dir = d.Root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(command, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	image := run("images/build", "ref", "hub", "jupyterhub-6.1")
	run("dev/run", "clusters", "load", run("images/build", "hub", "jupyterhub-6.1"))
	_, tag, _ := strings.Cut(image, ":")
	version, _, _ := strings.Cut(tag, "-")

	d.Start(ctx, t, d.Hub, d.User, "older", map[string]any{"system": "remote"})
	const copied = `
import os, sqlite3
os.makedirs("/srv/jupyterhub/second-pair", exist_ok=True)
with sqlite3.connect("/srv/jupyterhub/jupyterhub.sqlite") as first:
    with sqlite3.connect("/srv/jupyterhub/second-pair/jupyterhub.sqlite") as second:
        first.backup(second)
`
	if _, err := d.Local.Exec(ctx, deployed.HubNamespace, deployed.HubPod, "python3", "-c", copied); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		up(ctx, t, d, filepath.Join(d.Root, "Pulumi.local.yaml"))
		if err := d.Hub.WaitReachable(ctx, d.User, "older"); err != nil {
			t.Errorf("the server does not answer behind the first pair again: %v", err)
		}
		const remove = "rm -r /srv/jupyterhub/second-pair"
		if _, err := d.Local.Exec(ctx, deployed.HubNamespace, deployed.HubPod, "sh", "-c", remove); err != nil {
			t.Error(err)
		}
	})
	count := deployed.StartCount(ctx, t, d.Hub, d.User, "older")
	up(ctx, t, d, changed(t, d, map[string]any{
		"image": map[string]any{"tag": tag},
		"values": map[string]any{"hub": map[string]any{
			"db": map[string]any{"pvc": map[string]any{"subPath": "second-pair"}},
		}},
	}))

	began := time.Now()
	reach, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := d.Hub.WaitReachable(reach, d.User, "older"); err != nil {
		t.Errorf("a server of the first pair is not reachable behind the second: %v", err)
	}
	t.Logf("the running server answers %.1f s after the change", time.Since(began).Seconds())
	count.Whole(ctx, t)
	var table, log bytes.Buffer
	getenv := func(name string) string { return map[string]string{"VERIFY_TOKEN": d.Token}[name] }
	code := verify(ctx, []string{
		"--hub", d.HubURL, "--user", d.User, "--systems", "local=local,remote=remote",
		"--kubeconfig", d.Kubeconfig, "--hub-context", "local",
	}, getenv, nil, &table, &log)
	t.Logf("\n%s", &table)
	if code != 0 || !strings.Contains(log.String(), "JupyterHub "+version+" answers") {
		t.Errorf("the check of %s ended with %d\n%s", image, code, &log)
	}
}

// verify is the program itself.
var verify = run

// up applies the hub's stack with a config and waits for the hub's new pod: the stack does not.
func up(ctx context.Context, t *testing.T, d *deployed.Deployed, config string) {
	t.Helper()
	began := time.Now()
	_, err := d.Pulumi(ctx, "up", "-s", "local", "--config-file", config, "--yes", "--non-interactive")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Local.RolledOut(ctx, deployed.HubNamespace, "hub"); err != nil {
		t.Fatal(err)
	}
	t.Logf("pulumi up with %s: %.1f s", filepath.Base(config), time.Since(began).Seconds())
}

// changed writes a copy of the config of the hub's stack with some keys of the hub replaced.
func changed(t *testing.T, d *deployed.Deployed, hub map[string]any) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.Root, "Pulumi.local.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	keys := config["config"].(map[string]any)
	keys["outposts:hub"] = deployed.Merge(keys["outposts:hub"].(map[string]any), hub)
	if text, err = yaml.Marshal(config); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "Pulumi.local.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
