//go:build e2e

package lifecycle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// release is the name of the chart's release, and so of the Deployment, the Service and the Lease.
const release = "outpost"

// outpostImage is what this checkout's outpost is loaded as.
const outpostImage = "localhost/outposts/outpost"

// deployment is the outpost as its chart installs it, behind a Service.
type deployment struct {
	*api
	c       *cluster
	objects string // of the chart
}

// newDeployment installs the chart with replicas on a PostgreSQL of their own, with the first of the keys.
func newDeployment(t *testing.T, c *cluster, replicas int, key string) *deployment {
	t.Helper()
	d := &deployment{c: c}
	d.usePostgres(t, storetest.StartPostgres(t))
	d.install(t, key, onPostgres(replicas))
	return d
}

// onPostgres are the values of a chart whose replicas share a PostgreSQL.
func onPostgres(replicas int) map[string]any {
	return map[string]any{
		"replicaCount": replicas, "extraEnvVarsSecrets": []any{"outpost-database"},
		"persistence": map[string]any{"enabled": false},
	}
}

// usePostgres makes the Secret of an empty database in a server.
func (d *deployment) usePostgres(t *testing.T, database *storetest.Postgres) {
	t.Helper()
	host, port := forward(t, filepath.Join(database.Host, ".s.PGSQL.5432"), deployed.Node(t, d.c.client))
	d.apply(t, d.secret("outpost-database", map[string]string{
		"SQL_TYPE": "postgresql", "SQL_HOST": host, "SQL_PORT": port, "SQL_USER": database.User,
		"SQL_PASSWORD": storetest.Password,
		"SQL_DATABASE": database.NewDatabase(t),
	}))
}

// install builds the image, makes the Secrets and installs the chart, with the first of the keys.
func (d *deployment) install(t *testing.T, key string, values map[string]any) {
	t.Helper()
	c, archive := d.c, filepath.Join(t.TempDir(), "outpost.tar")
	program(t, "dev/go", "run", "-C", "images/outpost", ".", "build", "-root", root(t), "-out", archive, "-ref",
		outpostImage+":"+c.namespace, "-version", "e2e")
	program(t, "dev/run", "clusters", "load", archive)
	d.apply(t, d.secret("outpost-users", map[string]string{"usernames": hubName, "passwords": password}))
	d.apply(t, d.keys(key))
	all := map[string]any{
		"image":       map[string]any{"repository": outpostImage, "tag": c.namespace},
		"cryptSecret": "outpost-cryptkey", "outpostUsers": "outpost-users",
		"servicessh": map[string]any{"enabled": false},
		"service":    map[string]any{"type": "NodePort"}, "networkPolicy": map[string]any{"enabled": false},
		"singleuser": map[string]any{"networkPolicy": map[string]any{"enabled": false}},
		"config": map[string]any{
			"spawner": map[string]any{
				"image": c.image, "image_pull_policy": "IfNotPresent",
				"cpu_guarantee": 0.001, "mem_guarantee": "1M",
			},
			"globalMaxPerUser": 500,
		},
	}
	maps.Copy(all, values)
	d.objects = deployed.RenderChart(t, release, c.namespace, all)
	d.apply(t, d.objects)
	d.ready(t)
	svc, err := c.client.CoreV1().Services(c.namespace).Get(t.Context(), release, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.api = newAPI(fmt.Sprintf("http://%s:%d", deployed.Node(t, c.client), svc.Spec.Ports[0].NodePort))
	wait(t, time.Minute, "its node port leads to it", func() error { // a moment after it is ready
		_, _, err := d.call(t.Context(), http.MethodGet, "/ping", nil, false)
		return err
	})
}

// forward lets pods reach a Unix socket, at the address that this machine has towards the node.
func forward(t *testing.T, socket, node string) (host, port string) {
	t.Helper()
	towards, err := net.Dial("udp", net.JoinHostPort(node, "9"))
	if err != nil {
		t.Fatal(err)
	}
	host = towards.LocalAddr().(*net.UDPAddr).IP.String()
	if err := towards.Close(); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				_ = from.Close()
				continue
			}
			end := sync.OnceFunc(func() { _, _ = from.Close(), to.Close() })
			go func() { defer end(); _, _ = io.Copy(to, from) }()
			go func() { defer end(); _, _ = io.Copy(from, to) }()
		}
	}()
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

func (d *deployment) secret(name string, data map[string]string) string {
	text, err := json.Marshal(corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: data,
	})
	if err != nil {
		panic(err) // texts always have a JSON form
	}
	return string(text)
}

// keys is the Secret with the key ring: the first key seals, all open.
func (d *deployment) keys(ring string) string {
	return d.secret("outpost-cryptkey", map[string]string{"secret_key": ring})
}

func (d *deployment) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return program(t,
		append([]string{
			"dev/run", "kubectl", "--kubeconfig", d.c.kubeconfig, "--context", d.c.context,
			"-n", d.c.namespace,
		}, args...)...)
}

func (d *deployment) apply(t *testing.T, objects string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(path, []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	d.kubectl(t, "apply", "-f", path)
}

// ready waits until all replicas are those of the last change.
func (d *deployment) ready(t *testing.T) {
	t.Helper()
	d.kubectl(t, "rollout", "status", "deployment/"+release, "--timeout=180s")
}

// rollOut replaces all replicas, one after the other, as an upgrade does.
func (d *deployment) rollOut(t *testing.T) time.Duration {
	t.Helper()
	begin := time.Now()
	d.kubectl(t, "rollout", "restart", "deployment/"+release)
	d.ready(t)
	return time.Since(begin).Round(100 * time.Millisecond)
}

// alone reports whether replicas from before the last change are still there, if only to end.
func (d *deployment) alone(t *testing.T, replicas int) error {
	t.Helper()
	pods, err := d.c.client.CoreV1().Pods(d.c.namespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: deployed.OutpostPod})
	if err != nil {
		return err
	}
	if len(pods.Items) != replicas {
		return fmt.Errorf("%d pods for %d replicas", len(pods.Items), replicas)
	}
	return nil
}

// leader returns who holds the Lease, which is a replica's pod and a number that is another one
// after a restart, and that pod.
func (d *deployment) leader(t *testing.T) (holder, pod string, err error) {
	t.Helper()
	lease, err := d.c.client.CoordinationV1().Leases(d.c.namespace).Get(t.Context(), release, metav1.GetOptions{})
	if err != nil {
		return "", "", err
	}
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	number := strings.LastIndex(holder, "-")
	if number < 0 { // given back by one that has ended
		return "", "", errors.New("nobody holds the Lease")
	}
	pod = holder[:number]
	_, err = d.c.client.CoreV1().Pods(d.c.namespace).Get(t.Context(), pod, metav1.GetOptions{})
	return holder, pod, err
}

// killReplica ends the process of a replica as a crash does: from outside of its node, since the node's containers are
// processes of this machine. It returns false if the cluster is another machine's.
func (d *deployment) killReplica(t *testing.T, pod string) bool {
	t.Helper()
	p, err := d.c.client.CoreV1().Pods(d.c.namespace).Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range groups {
		group, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(group), string(p.UID)) {
			continue
		}
		folder := filepath.Dir(path)
		if name, err := os.ReadFile(filepath.Join(folder, "comm")); err != nil ||
			strings.TrimSpace(string(name)) != "outpost" {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(folder), &pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return true
	}
	return false
}
