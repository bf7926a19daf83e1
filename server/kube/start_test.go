package kube

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/outpost"
)

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

// aliceKey is the start that the tests of this package make.
var aliceKey = outpost.Key{Hub: "hub", Name: "", StartID: "s1"}

func planOf(t testing.TB, s *Spawner, k outpost.Key, userOptions map[string]any) outpost.Plan {
	t.Helper()
	return datedPlan(t, s, k, time.Time{}, userOptions)
}

func datedPlan(t testing.TB, s *Spawner, k outpost.Key, date time.Time, userOptions map[string]any) outpost.Plan {
	t.Helper()
	r := outpost.StartRequest{
		Key:       k,
		StartDate: date,
		Body: outpost.Body{
			Env:         map[string]string{"JUPYTERHUB_USER": "user"},
			UserOptions: map[string]json.RawMessage{},
		},
	}
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
	errQuota       = status(
		http.StatusForbidden,
		metav1.StatusReasonForbidden,
		`pods "x" is forbidden: exceeded quota: team, requested: cpu=2`,
	)
	errForbidden = status(http.StatusForbidden, metav1.StatusReasonForbidden, "no")
)

func planWithCerts(t testing.TB, s *Spawner) outpost.Plan {
	t.Helper()
	hub := outpost.Hub{Name: "hub", Options: map[string]any{"internal_ssl": true}}
	p, err := s.Plan(t.Context(), hub, outpost.StartRequest{
		Key: aliceKey, Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "user"}},
		Certs:        map[string]string{"keyfile": "KEY", "certfile": "CERT", "cafile": "CA"},
		TrustBundles: map[string]string{"hub-ca": "HUBCA"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
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
		_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
		if outpost.KindOf(err) != outpost.KindUnavailable {
			t.Errorf("%v: error %v", away, err)
		}
		// With the shortest pauses there are 5 in a second, and fewer on a busy machine. KubeSpawner's 30 s are over
		// after 11 with the longest ones.
		if n := len(cl.taken()); n > 5 {
			t.Errorf("%v: %d requests in 1 s", away, n)
		}
	}
}

// A request is repeated with pauses that grow, for its budget and no longer.
func TestRequestsAreRepeatedInTheirBudget(t *testing.T) {
	for _, budget := range []time.Duration{0, time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var at []time.Duration
			err := attempt{timeout: time.Minute, budget: budget}.do(t.Context(), func(context.Context) error {
				at = append(at, time.Since(begin))
				return errServer
			})
			if !errors.Is(err, errServer) {
				t.Errorf("%v: %v", budget, err)
			}
			pause := 100 * time.Millisecond
			for i := range at[1:] {
				if took := at[i+1] - at[i]; took < pause/2 || took > pause*3/2 {
					t.Errorf("%v: pause %d is %v", budget, i, took)
				}
				pause = min(2*pause, 3*time.Second)
			}
			if took := time.Since(begin); took > budget || took < budget-pause*3/2 {
				t.Errorf("%v: given up after %v", budget, took)
			}
		})
	}
}

// A request that is not answered is given up and repeated; the end of its context does not cut it off.
func TestRequestThatIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		requests := 0
		err := attempt{timeout: 10 * time.Second, budget: time.Minute}.do(ctx, func(one context.Context) error {
			if requests++; requests == 2 {
				cancel()
			}
			<-one.Done()
			return one.Err()
		})
		took := time.Since(begin)
		if !errors.Is(err, context.Canceled) || requests != 2 || took < 20*time.Second || took > 21*time.Second {
			t.Errorf("%v after %d requests and %v", err, requests, took)
		}
	})
}

func TestStartIsCancelledAtEachStep(t *testing.T) {
	// Each request of a start in turn is answered only when the start has been cancelled.
	for _, step := range []string{"create persistentvolumeclaims", "create pods", "create services", "waiting"} {
		t.Run(step, func(t *testing.T) {
			cl := newCluster()
			cl.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
			s := cl.run(
				t,
				Options{
					Spawner: map[string]any{
						"services_enabled":   true,
						"storage_pvc_ensure": true,
						"storage_capacity":   "1Gi",
					},
				},
			)
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
			cancelled, stopped := s.cancellation(aliceKey), make(chan error, 1)
			go func() { stopped <- s.Stop(t.Context(), aliceKey, p.State) }()
			<-cancelled
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
		return true, watch.Filter(
			in,
			func(e watch.Event) (watch.Event, bool) { return e, e.Type != watch.Modified },
		), err
	})
	cl.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
	clock := &atomic.Int64{} // how far the wall clock has gone on
	o := withService
	o.StartTimeout = time.Hour
	o.Now = func() time.Time { return time.Now().Add(time.Duration(clock.Load())) }
	s := cl.run(t, o)
	made := make(chan struct{})
	cl.before("create services", func() { close(made) })
	result := make(chan error, 1)
	p := planOf(t, s, aliceKey, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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
			clock.Add(int64(confirmAfter))
		}
	}
}

// The quota is asked before the name: what fills it may be the very pod that is to be replaced or taken over, and it is
// counted for a moment after it has gone.
func TestStartWhereItsOwnPodFillsTheQuota(t *testing.T) {
	//nolint:lll // a case a line
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
				pod := podOf(
					"jupyter-user",
					"old",
					annotated("user", ownInstallation, outpost.Key{Hub: aliceKey.Hub, StartID: tc.startID}),
				)
				pod.Spec.Containers = notebookContainers
				becomeReady(pod)
				cl = newCluster(pod)
			}
			for range tc.quota {
				cl.errors["create pods"] = append(cl.errors["create pods"], errQuota)
			}
			s := cl.run(t, Options{})
			_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
			if e, _ := errors.AsType[*outpost.Error](
				err,
			); (err != nil) != tc.fails ||
				tc.fails && (e == nil || e.Reason != diagnosis.ReasonQuota) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tc.want, writes(cl.taken())); diff != "" {
				t.Errorf("requests (-want +got)\n%s", diff)
			}
		})
	}
}

// cancellation is closed when a Stop cancels the start of the key, which is under way.
func (s *Spawner) cancellation(k outpost.Key) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, cancelled := s.starts[k], make(chan struct{})
	cancel := h.cancel
	h.cancel = func() { cancel(); close(cancelled) }
	return cancelled
}

func TestNewRefusesWrongOptions(t *testing.T) {
	if _, err := New(
		nil,
		"jhub",
		Options{Spawner: map[string]any{"image": 5}},
	); outpost.KindOf(
		err,
	) != outpost.KindInvalid {
		t.Errorf("error %v", err)
	}
}
