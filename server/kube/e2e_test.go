//go:build e2e

package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// e2eImage is a small program that answers HTTP on the ports in its arguments, loaded under this name.
const e2eImage = "quay.io/outposts/hello:kube-e2e"

// live is a namespace of its own on a real cluster.
type live struct {
	client    kubernetes.Interface
	namespace string
}

// loadImage builds the image once and loads it into the clusters' registry.
var loadImage = sync.OnceValue(func() error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kube-e2e")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, archive := filepath.Join(dir, "hello"), filepath.Join(dir, "hello.tar")
	//nolint:lll // a command a line
	for _, argv := range [][]string{
		{"go", "build", "-o", program, "./e2e/clusters/hello"},
		{"dev/run", "clusters", "image", "-o", archive, "--ref", e2eImage, "--add", program + ":/hello:755", "--entrypoint", "/hello", "--user", "1000:1000"},
		{"dev/run", "clusters", "load", archive},
	} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out)
		}
	}
	return nil
})

func newLive(t *testing.T) *live {
	t.Helper()
	kubeconfig := "../../.state/kubeconfig"
	if _, err := os.Stat(kubeconfig); err != nil {
		t.Skip("needs the local clusters: make clusters")
	}
	if err := loadImage(); err != nil {
		t.Fatal(err)
	}
	client, err := Connect(kubeconfig, "local", "outposts-e2e")
	if err != nil {
		t.Fatal(err)
	}
	l := &live{client: client, namespace: fmt.Sprintf("kube-e2e-%06x", rand.N(1<<24))}
	_, err = client.CoreV1().Namespaces().Create(
		t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: l.namespace}},
		metav1.CreateOptions{},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.CoreV1().Namespaces().Delete(
			context.Background(),
			l.namespace,
			metav1.DeleteOptions{},
		); err != nil {
			t.Errorf("delete namespace: %v", err)
		}
	})
	for t.Context().Err() == nil { // pods need the namespace's default account
		if _, err := client.CoreV1().ServiceAccounts(
			l.namespace,
		).Get(
			t.Context(),
			"default",
			metav1.GetOptions{},
		); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return l
}

// spawner runs a Spawner on the namespace and waits until it sees it.
func (l *live) spawner(t *testing.T, options map[string]any) (*Spawner, context.CancelFunc) {
	t.Helper()
	all := map[string]any{"image": e2eImage, "cmd": []any{"8888"}, "services_enabled": true, "start_timeout": 240}
	for name, value := range options {
		all[name] = value
	}
	s, err := New(l.client, l.namespace, Options{Spawner: all})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ownInstallation, nil) }()
	end := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(end)
	if _, _, err := s.Found(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, end
}

func keyOfUser(i int) outpost.Key {
	return outpost.Key{Hub: "hub", Name: fmt.Sprintf("lab%d", i), StartID: fmt.Sprintf("start%d", i)}
}

func livePlan(t *testing.T, s *Spawner, k outpost.Key, misc map[string]any) outpost.Plan {
	t.Helper()
	raw := map[string]json.RawMessage{}
	for name, value := range misc {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		raw[name] = data
	}
	p, err := s.Plan(t.Context(), outpost.Hub{Name: k.Hub, AllowedOptions: []string{"*"}}, outpost.StartRequest{
		Key: k, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice@example.org"}, Misc: raw},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Through JSON, as it comes back from a database.
	data, err := json.Marshal(p.State)
	if err != nil {
		t.Fatal(err)
	}
	p.State = nil
	if err := json.Unmarshal(data, &p.State); err != nil {
		t.Fatal(err)
	}
	return p
}

// left names the pods, Services and Secrets of ours in the namespace, those that are just going included.
func (l *live) left(t *testing.T) []string {
	t.Helper()
	var out []string
	core := l.client.CoreV1()
	pods, err1 := core.Pods(l.namespace).List(t.Context(), metav1.ListOptions{})
	services, err2 := core.Services(l.namespace).List(t.Context(), metav1.ListOptions{})
	secrets, err3 := core.Secrets(l.namespace).List(t.Context(), metav1.ListOptions{})
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	for _, o := range pods.Items {
		out = append(out, "pod/"+o.Name)
	}
	for _, o := range services.Items {
		out = append(out, "service/"+o.Name)
	}
	for _, o := range secrets.Items {
		out = append(out, "secret/"+o.Name)
	}
	return out
}

// ask sends a request through a Service; the proxy of Kubernetes learns of a ready pod a moment after us.
func (l *live) ask(t *testing.T, service, path string, params map[string]string) (body []byte, err error) {
	t.Helper()
	for range 600 {
		body, err = l.client.CoreV1().Services(
			l.namespace,
		).ProxyGet(
			"http",
			service,
			"8888",
			path,
			params,
		).DoRaw(
			t.Context(),
		)
		if err == nil {
			return body, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return body, err
}

func TestE2EStartAndStop(t *testing.T) {
	l := newLive(t)
	s, _ := l.spawner(t, nil)
	k := keyOfUser(1)
	p := livePlan(t, s, k, nil)
	var events []outpost.Event
	began := time.Now()
	started, err := s.Start(t.Context(), p, func(e outpost.Event) { events = append(events, e) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf(
		"started in %s at %s with %d events",
		time.Since(began).Round(time.Millisecond),
		started.Address,
		len(events),
	)
	want := "http://jupyter-alice-example-org---7a64adf2--lab1." + l.namespace + ".svc.cluster.local:8888"
	if started.Address != want {
		t.Errorf("address %s, want %s", started.Address, want)
	}
	if len(events) < 2 || events[0].Message != "Server requested" || events[1].Progress != 30 {
		t.Errorf("events %+v", events)
	}
	name := p.State["pod_name"].(string)
	body, err := l.ask(t, name, "/", nil)
	if err != nil || !strings.Contains(string(body), "hello from "+name) {
		t.Errorf("through the service: %q, %v", body, err)
	}
	if got, err := s.Poll(t.Context(), k, p.State); err != nil || got != (outpost.Status{}) {
		t.Errorf("poll %+v, %v", got, err)
	}
	svc, err := l.client.CoreV1().Services(l.namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || len(svc.OwnerReferences) != 1 {
		t.Errorf("service has owners %v, %v", svc.OwnerReferences, err)
	}
	if _, err := s.Logs(t.Context(), k, p.State, 10); err != nil {
		t.Errorf("logs: %v", err)
	}
	began = time.Now()
	if err := s.Stop(t.Context(), k, p.State); err != nil {
		t.Error(err)
	}
	t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	if left := l.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if got, err := s.Poll(t.Context(), k, p.State); err != nil || !got.Gone || got.ExitCode != 1 {
		t.Errorf("poll after stop %+v, %v", got, err)
	}
	if err := s.Stop(t.Context(), k, p.State); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

// A start of a server that runs replaces it; the stop of the earlier start must then not touch the later one.
func TestE2ELaterStartReplacesTheEarlier(t *testing.T) {
	l := newLive(t)
	s, _ := l.spawner(t, nil)
	k := keyOfUser(1)
	p := livePlan(t, s, k, nil)
	if _, err := s.Start(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	again := outpost.Key{Hub: k.Hub, Name: k.Name, StartID: "later"}
	if _, err := s.Start(t.Context(), livePlan(t, s, again, nil), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Poll(t.Context(), k, p.State); err != nil || !got.Gone {
		t.Errorf("poll of the replaced start %+v, %v", got, err)
	}
	if err := s.Stop(t.Context(), k, p.State); err != nil {
		t.Error(err)
	}
	if got, err := s.Poll(t.Context(), again, p.State); err != nil || got != (outpost.Status{}) {
		t.Errorf("poll of the later start %+v, %v", got, err)
	}
	if err := s.Stop(t.Context(), again, p.State); err != nil {
		t.Error(err)
	}
	if left := l.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestE2EInternalTLSAndStorage(t *testing.T) {
	l := newLive(t)
	s, _ := l.spawner(t, map[string]any{
		"internal_ssl":       true,
		"storage_pvc_ensure": true,
		"storage_capacity":   "10Mi",
		"fs_gid":             1000,
		"volumes": []any{
			map[string]any{"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"}},
		},
		"volume_mounts": []any{map[string]any{"name": "home", "mountPath": "/home/{username}"}},
	})
	k := keyOfUser(1)
	p, err := s.Plan(t.Context(), outpost.Hub{Name: "hub"}, outpost.StartRequest{
		Key: k, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}},
		Certs:        map[string]string{"keyfile": "KEY\n", "certfile": "CERT\n", "cafile": "CA\n"},
		TrustBundles: map[string]string{"hub-ca": "HUBCA\n"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"ssl.key": "KEY\n", "notebooks-ca_trust.crt": "CA\nHUBCA\n"} {
		body, err := l.ask(t, "jupyter-alice--lab1", "/read", map[string]string{"file": "/etc/jupyterhub/ssl/" + file})
		if err != nil || string(body) != want {
			t.Errorf("%s inside of the pod: %q, %v", file, body, err)
		}
	}
	if err := s.Stop(t.Context(), k, p.State); err != nil {
		t.Error(err)
	}
	if left := l.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := l.client.CoreV1().PersistentVolumeClaims(
		l.namespace,
	).Get(
		t.Context(),
		"claim-alice--lab1",
		metav1.GetOptions{},
	); err != nil {
		t.Errorf("the user's storage: %v", err)
	}
}

// What is written into a home is there for the user's next server, beside another one of theirs on the same node, and
// for no user of that name at another hub.
func TestE2EHomes(t *testing.T) {
	l := newLive(t)
	s, _ := l.spawner(t, map[string]any{"homes": map[string]any{"size": "10Mi"}})
	start := func(hub, server, id string) outpost.Plan {
		t.Helper()
		p, err := s.Plan(t.Context(), outpost.Hub{Name: hub, Several: true}, outpost.StartRequest{
			Key: outpost.Key{Hub: hub, Name: server, StartID: id},
			Body: outpost.Body{
				Env: map[string]string{"JUPYTERHUB_USER": "alice"},
				Misc: map[string]json.RawMessage{
					"pod_name_template": json.RawMessage(`"` + hub + `-{username}--{servername}"`),
				},
			},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Start(t.Context(), p, nil); err != nil {
			t.Fatal(err)
		}
		return p
	}
	stop := func(p outpost.Plan) {
		t.Helper()
		if err := s.Stop(t.Context(), p.Key, p.State); err != nil {
			t.Fatal(err)
		}
	}
	file := map[string]string{"file": "/home/jovyan/kept"}
	read := func(p outpost.Plan) string {
		t.Helper()
		body, err := l.ask(t, p.State["pod_name"].(string), "/read", file)
		if err != nil {
			return "none"
		}
		return string(body)
	}
	one := start("hub", "one", "1")
	written := map[string]string{"file": file["file"], "text": "hello"}
	if body, err := l.ask(t, one.State["pod_name"].(string), "/write", written); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	two := start("hub", "two", "2")
	if got := read(two); got != "hello" {
		t.Errorf("the second server reads %q", got)
	}
	nodes := map[string]bool{}
	for _, p := range []outpost.Plan{one, two} {
		name := p.State["pod_name"].(string)
		pod, err := l.client.CoreV1().Pods(l.namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		nodes[pod.Spec.NodeName] = true
	}
	if len(nodes) != 1 {
		t.Errorf("the servers are on %v", nodes)
	}
	stop(one)
	stop(two)
	again := start("hub", "one", "3")
	if got := read(again); got != "hello" {
		t.Errorf("the next server reads %q", got)
	}
	other := start("other", "one", "1")
	if _, err := l.ask(t, other.State["pod_name"].(string), "/", nil); err != nil {
		t.Error(err)
	}
	if _, err := l.client.CoreV1().Services(l.namespace).ProxyGet("http", other.State["pod_name"].(string), "8888",
		"/read", file).DoRaw(t.Context()); err == nil {
		t.Error("another hub's user of the same name reads the file")
	}
	stop(again)
	stop(other)
	claims, err := l.client.CoreV1().PersistentVolumeClaims(l.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owners := map[string]kubespawner.Owner{}
	for _, claim := range claims.Items {
		owners[claim.Name] = kubespawner.OwnerOf(&claim)
	}
	want := map[string]kubespawner.Owner{
		"claim-hub--alice":   {Installation: ownInstallation, Hub: "hub", User: "alice"},
		"claim-other--alice": {Installation: ownInstallation, Hub: "other", User: "alice"},
	}
	if diff := cmp.Diff(want, owners); diff != "" {
		t.Errorf("homes (-want +got):\n%s", diff)
	}
	if left := l.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestE2EHopelessStartsEndEarly(t *testing.T) {
	l := newLive(t)
	_, err := l.client.CoreV1().ResourceQuotas(l.namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "team"},
		Spec: corev1.ResourceQuotaSpec{
			Hard: corev1.ResourceList{"requests.nvidia.com/gpu": resource.MustParse("0")},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for { // until the controller has seen it, a quota refuses nothing
		quota, err := l.client.CoreV1().ResourceQuotas(l.namespace).Get(t.Context(), "team", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(quota.Status.Hard) > 0 && len(quota.Status.Used) > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	s, _ := l.spawner(t, nil)
	//nolint:lll // a case a line
	for i, c := range []struct {
		name   string
		misc   map[string]any
		reason string
	}{
		{"image that does not exist", map[string]any{"image": "quay.io/outposts/nothing:here"}, diagnosis.ReasonImage},
		{"image with a wrong name", map[string]any{"image": "Not A Name"}, diagnosis.ReasonImage},
		{"too much memory", map[string]any{"mem_guarantee": "100T"}, diagnosis.ReasonUnschedulable},
		{"a node that does not exist", map[string]any{"node_selector": map[string]any{"moon": "yes"}}, diagnosis.ReasonUnschedulable},
		{"storage that does not exist", map[string]any{"volumes": []any{map[string]any{"name": "v", "persistentVolumeClaim": map[string]any{"claimName": "none"}}}}, diagnosis.ReasonPVC},
		{"a secret that does not exist", map[string]any{"volumes": []any{map[string]any{"name": "v", "secret": map[string]any{"secretName": "none"}}}, "volume_mounts": []any{map[string]any{"name": "v", "mountPath": "/v"}}}, diagnosis.ReasonConfig},
		{"a variable from nowhere", map[string]any{"environment": map[string]any{"X": map[string]any{"valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "none", "key": "k"}}}}}, diagnosis.ReasonConfig},
		{"a program that crashes", map[string]any{
			"cmd":                    []any{"no port"}, // without a probe a program counts as ready for the moment that it runs
			"extra_container_config": map[string]any{"readinessProbe": map[string]any{"tcpSocket": map[string]any{"port": 8888}}},
		}, diagnosis.ReasonCrash},
		{"a quota", map[string]any{"extra_resource_limits": map[string]any{"nvidia.com/gpu": 1}, "extra_resource_guarantees": map[string]any{"nvidia.com/gpu": 1}}, diagnosis.ReasonQuota},
		{"a pod that Kubernetes refuses", map[string]any{
			"extra_pod_config": map[string]any{"dnsConfig": map[string]any{"searches": []any{"not a domain"}}},
		}, diagnosis.ReasonRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := livePlan(t, s, keyOfUser(i), c.misc)
			began := time.Now()
			_, err := s.Start(
				t.Context(),
				p,
				func(e outpost.Event) { t.Logf("%s %s", time.Since(began).Round(time.Millisecond), e.Message) },
			)
			took := time.Since(began).Round(time.Millisecond)
			var e *outpost.Error
			if !errors.As(err, &e) || e.Kind != outpost.KindFailed || e.Reason != c.reason {
				t.Errorf("after %s: %v", took, err)
			} else {
				t.Logf("after %s: %s", took, e.Message)
			}
			if err := s.Stop(t.Context(), p.Key, p.State); err != nil {
				t.Error(err)
			}
		})
	}
}

// A class that starts at once, and stops at once. What it takes beside bare pods is measured by e2e/bench.
func TestE2ETwentyAtOnce(t *testing.T) {
	const n = 20
	l := newLive(t)
	s, _ := l.spawner(t, nil)
	plans := make([]outpost.Plan, n)
	for i := range plans {
		plans[i] = livePlan(t, s, keyOfUser(i), nil)
	}
	atOnce := func(one func(p outpost.Plan) error) time.Duration {
		began := time.Now()
		var wg sync.WaitGroup
		for _, p := range plans {
			wg.Go(func() {
				if err := one(p); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return time.Since(began).Round(time.Millisecond)
	}
	starts := atOnce(func(p outpost.Plan) error { _, err := s.Start(t.Context(), p, nil); return err })
	polls := atOnce(func(p outpost.Plan) error {
		got, err := s.Poll(t.Context(), p.Key, p.State)
		if got != (outpost.Status{}) {
			t.Errorf("poll of %s: %+v", p.Name, got)
		}
		return err
	})
	stops := atOnce(func(p outpost.Plan) error { return s.Stop(t.Context(), p.Key, p.State) })
	t.Logf("%d starts %s, polls %s, stops %s", n, starts, polls, stops)
	if left := l.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Starts that are cut off at any moment, by a process that ends, leave nothing that the next one does not find.
func TestE2EInterruptedStartsLeaveNothing(t *testing.T) {
	l := newLive(t)
	for round := range 4 {
		s, end := l.spawner(t, nil)
		var plans []outpost.Plan
		ctx, cut := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 5 {
			p := livePlan(t, s, keyOfUser(10*round+i), nil)
			plans = append(plans, p)
			wg.Go(func() { _, _ = s.Start(ctx, p, nil) }) // cut off on purpose
		}
		time.Sleep(rand.N(1500 * time.Millisecond))
		cut()
		wg.Wait()
		end()
		next, endNext := l.spawner(t, nil)
		found, _, err := next.Found(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if !slices.ContainsFunc(plans, func(p outpost.Plan) bool { return p.Key == f.Key }) {
				t.Errorf("found %+v of an earlier round", f.Key)
			}
		}
		t.Logf("round %d: %d of 5 pods found, objects %d", round, len(found), len(l.left(t)))
		var stops sync.WaitGroup
		for _, p := range plans {
			stops.Go(func() {
				if err := next.Stop(t.Context(), p.Key, p.State); err != nil {
					t.Error(err)
				}
			})
		}
		stops.Wait()
		if left := l.left(t); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
		endNext()
	}
}

// A start that finds its own pod, made by a process that was killed, goes on with it.
func TestE2EStartAdoptsItsPod(t *testing.T) {
	l := newLive(t)
	s, _ := l.spawner(t, nil)
	p := livePlan(t, s, keyOfUser(1), nil)
	o := p.Objects.(*kubespawner.Objects)
	made, err := l.client.CoreV1().Pods(l.namespace).Create(t.Context(), o.Pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Start(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	pod, err := l.client.CoreV1().Pods(l.namespace).Get(t.Context(), made.Name, metav1.GetOptions{})
	if err != nil || pod.UID != made.UID {
		t.Errorf("pod is %v, %v; want %v", pod.UID, err, made.UID)
	}
	if err := s.Stop(t.Context(), p.Key, p.State); err != nil {
		t.Error(err)
	}
	if left := l.left(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
