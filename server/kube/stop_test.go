package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// withService is the configuration in which a start makes a Service too.
var withService = Options{Spawner: map[string]any{"services_enabled": true, "k8s_api_request_retry_timeout": 1}}

// serviceOf is a Service of this name with these annotations.
func serviceOf(name string, annotations map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "jhub", Annotations: annotations}}
}

func mustStart(t testing.TB, s *Spawner, k outpost.Key) outpost.Plan {
	t.Helper()
	p := planOf(t, s, k, nil)
	if _, err := s.Start(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStopLeavesOtherStartsAlone(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, withService)
	old := mustStart(t, s, aliceKey)
	later := outpost.Key{Hub: "hub", StartID: "s2"}
	p := mustStart(t, s, later) // replaces the first one: same hub, user and server
	cl.taken()
	if err := s.Stop(t.Context(), aliceKey, old.State); err != nil {
		t.Fatal(err)
	}
	if got := writes(cl.taken()); len(got) > 0 {
		t.Errorf("stop of the replaced start: %v", got)
	}
	if got, err := s.Poll(t.Context(), aliceKey, old.State); err != nil || !got.Gone || got.ExitCode != 1 {
		t.Errorf("poll of the replaced start %+v, %v", got, err)
	}
	if got, err := s.Poll(t.Context(), later, p.State); err != nil || got != (outpost.Status{}) {
		t.Errorf("poll of the later start %+v, %v", got, err)
	}
	if err := s.Stop(t.Context(), later, p.State); err != nil {
		t.Fatal(err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestStartKillsNobodyElse(t *testing.T) {
	//nolint:lll // a case a line
	for _, c := range []struct {
		name        string
		annotations map[string]string
		change      func(*corev1.Pod)
		replaced    bool
	}{
		{name: "server of another hub", annotations: annotated("user", ownInstallation, outpost.Key{Hub: "other", StartID: "s9"})},
		{name: "server of another user", annotations: annotated("USER", ownInstallation, outpost.Key{Hub: "hub", StartID: "s9"})},
		{name: "another server of the same user", annotations: annotated("user", ownInstallation, outpost.Key{Hub: "hub", Name: "x", StartID: "s9"})},
		{name: "this server of another outpost", annotations: annotated("user", "other", outpost.Key{Hub: "hub", StartID: "s9"})},
		{name: "pod of nobody"},
		{
			name: "ended server of another hub", annotations: annotated("", ownInstallation, outpost.Key{Hub: "other", StartID: "s9"}),
			change: func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		},
		{
			name: "ended server of another user", annotations: annotated("USER", ownInstallation, outpost.Key{Hub: "hub", StartID: "s9"}),
			change: func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, replaced: true,
		},
		{name: "earlier start of this server", annotations: annotated("user", ownInstallation, outpost.Key{Hub: "hub", StartID: "s9"}), replaced: true},
		{name: "server of KubeSpawner", annotations: map[string]string{kubespawner.UsernameKey: "user"}, replaced: true},
		{name: "other server of KubeSpawner", annotations: map[string]string{kubespawner.UsernameKey: "user", kubespawner.ServernameKey: "lab"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := podOf("jupyter-user", "old", c.annotations)
			becomeReady(pod)
			if c.change != nil {
				c.change(pod)
			}
			cl := newCluster(pod)
			s := cl.run(t, Options{})
			_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
			e, _ := errors.AsType[*outpost.Error](err)
			if (err == nil) != c.replaced || err != nil && (e == nil || e.Reason != diagnosis.ReasonTaken) {
				t.Errorf("error %v", err)
			}
			killed := slices.ContainsFunc(
				cl.taken(),
				func(call string) bool { return strings.HasPrefix(call, "delete pods") },
			)
			if killed != c.replaced {
				t.Errorf("killed %v", killed)
			}
		})
	}
}

func TestStartDoesNotTakeForeignServices(t *testing.T) {
	cl := newCluster(
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "jupyter-user", Namespace: "jhub", UID: "foreign"}},
	)
	s := cl.run(t, withService)
	p := planOf(t, s, aliceKey, nil)
	_, err := s.Start(t.Context(), p, nil)
	if e, ok := errors.AsType[*outpost.Error](err); !ok || e.Reason != diagnosis.ReasonTaken {
		t.Errorf("error %v", err)
	}
	if err := s.Stop(t.Context(), aliceKey, p.State); err != nil {
		t.Error(err)
	}
	if left := cl.left(t); left != "services/jupyter-user" {
		t.Errorf("left: %s", left)
	}
}

// A start that another process has ended must not take its successor for a left-over.
func TestStartLeavesALaterStartAlone(t *testing.T) {
	day := time.Date(2026, 5, 4, 9, 12, 40, 0, time.UTC)
	later := outpost.Key{Hub: "hub", StartID: "s2"}
	for _, late := range []string{"", "create pods", "create services"} {
		t.Run("learns at "+late, func(t *testing.T) {
			cl := newCluster()
			s := cl.run(t, withService)
			first := datedPlan(t, s, aliceKey, day, nil)
			second, _ := datedPlan(t, s, later, day.Add(time.Nanosecond), nil).Objects.(*kubespawner.Objects)
			second.Pod.UID, second.Service.UID, second.Service.Namespace = "second", "seconds", "jhub"
			becomeReady(second.Pod)
			succeed := sync.OnceFunc(func() { // by another process
				_ = cl.Tracker().Delete(podResource, "jhub", "jupyter-user") // the first one's, if it is there
				if err := errors.Join(cl.Tracker().Add(second.Service), cl.Tracker().Add(second.Pod)); err != nil {
					t.Error(err)
				}
			})
			if late == "" {
				succeed()
			}
			cl.before(late, succeed)
			_, err := s.Start(t.Context(), first, nil)
			if outpost.KindOf(err) != outpost.KindConflict {
				t.Errorf("error %v", err)
			}
			if err := s.Stop(t.Context(), aliceKey, first.State); err != nil {
				t.Error(err)
			}
			if left := cl.left(t); left != "pods/jupyter-user services/jupyter-user" {
				t.Errorf("left: %s", left)
			}
			if calls := writes(cl.taken()); slices.Contains(calls, "delete pods/jupyter-user grace 0") {
				t.Errorf("requests %v", calls)
			}
		})
	}
}

// The Service of another server is there, and its pod is not.
func TestStartTakesNoServiceOfAnotherServer(t *testing.T) {
	for name, annotations := range map[string]map[string]string{
		"other outpost":        annotated("user", "other", outpost.Key{Hub: "hub", StartID: "s9"}),
		"other hub":            annotated("user", ownInstallation, outpost.Key{Hub: "other", StartID: "s9"}),
		"other user":           annotated("USER", ownInstallation, outpost.Key{Hub: "hub", StartID: "s9"}),
		"other server":         annotated("user", ownInstallation, outpost.Key{Hub: "hub", Name: "x", StartID: "s9"}),
		"other of KubeSpawner": {kubespawner.UsernameKey: "user", kubespawner.ServernameKey: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			svc := serviceOf("jupyter-user", annotations)
			svc.UID = "foreign"
			cl := newCluster(svc)
			s := cl.run(t, withService)
			p := planOf(t, s, aliceKey, nil)
			_, err := s.Start(t.Context(), p, nil)
			if e, ok := errors.AsType[*outpost.Error](err); !ok || e.Reason != diagnosis.ReasonTaken {
				t.Errorf("error %v", err)
			}
			if err := s.Stop(t.Context(), aliceKey, p.State); err != nil {
				t.Error(err)
			}
			if left := cl.left(t); left != "services/jupyter-user" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// The Service of another user's server that has ended goes with its pod, in its own time.
func TestStartReplacesTheServiceOfAnEndedServer(t *testing.T) {
	annotations := annotated("USER", ownInstallation, outpost.Key{Hub: "hub", StartID: "s9"})
	pod := podOf("jupyter-user", "old", annotations)
	pod.Status.Phase = corev1.PodFailed
	svc := serviceOf("jupyter-user", annotations)
	svc.UID, svc.OwnerReferences = "olds", []metav1.OwnerReference{kubespawner.OwnerReference("jupyter-user", "old")}
	cl := newCluster(pod, svc)
	s := cl.run(t, withService)
	mustStart(t, s, aliceKey)
}

func TestStartReplacesALeftOverService(t *testing.T) {
	cl := newCluster(&corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Name:        "jupyter-user",
		Namespace:   "jhub",
		UID:         "left-over",
		Annotations: annotated("user", ownInstallation, outpost.Key{Hub: "hub", StartID: "s0"}),
	}})
	s := cl.run(t, withService)
	mustStart(t, s, aliceKey)
	want := []string{
		"create pods/jupyter-user",
		"create services/jupyter-user", "delete services/jupyter-user", "create services/jupyter-user",
	}
	if diff := cmp.Diff(want, writes(cl.taken())); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

// Only what goes with this very pod is taken over: the Service of a pod that was deleted by hand is collected with that
// one, and one without an owner, as an interrupted start of an older outpost leaves it, would be there for ever.
func TestStartTakesOnlyTheServiceOfItsPod(t *testing.T) {
	//nolint:lll // a case a line
	for name, tc := range map[string]struct {
		owners []metav1.OwnerReference
		want   []string
	}{
		"its pod's":     {[]metav1.OwnerReference{kubespawner.OwnerReference("jupyter-user", "made")}, []string{"create pods/jupyter-user", "create services/jupyter-user"}},
		"another pod's": {[]metav1.OwnerReference{kubespawner.OwnerReference("jupyter-user", "gone")}, []string{"create pods/jupyter-user", "create services/jupyter-user", "delete services/jupyter-user", "create services/jupyter-user"}},
		"nobody's":      {nil, []string{"create pods/jupyter-user", "create services/jupyter-user", "delete services/jupyter-user", "create services/jupyter-user"}},
	} {
		t.Run(name, func(t *testing.T) {
			annotations := annotated("user", ownInstallation, aliceKey)
			pod := podOf("jupyter-user", "made", annotations)
			pod.Spec.Containers = notebookContainers
			becomeReady(pod)
			svc := serviceOf("jupyter-user", annotations)
			svc.UID, svc.OwnerReferences = "old", tc.owners
			cl := newCluster(pod, svc)
			s := cl.run(t, withService)
			mustStart(t, s, aliceKey)
			if diff := cmp.Diff(tc.want, writes(cl.taken())); diff != "" {
				t.Errorf("requests (-want +got)\n%s", diff)
			}
			made, err := cl.CoreV1().Services("jhub").Get(t.Context(), "jupyter-user", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(
				[]metav1.OwnerReference{kubespawner.OwnerReference("jupyter-user", "made")},
				made.OwnerReferences,
			); diff != "" {
				t.Errorf("owner (-want +got)\n%s", diff)
			}
		})
	}
}

func TestStopForcesPodsOfDeadNodes(t *testing.T) {
	cl := newCluster()
	o := withService
	o.ForceAfter = 50 * time.Millisecond
	s := cl.run(t, o)
	p := mustStart(t, s, aliceKey)
	cl.stuck = true
	cl.taken()
	if err := s.Stop(t.Context(), aliceKey, p.State); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"delete pods/jupyter-user grace 1",
		"delete pods/jupyter-user grace 0",
		"delete services/jupyter-user",
	}
	if diff := cmp.Diff(want, writes(cl.taken())); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

// A grace period may be longer than one try of a stop: what is left of it counts from the deletion, not from the try.
func TestStopForcesAfterALongGracePeriod(t *testing.T) {
	cl := newCluster()
	clock := &atomic.Int64{} // how far the wall clock has gone on
	s := cl.run(t, Options{
		Spawner:    map[string]any{"delete_grace_period": 600},
		ForceAfter: time.Second,
		Now:        func() time.Time { return time.Now().Add(time.Duration(clock.Load())) },
	})
	p := mustStart(t, s, aliceKey)
	cl.stuck = true
	cl.taken()
	asked := make(chan struct{}, 10)
	cl.before("delete pods", func() { asked <- struct{}{} })
	// try ends a while after it has asked, however long that took.
	try := func() error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			<-asked
			time.Sleep(2 * time.Second) // in which it would force
			cancel()
		}()
		return s.Stop(ctx, aliceKey, p.State)
	}
	if err := try(); !errors.Is(err, context.Canceled) {
		t.Errorf("first try: %v", err)
	}
	clock.Store(int64(5 * time.Minute))
	if err := try(); !errors.Is(err, context.Canceled) {
		t.Errorf("second try: %v", err)
	}
	clock.Store(int64(11 * time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), patience) // less than the grace period
	defer cancel()
	if err := s.Stop(ctx, aliceKey, p.State); err != nil {
		t.Errorf("third try: %v", err)
	}
	ask, force := "delete pods/jupyter-user grace 600", "delete pods/jupyter-user grace 0"
	if diff := cmp.Diff([]string{ask, ask, ask, force}, writes(cl.taken())); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

// deaf is a cluster whose watches never tell that a pod has gone, and a clock that runs on by itself while f runs.
func deaf(t *testing.T, f func(*cluster, *Spawner)) {
	t.Helper()
	cl := newCluster()
	cl.PrependWatchReactor("pods", func(a k8stesting.Action) (bool, watch.Interface, error) {
		in, err := cl.Tracker().Watch(a.GetResource(), a.GetNamespace())
		cl.watching <- struct{}{}
		kept := watch.Filter(in, func(e watch.Event) (watch.Event, bool) { return e, e.Type != watch.Deleted })
		return true, kept, err
	})
	clock := &atomic.Int64{}
	o := withService
	o.StartTimeout, o.ForceAfter = time.Hour, time.Hour // what is looked for is not waited for as long
	o.Now = func() time.Time { return time.Now().Add(time.Duration(clock.Load())) }
	s := cl.run(t, o)
	done := make(chan struct{})
	go func() { defer close(done); f(cl, s) }()
	for {
		select {
		case <-done:
			return
		case <-time.After(100 * time.Millisecond): // whoever waits may not have read the clock yet
			clock.Add(int64(confirmAfter))
		}
	}
}

// What has gone unseen is looked for, not waited for: a start of its whole time, a stop until it forces.
func TestWhatHasGoneUnseenIsLookedFor(t *testing.T) {
	ask, force := "delete pods/jupyter-user grace 1", "delete pods/jupyter-user grace 0"
	for name, tc := range map[string]struct {
		work func(context.Context, *Spawner, outpost.Plan) error
		want []string
	}{
		"a stop": {func(ctx context.Context, s *Spawner, p outpost.Plan) error {
			return s.Stop(ctx, p.Key, p.State)
		}, []string{ask, "delete services/jupyter-user"}},
		"a start in place of another": {func(ctx context.Context, s *Spawner, _ outpost.Plan) error {
			_, err := s.Start(ctx, planOf(t, s, outpost.Key{Hub: "hub", StartID: "s2"}, nil), nil)
			return err
		}, []string{
			"create pods/jupyter-user", force, "create pods/jupyter-user",
			"create services/jupyter-user", "delete services/jupyter-user", "create services/jupyter-user",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			deaf(t, func(cl *cluster, s *Spawner) {
				p := mustStart(t, s, aliceKey)
				cl.taken()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := tc.work(ctx, s, p); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(tc.want, writes(cl.taken())); diff != "" {
					t.Errorf("requests (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func TestStopWaitsUntilThePodIsGone(t *testing.T) {
	cl := newCluster()
	o := withService
	o.ForceAfter = time.Hour
	s := cl.run(t, o)
	p := mustStart(t, s, aliceKey)
	cl.stuck = true
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := s.Stop(ctx, aliceKey, p.State); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop of a pod that stays: %v", err)
	}
	if got, err := s.Poll(t.Context(), aliceKey, p.State); err != nil || got != (outpost.Status{}) {
		t.Errorf("poll of a pod that is going: %+v, %v", got, err)
	}
	// A later stop finishes what the first one began.
	cl.stuck = false
	if err := s.Stop(t.Context(), aliceKey, p.State); err != nil {
		t.Errorf("second stop: %v", err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestStopRepeatsWhatFailsForAMoment(t *testing.T) {
	for _, away := range []error{errTimeout, errServer, errThrottled, errGone} {
		cl := newCluster()
		s := cl.run(t, withService)
		p := mustStart(t, s, aliceKey)
		for _, request := range []string{"get pods", "delete pods", "get services", "delete services"} {
			cl.errors[request] = []error{away}
		}
		if err := s.Stop(t.Context(), aliceKey, p.State); err != nil {
			t.Errorf("%v: %v", away, err)
		}
		if left := cl.left(t); left != "" {
			t.Errorf("%v: left behind: %s", away, left)
		}
	}
}

func TestStopOfWhatIsNotThere(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, withService)
	//nolint:lll // a case a line
	for name, st := range map[string]outpost.State{
		"no state":               nil,
		"empty state":            {},
		"nonsense":               {"pod_name": 5, "namespace": []any{}, "delete_grace_period": "x"},
		"state of KubeSpawner":   {"kubespawner_version": "7.0.0", "pod_name": "jupyter-x", "namespace": "jhub", "dns_name": "x"},
		"other namespace":        {"pod_name": "jupyter-x", "namespace": "elsewhere"},
		"planned and never made": planOf(t, s, aliceKey, nil).State,
	} {
		if err := s.Stop(t.Context(), aliceKey, st); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A row without a state (KubeSpawner writes it only when a start is over) still finds its pod by its origin; a pod of
// KubeSpawner is found by its state.
func TestStopFindsPodsByStateOrOrigin(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, withService)
	mustStart(t, s, aliceKey)
	if err := s.Stop(t.Context(), aliceKey, outpost.State{}); err != nil {
		t.Fatal(err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
	theirs := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "jupyter-maria", Namespace: "jhub", UID: "theirs"}}
	becomeReady(theirs)
	svc := serviceOf("jupyter-maria", map[string]string{kubespawner.UsernameKey: "maria"})
	svc.OwnerReferences = []metav1.OwnerReference{kubespawner.OwnerReference("jupyter-maria", "theirs")}
	if err := errors.Join(cl.Tracker().Add(theirs), cl.Tracker().Add(svc)); err != nil {
		t.Fatal(err)
	}
	st := outpost.State{
		"kubespawner_version": "7.0.0",
		"pod_name":            "jupyter-maria",
		"namespace":           "jhub",
		"dns_name":            "x",
	}
	k := outpost.Key{Hub: "hub", Name: "lab", StartID: "s7"}
	if got, err := s.Poll(t.Context(), k, st); err != nil || got != (outpost.Status{}) {
		t.Errorf("poll of KubeSpawner's pod: %+v, %v", got, err)
	}
	if err := s.Stop(t.Context(), k, st); err != nil {
		t.Fatal(err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestPollNeedsNoRequest(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, withService)
	p := mustStart(t, s, aliceKey)
	before := len(cl.Actions())
	for range 100 {
		if got, err := s.Poll(t.Context(), aliceKey, p.State); err != nil || got != (outpost.Status{}) {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if n := len(cl.Actions()) - before; n != 0 {
		t.Errorf("100 polls made %d requests", n)
	}
}

// "Gone" makes a hub forget a server, so it is said only when Kubernetes says it.
func TestPollAsksBeforeItSaysGone(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, Options{})
	st := outpost.State{"pod_name": "jupyter-user", "namespace": "jhub"}
	cl.errors["get pods"] = []error{errServer}
	if got, err := s.Poll(t.Context(), aliceKey, st); outpost.KindOf(err) != outpost.KindUnavailable {
		t.Errorf("Kubernetes away: %+v, %v", got, err)
	}
	if got, err := s.Poll(t.Context(), aliceKey, st); err != nil || !got.Gone {
		t.Errorf("%+v, %v", got, err)
	}
}

// A cache that is behind still has the pod that had this name before; what Kubernetes has counts.
func TestPollAsksWhenTheCacheHasAnotherPodOfTheName(t *testing.T) {
	away := outpost.KindUnavailable
	for name, cached := range map[string]*corev1.Pod{
		"an earlier start's": podOf("jupyter-user", "old", annotated("user", ownInstallation,
			outpost.Key{Hub: "hub", StartID: "s0"})),
		"another hub's": podOf("jupyter-user", "old", annotated("user", ownInstallation,
			outpost.Key{Hub: "other", StartID: "s1"})),
		"another outpost's": podOf("jupyter-user", "old", annotated("user", "other", aliceKey)),
		"KubeSpawner's":     podOf("jupyter-user", "old", map[string]string{kubespawner.UsernameKey: "user"}),
	} {
		t.Run(name, func(t *testing.T) {
			cl := newCluster()
			s := cl.run(t, Options{})
			p := mustStart(t, s, aliceKey)
			cached.Status.Phase = corev1.PodFailed
			if err := s.watchers["jhub"].informer.GetStore().Update(cached); err != nil {
				t.Fatal(err)
			}
			cl.errors["get pods"] = []error{errServer}
			if got, err := s.Poll(t.Context(), aliceKey, p.State); outpost.KindOf(err) != away {
				t.Errorf("Kubernetes away: %+v, %v", got, err)
			}
			if got, err := s.Poll(t.Context(), aliceKey, p.State); err != nil || got != (outpost.Status{}) {
				t.Errorf("%+v, %v", got, err)
			}
			if err := cl.Tracker().Delete(podResource, "jhub", "jupyter-user"); err != nil {
				t.Fatal(err)
			}
			if err := s.watchers["jhub"].informer.GetStore().Update(cached); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Poll(t.Context(), aliceKey, p.State); err != nil || !got.Gone {
				t.Errorf("without a pod: %+v, %v", got, err)
			}
		})
	}
}

func TestPollWaitsForTheCache(t *testing.T) {
	cl := newCluster()
	s, err := New(cl, "jhub", Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got, err := s.Poll(ctx, aliceKey, nil); outpost.KindOf(err) != outpost.KindUnavailable {
		t.Errorf("poll before Run: %+v, %v", got, err)
	}
	if err := s.Ready(t.Context()); outpost.KindOf(err) != outpost.KindUnavailable {
		t.Errorf("ready before Run: %v", err)
	}
	running := cl.run(t, Options{})
	if err := running.Ready(t.Context()); err != nil {
		t.Errorf("ready: %v", err)
	}
	if age := running.Age(); age <= 0 || age > time.Minute {
		t.Errorf("age %s", age)
	}
}

func TestEndedPodsAreDeletedLater(t *testing.T) {
	for _, tc := range []struct {
		keep, later bool
	}{{}, {keep: true}, {later: true}} {
		cl := newCluster()
		s := cl.run(t, Options{Spawner: map[string]any{"delete_stopped_pods": !tc.keep}})
		if s.reapAfter = 10 * time.Millisecond; tc.later {
			s.reapAfter = time.Hour
		}
		p := mustStart(t, s, aliceKey)
		w, err := s.watch(t.Context(), "jhub")
		if err != nil {
			t.Fatal(err)
		}
		sub := w.subscribe("jupyter-user")
		cl.update(t, "jhub", "jupyter-user", func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses[0].State = corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"},
			}
		})
		for w.pod("jupyter-user").Status.ContainerStatuses[0].State.Terminated == nil {
			<-sub.C
		}
		want := outpost.Status{
			Ended:      true,
			ExitCode:   137,
			Reason:     "The server exceeded its memory limit and was killed.",
			KubeReason: "OOMKilled",
		}
		got, err := s.Poll(t.Context(), aliceKey, p.State)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("poll %v (-want +got)\n%s", err, diff)
		}
		if tc.keep || tc.later {
			s.mu.Lock()
			reaping := s.reaping["uid-1"]
			s.mu.Unlock()
			if reaping != tc.later {
				t.Errorf("keep: %v, and the pod will be deleted: %v", tc.keep, reaping)
			}
		} else {
			for w.pod("jupyter-user") != nil {
				<-sub.C
			}
		}
		sub.close()
	}
}

func TestFoundReturnsWhatWasPlanned(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, withService)
	p := mustStart(t, s, outpost.Key{Hub: "hub/a", Name: "läb", StartID: "S 1"})
	cl.old("someone", "")
	found, _, err := s.Found(t.Context())
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	// As it comes back from JSON.
	data, err := json.Marshal(p.State)
	if err != nil {
		t.Fatal(err)
	}
	var want outpost.State
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(outpost.Found{Key: p.Key, State: want, Created: found[0].Created}, found[0]); diff != "" {
		t.Errorf("found (-want +got)\n%s", diff)
	}
}

// A namespace that cannot be listed hides its own pods only.
func TestFoundNamesWhatItCannotList(t *testing.T) {
	forbidden, missing := errForbidden, status(http.StatusNotFound, metav1.StatusReasonNotFound, "no namespace")
	//nolint:lll // a case a line
	for name, tc := range map[string]struct {
		refused map[string]error // by namespace
		found   []outpost.Key
		unseen  []string
	}{
		"all listed":            {nil, []outpost.Key{aliceKey}, nil},
		"a hub's is closed":     {map[string]error{"closed": forbidden}, []outpost.Key{aliceKey}, []string{"closed"}},
		"a hub's is not there":  {map[string]error{"typo": missing}, []outpost.Key{aliceKey}, []string{"typo"}},
		"the outpost's own":     {map[string]error{"jhub": forbidden}, nil, []string{"jhub"}},
		"all of them, in order": {map[string]error{"typo": missing, "jhub": forbidden, "closed": forbidden}, nil, []string{"closed", "jhub", "typo"}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podOf("jupyter-user", "u", annotated("user", ownInstallation, aliceKey))
			cl := newCluster(pod)
			cl.PrependReactor("list", "pods", func(a k8stesting.Action) (bool, runtime.Object, error) {
				err := tc.refused[a.GetNamespace()]
				return err != nil, nil, err
			})
			s := runUnfilled(t, cl, Options{Namespaces: []string{"typo", "closed"}})
			list, unseen, err := s.Found(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var found []outpost.Key
			for _, f := range list {
				found = append(found, f.Key)
			}
			if diff := cmp.Diff(tc.found, found) + cmp.Diff(tc.unseen, unseen); diff != "" {
				t.Errorf("found and unseen (-want +got)\n%s", diff)
			}
		})
	}
}

// Who no longer waits gets no list that looks complete.
func TestFoundEndsWithItsContext(t *testing.T) {
	cl := newCluster()
	cl.PrependReactor("list", "pods", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, errServer
	})
	s := runUnfilled(t, cl, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	found, unseen, err := s.Found(ctx)
	if outpost.KindOf(err) != outpost.KindUnavailable || found != nil || unseen != nil {
		t.Errorf("found %v, unseen %v, error %v", found, unseen, err)
	}
}

func TestLogs(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, Options{})
	p := mustStart(t, s, aliceKey)
	got, err := s.Logs(t.Context(), aliceKey, p.State, 10)
	if diff := cmp.Diff([]string{"fake logs"}, got); diff != "" || err != nil {
		t.Errorf("logs %v (-want +got)\n%s", err, diff)
	}
	for name, k := range map[string]outpost.Key{"another start": {Hub: "hub", StartID: "s2"}} {
		if got, err := s.Logs(t.Context(), k, p.State, 10); err != nil || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := s.Logs(t.Context(), aliceKey, outpost.State{"pod_name": "none"}, 10); err != nil || got != nil {
		t.Errorf("no pod: %v, %v", got, err)
	}
}

// What happens to this pod is told, and nothing of the pod that had its name before.
func TestStartReportsItsOwnEvents(t *testing.T) {
	cl := newCluster()
	cl.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
	s := cl.run(t, Options{})
	emit := func(name, uid, message string) {
		e := &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "jhub", UID: types.UID(name)},
			Type:       "Normal",
			Message:    message,
		}
		e.InvolvedObject = corev1.ObjectReference{
			Kind:      "Pod",
			Name:      "jupyter-user",
			Namespace: "jhub",
			UID:       types.UID(uid),
		}
		e.LastTimestamp = metav1.NewTime(time.Date(2026, 5, 4, 9, 12, 40, 0, time.UTC))
		cl.emit(t, e)
	}
	cl.before("create pods", func() { emit("a", "before", "of the old pod") })
	events := make(chan outpost.Event, 10)
	result := make(chan error, 1)
	p := planOf(t, s, aliceKey, nil)
	go func() {
		_, err := s.Start(t.Context(), p, func(e outpost.Event) { events <- e })
		result <- err
	}()
	if got := <-events; got.Message != "Server requested" || got.Progress != 0 {
		t.Errorf("first event %+v", got)
	}
	w, err := s.watch(t.Context(), "jhub")
	if err != nil {
		t.Fatal(err)
	}
	sub := w.subscribe("jupyter-user")
	defer sub.close()
	for w.pod("jupyter-user") == nil {
		<-sub.C
	}
	emit("b", "uid-1", "Pulling <image>")
	want := outpost.Event{
		Progress:    30,
		Message:     "2026-05-04T09:12:40Z [Normal] Pulling <image>",
		HTMLMessage: "2026-05-04T09:12:40Z [Normal] Pulling &lt;image&gt;",
	}
	if diff := cmp.Diff(want, <-events); diff != "" {
		t.Errorf("second event (-want +got)\n%s", diff)
	}
	cl.update(t, "jhub", "jupyter-user", becomeReady)
	if err := <-result; err != nil {
		t.Error(err)
	}
	if len(events) > 0 {
		t.Errorf("also reported: %+v", <-events)
	}
}

func TestStartEndsWhenItsPodIsDeleted(t *testing.T) {
	cl := newCluster()
	cl.status = func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodPending
		p.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	}
	s := cl.run(t, Options{})
	_, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil)
	e, ok := errors.AsType[*outpost.Error](err)
	if !ok || e.Reason != diagnosis.ReasonEnded || e.Kind != outpost.KindFailed {
		t.Errorf("error %v", err)
	}
}

func TestTwoStartsOfOneKeyAreOne(t *testing.T) {
	cl := newCluster()
	cl.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
	s := cl.run(t, Options{})
	p := planOf(t, s, aliceKey, nil)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	begun := make(chan struct{})
	go func() {
		_, err := s.Start(ctx, p, func(outpost.Event) { close(begun) })
		first <- err
	}()
	<-begun
	if _, err := s.Start(t.Context(), p, nil); outpost.KindOf(err) != outpost.KindConflict {
		t.Errorf("second start: %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("first start: %v", err)
	}
}

// Nothing that a hub sends in confidence is in what is logged or told.
func TestSecretsAreNotLogged(t *testing.T) {
	const planted = "plan7ed-secret"
	var log strings.Builder
	cl := newCluster()
	cl.errors["create pods"] = []error{
		errServer,
		status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "is invalid"),
	}
	o := withService
	o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := cl.run(t, o)
	hub := outpost.Hub{Name: "hub", Options: map[string]any{"internal_ssl": true}}
	p, err := s.Plan(t.Context(), hub, outpost.StartRequest{
		Key:   aliceKey,
		Body:  outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "user", "JUPYTERHUB_API_TOKEN": planted}},
		Certs: map[string]string{"keyfile": planted, "certfile": planted, "cafile": planted},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Start(t.Context(), p, func(e outpost.Event) { _, _ = io.WriteString(&log, e.Message) })
	if err == nil {
		t.Fatal("start succeeded")
	}
	data, jsonErr := json.Marshal(p.State)
	if text := log.String() + err.Error() + string(data); jsonErr != nil || strings.Contains(text, planted) {
		t.Errorf("%v: %s", jsonErr, text)
	}
	if err := s.Stop(t.Context(), aliceKey, p.State); err != nil {
		t.Error(err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// Two outposts may share a namespace, and their hubs a name; and an outpost whose database was lost finds its pods
// without rows.
func TestPodsOfAnotherDatabaseAreLeftAlone(t *testing.T) {
	cl := newCluster()
	other := cl.runAs(t, "ffeeddccbbaa99887766554433221100", withService)
	theirs := mustStart(t, other, aliceKey)
	if err := cl.Tracker().Add(
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Name:        "x",
				Namespace:   "jhub",
				Annotations: annotated("", "$(reboot)", outpost.Key{Hub: "hub", StartID: "s"}),
			},
		},
	); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o := withService
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := cl.run(t, o)
	for range 2 {
		if found, _, err := s.Found(t.Context()); err != nil || len(found) > 0 {
			t.Errorf("found %v, %v", found, err)
		}
	}
	const wayOut = `delete="kubectl -n jhub delete pods,services,secrets ` +
		`-l outposts.dev/installation=ffeeddccbbaa99887766554433221100"`
	if n := strings.Count(log.String(), wayOut); n != 1 {
		t.Errorf("told %d times what to do:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), "reboot") {
		t.Errorf("told to run what a pod says:\n%s", log.String())
	}
	if got, err := s.Poll(t.Context(), aliceKey, theirs.State); err != nil || !got.Gone {
		t.Errorf("poll %+v, %v", got, err)
	}
	for _, state := range []outpost.State{theirs.State, {}} {
		if err := s.Stop(t.Context(), aliceKey, state); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Start(t.Context(), planOf(t, s, aliceKey, nil), nil); err == nil {
		t.Error("a start has taken over their pod")
	}
	if left := cl.left(t); left != "pods/jupyter-user pods/x services/jupyter-user" {
		t.Errorf("left: %s", left)
	}
	if found, _, err := other.Found(t.Context()); err != nil || len(found) != 1 || found[0].Key != aliceKey {
		t.Errorf("the other outpost finds %v, %v", found, err)
	}
}

func TestStopOfAnInterruptedStartOfKubeSpawner(t *testing.T) {
	mine := map[string]string{kubespawner.UsernameKey: "Alice", kubespawner.ServernameKey: "lab"}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name, server, pod string
		annotations       map[string]string
		kept              bool
	}{
		{name: "its pod", server: "lab", pod: "jupyter-alice---3bc51062--lab", annotations: mine},
		{name: "the pod of the default server", pod: "jupyter-alice---3bc51062", annotations: map[string]string{kubespawner.UsernameKey: "Alice"}},
		{name: "the pod of another user", server: "lab", pod: "jupyter-alice---3bc51062--lab", annotations: map[string]string{kubespawner.UsernameKey: "alice", kubespawner.ServernameKey: "lab"}, kept: true},
		{name: "the pod of another server", server: "lab", pod: "jupyter-alice---3bc51062--lab", annotations: map[string]string{kubespawner.UsernameKey: "Alice"}, kept: true},
		{name: "its pod, by KubeSpawner 6", server: "lab", pod: "jupyter--41lice--lab", annotations: mine},
		{name: "the pod of the default server, by KubeSpawner 6", pod: "jupyter--41lice", annotations: map[string]string{kubespawner.UsernameKey: "Alice"}},
		{name: "the pod of another user by that name", server: "lab", pod: "jupyter--41lice--lab", annotations: map[string]string{kubespawner.UsernameKey: "-41lice", kubespawner.ServernameKey: "lab"}, kept: true},
		{name: "a pod of nobody", server: "lab", pod: "jupyter-alice---3bc51062--lab", kept: true},
		{name: "a later start by this server", server: "lab", pod: "jupyter-alice---3bc51062--lab", annotations: map[string]string{
			kubespawner.UsernameKey: "Alice", kubespawner.ServernameKey: "lab", kubespawner.InstallationKey: ownInstallation, kubespawner.HubKey: "hub", kubespawner.NameKey: "lab", kubespawner.StartIDKey: "s2",
		}, kept: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod := podOf(c.pod, "theirs", c.annotations)
			becomeReady(pod)
			cl := newCluster(pod)
			s := cl.run(t, withService)
			row := outpost.Service{
				Summary: outpost.Summary{Key: outpost.Key{Hub: "hub", Name: c.server, StartID: "s1"}, StartPending: true}, State: outpost.State{},
				Body: outpost.Body{
					Env: map[string]string{"JUPYTERHUB_USER": "Alice", "JUPYTERHUB_USER_ID": "7"},
					// Plan would refuse each of them but the first.
					Misc: map[string]json.RawMessage{
						"pod_name_template": json.RawMessage(
							`"jupyter-{username}--{servername}"`,
						),
						"no_such":           json.RawMessage(`1`),
						"image":             json.RawMessage(`5`),
						"dns_name_template": json.RawMessage(`"elsewhere"`),
					},
				},
			}
			if err := s.Stop(t.Context(), row.Key, s.Restore(outpost.Hub{Name: "hub"}, row)); err != nil {
				t.Fatal(err)
			}
			want := ""
			if c.kept {
				want = "pods/" + c.pod
			}
			if left := cl.left(t); left != want {
				t.Errorf("left %q, want %q", left, want)
			}
		})
	}
}

func TestRestoreKeepsWhatIsKnown(t *testing.T) {
	s := testSpawner(t, "jhub", Options{})
	full := outpost.Service{
		Body:  outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}},
		State: outpost.State{"pod_name": "x", "namespace": "y"},
	}
	if diff := cmp.Diff(full.State, s.Restore(outpost.Hub{}, full)); diff != "" {
		t.Errorf("a full state (-want +got)\n%s", diff)
	}
	if got := s.Restore(outpost.Hub{}, outpost.Service{State: outpost.State{}}); len(got) > 0 {
		t.Errorf("a row that says nothing: %v", got)
	}
}

// The Secret with the certificates goes with the pod.
func TestStopRemovesTheSecretOfInternalTLS(t *testing.T) {
	cl := newCluster()
	s := cl.run(t, Options{})
	p := planWithCerts(t, s)
	if _, err := s.Start(t.Context(), p, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context(), p.Key, p.State); err != nil {
		t.Fatal(err)
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// A stop after a restart knows the stored state and nothing else; it creates nothing, neither certificates nor a
// Secret.
func TestStopAfterARestartCreatesNothing(t *testing.T) {
	cl := newCluster()
	first := cl.run(t, withService)
	p := mustStart(t, first, aliceKey)
	data, err := json.Marshal(p.State)
	if err != nil {
		t.Fatal(err)
	}
	var stored outpost.State
	if err := json.Unmarshal(data, &stored); err != nil {
		t.Fatal(err)
	}
	next := cl.run(t, withService)
	cl.taken()
	if err := next.Stop(t.Context(), aliceKey, stored); err != nil {
		t.Fatal(err)
	}
	for _, call := range cl.taken() {
		if strings.HasPrefix(call, "create ") {
			t.Errorf("the stop created something: %s", call)
		}
	}
	if left := cl.left(t); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
