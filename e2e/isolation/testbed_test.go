//go:build e2e

package isolation

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

// release is the name of the chart's release, and so of the objects of the outpost.
const release = "outpost"

// port is where servers listen.
const port = 41234

// hub is a JupyterHub with valid credentials.
type hub struct {
	name, password string
	key            ssh.Signer
}

func newHub(t *testing.T, name string) hub {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return hub{name: name, password: rand.Text() + rand.Text(), key: key}
}

// testbed is an outpost that serves the hubs a and b.
type testbed struct {
	local, remote   deployed.Cluster
	namespace       string
	image           string // of servers
	a, b            hub
	url, sshAddress string
	calls           *calls
}

func setting(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// program runs a program of the checkout in its top folder.
func program(t *testing.T, stdin string, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdin = filepath.Join("..", ".."), strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// newTestbed installs the outpost and waits until it is ready.
func newTestbed(t *testing.T) *testbed {
	t.Helper()
	kubeconfig, err := filepath.Abs(setting("E2E_KUBECONFIG", filepath.Join("..", "..", ".state", "kubeconfig")))
	if err != nil {
		t.Fatal(err)
	}
	deployed.NeedsClusters(t, kubeconfig)
	tb := &testbed{
		local: deployed.OpenCluster(t, kubeconfig, "local"), remote: deployed.OpenCluster(t, kubeconfig, "remote"),
		image: program(t, "", "images/build", "ref", "lab"), a: newHub(t, "hub-a"), b: newHub(t, "hub-b"),
	}
	tb.namespace = newNamespace(t, tb.local, "outposts-isolation")
	node := deployed.Node(t, tb.local.API)
	tb.calls = listen(t, node)
	repository, tag, _ := strings.Cut(setting("E2E_OUTPOST_IMAGE", "localhost/outposts/outpost:dev"), ":")
	objects := tb.secrets(t) + "\n---\n" + deployed.RenderChart(t, release, tb.namespace, tb.values(repository, tag))
	program(t, objects, "dev/run", "kubectl", "--kubeconfig", kubeconfig, "--context", "local", "-n", tb.namespace,
		"apply", "-f", "-")
	if err := tb.local.RolledOut(t.Context(), tb.namespace, release); err != nil {
		t.Fatal(err)
	}
	api := net.JoinHostPort(node, tb.nodePort(t, release))
	tb.url, tb.sshAddress = "http://"+api, net.JoinHostPort(node, tb.nodePort(t, release+"-ssh"))
	for _, address := range []string{api, tb.sshAddress} {
		served(t, address)
	}
	return tb
}

// served waits until a node port takes connections: the node may learn of a Service after its pods are ready.
func served(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// newNamespace makes a namespace that ends with the test.
func newNamespace(t *testing.T, c deployed.Cluster, name string) string {
	t.Helper()
	namespaces := c.API.CoreV1().Namespaces()
	made, err := namespaces.Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := namespaces.Delete(context.Background(), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = deployed.Eventually(ctx, func(ctx context.Context) error { // without its account pods are refused
		_, err := c.API.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return made.Name
}

// secrets are the logins and the key of the database.
func (tb *testbed) secrets(t *testing.T) string {
	t.Helper()
	var texts []string
	for name, data := range map[string]map[string]string{
		"outpost-users": {
			"usernames": tb.a.name + ";" + tb.b.name, "passwords": tb.a.password + ";" + tb.b.password,
		},
		"outpost-cryptkey": {"secret_key": base64.URLEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32])},
	} {
		text, err := json.Marshal(corev1.Secret{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			StringData: data,
		})
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return strings.Join(texts, "\n---\n")
}

// values are those of the chart. The operator trusts hub b with as much as isolation allows: every template of names
// but the host's, and annotations.
func (tb *testbed) values(repository, tag string) map[string]any {
	callbacks := func(h hub) []any { return []any{tb.calls.url(h)} }
	authorized := func(h hub) []any { return []any{string(ssh.MarshalAuthorizedKey(h.key.PublicKey()))} }
	nodePort := map[string]any{"type": "NodePort"}
	return map[string]any{
		"image":       map[string]any{"repository": repository, "tag": tag},
		"cryptSecret": "outpost-cryptkey", "outpostUsers": "outpost-users",
		"hubSshPublicKeys": map[string]any{tb.a.name: authorized(tb.a), tb.b.name: authorized(tb.b)},
		"service":          nodePort, "servicessh": nodePort, "internalSsl": true,
		"config": map[string]any{
			"spawner": map[string]any{
				"image": tb.image, "image_pull_policy": "IfNotPresent", "cpu_guarantee": 0.001, "mem_guarantee": "1M",
				"cmd": []any{"python3", "-m", "http.server", strconv.Itoa(port)}, "working_dir": "/home",
				"uid": 1000, "fs_gid": 1000, "internal_ssl": true,
				"storage_pvc_ensure": true, "storage_capacity": "1Mi",
				"volumes": []any{map[string]any{
					"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"},
				}},
				"volume_mounts": []any{map[string]any{"name": "home", "mountPath": "/home"}},
			},
			"hubs": map[string]any{
				tb.a.name: map[string]any{"callbackUrls": callbacks(tb.a)},
				tb.b.name: map[string]any{
					"callbackUrls":   callbacks(tb.b),
					"allowedOptions": []any{"secret_name_template", "pvc_name_template", "extra_annotations"},
					"spawner":        map[string]any{"profile_list": profiles()},
				},
			},
		},
	}
}

// Slugs of profiles whose servers mount what the template of a name yields, without the outpost making it.
const (
	claimByName  = "claim-by-name"
	secretByName = "secret-by-name"
)

func profiles() []any {
	secret := map[string]any{"name": "home", "secret": map[string]any{"secretName": "{pod_name}", "optional": true}}
	return []any{
		map[string]any{"display_name": "Usual", "default": true},
		map[string]any{
			"display_name": "Claim", "slug": claimByName,
			"kubespawner_override": map[string]any{"storage_pvc_ensure": false},
		},
		map[string]any{
			"display_name": "Secret", "slug": secretByName,
			"kubespawner_override": map[string]any{"volumes": []any{secret}},
		},
	}
}

func (tb *testbed) nodePort(t *testing.T, service string) string {
	t.Helper()
	svc, err := tb.local.API.CoreV1().Services(tb.namespace).Get(t.Context(), service, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(int(svc.Spec.Ports[0].NodePort))
}

// direct asks without the proxies that the environment may name.
var direct = &http.Client{Transport: &http.Transport{}}

// call makes one request to the outpost and returns the status and the body of the answer.
func (tb *testbed) call(t *testing.T, name, password, method, path string, body any) (int, string) {
	t.Helper()
	payload, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, tb.url+path, bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if name != "" {
		r.SetBasicAuth(name, password)
	}
	resp, err := direct.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// wish is a server that a hub asks for.
type wish struct {
	user, startID string
	env           map[string]string
	misc          map[string]any // over what the client always sends
	plain         bool           // without certificates
	profile       string         // empty for the usual one
}

// start asks for a server as a hub's client does.
func (tb *testbed) start(t *testing.T, h hub, w wish) (int, string) {
	t.Helper()
	env := map[string]string{"JUPYTERHUB_USER": w.user, "JUPYTERHUB_USER_ID": "1", "JUPYTERHUB_API_TOKEN": "token"}
	misc := map[string]any{"services_enabled": true, "port": port, "internal_ssl": !w.plain}
	options := map[string]string{"start_id": w.startID}
	if w.profile != "" {
		options["profile"] = w.profile
	}
	body := map[string]any{"name": "lab", "env": env, "misc": misc, "user_options": options}
	maps.Copy(env, w.env)
	maps.Copy(misc, w.misc)
	if !w.plain {
		body["certs"] = map[string]string{"keyfile": "KEY of " + h.name, "certfile": "CERT", "cafile": "CA"}
	}
	return tb.call(t, h.name, h.password, http.MethodPost, "/services", body)
}

// server is one that runs, with the names of its objects.
type server struct {
	hub                        hub
	startID                    string
	pod                        *corev1.Pod
	service                    *corev1.Service
	secret, claim, host, podIP string
}

// run starts a server and waits until it is ready.
func (tb *testbed) run(t *testing.T, h hub, w wish) server {
	t.Helper()
	if status, answer := tb.start(t, h, w); status != http.StatusOK {
		t.Fatalf("start of %s's server of %s: status %d, %s", h.name, w.user, status, answer)
	}
	s := server{hub: h, startID: w.startID}
	pods, err := tb.local.API.CoreV1().Pods(tb.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		if a := pods.Items[i].Annotations; a[kubespawner.HubKey] == h.name && a[kubespawner.StartIDKey] == w.startID {
			s.pod = &pods.Items[i]
		}
	}
	if s.pod == nil {
		t.Fatalf("the server of %s has no pod", w.user)
	}
	s.podIP = s.pod.Status.PodIP
	for _, v := range s.pod.Spec.Volumes {
		switch {
		case v.Secret != nil:
			s.secret = v.Secret.SecretName
		case v.PersistentVolumeClaim != nil:
			s.claim = v.PersistentVolumeClaim.ClaimName
		}
	}
	s.service, err = tb.local.API.CoreV1().Services(tb.namespace).Get(t.Context(), s.pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.host = s.service.Name + "." + tb.namespace + ".svc.cluster.local"
	return s
}

// ownClaim is the claim of the outpost's own volume.
func (tb *testbed) ownClaim(t *testing.T) string {
	t.Helper()
	claims, err := tb.local.API.CoreV1().PersistentVolumeClaims(tb.namespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + release})
	if err != nil || len(claims.Items) != 1 {
		t.Fatalf("claims of the outpost: %v, %v", claims, err)
	}
	return claims.Items[0].Name
}

// objects are the identities of objects by kind and name. All but pods have their version in it, so that a change
// shows too.
type objects map[string]string

// objects returns those in the namespace: of hub b, or all others.
func (tb *testbed) objects(ctx context.Context, ofHubB bool) (objects, error) {
	api, all := tb.local.API.CoreV1(), objects{}
	add := func(kind string, o metav1.Object) {
		if (o.GetAnnotations()[kubespawner.HubKey] == tb.b.name) != ofHubB {
			return
		}
		all[kind+" "+o.GetName()] = string(o.GetUID())
		if kind != "pod" {
			all[kind+" "+o.GetName()] += " " + o.GetResourceVersion()
		}
	}
	pods, err1 := api.Pods(tb.namespace).List(ctx, metav1.ListOptions{})
	secrets, err2 := api.Secrets(tb.namespace).List(ctx, metav1.ListOptions{})
	claims, err3 := api.PersistentVolumeClaims(tb.namespace).List(ctx, metav1.ListOptions{})
	services, err4 := api.Services(tb.namespace).List(ctx, metav1.ListOptions{})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	for i := range pods.Items {
		add("pod", &pods.Items[i])
	}
	for i := range secrets.Items {
		add("Secret", &secrets.Items[i])
	}
	for i := range claims.Items {
		add("claim", &claims.Items[i])
	}
	for i := range services.Items {
		add("Service", &services.Items[i])
	}
	return all, nil
}

// belongings are the objects that are not hub b's: what must not change whatever hub b tries.
func (tb *testbed) belongings(t *testing.T) objects {
	t.Helper()
	all, err := tb.objects(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// nothingLeft holds that hub b has the objects of its running server and no other but homes: a refused start leaves
// nothing.
func (tb *testbed) nothingLeft(t *testing.T, running server) {
	t.Helper()
	want := []string{"Secret " + running.secret, "Service " + running.service.Name, "pod " + running.pod.Name}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		all, err := tb.objects(ctx, true)
		if err != nil {
			return err
		}
		got := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool {
			return strings.HasPrefix(name, "claim ")
		})
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New("(-want +got):\n" + diff)
		}
		return nil
	})
	if err != nil {
		t.Errorf("objects of hub b: %v", err)
	}
}

// calls are the requests that the outpost makes to the hubs: one listener on this machine, a path for each hub.
type calls struct {
	address string
	mu      sync.Mutex
	paths   []string
}

// listen answers at the address that this machine has towards the node.
func listen(t *testing.T, node string) *calls {
	t.Helper()
	towards, err := net.Dial("udp", net.JoinHostPort(node, "9"))
	if err != nil {
		t.Fatal(err)
	}
	host := towards.LocalAddr().(*net.UDPAddr).IP.String()
	if err := towards.Close(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	c := &calls{address: listener.Addr().String()}
	served := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paths = append(c.paths, r.RequestURI)
	}))
	_ = served.Listener.Close()
	served.Listener = listener
	served.Start()
	t.Cleanup(served.Close)
	return c
}

func (c *calls) url(h hub) string { return "http://" + c.address + "/" + h.name }

// taken returns the paths that were asked for.
func (c *calls) taken() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.paths...)
}

// row logs one row of the table.
func row(t *testing.T, kind, what string, answer any) {
	t.Helper()
	t.Logf("| %s | %s | %s |", kind, what, strings.ReplaceAll(strings.TrimSpace(fmt.Sprint(answer)), "\n", " "))
}
