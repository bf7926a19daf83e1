package main

import (
	"bytes"
	"context"
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
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/process"
	"github.com/outposts-dev/outposts/e2e/simulated"
)

// kubeSpawner is the usual alternative to outposts where a hub has one cluster.
const kubeSpawner = "KubeSpawner"

// hubPair is the pair of JupyterHub and client that is measured: the default one.
const hubPair = "jupyterhub-5.5"

const hubToken = "4b1e6f0a9c8d7e6f5a4b3c2d1e0f9a8b"

// What the pods of a user do by the user's name, see serveHubCluster.
const (
	hangs = "hangs" // never runs
	slow  = "slow"  // runs after slowStart
)

const slowStart = 2 * time.Second

// serveHubCluster is a cluster whose pods run at once, unless their names say otherwise, the single-user server of all
// of them, and tunnels that serve every Service of the cluster. It prints their addresses, with spaces between.
func serveHubCluster([]string) error {
	cluster := simulated.New(func(int) string { return "127.0.0.1" })
	cluster.Wait = func(pod *corev1.Pod) time.Duration {
		switch {
		case strings.Contains(pod.Name, hangs):
			return -1
		case strings.Contains(pod.Name, slow):
			return slowStart
		}
		return 0
	}
	lab := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"version":"2.17.0"}`) // a hub that went away needs no answer
	})
	handlers := []http.Handler{cluster, lab, tunnelsOf(cluster)}
	listeners, addresses := make([]net.Listener, len(handlers)), make([]string, len(handlers))
	for i := range listeners {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		addresses[i] = listeners[i].Addr().String()
	}
	fmt.Println(strings.Join(addresses, " "))
	ended := make(chan error, len(handlers))
	for i, handler := range handlers {
		go func() {
			ended <- (&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}).Serve(listeners[i])
		}()
	}
	return <-ended
}

// tunnelsOf answers a hub as `outpost tunnels` does that are connected and serve what they are asked about.
func tunnelsOf(cluster http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /systems/{name}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"state":"connected"}`) // as below
	})
	mux.HandleFunc("GET /services/{name}", func(w http.ResponseWriter, r *http.Request) {
		there := httptest.NewRecorder()
		cluster.ServeHTTP(there, httptest.NewRequestWithContext(r.Context(), http.MethodGet,
			"/api/v1/namespaces/"+hubNamespace+"/services/"+r.PathValue("name"), nil))
		var service corev1.Service
		if there.Code != http.StatusOK || json.Unmarshal(there.Body.Bytes(), &service) != nil {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `{"uid":%q,"state":"Served"}`, service.UID) // a hub that went away needs no answer
	})
	return mux
}

// hubWorld is a real JupyterHub and what it starts servers with: an outpost for each of two systems, or KubeSpawner.
type hubWorld struct {
	run        *run
	spawner    string // its subject in the results
	dir        string
	python     string // folder of the environment
	address    string // of the hub
	api        *hubapi.Client
	clusters   []*process.Process
	clusterAt  map[string]string // addresses of the systems' clusters; KubeSpawner has one for both
	lab        string            // address of all single-user servers
	tunnels    string            // address of what leads there
	near, far  *outpost
	hub        *process.Process
	httpClient *http.Client
}

// The systems of a hub with outposts: nearSystem and farSystem have one each. tunnelSystem is the outpost of nearSystem
// once more, reached through the tunnels of the hub's own cluster, which is that of farSystem.
const nearSystem, farSystem, tunnelSystem = "near", "far", "tunnel"

// hubNamespace is that of the hub, and of the pods of KubeSpawner.
const hubNamespace = "jupyter"

// newHubWorld starts everything but the hub.
func newHubWorld(ctx context.Context, r *run, spawner, python string) (w *hubWorld, err error) {
	w = &hubWorld{run: r, spawner: spawner, python: python, clusterAt: map[string]string{}}
	w.httpClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	if w.dir, err = os.MkdirTemp("", "bench-hub-"); err != nil {
		return w, err
	}
	if w.address, err = process.FreeAddress(); err != nil {
		return w, err
	}
	w.api = &hubapi.Client{URL: "http://" + w.address, Token: hubToken, HTTP: w.httpClient}
	for _, system := range []string{farSystem, nearSystem} {
		cluster, addresses, err := process.StartSelf("hub-cluster")
		if err != nil {
			return w, err
		}
		w.clusters = append(w.clusters, cluster)
		parts := strings.Fields(addresses)
		if len(parts) != 3 {
			return w, fmt.Errorf("the simulated cluster says %q", addresses)
		}
		w.clusterAt[system], w.lab = parts[0], parts[1]
		if system == farSystem {
			w.tunnels = parts[2]
		}
	}
	kubeconfig := simulated.Kubeconfig(w.clusterAt[nearSystem])
	if err := os.WriteFile(w.path("kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		return w, err
	}
	if spawner == kubeSpawner {
		w.clusterAt[farSystem] = w.clusterAt[nearSystem]
		return w, w.addKubeSpawner(ctx)
	}
	systems := map[string]any{}
	for name, o := range map[string]**outpost{nearSystem: &w.near, farSystem: &w.far} {
		if *o, err = newOutpost(ctx, r); err != nil {
			return w, err
		}
		if err := w.startOutpost(ctx, *o, name); err != nil {
			return w, err
		}
		systems[name] = map[string]any{
			"url": "http://" + (*o).address + "/services", "hubApiUrl": "http://" + w.address + "/hub/api",
		}
	}
	through := maps.Clone(systems[nearSystem].(map[string]any)) // as above
	through["ssh"] = map[string]any{"host": "127.0.0.1"}
	systems[tunnelSystem] = through
	settings, err := json.Marshal(map[string]any{
		"authDir": w.path("auth"), "systems": systems,
		"tunnels": map[string]any{"name": "bench", "url": "http://" + w.tunnels},
	})
	if err != nil {
		return w, err
	}
	return w, errors.Join(os.WriteFile(w.path("settings.json"), settings, 0o600), w.letIn(tunnelSystem))
}

// addKubeSpawner gives the hub the release of KubeSpawner that is measured.
func (w *hubWorld) addKubeSpawner(ctx context.Context) error {
	wheel, err := kubeSpawnerWheel(ctx)
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("kubespawner.whl"), wheel, 0o600)
}

// startOutpost starts the outpost of a system.
func (w *hubWorld) startOutpost(ctx context.Context, o *outpost, system string) error {
	config := filepath.Join(o.dir, "config.yaml")
	text := fmt.Sprintf("spawner: {image: %s, dns_name_template: 127.0.0.1}\n", podsImage)
	err := errors.Join(o.useCluster(w.clusterAt[system]), os.WriteFile(config, []byte(text), 0o600), w.letIn(system))
	if err != nil {
		return err
	}
	o.env = []string{"OUTPOST_NAMESPACE=" + system, "OUTPOST_CONFIG_FILE=" + config, "OUTPOST_START_TIMEOUT=600"}
	_, _, err = o.start(ctx)
	return err
}

// letIn gives the hub the password for a system.
func (w *hubWorld) letIn(system string) error {
	login := []byte(hubOf(0) + ":" + apiPassword)
	return errors.Join(os.MkdirAll(w.path("auth"), 0o700), os.WriteFile(w.path("auth", system), login, 0o600))
}

func (w *hubWorld) path(names ...string) string {
	return filepath.Join(append([]string{w.dir}, names...)...)
}

func (w *hubWorld) close() error {
	w.hub.Stop()
	var err error
	for _, o := range []*outpost{w.near, w.far} {
		if o != nil {
			err = errors.Join(err, o.close())
		}
	}
	for _, cluster := range w.clusters {
		cluster.Stop()
	}
	if w.dir == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// startHub starts the hub, after it has ended if it runs, and returns how long it took until it answered.
func (w *hubWorld) startHub(ctx context.Context) (time.Duration, error) {
	w.hub.Stop()
	_, port, err := net.SplitHostPort(w.address)
	if err != nil {
		return 0, err
	}
	_, labPort, err := net.SplitHostPort(w.lab)
	if err != nil {
		return 0, err
	}
	config, err := filepath.Abs("e2e/bench/hub_config.py")
	if err != nil {
		return 0, err
	}
	modules, err := filepath.Abs("infra/hub")
	if err != nil {
		return 0, err
	}
	log, err := os.OpenFile(w.path("hub.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(w.python, "bin", "python"), "-m", "jupyterhub", "--config", config)
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.dir, log, log
	cmd.Env = []string{
		"HOME=" + w.dir, "PATH=" + filepath.Join(w.python, "bin") + ":" + os.Getenv("PATH"),
		// A hub with outposts has no such file.
		"PYTHONPATH=" + w.path("kubespawner.whl") + ":" + modules + ":" + filepath.Join(modules, "tests"),
		"PYTHONDONTWRITEBYTECODE=1", "HUB_FOLDER=" + w.dir, "HUB_PORT=" + port, "HUB_TOKEN=" + hubToken,
		"HUB_SPAWNER=" + w.spawner, "LAB_PORT=" + labPort, "KUBECONFIG=" + w.path("kubeconfig"),
		"KUBERNETES_API=http://" + w.clusterAt[farSystem], "HUB_NAMESPACE=" + hubNamespace,
	}
	begin := time.Now()
	if w.hub, err = process.Run(cmd); err != nil {
		return 0, err
	}
	for deadline := begin.Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, err := w.api.Version(ctx)
		switch {
		case err == nil:
			return time.Since(begin), nil
		case ctx.Err() != nil || time.Now().After(deadline):
			return 0, fmt.Errorf("the hub does not answer: %w; %s", err, w.lastLog())
		}
	}
}

// lastLog returns the end of the hub's log.
func (w *hubWorld) lastLog() string {
	text, _ := os.ReadFile(w.path("hub.log")) // that it is missing shows
	return string(text[max(0, len(text)-2000):])
}

// startServer starts a user's server and returns how long it took until it was ready: the hub answers then.
func (w *hubWorld) startServer(ctx context.Context, user, system string) (time.Duration, error) {
	var options map[string]any
	if w.spawner != kubeSpawner {
		options = map[string]any{"system": system}
	}
	begin := time.Now()
	err := w.api.Start(ctx, user, "", options)
	return time.Since(begin), err
}

// ask asks the simulated cluster.
func (w *hubWorld) ask(ctx context.Context, method, url, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := w.httpClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %d %.300s", method, url, answer.StatusCode, text)
	}
	return text, err
}

// pods returns the pods of a system's cluster, as JSON.
func (w *hubWorld) pods(ctx context.Context, system string) ([]json.RawMessage, error) {
	text, err := w.ask(ctx, http.MethodGet, w.podsURL(system), "")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	return list.Items, json.Unmarshal(text, &list)
}

func (w *hubWorld) podsURL(system string) string {
	return "http://" + w.clusterAt[system] + "/api/v1/namespaces/" + hubNamespace + "/pods"
}

// podOf returns the pod of a user on the near system.
func (w *hubWorld) podOf(ctx context.Context, user string) (name string, pod []byte, err error) {
	pods, err := w.pods(ctx, nearSystem)
	if err != nil {
		return "", nil, err
	}
	for _, pod := range pods {
		if bytes.Contains(pod, []byte(`"value":"`+user+`"`)) { // of JUPYTERHUB_USER
			var object corev1.Pod
			err := json.Unmarshal(pod, &object)
			return object.Name, pod, err
		}
	}
	return "", nil, fmt.Errorf("%s has no pod", user)
}

// waitForPods waits until there are n pods on the far system whose users' names begin alike.
func (w *hubWorld) waitForPods(ctx context.Context, kind string, n int) error {
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		pods, err := w.pods(ctx, farSystem)
		if err != nil {
			return err
		}
		have := 0
		for _, pod := range pods {
			if bytes.Contains(pod, []byte(`"value":"`+kind+"-")) {
				have++
			}
		}
		switch {
		case have == n:
			return nil
		case time.Since(begin) > time.Minute:
			return fmt.Errorf("%d of %d pods are there after a minute", have, n)
		}
	}
}

// waitForServer waits until the hub knows that a user's server runs.
func (w *hubWorld) waitForServer(ctx context.Context, user string) error {
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		servers, err := w.api.Servers(ctx, user)
		switch {
		case err != nil:
			return err
		case servers[""].Ready:
			return nil
		case time.Since(begin) > 5*time.Minute:
			return fmt.Errorf("the server of %s is not ready: %+v", user, servers)
		}
	}
}
