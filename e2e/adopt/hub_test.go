//go:build e2e

package adopt

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// Of the hub that Helm installs.
const (
	namespace = "adopt-hub"
	release   = "jhub"
	users     = 10
	kept      = "user0" // has a server of KubeSpawner
	token     = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// authenticator keeps something of each user, as those of identity providers do.
const authenticator = `
from jupyterhub.auth import DummyAuthenticator

class Keeps(DummyAuthenticator):
    async def authenticate(self, handler, data):
        return {"name": data["username"], "auth_state": {"token": "of " + data["username"]}}

c.JupyterHub.authenticator_class = Keeps
c.Authenticator.enable_auth_state = True
c.Authenticator.allow_all = True
`

// kubeSpawner is what zero-to-jupyterhub says of the servers of its users, as far as this one needs it.
const kubeSpawner = `
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.KubeSpawner.image = "` + deployed.LabImage + `"
c.KubeSpawner.cmd = ["jupyterhub-singleuser"]
c.KubeSpawner.common_labels = {"app": "jupyterhub", "release": "jhub"}
c.KubeSpawner.extra_labels = {"hub.jupyter.org/network-access-hub": "true"}
c.KubeSpawner.start_timeout = 180
c.KubeSpawner.http_timeout = 120
`

// ofBoth are values that the hub has before and after.
func ofBoth() map[string]any {
	return map[string]any{
		"hub": map[string]any{
			"extraConfig": map[string]any{"auth": authenticator},
			"services":    map[string]any{"test": map[string]any{"apiToken": token}},
			"loadRoles": map[string]any{"test": map[string]any{"services": []any{"test"}, "scopes": []any{
				"admin:users", "admin:servers", "access:servers", "admin:auth_state",
			}}},
		},
		"proxy": map[string]any{"chp": map[string]any{"image": hubImage()}},
		"cull":  map[string]any{"enabled": false},
	}
}

// ofHelm are the values of a hub that Helm installs.
func ofHelm() map[string]any {
	return deployed.Merge(ofBoth(), map[string]any{
		"hub": map[string]any{
			"image":        hubImage(),
			"cookieSecret": strings.Repeat("a1", 32),
			"config":       map[string]any{"CryptKeeper": map[string]any{"keys": []any{strings.Repeat("c3", 32)}}},
		},
		"proxy": map[string]any{
			"secretToken": strings.Repeat("b2", 32),
			"service":     map[string]any{"type": "NodePort", "nodePorts": map[string]any{"http": hubPort}},
		},
		// As the guide has it switched off before; the stand-in for zero-to-jupyterhub has no defaults of it.
		"singleuser": map[string]any{
			"storage":       map[string]any{"type": "none"},
			"cloudMetadata": map[string]any{"blockWithIptables": false},
		},
		"prePuller": map[string]any{
			"hook": map[string]any{"enabled": false}, "continuous": map[string]any{"enabled": false},
		},
		"scheduling": map[string]any{
			"userScheduler": map[string]any{"enabled": false}, "userPlaceholder": map[string]any{"enabled": false},
		},
	})
}

func hubImage() map[string]any {
	return map[string]any{"name": "localhost/outposts/hub", "tag": "5.5.4-2.2.11"}
}

// TestE2EHubOfHelm holds that a stack takes over a hub that Helm has installed under another release name: its ten
// users stay logged in, their auth state is readable, and a server of KubeSpawner, with a kernel in it, runs on.
func TestE2EHubOfHelm(t *testing.T) {
	s := newSite(t, namespace, "adopt-outpost", "adopt-outpost-servers")
	s.install(t)
	hub := &hubapi.Client{URL: s.hubURL(), Token: token}
	there(t, hub)
	browsers := logIn(t, hub)
	kernel := start(t, hub)
	pod := s.pod(t, namespace, "hub.jupyter.org/username="+kept)

	s.write(t, deployed.Merge(s.committed(t, "local"), map[string]any{
		"outposts:hub": map[string]any{
			"namespace": namespace, "release": release, "url": hub.URL,
			"exposure": map[string]any{"nodePort": hubPort}, "values": ofBoth(),
		},
		"outposts:outposts": []any{map[string]any{"name": "local"}},
		"outposts:outpost":  map[string]any{"namespace": "adopt-outpost"},
		"outposts:adopt":    []any{namespace},
	}))
	s.refused(t, "Helm has a record of release jhub in namespace adopt-hub", "everybody would be logged out",
		"users' auth state could not be read", "outposts:hub.values.proxy.secretToken: is not what the hub")
	s.forget(t)
	s.takeKeys(t)
	s.pulumi(t, "up", "--yes")
	s.adopt(t)
	s.pulumi(t, "up", "--yes")
	s.uninstalledInVain(t)
	s.pulumi(t, "preview", "--refresh", "--expect-no-changes")

	if again := s.pod(t, namespace, "hub.jupyter.org/username="+kept); again != pod {
		t.Errorf("the server of KubeSpawner is pod %s, was %s", again, pod)
	}
	there(t, hub)
	runsOn(t, kernel)
	loggedIn(t, browsers)
	authState(t, hub)
	startOnOutpost(t, hub)
	deployed.Stop(t, hub, kept, "") // the one of KubeSpawner
	s.noPods(t, namespace, "hub.jupyter.org/username="+kept)
}

// there waits for the hub, whose pods are ready.
func there(t *testing.T, hub *hubapi.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := hub.WaitThere(ctx); err != nil {
		t.Fatal(err)
	}
}

// start starts the server of KubeSpawner, with a kernel in it.
func start(t *testing.T, hub *hubapi.Client) *hubapi.Witness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := hub.Start(ctx, kept, "", nil); err != nil {
		t.Fatal(err)
	}
	if err := hub.WaitReachable(ctx, kept, ""); err != nil {
		t.Fatal(err)
	}
	kernel, err := hub.OpenWitness(ctx, kept, "")
	if err != nil {
		t.Fatal(err)
	}
	return kernel
}

// runsOn holds that a kernel is the one from before.
func runsOn(t *testing.T, kernel *hubapi.Witness) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := kernel.Knows(ctx); err != nil {
		t.Error(err)
	}
}

// startOnOutpost starts a server on the outpost that has come, beside the one of KubeSpawner, and stops it.
func startOnOutpost(t *testing.T, hub *hubapi.Client) {
	t.Helper()
	const server = "new"
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := hub.Start(ctx, kept, server, map[string]any{"system": "local", "flavor": "small"}); err != nil {
		t.Fatal(err)
	}
	if err := hub.Progress(ctx, kept, server, func(e hubapi.Event) { t.Log(e.Message) }); err != nil {
		t.Fatal(err)
	}
	if err := hub.WaitReachable(ctx, kept, server); err != nil {
		t.Fatal(err)
	}
	deployed.Stop(t, hub, kept, server)
}

// install lets Helm install the hub.
func (s *site) install(t *testing.T) {
	t.Helper()
	s.kubectl(t, "", "create", "namespace", namespace)
	s.Release(t, s.root, namespace, release, "e2e/charts/hub", deployed.Merge(ofHelm(), map[string]any{
		"hub": map[string]any{"extraConfig": map[string]any{"kube": kubeSpawner}},
	}))
	s.kubectl(t, "", "rollout", "status", "--timeout=5m", "deployment/hub", "deployment/proxy")
}

// uninstalledInVain holds that Helm knows no release any more which it could delete.
func (s *site) uninstalledInVain(t *testing.T) {
	t.Helper()
	const want = "release: not found"
	said, err := deployed.Helm(t, s.root, s.kubeconfig, s.context, namespace, "", "uninstall", release)
	if err == nil || !strings.Contains(said, want) {
		t.Errorf("helm uninstall says, want %q: %v\n%s", want, err, said)
	}
}

// forget deletes Helm's record, as the message of the refusal says.
func (s *site) forget(t *testing.T) {
	t.Helper()
	err := s.API.CoreV1().Secrets(namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{},
		metav1.ListOptions{LabelSelector: "owner=helm,name=" + release})
	if err != nil {
		t.Fatal(err)
	}
}

// takeKeys puts the keys of the hub into the stack's config, as the messages of the refusal say.
func (s *site) takeKeys(t *testing.T) {
	t.Helper()
	secret, err := s.API.CoreV1().Secrets(namespace).Get(t.Context(), "hub", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key, path := range map[string]string{
		"hub.config.JupyterHub.cookie_secret":         "hub.cookieSecret",
		"hub.config.ConfigurableHTTPProxy.auth_token": "proxy.secretToken",
		"hub.config.CryptKeeper.keys":                 "hub.config.CryptKeeper.keys[0]",
	} {
		s.pulumi(t, "config", "set", "--secret", "--path", "outposts:hub.values."+path, string(secret.Data[key]))
	}
}

// logIn logs all users in by the hub's form and returns their browsers.
func logIn(t *testing.T, hub *hubapi.Client) []*hubapi.Browser {
	t.Helper()
	var browsers []*hubapi.Browser
	for i := range users {
		browser, err := hubapi.OpenBrowser(t.Context(), hub.URL, userName(i), "any")
		if err != nil {
			t.Fatal(err)
		}
		browsers = append(browsers, browser)
	}
	loggedIn(t, browsers)
	return browsers
}

// loggedIn holds that the hub knows whose the cookies of each browser are.
func loggedIn(t *testing.T, browsers []*hubapi.Browser) {
	t.Helper()
	for i, browser := range browsers {
		page, err := browser.Get(t.Context(), "/hub/home")
		if err != nil || !strings.Contains(string(page), userName(i)) {
			t.Errorf("%s is not logged in: %v", userName(i), err)
		}
	}
}

// authState holds that the hub can read what the authenticator kept of each user.
func authState(t *testing.T, hub *hubapi.Client) {
	t.Helper()
	for i := range users {
		state, err := hub.AuthState(t.Context(), userName(i))
		if err != nil || state["token"] != "of "+userName(i) {
			t.Errorf("auth state of %s: %v, %v", userName(i), state, err)
		}
	}
}

func userName(i int) string { return fmt.Sprintf("user%d", i) }

// pod is the uid of the one pod that labels select.
func (s *site) pod(t *testing.T, namespace, labels string) string {
	t.Helper()
	pods, err := s.API.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: labels})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("pods %s: %v, %v", labels, pods, err)
	}
	return string(pods.Items[0].UID)
}

func (s *site) noPods(t *testing.T, namespace, labels string) {
	t.Helper()
	pods, err := s.API.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: labels})
	if err != nil || len(pods.Items) > 0 {
		t.Errorf("pods %s: %d, %v", labels, len(pods.Items), err)
	}
}
