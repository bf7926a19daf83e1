//go:build e2e

package lifecycle

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	hubName  = "hub-a"
	password = "lifecycle-password"
)

// cluster is the namespace that a test's pods live in.
type cluster struct {
	client              kubernetes.Interface
	kubeconfig, context string
	namespace           string
	image               string
	binary              string // of the outpost
}

func setting(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// newCluster builds the outpost and makes a namespace for it.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		kubeconfig: setting("E2E_KUBECONFIG", filepath.Join(root, ".state", "kubeconfig")),
		context:    setting("E2E_CONTEXT", "local"),
		image:      setting("E2E_IMAGE", "localhost/outposts/pause:1"),
		binary:     filepath.Join(t.TempDir(), "outpost"),
		namespace:  fmt.Sprintf("outposts-lifecycle-%d", time.Now().UnixNano()%1e9),
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: c.context}).ClientConfig()
	if err != nil {
		t.Skipf("no cluster (E2E_KUBECONFIG, E2E_CONTEXT): %v", err)
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.binary, "./server/cmd/outpost")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the outpost: %v\n%s", err, out)
	}
	namespaces := c.client.CoreV1().Namespaces()
	if _, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := namespaces.Delete(context.Background(), c.namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	return c
}

// pods returns "<name>/<start id>" of every pod in the namespace, sorted.
func (c *cluster) pods(t *testing.T) []string {
	t.Helper()
	list, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, p := range list.Items {
		keys = append(keys, p.Annotations["outposts.dev/name"]+"/"+p.Annotations["outposts.dev/start-id"])
	}
	slices.Sort(keys)
	return keys
}

// process is an outpost that can be killed and started again on the same database.
type process struct {
	c   *cluster
	url string
	env []string
	log *os.File

	mu  sync.Mutex
	cmd *exec.Cmd
}

// newProcess prepares an outpost; env is added to its environment.
func (c *cluster) newProcess(t *testing.T, dir string, env ...string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf("spawner: {image: %s, image_pull_policy: IfNotPresent, cpu_guarantee: 0.001, mem_guarantee: 1M}\nglobalMaxPerUser: 500\n", c.image)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "outpost-"+address[strings.LastIndex(address, ":")+1:]+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{c: c, url: "http://" + address, log: log, env: append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"usernames=" + hubName, "passwords=" + password,
		"OUTPOST_CRYPT_KEY=" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)),
		"OUTPOST_CONFIG_FILE=" + config, "OUTPOST_NAMESPACE=" + c.namespace, "OUTPOST_LISTEN=" + address,
		"OUTPOST_METRICS_LISTEN=", "OUTPOST_SSH_LISTEN=", "OUTPOST_START_TIMEOUT=180",
		"SQL_TYPE=sqlite", "SQL_DATABASE_URL=" + filepath.Join(dir, "outpost.sqlite"),
	}, env...)}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("end of the log:\n%s", text[max(0, len(text)-8000):])
			}
		}
		_ = log.Close()
	})
	return p
}

// start runs the outpost and waits until it answers.
func (p *process) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(p.c.binary, "--kubeconfig", p.c.kubeconfig, "--context", p.c.context, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	wait(t, 30*time.Second, "the outpost answers", func() error {
		status, _, err := p.call(t.Context(), http.MethodGet, "/ping", nil, false)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.cmd = nil
	}
}

// client has a connection for each request in flight.
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 300}}

// call makes one request as the hub's client does.
func (p *process) call(ctx context.Context, method, path string, body any, async bool) (status int, answer string, err error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, "", err
		}
		payload = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, payload)
	if err != nil {
		return 0, "", err
	}
	r.SetBasicAuth(hubName, password)
	r.Header.Set("Content-Type", "application/json")
	if async {
		r.Header.Set("execution-type", "async")
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// startService asks for a server; startID tells starts of one name apart.
func (p *process) startService(ctx context.Context, name, startID string, async bool) (int, string, error) {
	return p.call(ctx, http.MethodPost, "/services", map[string]any{
		"name":         name,
		"env":          map[string]string{"JUPYTERHUB_USER": "u-" + name, "JUPYTERHUB_USER_ID": "42", "JUPYTERHUB_API_TOKEN": "token"},
		"user_options": map[string]string{"start_id": startID},
		"misc": map[string]any{
			"pod_name_template": "jupyter-{username}--{servername}", "services_enabled": true, "port": 41234, "internal_ssl": false, "extra_labels": map[string]string{},
		},
	}, async)
}

// services returns "<name>/<start id>" of every row of the hub, sorted.
func (p *process) services(t *testing.T) []string {
	t.Helper()
	status, text, err := p.call(t.Context(), http.MethodGet, "/services/", nil, false)
	if err != nil || status != http.StatusOK {
		t.Fatalf("list: status %d, %s, %v", status, text, err)
	}
	var rows []struct {
		Name    string `json:"name"`
		StartID string `json:"start_id"`
	}
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, r := range rows {
		keys = append(keys, r.Name+"/"+r.StartID)
	}
	slices.Sort(keys)
	return keys
}

// wait tries until f returns nil.
func wait(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
