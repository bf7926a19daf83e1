//go:build e2e

package stacks

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/manual"
)

const (
	helmToken     = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	helmUser      = "ann"
	helmNamespace = "jupyterhub"
)

// helmHub are the values of the hub that somebody has, of the chart that stands in for zero-to-jupyterhub.
const helmHub = `
hub:
  image: {name: localhost/outposts/hub, tag: 5.5.4-2.2.11}
  cookieSecret: a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1
  config:
    JupyterHub: {authenticator_class: dummy}
    Authenticator: {allow_all: true}
  services: {test: {apiToken: ` + helmToken + `}}
  loadRoles: {test: {services: [test], scopes: [admin:users, admin:servers, access:servers]}}
proxy:
  secretToken: b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2
  service: {type: NodePort, nodePorts: {http: 30000}}
  chp: {image: {name: localhost/outposts/hub, tag: 5.5.4-2.2.11}}
singleuser:
  storage: {type: none}
  cloudMetadata: {blockWithIptables: false}
cull: {enabled: false}
prePuller: {hook: {enabled: false}, continuous: {enabled: false}}
scheduling: {userScheduler: {enabled: false}, userPlaceholder: {enabled: false}}
`

// helmer is somebody who has a hub that Helm has installed, and does with Helm what the tutorials say.
type helmer struct {
	*site
	registry string // as this machine reaches it; nodes call it localhost
	dir      string // the checkout that the first tutorial has made
	reader   manual.Reader
	api      *hubapi.Client
}

// tutorialsByHelm types both tutorials by Helm, one after the other for one hub: for a remote that the hub's cluster
// reaches, and then for one that lets nobody in; and at last that for clusters of one's own, up to a preview.
func tutorialsByHelm(t *testing.T, s *site) {
	folder := t.TempDir()
	registry := s.pushes(t)
	env := s.people(t, map[string]string{"hub": s.hub.context, "remote": s.remote.context},
		filepath.Join(folder, "cache"), map[string]string{"helm": s.helm(t)})
	env = append(env, manual.Clones(s.root)...)
	h := &helmer{
		site: s, registry: registry, dir: filepath.Join(folder, "outposts"),
		api: &hubapi.Client{URL: "http://" + s.hub.node + ":30000", Token: helmToken},
	}
	h.reader = manual.Reader{Shell: manual.OpenShell(t, folder, env), Yours: map[string]string{
		"registry.example.org/outposts": registry + "/outposts",
		"https://hub.example.org":       h.api.URL,
	}}
	defer s.hub.Without(t, helmNamespace)
	defer s.remote.Without(t, deployed.OutpostNamespace)
	if err := os.WriteFile(filepath.Join(folder, "hub.yaml"), []byte(helmHub), 0o600); err != nil {
		t.Fatal(err)
	}
	h.does(t, "helm --kube-context hub -n "+helmNamespace+" install --create-namespace jupyterhub "+
		filepath.Join(s.root, "e2e", "charts", "hub")+" -f hub.yaml")
	h.zeroToJupyterHub(t)
	h.does(t, "helm --kube-context hub -n "+helmNamespace+" uninstall outposts-hub",
		"kubectl --context hub -n "+helmNamespace+" delete secret jupyterhub-outpost-auth jupyterhub-outpost-sshkey",
		"rm ssh-privatekey* ssh_host_ed25519_key* tls.* values.yaml *outpost*.yaml hub-lines.yaml")
	s.remote.Without(t, deployed.OutpostNamespace)
	h.behindNAT(t)
	h.does(t, "helm --kube-context hub -n "+helmNamespace+" uninstall jupyterhub") // its node port is the example's
	h.ownClusters(t)
}

// zeroToJupyterHub types the tutorial for a remote that the hub's cluster reaches.
func (h *helmer) zeroToJupyterHub(t *testing.T) {
	p := manual.Open(t, h.root, "docs/tutorials/zero-to-jupyterhub.md")
	r := h.reader
	r.Yours = map[string]string{"198.51.100.7": h.remote.node}
	for theirs, ours := range h.reader.Yours {
		r.Yours[theirs] = ours
	}
	r.After = map[string]func(string){
		"cd outposts": func(string) { manual.Copy(t, h.root, h.dir) }, // what is not committed yet
		"cp docs/examples/helm/outpost.yaml .": func(string) {
			h.edit(t, r, "outpost.yaml", quayLab, deployed.LabImage,
				"\nflavors:", "\n"+h.opened(t, p)+"\nrbac: {homes: true}\nflavors:")
		},
		"sed 's/^/ /' tls.crt": func(said string) {
			h.edit(t, r, "outposts-hub.yaml", certificate.FindString(h.file(t, "outposts-hub.yaml")), said)
		},
		"cp docs/examples/helm/hub-lines.yaml .": func(string) { h.ownImage(t) },
		"helm --kube-context hub -n jupyterhub install outposts-hub charts/outposts-hub -f outposts-hub.yaml": func(
			said string,
		) {
			deployed.HubLines(t, said)
		},
		"kubectl --context hub -n jupyterhub rollout status deployment/hub --timeout 300s": func(string) {
			h.start(t, "remote")
		},
		"kubectl --context remote -n outpost get pods": func(said string) { h.ends(t, "remote", said) },
	}
	r.Types(t, p)
	h.operates(t)
}

// operates types what pages have operators do with an outpost, on the one that the tutorial has made.
func (h *helmer) operates(t *testing.T) {
	h.does(t, "kubectl config use-context remote", "cp outpost.yaml values.yaml")
	const (
		outpost = "kubectl -n outpost exec deploy/outpost -- outpost "
		check   = "helm -n outpost template outpost charts/outpost -f values.yaml | " +
			"kubectl -n outpost exec -i deploy/outpost -- outpost check-config --manifests -"
	)
	looks := map[string]map[string]string{
		"docs/howto/shared-data.md": {
			outpost + "homes list":                        `(?m)^jupyterhub +` + helmUser + ` +outpost/`,
			outpost + "homes rm --unused-since 90d --yes": `(?m)^0 of 0 homes removed$`,
		},
		"docs/howto/troubleshoot.md": {
			outpost + "explain --hub jupyterhub --user ann --groups staff,gpu": `(?m)^system +- +yes`,
			check: `(?m)^settings are valid; hubs: jupyterhub;`,
		},
		"docs/howto/upgrade.md": {
			"kubectl -n outpost rollout status deployment/outpost": `successfully rolled out`,
		},
	}
	for page, patterns := range looks {
		r := manual.Reader{Shell: h.reader.Shell, After: map[string]func(string){}}
		for line, pattern := range patterns {
			r.After[line] = func(said string) {
				if !regexp.MustCompile(pattern).MatchString(said) {
					t.Errorf("%s: want %s in\n%s", line, pattern, said)
				}
			}
		}
		r.Types(t, manual.Open(t, h.root, page))
	}
}

// ownClusters types the tutorial for clusters of one's own, up to what the hub's stack would make.
func (h *helmer) ownClusters(t *testing.T) {
	p := manual.Open(t, h.root, "docs/tutorials/own-clusters.md")
	project := *h.site
	project.dir = h.dir
	const registry = "registry.example.org/outposts"
	r := manual.Reader{Shell: h.reader.Shell, Yours: map[string]string{
		registry: h.reader.Yours[registry], "of your own": "some passphrase",
		"192.0.2.5": h.hub.node, "198.51.100.7": h.remote.node,
	}}
	r.After = map[string]func(string){
		"cp docs/examples/nodeport/Pulumi.*.yaml .": func(string) {
			for stack, at := range map[string]string{"local": "hub", "remote": "remote"} {
				h.edit(t, r, "Pulumi."+stack+".yaml")
				project.set(t, stack, map[string]any{"context": at}, "outposts:cluster")
				image := map[string]any{"repository": "localhost/outposts/outpost"}
				project.set(t, stack, image, "outposts:outpost", "image")
			}
			project.withImagesHere(t)
		},
		"make up STACK=local": func(said string) {
			if !strings.Contains(said, " to create") {
				t.Errorf("the preview says of nothing that it would be made:\n%s", said)
			}
		},
	}
	r.Types(t, p)
}

// behindNAT types the tutorial for a remote that lets nobody in, behind a NAT. The hub has the lines of the hub's side
// from before.
func (h *helmer) behindNAT(t *testing.T) {
	h.close(t)
	defer func() {
		for _, c := range []cluster{h.hub, h.remote} {
			h.filter(t, c.context, "delete table ip border")
		}
	}()
	p := manual.Open(t, h.root, "docs/tutorials/behind-nat.md")
	r := h.reader
	logs := "kubectl --context remote -n outpost logs deploy/outpost | grep tunnels"
	r.After = map[string]func(string){
		"cp docs/examples/helm/dial-out/outposts-hub.yaml .": func(string) { h.edit(t, r, "outposts-hub.yaml") },
		"cp docs/examples/helm/dial-out/outpost.yaml .": func(string) {
			zero := manual.Open(t, h.root, "docs/tutorials/zero-to-jupyterhub.md")
			h.edit(t, r, "outpost.yaml", quayLab, deployed.LabImage, "\nflavors:", "\n"+h.opened(t, zero)+"\nflavors:")
		},
		"helm --kube-context hub -n jupyterhub install outposts-hub charts/outposts-hub -f outposts-hub.yaml": func(
			said string,
		) {
			deployed.HubLines(t, said)
			if want := "/services/outposts/inner"; !strings.Contains(said, want) {
				t.Errorf("Helm does not print the URL %s:\n%s", want, said)
			}
		},
		"kubectl --context hub -n jupyterhub rollout restart deployment/hub": func(string) {
			manual.Shows(t, p, h.form(t), "Waiting for the outpost")
		},
		logs: func(string) { h.connects(t, p, logs) },
		"kubectl --context remote -n outpost get pods": func(said string) { h.ends(t, "inner", said) },
	}
	r.Before = map[string]func(){
		"kubectl --context remote -n outpost get pods": func() { h.start(t, "inner") },
	}
	r.Types(t, p)
}

// form is the form for a new server, once the hub has been restarted and knows its outposts.
func (h *helmer) form(t *testing.T) string {
	t.Helper()
	if err := h.hub.RolledOut(t.Context(), helmNamespace, "hub"); err != nil {
		t.Fatal(err)
	}
	answers(t, h.api)
	browser, err := hubapi.OpenBrowser(t.Context(), h.api.URL, helmUser, "any")
	if err != nil {
		t.Fatal(err)
	}
	page, err := browser.Get(t.Context(), "/hub/spawn/"+helmUser)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// connects waits until the outpost's log says, once for each replica of the tunnels, that it is connected.
func (h *helmer) connects(t *testing.T, p manual.Page, line string) {
	t.Helper()
	const words = "connected to the hub's tunnels"
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	var said string
	err := deployed.Eventually(ctx, func(context.Context) (err error) {
		if said, err = h.reader.Shell.Type(line); err == nil && strings.Count(said, words) < 2 {
			err = errors.New("it says so less than twice")
		}
		return err
	})
	if err != nil {
		t.Errorf("%v:\n%s", err, said)
	}
	manual.Shows(t, p, said, words)
}

// start starts a server on a system, as the page has the reader do in a browser.
func (h *helmer) start(t *testing.T, system string) {
	t.Helper()
	answers(t, h.api)
	options := map[string]any{"system": system, "flavor": "small"}
	deployed.RunCell(t, h.api, helmUser, system, options)
}

// ends holds that the pod of a server was listed, and ends the server.
func (h *helmer) ends(t *testing.T, system, said string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^\S+-` + system + ` +1/1 +Running `).MatchString(said) {
		t.Errorf("the server's pod is not listed:\n%s", said)
	}
	deployed.Stop(t, h.api, helmUser, system)
}

// does types lines that are on no page.
func (h *helmer) does(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		began := time.Now()
		if said, err := h.reader.Shell.Type(line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, said)
		}
		t.Logf("%s: %.1f s", line, time.Since(began).Seconds())
	}
}

// quayLab is the image of servers in the examples, which cannot be reached from everywhere.
const quayLab = "quay.io/jupyter/minimal-notebook:2025-10-20"

var (
	// certificate matches the one that the example of the hub's side has below `ca: |`.
	certificate = regexp.MustCompile(`(?s) +-----BEGIN CERTIFICATE-----.*-----END CERTIFICATE-----\n`)
	// publicKey matches a line of a public key, of which the examples say which file has it.
	publicKey = regexp.MustCompile(`ssh-ed25519 .* # of (\S+)`)
	// ofStock matches what the lines for zero-to-jupyterhub have for the stock image alone.
	ofStock = regexp.MustCompile(`(?s)  extraEnv: [^\n]*\n|    - \{name: outpost-runtime[^\n]*\n|  initContainers:.*`)
)

func (h *helmer) file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// edit puts into a file what is the reader's own, public keys included, and replaces texts in pairs.
func (h *helmer) edit(t *testing.T, r manual.Reader, name string, pairs ...string) {
	t.Helper()
	text := h.file(t, name)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == "" || !strings.Contains(text, pairs[i]) {
			t.Fatalf("%s does not have %q", name, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	text = strings.ReplaceAll(r.Put(text), h.registry+"/", "localhost/")
	text = publicKey.ReplaceAllStringFunc(text, func(line string) string {
		return strings.TrimSpace(h.file(t, publicKey.FindStringSubmatch(line)[1]))
	})
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ownImage takes the lines for the stock image out, as the page says for an image that has what they bring.
func (h *helmer) ownImage(t *testing.T) {
	t.Helper()
	text := ofStock.ReplaceAllString(h.file(t, "hub-lines.yaml"), "")
	if strings.Contains(text, "quay.io") {
		t.Fatalf("lines for the stock image are left:\n%s", text)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "hub-lines.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// opened is the page's line of values that lets servers reach a hub with a private address.
func (h *helmer) opened(t *testing.T, p manual.Page) string {
	t.Helper()
	found := regexp.MustCompile("`(singleuser: .*hubAddresses.*)`").FindStringSubmatch(p.Text)
	if found == nil || !strings.Contains(found[1], "10.0.0.5/32") {
		t.Fatalf("%s has no line for a hub with a private address: %q", p.File, found)
	}
	return strings.Replace(found[1], "10.0.0.5", h.hub.node, 1)
}

// pushes serves the images of the clusters to pushes, and returns the host by which lines of the manual name it.
func (s *site) pushes(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close() // the registry listens there next
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.root, "dev", "run"),
		"clusters", "registry", "--listen", address)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // t's context has ended it
	err = deployed.Eventually(t.Context(), func(context.Context) error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close() // it answers
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// helm builds Helm's own program.
func (s *site) helm(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "helm")
	s.printed(t, "dev/pulumi/kubernetes/testdata/helm/build", file)
	return file
}
