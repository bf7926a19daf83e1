package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

const tick = time.Second // how often a waiting start or stop looks without being woken

// handle is how Stop reaches a start that is under way.
type handle struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the start makes nothing more
}

// register makes the start of a key known to Stop, until the returned function is called.
func (s *Spawner) register(ctx context.Context, k outpost.Key) (context.Context, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	h := &handle{cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starts[k] != nil {
		cancel()
		return nil, nil, outpost.Errorf(outpost.KindConflict, "This server is already being started.")
	}
	s.starts[k] = h
	return ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.starts, k)
		cancel()
		close(h.done)
	}, nil
}

// Start implements [outpost.Spawner].
func (s *Spawner) Start(
	ctx context.Context, p outpost.Plan, progress func(outpost.Event),
) (outpost.Started, error) {
	o, ok := p.Objects.(*kubespawner.Objects)
	if !ok || o == nil {
		return outpost.Started{}, fmt.Errorf("plan of %s was not made here", p.Name)
	}
	ctx, end, err := s.register(ctx, p.Key)
	if err != nil {
		return outpost.Started{}, err
	}
	defer end()
	// One limit for all of it: whatever is missing, the start ends and no longer counts against a quota.
	ctx, cancel := context.WithTimeout(ctx, options.Seconds(o.Settings.StartTimeout))
	defer cancel()
	w, err := s.watch(ctx, o.Pod.Namespace)
	if err != nil {
		return outpost.Started{}, err
	}
	st := &start{
		s: s, o: o, w: w, report: progress, uids: map[types.UID]bool{}, missing: map[diagnosis.Object]bool{},
		request: attempt{
			timeout: options.Seconds(o.Settings.K8sAPIRequestTimeout),
			budget:  options.Seconds(o.Settings.K8sAPIRequestRetryTimeout),
		},
	}
	st.say(st.progress.first())
	if err := st.findHome(ctx); err != nil {
		return outpost.Started{}, err
	}
	st.sub = w.subscribe(st.names()...)
	defer st.sub.close()
	pod, err := st.create(ctx)
	if err != nil {
		return outpost.Started{}, err
	}
	pod, err = st.waitReady(ctx, pod)
	if err != nil {
		return outpost.Started{}, err
	}
	address, err := st.o.Address(pod)
	if err != nil {
		return outpost.Started{}, err
	}
	state := maps.Clone(p.State)
	maps.Copy(state, st.o.State()) // the home may have another name
	return outpost.Started{Address: address, State: state}, nil
}

// start is the work of one Start.
type start struct {
	s        *Spawner
	o        *kubespawner.Objects
	w        *watcher
	sub      *subscription
	report   func(outpost.Event) // nil drops events
	request  attempt
	progress progress
	uids     map[types.UID]bool        // objects whose events are reported
	missing  map[diagnosis.Object]bool // what the API server has said about objects that a text calls missing
	placed   []diagnosis.Place         // where the pod's volumes are; nil before that was asked
	silence  silence
}

// names are those of the objects whose events are reported.
func (st *start) names() []string {
	if st.o.Claim == nil || st.o.Claim.Name == st.o.Pod.Name {
		return []string{st.o.Pod.Name}
	}
	return []string{st.o.Pod.Name, st.o.Claim.Name}
}

// say reports an event; without events_enabled, only the first one.
func (st *start) say(e outpost.Event) {
	if st.report != nil && (st.o.Settings.EventsEnabled || e == st.progress.first()) {
		st.report(e)
	}
}

func (st *start) log() *slog.Logger {
	return st.s.logger.With("namespace", st.o.Pod.Namespace, "start_id", st.o.Origin.StartID)
}

// create creates the objects: what the outpost makes for the pod before it, each checked for its owner, as is what else
// a hub's names lead to, so that no pod ever uses a home or certificates made for somebody else; and the Service after
// it, so that the pod owns it from the first moment and it goes with it.
func (st *start) create(ctx context.Context) (*corev1.Pod, error) {
	if err := st.w.waitSynced(ctx); err != nil {
		return nil, err
	}
	if st.o.Namespace != nil {
		if err := st.ensureNamespace(ctx); err != nil {
			return nil, err
		}
	}
	if st.o.Claim != nil {
		claim, err := st.ensureClaim(ctx)
		if err != nil {
			return nil, err
		}
		if claim.UID != "" {
			st.uids[claim.UID] = true
		}
	}
	for _, secret := range st.o.Secrets() {
		if err := st.ensureSecret(ctx, secret); err != nil {
			return nil, err
		}
	}
	if err := st.checkReferences(ctx); err != nil {
		return nil, err
	}
	pod, cleared, err := st.createPod(ctx)
	if err != nil {
		return nil, err
	}
	st.uids[pod.UID] = true
	for _, secret := range st.o.Secrets() {
		if err := st.ownSecret(ctx, pod, secret.Name); err != nil {
			return nil, err
		}
	}
	if st.o.Service != nil {
		if err := st.ensureService(ctx, pod, cleared); err != nil {
			return nil, err
		}
	}
	return pod, nil
}

// adoptable reports whether a pod is the one that this start would create.
func (st *start) adoptable(pod *corev1.Pod) bool {
	origin, ours := kubespawner.OriginOf(pod)
	return ours && origin == st.o.Origin && pod.DeletionTimestamp == nil
}

// createPod creates the pod, or adopts the one that an earlier attempt of this same start created; cleared is the uid
// of a pod that was in the way. Kubernetes checks the quota before the name: a pod of this name may be what fills it,
// and counts for a moment after it has gone.
func (st *start) createPod(ctx context.Context) (pod *corev1.Pod, cleared types.UID, err error) {
	pods := st.s.client.CoreV1().Pods(st.o.Pod.Namespace)
	var refused error
	for range ensureRounds {
		if pod, refused = st.postPod(ctx); refused == nil {
			return pod, cleared, nil
		}
		full := apierrors.IsForbidden(refused)
		if !full && !apierrors.IsAlreadyExists(refused) {
			break
		}
		pod, err = get(ctx, st.request, pods, st.o.Pod.Name)
		switch {
		case full && err != nil && cleared == "":
			return nil, "", apiError(refused, "create the server's pod")
		case apierrors.IsNotFound(err):
			if full && sleep(ctx, tick) != nil {
				return nil, "", ctx.Err()
			}
			continue
		case err != nil:
			return nil, "", apiError(err, "read the server's pod")
		case st.adoptable(pod):
			st.log().Info("pod adopted", "pod", pod.Name)
			return pod, cleared, nil
		}
		if err := st.clear(ctx, pod); err != nil {
			return nil, "", err
		}
		cleared = pod.UID
	}
	if !apierrors.IsAlreadyExists(refused) {
		return nil, "", apiError(refused, "create the server's pod")
	}
	return nil, "", failed(diagnosis.ReasonTaken, nil, "Another pod keeps taking this server's name.")
}

// postPod creates the pod. Kubernetes looks for its service account first; that of a new namespace is made a moment
// after the namespace itself.
func (st *start) postPod(ctx context.Context) (pod *corev1.Pod, err error) {
	pods := st.s.client.CoreV1().Pods(st.o.Pod.Namespace)
	for began := st.s.now(); ; {
		pod, err = create(ctx, st.request, pods, st.o.Pod)
		if !lacksAccount(err) || st.s.now().Sub(began) >= st.s.grace {
			return pod, err
		}
		if sleep(ctx, tick) != nil {
			return nil, err
		}
	}
}

// clear removes a pod that has the name of the one to be created: one that has ended, or an earlier start of this
// server. It differs from KubeSpawner, which kills whatever has the name.
func (st *start) clear(ctx context.Context, old *corev1.Pod) error {
	same, err := st.replaces(st.o.Pod, old)
	if err != nil {
		return err
	}
	if other := st.o.OtherOwner(st.o.Pod, old, true); other != "" {
		return failed(diagnosis.ReasonTaken, nil,
			"The pod "+old.Name+" belongs to "+other+"; change pod_name_template.")
	}
	if old.DeletionTimestamp == nil && !same && !diagnosis.Status(old).Ended {
		return failed(diagnosis.ReasonTaken, nil,
			"The pod name "+old.Name+" belongs to another running server; change pod_name_template.")
	}
	st.log().Info("removing an old pod of this name", "pod", old.Name)
	err = st.s.deletePod(ctx, old, new(int64(0)))
	if err == nil {
		err = st.s.waitGone(ctx, st.w, old, nil)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return failed(diagnosis.ReasonTimeout, err, "The old pod of this server does not go away.")
	}
	return err
}

// replaces reports whether an object that has the name of the wanted one is of this start or of an earlier one of the
// same server, by an outpost or by KubeSpawner. One of a later start is a conflict: this start has been ended
// elsewhere.
func (st *start) replaces(wanted, old metav1.Object) (bool, error) {
	if st.o.OtherOwner(wanted, old, false) != "" {
		return false, nil
	}
	a, b := old.GetAnnotations(), wanted.GetAnnotations()
	have, ours := kubespawner.OriginOf(old)
	want, _ := kubespawner.OriginOf(wanted)
	switch {
	case ours && have == want:
		return true, nil
	case a[kubespawner.UsernameKey] != b[kubespawner.UsernameKey] || a[kubespawner.UsernameKey] == "":
		return false, nil
	case !ours:
		return a[kubespawner.ServernameKey] == b[kubespawner.ServernameKey], nil
	case have.Installation != want.Installation || have.Hub != want.Hub || have.Name != want.Name:
		return false, nil
	}
	theirs, err1 := time.Parse(time.RFC3339Nano, a[kubespawner.DateKey])
	mine, err2 := time.Parse(time.RFC3339Nano, b[kubespawner.DateKey])
	if err1 == nil && err2 == nil && theirs.After(mine) {
		return false, outpost.Errorf(outpost.KindConflict,
			"This server has been started again meanwhile, with start id %s.", excerpt.Of(have.StartID, excerpt.Name))
	}
	return true, nil
}

// waitReady waits until the pod is ready or the start's time is over, and reports what happens meanwhile.
func (st *start) waitReady(ctx context.Context, created *corev1.Pod) (*corev1.Pod, error) {
	began := st.s.now()
	st.silence = silence{st.w, began}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	slow := newSlowMessage(st.o.Settings)
	d := diagnosis.NewStart(st.s.repeats, st.s.grace,
		func(message string) time.Duration { return st.s.roomFor(ctx, message) },
		func(objects []diagnosis.Object) bool { return st.lacks(ctx, objects) })
	d.Places = func() []diagnosis.Place { return st.places(ctx) }
	for {
		events := st.sub.take()
		for _, e := range events {
			if st.uids[e.InvolvedObject.UID] {
				d.Observe(e)
			}
		}
		for _, e := range st.progress.add(events, st.uids) {
			st.say(e)
		}
		now := st.s.now()
		pod, err := st.currentPod(ctx, created, now)
		switch {
		case err != nil:
			return nil, err
		case pod == nil:
		case diagnosis.IsReady(pod, st.o.Settings.ReadyContainers):
			return pod, nil
		case pod.DeletionTimestamp != nil:
			return nil, podDeleted()
		default:
			if v := d.Verdict(pod, now); v != nil && (!st.s.keepTrying || v.Reason == diagnosis.ReasonEnded) {
				return nil, failed(v.Reason, nil, v.Message)
			}
		}
		if text, due := slow.due(now.Sub(began)); due {
			st.say(st.progress.say(text))
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, st.timedOut(d)
			}
			return nil, ctx.Err()
		case <-st.sub.C:
		case <-ticker.C:
		}
	}
}

// currentPod returns the pod of the start as it is cached or, after a long silence of the watch, as Kubernetes has it.
// It is nil while it is not known, and an error if it is known to be gone.
func (st *start) currentPod(ctx context.Context, created *corev1.Pod, now time.Time) (*corev1.Pod, error) {
	pod := st.w.pod(created.Name)
	if pod != nil && pod.UID != created.UID {
		pod = nil // the cache is behind, or somebody has replaced the pod
	}
	if pod != nil {
		st.silence.heard(now)
	}
	if !st.silence.over(now) {
		return pod, nil
	}
	current, err := st.s.getPod(ctx, created.Namespace, created.Name)
	switch {
	case err != nil:
		return pod, nil // the next question may be answered
	case current == nil || current.UID != created.UID:
		return nil, podDeleted()
	}
	return current, nil
}

func podDeleted() error {
	return failed(diagnosis.ReasonEnded, nil, "The server's pod was deleted before it was ready.")
}

// timedOut is the error of a start whose time is over.
func (st *start) timedOut(d *diagnosis.Start) error {
	if d.NoNode != "" {
		text := fmt.Sprintf("%s within %s", diagnosis.HadNoRoom, options.Seconds(st.o.Settings.StartTimeout))
		return failed(diagnosis.ReasonUnschedulable, nil, diagnosis.Sentence(text, d.NoNode))
	}
	text := fmt.Sprintf("The server was not ready within %s", options.Seconds(st.o.Settings.StartTimeout))
	if d.LastWarning != "" {
		text += "; the last warning was"
	}
	return failed(diagnosis.ReasonTimeout, nil, diagnosis.Sentence(text, d.LastWarning))
}
