//go:build e2e

package stacks

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// givenContexts types the README's commands for two clusters that one has, in a fresh checkout: with the test's
// clusters in the role of those, and with pulumi, its plugins and kubectl as people have them. Nothing of the toolchain
// is built.
func givenContexts(t *testing.T, s *site) {
	text, err := os.ReadFile(filepath.Join(s.root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Two clusters that you have\n")
	section, _, _ = strings.Cut(section, "\n## ")
	typed := regexp.MustCompile(`(?m)^make .*$`).FindAllString(section, -1)
	if len(typed) != 3 {
		t.Fatalf("the README has %q, want three commands", typed)
	}
	named := strings.NewReplacer("kind-hub", s.hub.context, "kind-remote", s.remote.context)
	c := s.checkout(t)
	began := time.Now()
	for i, line := range typed {
		c.shell(t, named.Replace(line))
		if i == 0 {
			c.withImagesHere(t)
		}
	}
	u := c.user(t)
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	err = deployed.Eventually(ctx, func(ctx context.Context) error { return u.EnsureUser(ctx, u.name) })
	if err != nil {
		t.Fatalf("the hub does not answer: %v", err)
	}
	t.Logf("from the first command to a hub that answers: %.1f s", time.Since(began).Seconds())
	for _, system := range []string{"local", "remote"} {
		u.start(t, "given-"+system, system, "")
		u.stop(t, "given-"+system)
	}
	if built, err := filepath.Glob(filepath.Join(c.cache(), "outposts", "*")); err != nil || len(built) > 0 {
		t.Errorf("%v was built, %v", built, err)
	}
}

// checkout is the site as somebody has it who has cloned the repository: with pulumi, its plugins and kubectl, a
// backend, and an empty cache.
func (s *site) checkout(t *testing.T) *site {
	t.Helper()
	o := *s
	o.dir = t.TempDir()
	const copied = `git ls-files -z --cached --others --exclude-standard | xargs -0 cp -P --parents -t "$0"`
	s.printed(t, "sh", "-c", copied, o.dir)
	home, bin, backend := t.TempDir(), t.TempDir(), t.TempDir()
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
	o.env = append(os.Environ(),
		"HOME="+home, "XDG_CACHE_HOME="+o.cache(), "PATH="+bin+":"+os.Getenv("PATH"), "PULUMI_HOME="+home,
		"GOCACHE="+s.printed(t, "go", "env", "GOCACHE"), "GOPATH="+s.printed(t, "go", "env", "GOPATH"),
		"GOMODCACHE="+s.printed(t, "go", "env", "GOMODCACHE"),
		"PULUMI_SKIP_UPDATE_CHECK=true", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION=true",
		"PULUMI_BACKEND_URL=file://"+backend, "PULUMI_CONFIG_PASSPHRASE=of your own", "KUBECONFIG="+s.kubeconfig,
		"IMAGE=localhost/outposts/outpost:dev", "PULUMI_FLAGS=--yes --non-interactive")
	return &o
}

// cache is the folder for caches of a checkout.
func (s *site) cache() string { return filepath.Join(s.dir, ".state", "cache") }

// shell runs a line of shell in the checkout, which may compile the program and run Pulumi.
func (s *site) shell(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	began := time.Now()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env = s.dir, s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	t.Logf("%s: %.1f s", line, time.Since(began).Seconds())
}

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
