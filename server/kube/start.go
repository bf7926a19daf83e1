package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	tick       = time.Second      // how often a waiting start looks by itself
	confirming = 10 * time.Second // how long a start believes a silent watch
)

// start is one Start that is under way.
type start struct {
	cancel    context.CancelFunc
	cancelled <-chan struct{}
	done      chan struct{}
}

// begin registers a start of a key, so that Stop can end it and wait for it.
func (s *Spawner) begin(ctx context.Context, k outpost.Key) (context.Context, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	run := &start{cancel: cancel, cancelled: ctx.Done(), done: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starts[k] != nil {
		cancel()
		return nil, nil, outpost.Errorf(outpost.KindConflict, "this server is being started already")
	}
	s.starts[k] = run
	return ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.starts, k)
		cancel()
		close(run.done)
	}, nil
}

// Start implements [outpost.Spawner].
func (s *Spawner) Start(ctx context.Context, p outpost.Plan, tell func(outpost.Event)) (outpost.Started, error) {
	o, ok := p.Objects.(*kubespawner.Objects)
	if !ok || o == nil {
		return outpost.Started{}, fmt.Errorf("plan of %s was not made here", p.Name)
	}
	ctx, end, err := s.begin(ctx, p.Key)
	if err != nil {
		return outpost.Started{}, err
	}
	defer end()
	// One limit for all of it: whatever does not come, the start ends, and counts no longer.
	ctx, cancel := context.WithTimeout(ctx, o.Settings.StartLimit())
	defer cancel()
	w, err := s.watch(ctx, o.Pod.Namespace)
	if err != nil {
		return outpost.Started{}, err
	}
	names := []string{o.Pod.Name}
	if o.Claim != nil && o.Claim.Name != o.Pod.Name {
		names = append(names, o.Claim.Name)
	}
	sub := w.subscribe(names...)
	defer sub.close()
	r := &run{
		s: s, o: o, w: w, sub: sub, tell: tell, uids: map[types.UID]bool{},
		request: attempt{timeout: o.Settings.RequestTimeout(), budget: o.Settings.RetryTimeout()},
	}
	r.say(r.progress.first())
	pod, err := r.makeAll(ctx)
	if err != nil {
		return outpost.Started{}, err
	}
	pod, err = r.waitReady(ctx, pod)
	if err != nil {
		return outpost.Started{}, err
	}
	address, err := o.Address(pod)
	if err != nil {
		return outpost.Started{}, err
	}
	return outpost.Started{Address: address, State: p.State}, nil
}

// run is the work of one start.
type run struct {
	s        *Spawner
	o        *kubespawner.Objects
	w        *watcher
	sub      *subscription
	tell     func(outpost.Event)
	request  attempt
	progress progress
	uids     map[types.UID]bool // objects whose events are shown
}

// say passes an event on, unless the operator wants none but the first.
func (r *run) say(e outpost.Event) {
	if r.tell != nil && (r.o.Settings.EventsEnabled || e.Progress == 0 && e.Message == r.progress.first().Message) {
		r.tell(e)
	}
}

// makeAll makes the objects: what the pod needs before it, and Service and Secret after it, so that they belong to it from
// the first moment and go with it. The pod is under way meanwhile.
func (r *run) makeAll(ctx context.Context) (*corev1.Pod, error) {
	if err := r.w.ready(ctx); err != nil {
		return nil, err
	}
	if r.o.Namespace != nil {
		if err := r.s.ensureNamespace(ctx, r.request, r.o.Namespace); err != nil {
			return nil, err
		}
	}
	if r.o.Claim != nil {
		claim, err := r.s.ensureClaim(ctx, r.request, r.o.Claim)
		if err != nil {
			return nil, err
		}
		if claim.UID != "" {
			r.uids[claim.UID] = true
		}
	}
	pod, cleared, err := r.makePod(ctx)
	if err != nil {
		return nil, err
	}
	r.uids[pod.UID] = true
	if r.o.Secret != nil { // first: the kubelet waits for it
		if err := r.s.ensureSecret(ctx, r.request, r.o.Secret, pod, cleared); err != nil {
			return nil, err
		}
	}
	if r.o.Service != nil {
		if err := r.s.ensureService(ctx, r.request, r.o.Service, pod, cleared); err != nil {
			return nil, err
		}
	}
	return pod, nil
}

// adoptable tells whether a pod is the one that this start would make.
func (r *run) adoptable(pod *corev1.Pod) bool {
	id, ours := kubespawner.OriginOf(pod.Annotations)
	return ours && id == r.o.Origin && pod.DeletionTimestamp == nil
}

// makePod creates the pod, or takes over the one that an earlier attempt of this same start created; cleared is the uid of
// the one that was in the way, if there was any. Kubernetes asks the quota before the name: a pod of this name may be what
// fills it, and is counted for a moment after it has gone.
func (r *run) makePod(ctx context.Context) (pod *corev1.Pod, cleared types.UID, err error) {
	pods := r.s.client.CoreV1().Pods(r.o.Pod.Namespace)
	var refused error
	for range ensureRounds {
		refused = r.request.do(ctx, func(ctx context.Context) (err error) {
			pod, err = pods.Create(ctx, r.o.Pod, metav1.CreateOptions{})
			return err
		})
		if refused == nil {
			return pod, cleared, nil
		}
		full := apierrors.IsForbidden(refused)
		if !full && !apierrors.IsAlreadyExists(refused) {
			break
		}
		err := r.request.do(ctx, func(ctx context.Context) (err error) {
			pod, err = pods.Get(ctx, r.o.Pod.Name, metav1.GetOptions{})
			return err
		})
		switch {
		case full && err != nil && cleared == "":
			return nil, "", apiError(refused, "make the server's pod")
		case apierrors.IsNotFound(err):
			if full {
				select {
				case <-ctx.Done():
					return nil, "", ctx.Err()
				case <-time.After(tick):
				}
			}
			continue
		case err != nil:
			return nil, "", apiError(err, "read the server's pod")
		case r.adoptable(pod):
			r.s.logger.Info("pod adopted", "pod", pod.Name, "namespace", pod.Namespace, "start_id", r.o.Origin.StartID)
			return pod, cleared, nil
		}
		if err := r.clear(ctx, pod); err != nil {
			return nil, "", err
		}
		cleared = pod.UID
	}
	if !apierrors.IsAlreadyExists(refused) {
		return nil, "", apiError(refused, "make the server's pod")
	}
	return nil, "", &outpost.Error{
		Kind: outpost.KindFailed, Reason: reasonTaken, Message: "An old pod of this server's name comes back again and again.",
	}
}

// clear removes a pod that has the name of the one to be made: one that has ended, or that is the same user's same
// server from an earlier start. It differs from the peer, which kills whatever has the name.
func (r *run) clear(ctx context.Context, old *corev1.Pod) error {
	same, err := replaces(r.o.Pod, old)
	if err != nil {
		return err
	}
	if old.DeletionTimestamp == nil && !same && !judge(old).Ended {
		return &outpost.Error{
			Kind: outpost.KindFailed, Reason: reasonTaken,
			Message: "The pod name " + old.Name + " belongs to another server that runs. Change pod_name_template.",
		}
	}
	r.s.logger.Info("old pod in the way removed", "pod", old.Name, "namespace", old.Namespace, "start_id", r.o.Origin.StartID)
	err = r.s.deletePod(ctx, old, new(int64(0)))
	if err == nil {
		err = r.s.waitGone(ctx, r.w, old, nil)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &outpost.Error{
			Kind: outpost.KindFailed, Reason: reasonTimeout, Message: "The old pod of this server does not go away.", Cause: err,
		}
	}
	return err
}

// replaces tells whether an object that has the name of the wanted one is of this start or of an earlier one of the same
// user's same server, by us or by the peer. One of a later start is a conflict: this start has been ended elsewhere.
func replaces(wanted, old metav1.Object) (bool, error) {
	a, b := old.GetAnnotations(), wanted.GetAnnotations()
	have, ours := kubespawner.OriginOf(a)
	want, _ := kubespawner.OriginOf(b)
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
		return false, outpost.Errorf(outpost.KindConflict, "This server has been started again meanwhile, with start id %s.", detail(have.StartID))
	}
	return true, nil
}

// waitReady waits until the pod is ready or the start's time is over, and tells what happens meanwhile.
func (r *run) waitReady(ctx context.Context, made *corev1.Pod) (*corev1.Pod, error) {
	s := r.o.Settings
	began := r.s.now()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	waiting := newPatience(s)
	doubt := newDoubts(r.s.repeats, r.s.grace)
	lastLook := began
	for {
		events := r.sub.take()
		for _, e := range events {
			if r.uids[e.InvolvedObject.UID] {
				doubt.event(e)
			}
		}
		for _, e := range r.progress.add(events, r.uids) {
			r.say(e)
		}
		pod := r.w.pod(made.Name)
		if pod != nil && pod.UID != made.UID {
			pod = nil // the cache is behind, or somebody has replaced the pod
		}
		now := r.s.now()
		if heard := now.Add(-r.w.age()); pod != nil && heard.After(lastLook) {
			lastLook = heard
		}
		if now.Sub(lastLook) >= confirming {
			lastLook = now
			if seen, err := r.s.look(ctx, made.Namespace, made.Name); err == nil {
				if seen == nil || seen.UID != made.UID {
					return nil, &outpost.Error{
						Kind: outpost.KindFailed, Reason: reasonEnded, Message: "The server's pod was deleted before it was ready.",
					}
				}
				pod = seen
			}
		}
		if pod != nil {
			if isReady(pod, s.ReadyContainers == "all") {
				return pod, nil
			}
			if pod.DeletionTimestamp != nil {
				return nil, &outpost.Error{
					Kind: outpost.KindFailed, Reason: reasonEnded, Message: "The server's pod was deleted before it was ready.",
				}
			}
			if v := doubt.judge(pod, now); v != nil && (!r.s.keepTrying || v.reason == reasonEnded) {
				return nil, &outpost.Error{Kind: outpost.KindFailed, Reason: v.reason, Message: v.message}
			}
		}
		if text, due := waiting.due(now.Sub(began)); due {
			r.say(r.progress.say(text))
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, r.late(doubt)
			}
			return nil, ctx.Err()
		case <-r.sub.C:
		case <-ticker.C:
		}
	}
}

// late is the error of a start whose time is over.
func (r *run) late(d *doubts) error {
	message := fmt.Sprintf("The server was not ready within %s", r.o.Settings.StartLimit())
	if d.lastEvents != "" {
		message += "; the last warning was: " + d.lastEvents
	}
	return &outpost.Error{Kind: outpost.KindFailed, Reason: reasonTimeout, Message: message}
}
