//go:build e2e

package published

import (
	"context"
	"crypto/x509"
	"encoding/json"
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

// Names of the Secrets in the examples. cert-manager calls a Certificate as the Ingress or the Gateway calls its
// Secret.
const (
	hubCertificate     = "jupyterhub-tls-certmanager"
	outpostCertificate = "outpost-tls-certmanager"
)

// basePath is where the hub is below its host, as one is that shares the host with other sites.
const basePath = "/jupyter"

// lab is the server that a scenario starts on the remote cluster.
const lab = "lab"

var options = map[string]any{"system": "remote", "flavor": "small"}

// TestE2EGateway holds the scenario with the Gateway API as documented: hub and outpost by routes to Gateways with
// certificates that cert-manager gets from an ACME server, SSH by the same Gateway. The hub trusts nothing but such a
// certificate, a renewal costs no server, and what a Gateway says of a route reaches the operator.
func TestE2EGateway(t *testing.T) {
	tb := newTestbed(t, byGateway)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	did := progress(t)
	tb.installACME(ctx, t)
	tb.gateway(ctx, t, tb.local)
	tb.gateway(ctx, t, tb.remote)
	tb.issue(ctx, t, tb.local)
	did("cert-manager and a Gateway on both clusters, the ACME server answers")

	err := tb.tryUp(ctx, t, "local", tb.here("local", map[string]any{
		"exposure": map[string]any{"gateway": map[string]any{"name": "publik"}},
	}))
	wantError(t, err, "outposts:hub.exposure.gateway: Gateway "+gatewayNamespace+"/publik does not exist; make it, or "+
		"name another; namespace "+gatewayNamespace+" has public; nothing was changed")
	did("a Gateway that is not there is refused by name")

	tb.installStacks(ctx, t, did)
	tb.checkAddresses(ctx, t, "local", map[string][]string{"hubAddresses": {tb.local.web}})
	tb.checkAddresses(ctx, t, "remote", map[string][]string{
		"outpostAddresses": {tb.remote.web}, "outpostSshAddresses": {tb.remote.web},
	})
	hub, user := tb.hub(ctx, t)
	first := tb.trusted(ctx, t, hub, user, did)
	kernel := startKernel(ctx, t, hub, user)
	did("a server runs on the remote cluster, reached by SSH at the Gateway")
	tb.renewed(ctx, t, hub, user, kernel, first, did)

	err = tb.tryUp(ctx, t, "local", tb.here("local", map[string]any{
		"url": "https://other.example.org", "exposure": map[string]any{"host": "other.example.org"},
	}))
	wantError(t, err, "outposts:hub.exposure.gateway: HTTPRoute "+hubNamespace+"/jupyterhub is not accepted by "+
		"Gateway "+gatewayNamespace+"/public, listener https: NoMatchingListenerHostname: ")
	did("a name that the listener does not have is said")
}

// TestE2EIngress holds the published Ingress scenario as documented: hub and outpost by Ingress with certificates that
// cert-manager gets from an ACME server, SSH by a load balancer whose address nobody knows before: it is read from the
// output of the outpost's stack, and written into the hub's. The hub is below a path: servers of both clusters start
// there and reach it.
func TestE2EIngress(t *testing.T) {
	tb := newTestbed(t, byIngress)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	did := progress(t)
	tb.installACME(ctx, t)
	tb.issue(ctx, t, tb.local)
	did("cert-manager on both clusters, the ACME server answers")
	tb.installStacks(ctx, t, did)

	var given struct {
		SSH []string `json:"outpostSshAddresses"`
	}
	tb.outputs(ctx, t, "remote", &given)
	if len(given.SSH) != 1 {
		t.Fatalf("addresses of SSH: %v; want that of its load balancer", given.SSH)
	}
	tb.ssh = host("ssh", given.SSH[0])
	tb.up(ctx, t, "local", tb.here("local", nil))
	tb.up(ctx, t, "remote", tb.here("remote", nil))
	did("the address of the load balancer, " + given.SSH[0] + ", is in the config")

	hub, user := tb.hub(ctx, t)
	tb.trusted(ctx, t, hub, user, did)
	tb.local.Arrives(t, hubNamespace, "the address in the tunnels", func(ctx context.Context) error {
		return start(ctx, hub, user, lab, options)
	})
	deployed.Stop(t, hub, user, lab)
	startKernel(ctx, t, hub, user)
	did("a server runs on the remote cluster, reached by SSH at its load balancer")
	tb.checkBalancer(ctx, t, given.SSH[0])
	deployed.Stop(t, hub, user, lab)
	const near = "near"
	if err := start(ctx, hub, user, near, map[string]any{"system": "local", "flavor": "small"}); err != nil {
		t.Fatal(err)
	}
	if err := hub.WaitReachable(ctx, user, near); err != nil {
		t.Error(err)
	}
	deployed.Stop(t, hub, user, near)
	did("another has run beside the hub")
}

// progress says what was done, and when.
func progress(t *testing.T) func(what string) {
	began := time.Now()
	return func(what string) {
		t.Helper()
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), what)
	}
}

// wantError holds that an `up` has failed with a message.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), want) {
		t.Fatalf("error %v, want ... %s", err, want)
	}
}

// here is the config of a stack that is so on these clusters only, with more for its hub.
func (tb *testbed) here(stack string, hub map[string]any) map[string]any {
	if stack == "local" {
		return map[string]any{
			"outposts:cluster": tb.target("local"),
			"outposts:hub": deployed.Merge(map[string]any{
				"namespace": hubNamespace, "values": map[string]any{"hub": map[string]any{"baseUrl": basePath}},
			}, hub),
			"outposts:outpost": map[string]any{"namespace": outpostNamespace},
		}
	}
	return map[string]any{
		"outposts:cluster": tb.target("remote"),
		"outposts:outpost": map[string]any{
			"namespace": outpostNamespace,
			"config":    map[string]any{"spawner": trustingServers()},
			"values": map[string]any{
				"hubCaConfigMap": trustConfigMap,
				"singleuser": map[string]any{"networkPolicy": map[string]any{"hubAddresses": []any{
					map[string]any{"cidr": tb.local.web + "/32", "ports": []any{443}},
				}}},
			},
		},
	}
}

// installStacks applies both stacks.
func (tb *testbed) installStacks(ctx context.Context, t *testing.T, did func(string)) {
	t.Helper()
	tb.up(ctx, t, "local", tb.here("local", nil))
	did("stack local is up")
	tb.trustHub(ctx, t)
	tb.up(ctx, t, "remote", tb.here("remote", nil))
	did("stack remote is up")
}

// trusted holds that the hub starts nothing on an outpost without a certificate, and returns the first certificates of
// hub and outpost once both have one.
func (tb *testbed) trusted(
	ctx context.Context, t *testing.T, hub *hubapi.Client, user string, did func(string),
) (first [2]*x509.Certificate) {
	t.Helper()
	first[0] = tb.awaitCertificate(ctx, t, host("hub", tb.local.web), nil)
	did("the hub is served with a certificate of " + first[0].Issuer.CommonName)
	// Nobody issues on the remote cluster yet.
	if _, err := tb.served(ctx, host("outpost", tb.remote.web)); err == nil {
		t.Fatal("the outpost has a certificate before there is an issuer")
	}
	err := start(ctx, hub, user, lab, options)
	if err == nil || !strings.Contains(err.Error(), tb.way.untrusted) {
		t.Fatalf("a start without certificate: %v; want ... %s", err, tb.way.untrusted)
	}
	did("the hub refuses: " + err.Error())
	deployed.Stop(t, hub, user, lab)
	tb.issue(ctx, t, tb.remote)
	first[1] = tb.awaitCertificate(ctx, t, host("outpost", tb.remote.web), nil)
	did("the outpost is served with a certificate of " + first[1].Issuer.CommonName)
	return first
}

// startKernel starts a server, and a kernel in it that has an answer.
func startKernel(ctx context.Context, t *testing.T, hub *hubapi.Client, user string) *hubapi.Kernel {
	t.Helper()
	if err := start(ctx, hub, user, lab, options); err != nil {
		t.Fatal(err)
	}
	kernel, err := hub.OpenKernel(ctx, user, lab)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Run(ctx, "answer = 42"); err != nil {
		t.Fatal(err)
	}
	return kernel
}

// renewed holds that a renewal of both certificates costs no server, and that others start after it.
func (tb *testbed) renewed(ctx context.Context, t *testing.T, hub *hubapi.Client, user string, kernel *hubapi.Kernel,
	first [2]*x509.Certificate, did func(string),
) {
	t.Helper()
	before := tb.running(ctx, t)
	if err := tb.local.renew(ctx, tb.way.hubCertificates, hubCertificate); err != nil {
		t.Fatal(err)
	}
	if err := tb.remote.renew(ctx, tb.way.outpostCertificates, outpostCertificate); err != nil {
		t.Fatal(err)
	}
	second := [2]*x509.Certificate{
		tb.awaitCertificate(ctx, t, host("hub", tb.local.web), first[0]),
		tb.awaitCertificate(ctx, t, host("outpost", tb.remote.web), first[1]),
	}
	did("both are served with renewed certificates")
	t.Logf("serial numbers: hub %x, then %x; outpost %x, then %x",
		first[0].SerialNumber, second[0].SerialNumber, first[1].SerialNumber, second[1].SerialNumber)

	remembers := func(kernel *hubapi.Kernel) {
		t.Helper()
		if printed, err := kernel.Run(ctx, "print(answer)"); err != nil || strings.TrimSpace(printed) != "42" {
			t.Errorf("the kernel printed %q, %v", printed, err)
		}
	}
	remembers(kernel) // by the connection from before
	if err := hub.WaitReachable(ctx, user, lab); err != nil {
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
	deployed.Stop(t, hub, user, "second")
	deployed.Stop(t, hub, user, lab)
	did("another has started, and both are stopped")
}

// checkAddresses holds the addresses that a stack has as outputs.
func (tb *testbed) checkAddresses(ctx context.Context, t *testing.T, stack string, want map[string][]string) {
	t.Helper()
	var all map[string]json.RawMessage
	tb.outputs(ctx, t, stack, &all)
	got := map[string][]string{}
	for name, text := range all {
		if !strings.HasSuffix(name, "Addresses") {
			continue
		}
		var addresses []string
		if err := json.Unmarshal(text, &addresses); err != nil {
			t.Fatal(err)
		}
		got[name] = addresses
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("addresses among the outputs of stack %s (-want +got):\n%s", stack, diff)
	}
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
	if want := "https://" + host("hub", tb.local.web) + basePath; out.HubURL != want {
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

// checkBalancer holds that SSH is reached at a load balancer's address, and nowhere else from outside.
func (tb *testbed) checkBalancer(ctx context.Context, t *testing.T, address string) {
	t.Helper()
	ssh, err := tb.remote.API.CoreV1().Services(outpostNamespace).Get(ctx, "outpost-ssh", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if has := ssh.Status.LoadBalancer.Ingress; ssh.Spec.Type != corev1.ServiceTypeLoadBalancer || len(has) != 1 ||
		has[0].IP != address {
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
