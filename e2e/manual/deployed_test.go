//go:build e2e

package manual_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/manual"
)

// TestE2EManual types pages of the manual on the clusters of `make up`, where kubectl means the remote one.
func TestE2EManual(t *testing.T) {
	d := deployed.Open(t)
	env := environment(t, d)
	for _, page := range []string{
		"docs/howto/backup.md", "docs/howto/drain.md", "docs/howto/groups.md", "docs/howto/remotes.md",
		"docs/stacks.md",
	} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			shell := manual.OpenShell(t, t.TempDir(), env)
			defer shell.Type("kubectl -n outpost exec deploy/outpost -- outpost undrain")
			manual.Reader{Shell: shell, After: looks(t, page)}.Types(t, manual.Open(t, d.Root, page))
		})
	}
	t.Run("this-machine.md", func(t *testing.T) { thisMachine(t, d, env) })
}

// looks are what readers of a page look for in what a line says.
func looks(t *testing.T, page string) map[string]func(string) {
	says := func(words ...string) func(string) {
		return func(said string) {
			for _, want := range words {
				if !strings.Contains(said, want) {
					t.Errorf("want %q in\n%s", want, said)
				}
			}
		}
	}
	const (
		outpost = "kubectl -n outpost exec deploy/outpost -- outpost "
		group   = "urn:geant:helmholtz.de:group:kit"
	)
	switch filepath.Base(page) {
	case "backup.md":
		return map[string]func(string){
			"kubectl -n outpost exec -i deploy/outpost -- outpost restore --check < outpost.backup": says("services"),
		}
	case "drain.md":
		return map[string]func(string){outpost + "status": says("New disks.")}
	case "remotes.md":
		return map[string]func(string){
			"kubectl --context north -n outpost exec deploy/outpost -- outpost status": says("This system closes."),
		}
	case "groups.md":
		return map[string]func(string){
			outpost + "explain --hub jupyterhub --user ann --groups " + group: says("open to everybody"),
		}
	}
	return nil
}

// environment is that of somebody with kubectl, whose context is the remote cluster, called north too.
func environment(t *testing.T, d *deployed.Deployed) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(d.Root, "dev", "cache"), "kube").Output()
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(d.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.CurrentContext, config.Contexts["north"] = "remote", config.Contexts["remote"]
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(strings.TrimSpace(string(out)), "bin")
	return append(append(os.Environ(), manual.Clones(d.Root)...), "PATH="+bin+":"+os.Getenv("PATH"),
		"KUBECONFIG="+kubeconfig, "CHECKOUT="+d.Root, "PULUMI_FLAGS=--yes --non-interactive")
}

// thisMachine types the first tutorial, but for what has brought up the clusters, and what ends them.
func thisMachine(t *testing.T, d *deployed.Deployed, env []string) {
	const page, user, server = "docs/tutorials/this-machine.md", "tutorial", "first"
	p := manual.Open(t, d.Root, page)
	folder := t.TempDir()
	browser, err := hubapi.OpenBrowser(t.Context(), d.HubURL, user, d.Password)
	if err != nil {
		t.Fatal(err)
	}
	hub, err := hubapi.Login(t.Context(), d.HubURL, user, d.Password)
	if err != nil {
		t.Fatal(err)
	}
	const pods = "dev/run kubectl --context remote -n outpost-servers get pods"
	manual.Reader{
		Shell: manual.OpenShell(t, folder, env),
		Before: map[string]func(){
			pods: func() {
				began := time.Now()
				d.Start(t.Context(), t, hub, user, server, map[string]any{"system": "remote", "flavor": "small"})
				t.Logf("started after %.1f s", time.Since(began).Seconds())
			},
			"make up STACK=remote": func() {
				t.Cleanup(func() { applies(t, d) })
				file := filepath.Join(folder, "outposts", "Pulumi.remote.yaml")
				replace(t, file, "display_name: Large\n", "display_name: Large\n          max: 1\n")
			},
		},
		After: map[string]func(string){
			"cd outposts": func(string) { manual.Copy(t, d.Root, filepath.Join(folder, "outposts")) },
			pods: func(said string) {
				if !regexp.MustCompile(`(?m)^\S+-` + server + ` +1/1 +Running `).MatchString(said) {
					t.Errorf("the pod is not listed:\n%s", said)
				}
			},
			"make up STACK=remote": func(string) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				began := time.Now()
				if err := d.Remote.Hasten(ctx, deployed.OutpostNamespace); err != nil {
					t.Fatal(err)
				}
				err := deployed.Eventually(ctx, func(ctx context.Context) error {
					form, err := browser.Get(ctx, "/hub/spawn/"+user)
					if err == nil && !strings.Contains(string(form), "0 of 1 in use") {
						err = fmt.Errorf("the form has no flavor with 0 of 1 in use")
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
				manual.Shows(t, p, "0 of 1 in use", "0 of 1 in use")
				t.Logf("on the form after %.1f s", time.Since(began).Seconds())
			},
		},
	}.Types(t, p)
}

// applies gives the remote stack back what the checkout has.
func applies(t *testing.T, d *deployed.Deployed) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if _, err := d.Pulumi(ctx, "up", "-s", "remote", "--yes", "--skip-preview", "--non-interactive"); err != nil {
		t.Error(err)
	}
}

func replace(t *testing.T, file, old, text string) {
	t.Helper()
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(was), old) != 1 {
		t.Fatalf("%s has not one %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(was), old, text, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
