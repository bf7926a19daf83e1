package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/outpost"
)

// startStopVector is one trace of the peer.
type startStopVector struct {
	ID          string         `json:"id"`
	Config      map[string]any `json:"config"`
	UserOptions map[string]any `json:"user_options"`
	Result      any            `json:"result"`
	Error       string         `json:"error"`
	Calls       []struct {
		Verb, Kind, Name, Namespace string
		Grace                       *int `json:"gracePeriodSeconds"`
	} `json:"api_calls"`
	After outpost.State `json:"state_after"`
}

// ownInstallation is the id of the database in all tests.
const ownInstallation = "00112233445566778899aabbccddeeff"

// testSpawner makes a Spawner that plans and is never run.
func testSpawner(t testing.TB, namespace string, o Options) *Spawner {
	t.Helper()
	s, err := New(fake.NewClientset(), namespace, o)
	if err != nil {
		t.Fatal(err)
	}
	s.installation = ownInstallation
	close(s.running)
	return s
}

// aliceKey and alicePlan are the start that the tests of this package make.
var aliceKey = outpost.Key{Hub: "hub", Name: "", StartID: "s1"}

func planOf(t testing.TB, s *Spawner, k outpost.Key, userOptions map[string]any) outpost.Plan {
	t.Helper()
	return datedPlan(t, s, k, time.Time{}, userOptions)
}

func datedPlan(t testing.TB, s *Spawner, k outpost.Key, date time.Time, userOptions map[string]any) outpost.Plan {
	t.Helper()
	r := outpost.StartRequest{Key: k, StartDate: date, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "user"}, UserOptions: map[string]json.RawMessage{}}}
	for name, value := range userOptions {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.UserOptions[name] = data
	}
	p, err := s.Plan(t.Context(), outpost.Hub{Name: k.Hub}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func status(code int, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Code: int32(code), Reason: reason, Message: message}}
}

var (
	errTimeout     = context.DeadlineExceeded
	errServer      = status(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcd is away")
	errThrottled   = status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "slow down")
	errGone        = status(http.StatusGone, metav1.StatusReasonGone, "too old")
	errUnprocessed = status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "is invalid")
	errQuota       = status(http.StatusForbidden, metav1.StatusReasonForbidden, `pods "x" is forbidden: exceeded quota: team, requested: cpu=2`)
	errForbidden   = status(http.StatusForbidden, metav1.StatusReasonForbidden, "no")
)

// The peer's traces, with what differs. Requests that look (get) are ours and are not compared with the peer's.
func TestStartsAndStopsAreThePeers(t *testing.T) {
	type difference struct {
		why   string
		calls []string // nil: as the peer
		works bool     // where the peer fails
		url   string
	}
	service := []string{"create pods/jupyter-user", "create services/jupyter-user"}
	nothing := "nothing is deleted before it is in the way"
	differs := map[string]difference{
		"service":                        {why: nothing, calls: service},
		"internal-ssl":                   {why: nothing + "; the client ignores the scheme", calls: []string{"create pods/jupyter-user", "create secrets/jupyter-user", "create services/jupyter-user"}, url: "http://jupyter-user.jhub.svc.cluster.local:8888"},
		"pvc-remembered":                 {why: "a claim that was deleted by hand comes back; names come from templates", calls: []string{"create persistentvolumeclaims/claim-user", "create pods/jupyter-user"}},
		"pod-create-timeout-but-created": {why: "our own pod is adopted, not killed", calls: []string{"create pods/jupyter-user", "create pods/jupyter-user"}, url: "http://10.0.0.1:8888"},
		"pod-create-500":                 {why: "repeated", calls: []string{"create pods/jupyter-user", "create pods/jupyter-user"}, works: true, url: "http://10.0.0.1:8888"},
		"pod-create-429":                 {why: "repeated", calls: []string{"create pods/jupyter-user", "create pods/jupyter-user"}, works: true, url: "http://10.0.0.1:8888"},
		"service-create-fails":           {why: nothing + "; the Manager stops what a failed start has left", calls: service},
		"user-namespace":                 {why: nothing, calls: append([]string{"create namespaces/jhub-user"}, service...)},
		"profile-changes-namespace":      {why: "the DNS name follows the namespace", calls: service, url: "http://jupyter-user.other-ns.svc.cluster.local:8888"},
		"stop-error":                     {why: "repeated", calls: []string{"delete pods/jupyter-user grace 1", "delete pods/jupyter-user grace 1"}, works: true},
	}
	script := map[string]func(*cluster){
		"pvc-exists": func(c *cluster) {
			c.errors["create persistentvolumeclaims"] = []error{apierrors.NewAlreadyExists(podResource.GroupResource(), "claim-user")}
		},
		"pvc-quota-missing":              func(c *cluster) { c.errors["create persistentvolumeclaims"] = []error{errForbidden} },
		"pvc-timeout-retry":              func(c *cluster) { c.errors["create persistentvolumeclaims"] = []error{errTimeout} },
		"pvc-422":                        func(c *cluster) { c.errors["create persistentvolumeclaims"] = []error{errUnprocessed} },
		"pod-create-timeout-but-created": func(c *cluster) { c.doneThen["create pods"] = []error{errTimeout} },
		"pod-create-500":                 func(c *cluster) { c.errors["create pods"] = []error{errServer} },
		"pod-create-429":                 func(c *cluster) { c.errors["create pods"] = []error{errThrottled} },
		"pod-create-403-quota":           func(c *cluster) { c.errors["create pods"] = []error{errQuota} },
		"pod-never-ready":                func(c *cluster) { c.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending } },
		"service-create-fails":           func(c *cluster) { c.errors["create services"] = []error{errUnprocessed} },
		"user-namespace-exists": func(c *cluster) {
			c.errors["create namespaces"] = []error{apierrors.NewAlreadyExists(podResource.GroupResource(), "jhub-user")}
		},
		"user-namespace-forbidden": func(c *cluster) { c.errors["create namespaces"] = []error{errForbidden} },
		"pod-conflict":             func(c *cluster) { c.old("user", "") },
		"pod-conflict-running":     func(c *cluster) { c.old("user", "") },
		"pod-conflict-stuck":       func(c *cluster) { c.old("user", ""); c.stuckForEver = true },
		"stop-timeout-retry":       func(c *cluster) { c.errors["delete pods"] = []error{errTimeout} },
		"stop-error":               func(c *cluster) { c.errors["delete pods"] = []error{errServer} },
	}
	skipped := map[string]string{
		"pvc-legacy-upgrade":           "claims of KubeSpawner 6 under its names: slug_scheme escape",
		"pod-conflict-invisible":       "nothing is invisible: the pod is read, not looked for in a filtered cache",
		"pod-create-timeout-exhausted": "TestStartGivesUpWhenKubernetesIsAway",
		"restored-pod-name":            "a state is where a start left its objects, never where the next one makes them",
		"stop-now":                     "the protocol has no such call",
	}
	var v lifecycleVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	seen := 0
	for _, c := range v.StartStop {
		if skipped[c.ID] != "" || strings.HasPrefix(c.ID, "delete-forever") { // no call of the protocol removes a user
			continue
		}
		seen++
		t.Run(c.ID, func(t *testing.T) {
			if c.Config == nil {
				c.Config = map[string]any{}
			}
			c.Config["start_timeout"], c.Config["k8s_api_request_retry_timeout"] = 30, 1
			if c.ID == "pod-never-ready" || c.ID == "pod-conflict-stuck" {
				c.Config["start_timeout"] = 1
			}
			cl := newCluster()
			if prepare := script[c.ID]; prepare != nil && !strings.HasPrefix(c.ID, "stop") {
				prepare(cl)
			}
			s := cl.run(t, Options{Spawner: c.Config})
			p := planOf(t, s, aliceKey, c.UserOptions)
			if c.ID == "internal-ssl" {
				p = planWithCerts(t, s)
			}
			started, err := s.Start(t.Context(), p, nil)
			if strings.HasPrefix(c.ID, "stop") {
				if err != nil {
					t.Fatal(err)
				}
				cl.taken()
				if prepare := script[c.ID]; prepare != nil {
					prepare(cl)
				}
				err = s.Stop(t.Context(), aliceKey, p.State)
			}
			d := differs[c.ID]
			if fails := c.Error != "" && !d.works; (err != nil) != fails {
				t.Fatalf("error %v, the peer's is %q", err, c.Error)
			}
			url, _ := c.Result.(string)
			if d.url != "" {
				url = d.url
			}
			if err == nil && started.Address != url && !strings.HasPrefix(c.ID, "stop") {
				t.Errorf("address %s, want %s", started.Address, url)
			}
			want := d.calls
			if want == nil {
				for _, call := range c.Calls {
					if call.Verb != "get" {
						want = append(want, callText(call.Verb, call.Kind, call.Name, call.Grace))
					}
				}
			}
			if diff := cmp.Diff(want, writes(cl.taken())); diff != "" {
				t.Errorf("requests (-want +got)\n%s", diff)
			}
		})
	}
	if seen < 20 {
		t.Errorf("only %d vectors", seen)
	}
}

// old puts a running pod of the peer in the way, of this user's server.
func (c *cluster) old(user, server string) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "jupyter-user", Namespace: "jhub", UID: "old", Annotations: map[string]string{kubespawner.UsernameKey: user}}}
	if server != "" {
		pod.Annotations[kubespawner.ServernameKey] = server
	}
	becomeReady(pod)
	if err := c.Tracker().Add(pod); err != nil {
		panic(err) // of a test's own making
	}
}

func planWithCerts(t testing.TB, s *Spawner) outpost.Plan {
	t.Helper()
	p, err := s.Plan(t.Context(), outpost.Hub{Name: "hub"}, outpost.StartRequest{
		Key: aliceKey, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "user"}},
		Certs:        map[string]string{"keyfile": "KEY", "certfile": "CERT", "cafile": "CA"},
		TrustBundles: map[string]string{"hub-ca": "HUBCA"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func callText(verb, kind, name string, grace *int) string {
	resource := map[string]string{"pod": "pods", "pvc": "persistentvolumeclaims", "service": "services", "secret": "secrets", "namespace": "namespaces"}[kind]
	text := verb + " " + resource + "/" + name
	if grace != nil {
		text += " grace " + string(rune('0'+*grace))
	}
	return text
}

// writes leaves out the requests that only look.
func writes(calls []string) []string {
	var out []string
	for _, call := range calls {
		if !strings.HasPrefix(call, "get ") {
			out = append(out, call)
		}
	}
	return out
}

func TestStartGivesUpWhenKubernetesIsAway(t *testing.T) {
	for _, away := range []error{errTimeout, errServer, errThrottled, errGone} {
		cl := newCluster()
		for range 1000 {
			cl.errors["create pods"] = append(cl.errors["create pods"], away)
		}
		s := cl.run(t, Options{Spawner: map[string]any{"k8s_api_request_retry_timeout": 1}})
		began := time.Now()
		_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
		if outpost.KindOf(err) != outpost.KindUnavailable {
			t.Errorf("%v: error %v", away, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%v: gave up after %s, want the retry budget of 1 s", away, took)
		}
		if n := len(cl.taken()); n < 2 || n > 10 {
			t.Errorf("%v: %d requests in 1 s", away, n)
		}
	}
}

func TestStartIsCancelledAtEachStep(t *testing.T) {
	// Each request of a start in turn is answered only when the start has been cancelled.
	for _, step := range []string{"create persistentvolumeclaims", "create pods", "create services", "waiting"} {
		t.Run(step, func(t *testing.T) {
			cl := newCluster()
			cl.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
			s := cl.run(t, Options{Spawner: map[string]any{"services_enabled": true, "storage_pvc_ensure": true, "storage_capacity": "1Gi"}})
			p := planOf(t, s, aliceKey, nil)
			reached, release := make(chan struct{}), make(chan struct{})
			if step == "waiting" {
				// The last request has its answer when the start waits for the pod.
				cl.before("create services", func() { close(reached) })
				close(release)
			} else {
				cl.before(step, func() { close(reached); <-release })
			}
			result := make(chan error, 1)
			go func() {
				_, err := s.Start(t.Context(), p, nil)
				result <- err
			}()
			<-reached
			stopped := make(chan error, 1)
			go func() { stopped <- s.Stop(t.Context(), aliceKey, p.State) }()
			s.cancelled(t, aliceKey)
			if step != "waiting" {
				close(release)
			}
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("start ended with %v", err)
			}
			if err := <-stopped; err != nil {
				t.Errorf("stop: %v", err)
			}
			if left := cl.left(t); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// A watch can be dead without an end, and what is known of the pod is then not what is.
func TestStartLooksWhenTheWatchIsSilent(t *testing.T) {
	cl := newCluster()
	cl.PrependWatchReactor("pods", func(a k8stesting.Action) (bool, watch.Interface, error) {
		in, err := cl.Tracker().Watch(a.GetResource(), a.GetNamespace())
		cl.watching <- struct{}{}
		return true, watch.Filter(in, func(e watch.Event) (watch.Event, bool) { return e, e.Type != watch.Modified }), err
	})
	cl.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
	clock := &atomic.Int64{} // how far the wall clock has gone on
	o := withService
	o.Now = func() time.Time { return time.Now().Add(time.Duration(clock.Load())) }
	s := cl.run(t, o)
	made := make(chan struct{})
	cl.before("create services", func() { close(made) })
	result := make(chan error, 1)
	p := planOf(t, s, aliceKey, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() {
		_, err := s.Start(ctx, p, nil)
		result <- err
	}()
	<-made
	cl.update(t, "jhub", "jupyter-user", becomeReady)
	for {
		select {
		case err := <-result:
			if err != nil {
				t.Error(err)
			}
			return
		case <-time.After(100 * time.Millisecond): // the start may not have read the clock yet
			clock.Add(int64(confirming))
		}
	}
}

// The quota is asked before the name: what fills it may be the very pod that is to be replaced or taken over, and it is
// counted for a moment after it has gone.
func TestStartWhereItsOwnPodFillsTheQuota(t *testing.T) {
	for name, tc := range map[string]struct {
		startID string // of the pod that is there; empty for none
		quota   int    // how often it refuses
		want    []string
		fails   bool
	}{
		"earlier start":    {"s0", 1, []string{"create pods/jupyter-user", "delete pods/jupyter-user grace 0", "create pods/jupyter-user"}, false},
		"still counted":    {"s0", 2, []string{"create pods/jupyter-user", "delete pods/jupyter-user grace 0", "create pods/jupyter-user", "create pods/jupyter-user"}, false},
		"this start":       {aliceKey.StartID, 1, []string{"create pods/jupyter-user"}, false},
		"filled by others": {"", 1, []string{"create pods/jupyter-user"}, true},
		"others took its room": {"s0", 9, []string{
			"create pods/jupyter-user", "delete pods/jupyter-user grace 0", "create pods/jupyter-user", "create pods/jupyter-user",
			"create pods/jupyter-user", "create pods/jupyter-user",
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster()
			if tc.startID != "" {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "jupyter-user", Namespace: "jhub", UID: "old", Annotations: map[string]string{
					kubespawner.UsernameKey: "user", kubespawner.InstallationKey: ownInstallation, kubespawner.HubKey: aliceKey.Hub, kubespawner.NameKey: aliceKey.Name, kubespawner.StartIDKey: tc.startID,
				}}}
				pod.Spec.Containers = []corev1.Container{{Name: kubespawner.NotebookContainer, Ports: []corev1.ContainerPort{{Name: kubespawner.NotebookPort, ContainerPort: 8888}}}}
				becomeReady(pod)
				cl = newCluster(pod)
			}
			for range tc.quota {
				cl.errors["create pods"] = append(cl.errors["create pods"], errQuota)
			}
			s := cl.run(t, Options{})
			_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
			if e, _ := errors.AsType[*outpost.Error](err); (err != nil) != tc.fails || tc.fails && (e == nil || e.Reason != reasonQuota) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tc.want, writes(cl.taken())); diff != "" {
				t.Errorf("requests (-want +got)\n%s", diff)
			}
		})
	}
}

// cancelled waits until a Stop has cancelled the start of the key.
func (s *Spawner) cancelled(t testing.TB, k outpost.Key) {
	t.Helper()
	s.mu.Lock()
	run := s.starts[k]
	s.mu.Unlock()
	if run != nil {
		<-run.cancelled
	}
}

func TestNewRefusesWrongOptions(t *testing.T) {
	if _, err := New(nil, "jhub", Options{Spawner: map[string]any{"image": 5}}); outpost.KindOf(err) != outpost.KindInvalid {
		t.Errorf("error %v", err)
	}
}
