//go:build e2e

package stacks

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/manual"
)

// goWithoutARM64 stands in for Go where a release compiles the outpost for arm64, every package of it, which takes
// minutes: the program is that for amd64, and its header says that it is for arm64 (ELF, e_machine).
const goWithoutARM64 = `#!/bin/bash
set -e
[[ $GOARCH = arm64 && $1 = build ]] || exec %GO% "$@"
GOARCH=amd64 %GO% "$@"
while [ "$1" != -o ]; do shift; done
printf '\xb7' | dd of="$2" bs=1 seek=18 conv=notrunc status=none
`

// withoutInternet types the page for sites without internet: a bundle is made in one checkout, carried, and checked
// by somebody who has nothing else, in an environment with no program of ours. Both stacks are made of what is in it
// alone. It runs only where E2E_BUNDLE is set.
func withoutInternet(t *testing.T, s *site) {
	if os.Getenv("E2E_BUNDLE") == "" {
		t.Skip("takes five minutes: set E2E_BUNDLE=yes")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the page names the bundle for amd64")
	}
	p := manual.Open(t, s.root, "docs/howto/air-gapped.md")
	made, carried := p, p // the lines of who makes it, and of who gets it
	for i, line := range p.Lines {
		if strings.HasPrefix(line.Text, "mkdir 0.2.0 && tar ") {
			made.Lines, carried.Lines = p.Lines[:i], p.Lines[i:]
		}
	}
	folder := t.TempDir()
	// A registry keeps what a version is, and those of earlier runs are there still.
	name := "/" + strings.ToLower(rand.Text()) + "/outposts"
	registry := s.pushes(t) + name
	theirs := map[string]string{
		"mirror.example.org/outposts": registry, "/srv/outposts": filepath.Join(t.TempDir(), "state"),
	}

	checkout, site := s.committed(t), filepath.Join(folder, "site")
	shell := manual.OpenShell(t, checkout, append(os.Environ(), "PATH="+s.withoutARM64(t)+":"+os.Getenv("PATH")))
	releases := manual.Open(t, s.root, "docs/howto/release.md")
	types := func(beginning string) {
		if said, err := shell.Type(strings.ReplaceAll(lineOf(t, releases, beginning), "registry.example.org/outposts",
			registry)); err != nil {
			t.Fatalf("%s: %v\n%s", beginning, err, said)
		}
	}
	types("(umask 077; openssl genpkey ")
	types("openssl pkey ")
	s.packHub(t, checkout)
	manual.Reader{Shell: shell, Yours: theirs}.Types(t, made)
	execute(t, checkout, "mkdir", site)
	execute(t, checkout, "cp", ".state/release/outposts-0.2.0-linux-amd64.tar.gz", "outposts.pub", site)

	defer s.hub.Without(t, deployed.HubNamespace, deployed.OutpostNamespace, deployed.ServerNamespace)
	defer s.remote.Without(t, deployed.OutpostNamespace, deployed.ServerNamespace)
	home, bundle := s.home(t), filepath.Join(site, "0.2.0", "outposts-0.2.0-linux-amd64")
	manual.Reader{
		Shell: manual.OpenShell(t, site, []string{
			"PATH=/usr/bin:/bin", "HOME=" + home, "PULUMI_SKIP_CONFIRMATIONS=true",
		}),
		Yours: theirs,
		After: map[string]func(string){
			"cp examples/nodeport/Pulumi.*.yaml .": func(string) { s.nameMirror(t, p, bundle, home, "localhost"+name) },
			"pulumi stack output -s local --show-secrets --json | verify --outputs -": func(said string) {
				bothServe(t, said)
			},
		},
	}.Types(t, carried)
	types("make verify-release ")
	s.hub.runsOnly(t, "localhost"+name+"/", deployed.HubNamespace, deployed.OutpostNamespace)
	s.remote.runsOnly(t, "localhost"+name+"/", deployed.OutpostNamespace)
}

// lineOf is the line of a page with a beginning.
func lineOf(t *testing.T, p manual.Page, beginning string) string {
	t.Helper()
	for _, line := range p.Lines {
		if strings.HasPrefix(line.Text, beginning) {
			return line.Text
		}
	}
	t.Fatalf("%s has no line that begins with %q", p.File, beginning)
	return ""
}

// execute runs a program in a folder.
func execute(t *testing.T, folder string, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// committed is a clone of the checkout with a commit of what it has.
func (s *site) committed(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	manual.Copy(t, s.root, folder)
	execute(t, folder, "git", "init", "--quiet")
	execute(t, folder, "git", "add", "--all")
	execute(t, folder, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "--quiet",
		"--message=test")
	return folder
}

// withoutARM64 is a folder with goWithoutARM64.
func (s *site) withoutARM64(t *testing.T) string {
	t.Helper()
	golang, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	text := strings.ReplaceAll(goWithoutARM64, "%GO%", golang)
	if err := os.WriteFile(filepath.Join(folder, "go"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// packHub puts the stand-in for zero-to-jupyterhub into a folder, as helm pull does with the chart itself.
func (s *site) packHub(t *testing.T, folder string) {
	t.Helper()
	work := t.TempDir()
	execute(t, s.root, "cp", "-r", "e2e/charts/hub", filepath.Join(work, "jupyterhub"))
	execute(t, work, "sed", "-i", "s/^name: hub-for-tests$/name: jupyterhub/", "jupyterhub/Chart.yaml")
	execute(t, work, "tar", "-czf", filepath.Join(folder, "jupyterhub-4.4.0.tgz"), "jupyterhub")
}

// home is a new home of somebody who has a kubeconfig, with the contexts that the example has, and nothing else.
func (s *site) home(t *testing.T) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(s.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Contexts["myjupyterhub"] = config.Contexts[s.hub.context]
	config.Contexts["myremoteoutpost"] = config.Contexts[s.remote.context]
	home := t.TempDir()
	if err := clientcmd.WriteToFile(*config, filepath.Join(home, ".kube", "config")); err != nil {
		t.Fatal(err)
	}
	return home
}

// mirrored matches what the page has readers write into the hub's stack.
var mirrored = regexp.MustCompile("(?s)\n```yaml\n(# the hub's stack\n.*?)```\n")

// nameMirror writes the addresses of the site, and what the page says of the mirror, into the stacks in a folder.
func (s *site) nameMirror(t *testing.T, p manual.Page, folder, home, mirror string) {
	t.Helper()
	found := mirrored.FindStringSubmatch(p.Text)
	if found == nil {
		t.Fatalf("%s does not say what the hub's stack gets", p.File)
	}
	var more map[string]any
	text := strings.ReplaceAll(found[1], "mirror.example.org/outposts", mirror)
	if err := yaml.Unmarshal([]byte(text), &more); err != nil {
		t.Fatal(err)
	}
	o := *s
	o.dir = folder
	for _, stack := range []string{"local", "remote"} {
		addresses := strings.NewReplacer("192.0.2.5", s.hub.node, "198.51.100.7", s.remote.node,
			"~/.kube/config", filepath.Join(home, ".kube", "config")) // ~ is the user's own home, whatever HOME says
		o.write(t, stack, addresses.Replace(o.read(t, stack)))
		for _, key := range []string{"outposts:hub", "outposts:outpost"} {
			if values, ok := more[key].(map[string]any); ok && (stack == "local" || key == "outposts:outpost") {
				for name, value := range values {
					o.set(t, stack, value, key, name)
				}
			}
		}
	}
}

// runsOnly holds that all containers in namespaces run images with a beginning of their names.
func (c cluster) runsOnly(t *testing.T, beginning string, namespaces ...string) {
	t.Helper()
	for _, namespace := range namespaces {
		pods, err := c.API.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(pods.Items) == 0 {
			t.Errorf("%s has %d pods in %s: %v", c.context, len(pods.Items), namespace, err)
			continue
		}
		for _, pod := range pods.Items {
			for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
				if !strings.HasPrefix(container.Image, beginning) {
					t.Errorf("%s: pod %s runs %s, want one of %s", c.context, pod.Name, container.Image, beginning)
				}
			}
		}
	}
}
