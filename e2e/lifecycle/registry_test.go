//go:build e2e

package lifecycle

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

// A user's own image is pulled from a registry that wants a login. The login that comes along with the start is in a
// Secret of the pod, and gone with it; without one, or with a wrong one, the message names the registry, and says
// nothing of the login.
func TestE2EOwnImageFromAPrivateRegistry(t *testing.T) {
	t.Parallel()
	c, dir := newCluster(t), t.TempDir()
	r := newPrivateRegistry(t, c)
	p := c.newProcess(t, dir)
	config, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.config, string(config)+fmt.Sprintf(
		"hubs: {%s: {allowedOptions: [image], allowedRegistries: [%s]}}\n", hubName, r.host))
	p.start(t)
	own := func(name, username, password string) (int, string, error) {
		asked := startRequest{name: name, startID: "s", image: r.image, username: username, password: password}
		return p.request(t.Context(), asked, false)
	}

	const wrong = "n0t-the-passw0rd"
	for _, tt := range []struct{ name, username, password string }{
		{"without", "", ""}, {"wrong", r.username, wrong},
	} {
		status, answer, err := own(tt.name, tt.username, tt.password)
		if err != nil || status < http.StatusBadRequest || !strings.Contains(answer, diagnosis.NoImage) ||
			!strings.Contains(answer, r.host) || strings.Contains(answer, wrong) {
			t.Errorf("start with the login %q: status %d, %s, %v; want %q and %s in it",
				tt.name, status, answer, err, diagnosis.NoImage, r.host)
		}
	}
	c.loginsGo(t)

	if err := wantStatus(own("right", r.username, r.password)); err != nil {
		t.Fatal(err)
	}
	pods, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), singleuser)
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("pods %v, %v", pods, err)
	}
	pod := pods.Items[0]
	want := map[string][]metav1.OwnerReference{
		pod.Name + "-registry": {kubespawner.OwnerReference(pod.Name, pod.UID)},
	}
	if diff := cmp.Diff(want, c.logins(t)); diff != "" {
		t.Errorf("Secrets with a login by their owners (-want +got):\n%s", diff)
	}
	if r.pulled.Load() == 0 {
		t.Error("nothing was pulled by the login")
	}
	if err := wantStatus(p.call(t.Context(), http.MethodDelete, "/services/right/s", nil, false)); err != nil {
		t.Fatal(err)
	}
	c.loginsGo(t)
	for _, secret := range []string{r.password, wrong} {
		if strings.Contains(p.logged(t), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// logins are the Secrets with a login to a registry, by name with their owners.
func (c *cluster) logins(t *testing.T) map[string][]metav1.OwnerReference {
	t.Helper()
	list, err := c.client.CoreV1().Secrets(c.namespace).List(t.Context(),
		metav1.ListOptions{FieldSelector: "type=" + string(corev1.SecretTypeDockerConfigJson)})
	if err != nil {
		t.Fatal(err)
	}
	owners := map[string][]metav1.OwnerReference{}
	for _, secret := range list.Items {
		owners[secret.Name] = secret.OwnerReferences
	}
	return owners
}

// loginsGo waits until the Secrets with a login are gone with their pods.
func (c *cluster) loginsGo(t *testing.T) {
	t.Helper()
	wait(t, time.Minute, "Secrets go with their pods", func() error {
		if left := c.logins(t); len(left) > 0 {
			return fmt.Errorf("left are %v", left)
		}
		return nil
	})
}

// privateRegistry is the registry of the local clusters under another name, by which it wants a login (RFC 7617).
type privateRegistry struct {
	host, image        string
	username, password string
	pulled             atomic.Int64 // blobs
}

// newPrivateRegistry puts an image that no node has into such a registry, and leads the node of a cluster to it.
func newPrivateRegistry(t *testing.T, c *cluster) *privateRegistry {
	t.Helper()
	node, network := localNode(t, c.context)
	r := &privateRegistry{host: "private.example.test", username: "ann", password: rand.Text()}
	r.image = r.host + "/own:1"
	server, archive := filepath.Join(t.TempDir(), "hello"), filepath.Join(t.TempDir(), "own.tar")
	program(t, "env", "CGO_ENABLED=0", "go", "build", "-o", server, "./e2e/clusters/hello")
	program(t, "dev/run", "clusters", "image", "-o", archive, "--ref", r.image, "--add", server+":/hello:755",
		"--entrypoint", "/hello", "--user", "1000", "--env", "ONLY="+rand.Text())
	program(t, "dev/run", "clusters", "load", archive)

	loaded := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: network + "1:5000"})
	listener, err := net.Listen("tcp", network+"254:0")
	if err != nil {
		t.Fatal(err)
	}
	front := &httptest.Server{Listener: listener, Config: &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, asked *http.Request) {
			username, password, _ := asked.BasicAuth()
			if username != r.username || password != r.password {
				w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
				http.Error(w, `{"errors": [{"code": "UNAUTHORIZED"}]}`, http.StatusUnauthorized)
				return
			}
			if strings.Contains(asked.URL.Path, "/blobs/") {
				r.pulled.Add(1)
			}
			loaded.ServeHTTP(w, asked)
		}),
	}}
	front.Start()
	t.Cleanup(front.Close)

	hosts := fmt.Sprintf("/proc/%d/root/run/outposts/config/certs.d/%s", node, r.host)
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(hosts) }) // a node that has ended took it along
	write(t, filepath.Join(hosts, "hosts.toml"),
		fmt.Sprintf("server = %q\ncapabilities = [\"pull\", \"resolve\"]\n", front.URL))
	return r
}

// localNode returns the process of the node of a local cluster, and the first three numbers, with the last dot, of the
// network of its registry and this machine. The test is skipped where the cluster is another one.
func localNode(t *testing.T, name string) (pid int, network string) {
	t.Helper()
	r, ok := deployed.Running(t, root(t), name)
	if !ok {
		t.Skipf("cluster %s is none of this checkout", name)
	}
	return r.PID, r.Node[:strings.LastIndex(r.Node, ".")+1]
}
