//go:build e2e

package published

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// Names of docs/examples/ingress. cert-manager calls a Certificate as the Ingress calls its Secret.
const (
	hubCertificate     = "jupyterhub-tls-certmanager"
	outpostCertificate = "outpost-tls-certmanager"
)

// basePath is where the hub is below its host, as one is that shares the host with other sites.
const basePath = "/jupyter"

// TestE2EIngress holds the published Ingress scenario as documented: hub and outpost by Ingress with certificates that
// cert-manager gets from an ACME server, SSH by a load balancer whose address nobody knows before. The hub trusts
// nothing but such a certificate, and a renewal costs no server. The hub is below a path: servers of both clusters
// start there and reach it.
func TestE2EIngress(t *testing.T) {
	tb := newTestbed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	began := time.Now()
	did := func(what string) {
		t.Helper()
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), what)
	}

	tb.installACME(ctx, t)
	tb.issue(ctx, t, tb.local)
	did("cert-manager on both clusters, the ACME server answers")

	local := map[string]any{
		"outposts:cluster": tb.target("local"),
		"outposts:hub": map[string]any{
			"namespace": hubNamespace,
			"values":    map[string]any{"hub": map[string]any{"baseUrl": basePath}},
		},
		"outposts:outpost": map[string]any{"namespace": outpostNamespace},
	}
	tb.up(ctx, t, "local", local)
	did("stack local is up")
	tb.trustHub(ctx, t)
	remote := map[string]any{
		"outposts:cluster": tb.target("remote"),
		"outposts:outpost": map[string]any{
			"namespace": outpostNamespace,
			"config":    map[string]any{"spawner": trustingServers()},
			"values": map[string]any{
				"hubCaConfigMap": trustConfigMap,
				"singleuser": map[string]any{"networkPolicy": map[string]any{"hubAddresses": []any{
					map[string]any{"cidr": tb.local.node + "/32", "ports": []any{443}},
				}}},
			},
		},
	}
	tb.up(ctx, t, "remote", remote)
	did("stack remote is up")
	tb.learnBalancer(ctx, t)
	tb.up(ctx, t, "local", local)
	tb.up(ctx, t, "remote", remote)
	did("SSH at " + tb.ssh + ", the address of its load balancer, is in the config")

	hubHost, outpostHost := host("hub", tb.local.node), host("outpost", tb.remote.node)
	firstHub := tb.awaitCertificate(ctx, t, hubHost, nil)
	did("the Ingress of the hub shows a certificate of " + firstHub.Issuer.CommonName)
	hub, user := tb.hub(ctx, t)

	// Nobody issues on the remote cluster yet: there the Ingress presents a self-signed certificate.
	if _, err := tb.served(ctx, outpostHost); err == nil {
		t.Fatal("the remote Ingress has a certificate before there is an issuer")
	}
	const server = "lab"
	options := map[string]any{"system": "remote", "flavor": "small"}
	err := start(ctx, hub, user, server, options)
	if err == nil || !strings.Contains(err.Error(), "The hub does not trust its certificate.") {
		t.Fatalf("a start by way of an Ingress without certificate: %v", err)
	}
	did("the hub refuses: " + err.Error())
	stop(ctx, t, hub, user, server)

	tb.issue(ctx, t, tb.remote)
	firstOutpost := tb.awaitCertificate(ctx, t, outpostHost, nil)
	did("the Ingress of the outpost shows a certificate of " + firstOutpost.Issuer.CommonName)
	if err := start(ctx, hub, user, server, options); err != nil {
		t.Fatal(err)
	}
	kernel, err := hub.OpenKernel(ctx, user, server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Run(ctx, "answer = 42"); err != nil {
		t.Fatal(err)
	}
	did("a server runs on the remote cluster, reached by SSH at its load balancer")
	tb.checkBalancer(ctx, t)
	const near = "near"
	if err := start(ctx, hub, user, near, map[string]any{"system": "local", "flavor": "small"}); err != nil {
		t.Fatal(err)
	}
	if err := hub.WaitReachable(ctx, user, near); err != nil {
		t.Error(err)
	}
	stop(ctx, t, hub, user, near)
	did("another has run beside the hub")

	before := tb.running(ctx, t)
	if err := tb.local.renew(ctx, hubNamespace, hubCertificate); err != nil {
		t.Fatal(err)
	}
	if err := tb.remote.renew(ctx, outpostNamespace, outpostCertificate); err != nil {
		t.Fatal(err)
	}
	secondHub, secondOutpost := tb.awaitCertificate(ctx, t, hubHost, firstHub),
		tb.awaitCertificate(ctx, t, outpostHost, firstOutpost)
	did("both Ingresses show renewed certificates")
	t.Logf("serial numbers: hub %x, then %x; outpost %x, then %x",
		firstHub.SerialNumber, secondHub.SerialNumber, firstOutpost.SerialNumber, secondOutpost.SerialNumber)

	remembers := func(kernel *hubapi.Kernel) {
		t.Helper()
		if printed, err := kernel.Run(ctx, "print(answer)"); err != nil || strings.TrimSpace(printed) != "42" {
			t.Errorf("the kernel printed %q, %v", printed, err)
		}
	}
	remembers(kernel) // by the connection from before
	if err := hub.WaitReachable(ctx, user, server); err != nil {
		t.Error(err)
	}
	again, err := kernel.Reopen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	remembers(again)
	if diff := cmp.Diff(before, tb.running(ctx, t)); diff != "" {
		t.Errorf("pods (-before +after the renewal):\n%s", diff)
	}
	did("the server has outlived it")

	// The hub asks the outpost by way of the renewed certificate.
	if err := start(ctx, hub, user, "second", options); err != nil {
		t.Errorf("a start after the renewal: %v", err)
	}
	stop(ctx, t, hub, user, "second")
	stop(ctx, t, hub, user, server)
	did("another has started, and both are stopped")
}

// target is the config of a stack's cluster.
func (tb *testbed) target(context string) map[string]any {
	return map[string]any{"kubeconfig": kubeconfigOf(tb.root), "context": context}
}

// trustConfigMap has the root of the ACME server, for the outpost and the servers of the remote cluster, who call the
// hub: unlike that of Let's Encrypt nobody trusts it unasked.
const trustConfigMap = "acme-root"

func (tb *testbed) trustHub(ctx context.Context, t *testing.T) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: outpostNamespace}}
	if _, err := tb.remote.API.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	root := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: trustConfigMap},
		Data:       map[string]string{"ca.crt": tb.ca.root},
	}
	_, err := tb.remote.API.CoreV1().ConfigMaps(outpostNamespace).Create(ctx, root,
		metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func trustingServers() map[string]any {
	return map[string]any{
		"environment": map[string]any{"SSL_CERT_FILE": "/etc/acme/ca.crt"},
		"volumes": []any{map[string]any{
			"name":      "acme-root",
			"configMap": map[string]any{"name": trustConfigMap},
		}},
		"volume_mounts": []any{map[string]any{"name": "acme-root", "mountPath": "/etc/acme", "readOnly": true}},
	}
}

// hub is a client of the stack's hub, by its published address, and the user it acts for.
func (tb *testbed) hub(ctx context.Context, t *testing.T) (*hubapi.Client, string) {
	t.Helper()
	var out struct {
		HubURL string `json:"hubUrl"`
		User   string `json:"verifyUser"`
		Token  string `json:"verifyToken"`
	}
	tb.outputs(ctx, t, "local", &out)
	if want := "https://" + host("hub", tb.local.node) + basePath; out.HubURL != want {
		t.Fatalf("hubUrl is %s, want %s", out.HubURL, want)
	}
	hub := &hubapi.Client{URL: out.HubURL, Token: out.Token, HTTP: &http.Client{Transport: tb.transport()}}
	err := deployed.Eventually(ctx, func(ctx context.Context) error { return hub.EnsureUser(ctx, out.User) })
	if err != nil {
		t.Fatal(err)
	}
	return hub, out.User
}

// start starts a server and waits until it is ready.
func start(ctx context.Context, hub *hubapi.Client, user, server string, options map[string]any) error {
	if err := hub.Start(ctx, user, server, options); err != nil {
		return err
	}
	return hub.Progress(ctx, user, server, nil)
}

func stop(ctx context.Context, t *testing.T, hub *hubapi.Client, user, server string) {
	t.Helper()
	if err := hub.Stop(ctx, user, server); err != nil {
		t.Error(err)
	}
	if err := hub.WaitGone(ctx, user, server); err != nil {
		t.Error(err)
	}
}

// learnBalancer reads the address of the load balancer of SSH from the output of the outpost's stack.
func (tb *testbed) learnBalancer(ctx context.Context, t *testing.T) {
	t.Helper()
	var given struct {
		SSH []string `json:"outpostSshAddresses"`
	}
	tb.outputs(ctx, t, "remote", &given)
	if len(given.SSH) != 1 {
		t.Fatalf("addresses of SSH: %v; want that of its load balancer", given.SSH)
	}
	tb.ssh = host("ssh", given.SSH[0])
}

// checkBalancer holds that SSH is reached at a load balancer's address, and nowhere else from outside.
func (tb *testbed) checkBalancer(ctx context.Context, t *testing.T) {
	t.Helper()
	ssh, err := tb.remote.API.CoreV1().Services(outpostNamespace).Get(ctx, "outpost-ssh", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if has := ssh.Status.LoadBalancer.Ingress; ssh.Spec.Type != corev1.ServiceTypeLoadBalancer || len(has) != 1 ||
		host("ssh", has[0].IP) != tb.ssh {
		t.Errorf("Service outpost-ssh: type %s, addresses %+v", ssh.Spec.Type, has)
	}
	api, err := tb.remote.API.CoreV1().Services(outpostNamespace).Get(ctx, "outpost", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if api.Spec.Type != corev1.ServiceTypeClusterIP {
		t.Errorf("Service outpost: type %s; want it behind the Ingress only", api.Spec.Type)
	}
}

// running are the pods of both sides.
func (tb *testbed) running(ctx context.Context, t *testing.T) map[string]int32 {
	t.Helper()
	all := map[string]int32{}
	for _, side := range []struct {
		cluster
		namespace string
	}{{tb.local, hubNamespace}, {tb.local, outpostNamespace}, {tb.remote, outpostNamespace}} {
		found, err := side.cluster.running(ctx, side.namespace)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(all, found)
	}
	return all
}
