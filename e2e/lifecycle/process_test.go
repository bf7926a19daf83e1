//go:build e2e

package lifecycle

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
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

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

const (
	hubName  = "hub-a"
	password = "lifecycle-password"
)

// cluster is the namespace that a test's pods live in.
type cluster struct {
	client              kubernetes.Interface
	config              *rest.Config
	kubeconfig, context string
	namespace           string
	image               string
	binary              string // of the outpost; built for the first process
}

func setting(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// root is the checkout's top folder.
func root(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// program runs a program of the checkout in its top folder.
func program(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = root(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// newCluster makes a namespace on the cluster.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterAt(t, setting("E2E_CONTEXT", "local"))
}

// newOtherCluster makes one on the other cluster, for a test that takes the node away from others.
func newOtherCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterAt(t, setting("E2E_OTHER_CONTEXT", "remote"))
}

func newClusterAt(t *testing.T, at string) *cluster {
	t.Helper()
	root := root(t)
	c := &cluster{
		kubeconfig: setting("E2E_KUBECONFIG", filepath.Join(root, ".state", "kubeconfig")),
		context:    at,
		image:      setting("E2E_IMAGE", "localhost/outposts/pause:1"),
		namespace:  fmt.Sprintf("outposts-lifecycle-%d", time.Now().UnixNano()%1e9),
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: c.context}).ClientConfig()
	if err != nil {
		t.Skipf("no cluster %s (E2E_KUBECONFIG, E2E_CONTEXT, E2E_OTHER_CONTEXT): %v", at, err)
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	c.config = config
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	deployed.ExplainFailure(t, c.context, c.client)
	namespaces := c.client.CoreV1().Namespaces()
	_, err = namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}},
		metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := namespaces.Delete(context.Background(), c.namespace, metav1.DeleteOptions{}); err != nil &&
			!apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	wait(t, time.Minute, "the namespace has its account", func() error { // without it pods are refused
		_, err := c.client.CoreV1().ServiceAccounts(c.namespace).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return c
}

// pods returns "<name>/<start id>" of every pod in the namespace, sorted.
func (c *cluster) pods(t *testing.T) []string {
	t.Helper()
	list, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), singleuser)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, p := range list.Items {
		keys = append(keys, p.Annotations[kubespawner.NameKey]+"/"+p.Annotations[kubespawner.StartIDKey])
	}
	slices.Sort(keys)
	return keys
}

// singleuser selects what belongs to a user's server, and nothing of an outpost that runs in the same namespace.
var singleuser = metav1.ListOptions{LabelSelector: deployed.ServerPods}

// servicesAndPods returns the names of both, sorted. They are the same, since each server has one of each.
func (c *cluster) servicesAndPods(t *testing.T) (services, pods []string) {
	t.Helper()
	core := c.client.CoreV1()
	podList, err := core.Pods(c.namespace).List(t.Context(), singleuser)
	if err != nil {
		t.Fatal(err)
	}
	serviceList,
		err := core.Services(c.namespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: "hub.jupyter.org/username"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range podList.Items {
		pods = append(pods, p.Name)
	}
	for _, s := range serviceList.Items {
		services = append(services, s.Name)
	}
	slices.Sort(pods)
	slices.Sort(services)
	return services, pods
}

// process is an outpost that can be killed and started again on the same database.
type process struct {
	*api
	c          *cluster
	kubeconfig string // the cluster's, unless a test stands between
	config     string // its configuration file
	env        []string
	log        *os.File

	mu  sync.Mutex
	cmd *exec.Cmd
}

// newProcess prepares an outpost; env is added to its environment.
func (c *cluster) newProcess(t *testing.T, dir string, env ...string) *process {
	t.Helper()
	if c.binary == "" {
		path := filepath.Join(t.TempDir(), "outpost")
		program(t, "go", "build", "-o", path, "./server/cmd/outpost")
		c.binary = path
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yaml")
	write(t, config, fmt.Sprintf(
		"spawner: {image: %s, image_pull_policy: IfNotPresent, cpu_guarantee: 0.001, mem_guarantee: "+
			"1M}\nglobalMaxPerUser: 500\n", c.image))
	log, err := os.Create(filepath.Join(dir, "outpost-"+address[strings.LastIndex(address, ":")+1:]+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{api: newAPI("http://" + address), c: c, kubeconfig: c.kubeconfig, config: config, log: log}
	p.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir,
		"usernames=" + hubName, "passwords=" + password,
		"OUTPOST_CRYPT_KEY=" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)),
		"OUTPOST_CONFIG_FILE=" + config, "OUTPOST_NAMESPACE=" + c.namespace, "OUTPOST_LISTEN=" + address,
		"OUTPOST_METRICS_LISTEN=", "OUTPOST_SSH_LISTEN=", "OUTPOST_START_TIMEOUT=600",
		"SQL_TYPE=sqlite", "SQL_DATABASE_URL=" + filepath.Join(dir, "outpost.sqlite"),
	}, env...)
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

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// command is the outpost's program with the settings of the process.
func (p *process) command(name string) *exec.Cmd {
	cmd := exec.Command(p.c.binary, "--kubeconfig", p.kubeconfig, "--context", p.c.context, name)
	cmd.Env = p.env
	return cmd
}

// logged returns what the outpost has logged so far.
func (p *process) logged(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// start runs the outpost and waits until it answers.
func (p *process) start(t *testing.T) {
	t.Helper()
	cmd := p.command("serve")
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	wait(t, 2*time.Minute, "the outpost answers", func() error {
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
