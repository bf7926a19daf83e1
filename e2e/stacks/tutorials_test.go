//go:build e2e

package stacks

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/manual"
)

// kindProgram stands in for kind, which needs Docker: it loads images into the clusters that there are.
const kindProgram = `#!/bin/sh
[ "$1 $2" = "load image-archive" ] || { echo "kind $*: not here" >&2; exit 2; }
unset XDG_CACHE_HOME
HOME=%HOME% exec %ROOT%/dev/run clusters load "$PWD/$3"
`

// tutorialOfKind types the tutorial in a fresh checkout, with the test's clusters in the role of those of kind, and
// with pulumi, its plugins and kubectl as people have them. Nothing of the toolchain is built.
func tutorialOfKind(t *testing.T, s *site) {
	c := s.checkout(t, map[string]string{"kind-hub": s.hub.context, "kind-remote": s.remote.context})
	c.loggedIn(t)
	p := manual.Open(t, s.root, "docs/tutorials/kind.md")
	var url string
	manual.Reader{
		Shell: manual.OpenShell(t, c.dir, c.env),
		After: map[string]func(string){
			"make contexts LOCAL=kind-hub REMOTE=kind-remote": func(string) { c.withImagesHere(t) },
			"make verify":                         func(said string) { bothServe(t, said) },
			"pulumi stack output -s local hubUrl": func(said string) { url = strings.TrimSpace(said) },
			"pulumi stack output -s local --show-secrets loginPassword": func(said string) {
				if _, err := hubapi.Login(t.Context(), url, "ann", strings.TrimSpace(said)); err != nil {
					t.Errorf("log in as the page says: %v", err)
				}
			},
			"make down STACK=local": func(string) { s.onlyDataStay(t) },
		},
	}.Types(t, p)
	if built, err := filepath.Glob(filepath.Join(c.cache(), "outposts", "*")); err != nil || len(built) > 0 {
		t.Errorf("%v was built, %v", built, err)
	}
}

// bothServe holds that the check has started and stopped a server on each system.
func bothServe(t *testing.T, said string) {
	t.Helper()
	for _, system := range []string{"local", "remote"} {
		if !regexp.MustCompile(`(?m)^` + system + ` .* ok$`).MatchString(said) {
			t.Errorf("no server of system %s is said to have worked:\n%s", system, said)
		}
	}
}

// onlyDataStay holds that of the hub what runs is gone, and its database is there.
func (s *site) onlyDataStay(t *testing.T) {
	t.Helper()
	running, err := s.hub.API.AppsV1().Deployments("").List(t.Context(),
		metav1.ListOptions{LabelSelector: "app=jupyterhub"})
	if err != nil || len(running.Items) > 0 {
		t.Errorf("Deployments of the hub: %d, %v", len(running.Items), err)
	}
	_, err = s.hub.API.CoreV1().PersistentVolumeClaims(deployed.HubNamespace).
		Get(t.Context(), "hub-db-dir", metav1.GetOptions{})
	if err != nil {
		t.Errorf("the hub's database: %v", err)
	}
}

// checkout is the site as somebody has it who has cloned the repository: with contexts of their own names, with pulumi,
// its plugins, kubectl and kind, and an empty cache.
func (s *site) checkout(t *testing.T, contexts map[string]string) *site {
	t.Helper()
	o := *s
	o.dir = t.TempDir()
	manual.Copy(t, s.root, o.dir)
	o.env = s.people(t, contexts, o.cache(), nil)
	return &o
}

// people is the environment of somebody with pulumi, its plugins, kubectl, kind, other programs, an empty cache, and
// contexts of other names than the site has.
func (s *site) people(t *testing.T, contexts map[string]string, cache string, programs map[string]string) []string {
	t.Helper()
	home, bin := t.TempDir(), t.TempDir()
	pulumi := s.printed(t, "dev/cache", "pulumi")
	for link, target := range map[string]string{
		filepath.Join(bin, "pulumi"):             filepath.Join(pulumi, "bin", "pulumi"),
		filepath.Join(bin, "pulumi-language-go"): filepath.Join(pulumi, "bin", "pulumi-language-go"),
		filepath.Join(bin, "kubectl"):            filepath.Join(s.printed(t, "dev/cache", "kube"), "bin", "kubectl"),
		filepath.Join(home, "plugins"):           filepath.Join(pulumi, "home", "plugins"),
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range programs {
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	kind := strings.NewReplacer("%HOME%", os.Getenv("HOME"), "%ROOT%", s.root).Replace(kindProgram)
	if err := os.WriteFile(filepath.Join(bin, "kind"), []byte(kind), 0o755); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for theirs, ours := range contexts {
		config.Contexts[theirs] = config.Contexts[ours]
	}
	kubeconfig := filepath.Join(home, "kubeconfig")
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(),
		"HOME="+home, "XDG_CACHE_HOME="+cache, "PATH="+bin+":"+os.Getenv("PATH"), "PULUMI_HOME="+home,
		"GOCACHE="+s.printed(t, "go", "env", "GOCACHE"), "GOPATH="+s.printed(t, "go", "env", "GOPATH"),
		"GOMODCACHE="+s.printed(t, "go", "env", "GOMODCACHE"),
		"PULUMI_SKIP_UPDATE_CHECK=true", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true",
		"PULUMI_FLAGS=--yes --non-interactive", "KUBECONFIG="+kubeconfig)
}

// loggedIn logs pulumi in to a backend, as the page has readers have done before.
func (s *site) loggedIn(t *testing.T) {
	t.Helper()
	s.env = append(s.env, "PULUMI_BACKEND_URL=file://"+t.TempDir(), "PULUMI_CONFIG_PASSPHRASE=of your own")
}

// cache is the folder for caches of a checkout.
func (s *site) cache() string { return filepath.Join(s.dir, ".state", "cache") }

// withImagesHere gives the stacks the chart and the images of the committed ones, since those of zero-to-jupyterhub
// cannot be reached from everywhere.
func (s *site) withImagesHere(t *testing.T) {
	t.Helper()
	hub := map[string]any{"name": "localhost/outposts/hub", "tag": "5.5.4-2.2.11"}
	s.set(t, "local", map[string]any{"path": "e2e/charts/hub"}, "outposts:hub", "chart")
	s.set(t, "local", hub, "outposts:hub", "image")
	s.set(t, "local", hub, "outposts:hub", "values", "proxy", "chp", "image")
	for _, stack := range []string{"local", "remote"} {
		s.set(t, stack, deployed.LabImage, "outposts:outpost", "config", "spawner", "image")
	}
}

// answers waits until the hub at a URL answers a token.
func answers(t *testing.T, hub *hubapi.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	if err := hub.WaitThere(ctx); err != nil {
		t.Fatal(err)
	}
}
