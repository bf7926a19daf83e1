package kube

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Options are what a Spawner may be told. The zero value is a working default.
type Options struct {
	// Spawner holds KubeSpawner options by name, for all hubs.
	Spawner map[string]any
	// StartTimeout is the default of option start_timeout; zero means KubeSpawner's 60 s.
	StartTimeout time.Duration
	// Namespaces are watched from the beginning, beside the outpost's own: those that hubs' options name.
	Namespaces []string
	// KeepTrying lets hopeless starts run into their time-out, as KubeSpawner does.
	KeepTrying bool
	// Repeats is how often something that may heal must be seen before a start is given up; zero means 3.
	Repeats int
	// Grace is how long something that may heal may last before a start is given up; zero means 15 s.
	Grace time.Duration
	// ForceAfter is how long after its grace period a pod that does not go is deleted by force, because its node
	// must be gone; zero means 30 s.
	ForceAfter time.Duration
	// Logger gets what happens; nil discards it.
	Logger *slog.Logger
	// Now and LookupEnv replace the clock and the process's environment (for option env_keep) in tests.
	Now       func() time.Time
	LookupEnv func(string) (string, bool)
}

const (
	defaultRepeats    = 3
	defaultGrace      = 15 * time.Second
	defaultForceAfter = 30 * time.Second

	lookTimeout = 5 * time.Second  // of a single look at Kubernetes outside of starts and stops
	stopBudget  = 30 * time.Second // of the requests of a stop, as far as they have to be repeated
)

// Spawner makes single-user servers as pods. It implements [outpost.Spawner] and is safe for concurrent use.
// Run must be running; before that, methods wait for it.
type Spawner struct {
	client     kubernetes.Interface
	namespace  string
	builder    *kubespawner.Builder
	keepTrying bool
	repeats    int
	grace      time.Duration
	forceAfter time.Duration
	logger     *slog.Logger
	now        func() time.Time
	reapAfter  time.Duration

	running      chan struct{} // closed by Run
	installation string        // set before

	mu       sync.Mutex
	runCtx   context.Context // of Run; watchers that are added later live in it
	stopped  bool            // Run is over
	wg       sync.WaitGroup
	watchers map[string]*watcher
	starts   map[outpost.Key]*start
	reaping  map[types.UID]bool // ended pods that will be deleted
	foreign  map[string]bool    // installations whose pods have been met and logged, by namespace
}

var _ outpost.Spawner = (*Spawner)(nil)

// New checks the options and makes a Spawner whose pods live in namespace unless an option says otherwise. A
// wrong option is KindInvalid; the message names all of them.
func New(client kubernetes.Interface, namespace string, o Options) (*Spawner, error) {
	b, err := kubespawner.NewBuilder(namespace, o.Spawner, o.StartTimeout, o.LookupEnv)
	if err != nil {
		return nil, err
	}
	s := &Spawner{
		client: client, namespace: namespace, builder: b, keepTrying: o.KeepTrying,
		repeats: o.Repeats, grace: o.Grace, forceAfter: o.ForceAfter, logger: o.Logger, now: o.Now,
		running: make(chan struct{}), watchers: map[string]*watcher{}, starts: map[outpost.Key]*start{},
		reaping: map[types.UID]bool{}, foreign: map[string]bool{}, reapAfter: reapAfter,
	}
	if s.repeats <= 0 {
		s.repeats = defaultRepeats
	}
	if s.grace <= 0 {
		s.grace = defaultGrace
	}
	if s.forceAfter <= 0 {
		s.forceAfter = defaultForceAfter
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	for _, ns := range append([]string{namespace, b.Namespace()}, o.Namespaces...) {
		if s.watchers[ns] != nil {
			continue
		}
		w, err := newWatcher(client, ns, s.logger, s.now)
		if err != nil {
			return nil, err
		}
		w.configured = true
		s.watchers[ns] = w
	}
	return s, nil
}

// Run watches pods until ctx ends and all that it started has ended. It is called once. Pods are made and known as those of
// installation, the id of the outpost's database: 32 hexadecimal digits.
func (s *Spawner) Run(ctx context.Context, installation string) error {
	s.mu.Lock()
	s.runCtx, s.installation = ctx, installation
	for _, w := range s.watchers {
		s.wg.Go(func() { w.run(ctx) })
	}
	close(s.running)
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()   // whoever has seen the context alive has added what it starts
	s.mu.Unlock() //nolint:staticcheck // an empty section on purpose
	s.wg.Wait()
	return nil
}

// waitRun waits until Run runs.
func (s *Spawner) waitRun(ctx context.Context) error {
	select {
	case <-s.running:
		return nil
	case <-ctx.Done():
		return outpost.Wrap(ctx.Err(), outpost.KindUnavailable, "this outpost is still starting")
	}
}

// Plan implements [outpost.Spawner]. It makes no request.
func (s *Spawner) Plan(ctx context.Context, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor) (outpost.Plan, error) {
	if err := s.waitRun(ctx); err != nil {
		return outpost.Plan{}, err
	}
	o, err := s.builder.Build(s.installation, hub, r, flavor)
	if err != nil {
		return outpost.Plan{}, err
	}
	return outpost.Plan{Key: r.Key, State: o.State(), Objects: o}, nil
}

// Restore implements [outpost.Spawner].
func (s *Spawner) Restore(hub outpost.Hub, svc outpost.Service) outpost.State {
	return s.builder.Restore(hub, svc)
}

// identity is whose the objects of a key are, if this outpost made them.
func (s *Spawner) identity(k outpost.Key) kubespawner.Origin {
	return kubespawner.Origin{Installation: s.installation, Key: k}
}

// watch returns the watcher of a namespace, which it starts if there is none yet.
func (s *Spawner) watch(ctx context.Context, namespace string) (*watcher, error) {
	if err := s.waitRun(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watchers[namespace]; w != nil {
		return w, nil
	}
	if s.stopped {
		return nil, outpost.Errorf(outpost.KindUnavailable, "this outpost is stopping")
	}
	w, err := newWatcher(s.client, namespace, s.logger, s.now)
	if err != nil {
		return nil, err
	}
	s.watchers[namespace] = w
	s.wg.Go(func() { w.run(s.runCtx) })
	return w, nil
}

// Ready implements [outpost.Spawner].
func (s *Spawner) Ready(ctx context.Context) error {
	s.mu.Lock()
	watchers := slices.Collect(maps.Values(s.watchers))
	s.mu.Unlock()
	for _, w := range watchers {
		if w.namespace == s.namespace && !w.filled() {
			return outpost.Errorf(outpost.KindUnavailable, "the list of servers is not filled yet")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	// Not ServerVersion, which no context ends.
	if err := s.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return outpost.Wrap(err, outpost.KindUnavailable, "Kubernetes does not answer")
	}
	return nil
}

// Age is how long ago Kubernetes last said something about pods, of the namespace where that is longest ago;
// below two minutes while all watches live.
func (s *Spawner) Age() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var age time.Duration
	for _, w := range s.watchers {
		age = max(age, w.age())
	}
	return age
}

// look asks Kubernetes for a pod; nil if there is none.
func (s *Spawner) look(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	pod, err := s.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, outpost.Wrap(err, outpost.KindUnavailable, "Kubernetes does not answer")
	}
	return pod, nil
}

// Found implements [outpost.Spawner].
func (s *Spawner) Found(ctx context.Context) ([]outpost.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit) // so that the caller can say which namespace it waits for
	defer cancel()
	if _, err := s.watch(ctx, s.namespace); err != nil {
		return nil, err
	}
	s.mu.Lock()
	watchers := slices.Collect(maps.Values(s.watchers))
	s.mu.Unlock()
	var out []outpost.Found
	for _, w := range watchers {
		if !w.configured && !w.filled() {
			continue // a namespace that one service was in; it may be closed to us
		}
		if err := w.ready(ctx); err != nil {
			return nil, err
		}
		for _, pod := range w.pods() {
			id, _ := kubespawner.OriginOf(pod.Annotations)
			if id.Installation != s.installation {
				s.noteForeign(pod, id.Installation)
				continue
			}
			out = append(out, outpost.Found{Key: id.Key, State: kubespawner.StateOf(pod), Created: pod.CreationTimestamp.UTC()})
		}
	}
	slices.SortFunc(out, func(a, b outpost.Found) int { return a.Created.Compare(b.Created) })
	return out, nil
}

// noteForeign says once that there are pods of another outpost, or of a database that this one no longer has.
func (s *Spawner) noteForeign(pod *corev1.Pod, installation string) {
	s.mu.Lock()
	known := s.foreign[pod.Namespace+"/"+installation]
	s.foreign[pod.Namespace+"/"+installation] = true
	s.mu.Unlock()
	if known || len(validation.IsValidLabelValue(installation)) > 0 { // whoever makes pods may write anything; it is not put into a command
		return
	}
	s.logger.Warn("pods of another outpost's database are left alone; if it is this outpost's own and lost, give it back or delete them",
		"namespace", pod.Namespace, "pod", pod.Name, "installation", installation, "own_installation", s.installation,
		"delete", "kubectl -n "+pod.Namespace+" delete pods,services,secrets -l "+kubespawner.InstallationKey+"="+installation)
}

// maxLogBytes bounds what is read of a log.
const maxLogBytes = 1 << 20

// Logs implements [outpost.Spawner]. A server that is restarting shows what it said before.
func (s *Spawner) Logs(ctx context.Context, k outpost.Key, st outpost.State, lines int) ([]string, error) {
	known := kubespawner.ParseState(st, s.namespace)
	if known.Pod == "" || lines <= 0 {
		return nil, nil
	}
	pod, err := s.look(ctx, known.Namespace, known.Pod)
	if err != nil || pod == nil || !belongs(pod, s.identity(k)) {
		return nil, err
	}
	o := &corev1.PodLogOptions{Container: kubespawner.NotebookContainer, TailLines: new(int64(lines)), LimitBytes: new(int64(maxLogBytes))}
	if c := notebookStatus(pod); c != nil && c.State.Waiting != nil && c.RestartCount > 0 {
		o.Previous = true
	}
	stream, err := s.client.CoreV1().Pods(known.Namespace).GetLogs(known.Pod, o).Stream(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) { // no container has run yet
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log of %s/%s: %w", known.Namespace, known.Pod, err)
	}
	defer stream.Close()
	var out []string
	scanner := bufio.NewScanner(stream)
	scanner.Buffer(nil, maxLogBytes)
	for scanner.Scan() {
		out = append(out, strings.ToValidUTF8(scanner.Text(), "?"))
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read log of %s/%s: %w", known.Namespace, known.Pod, err)
	}
	return out, nil
}
