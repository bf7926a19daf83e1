package kube

import (
	"bufio"
	"cmp"
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

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kube/diagnosis"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Options configure a Spawner. The zero value is a working default.
type Options struct {
	// Spawner holds KubeSpawner options by name, for all hubs.
	Spawner map[string]any
	// Own are the objects of the outpost's own pod, such as "secrets/outpost-users", which no hub may use.
	Own []string
	// StartTimeout is the default of option start_timeout; zero means KubeSpawner's 60 s.
	StartTimeout time.Duration
	// Namespaces are watched from the beginning beside the outpost's own: those that options of hubs,
	// profiles and flavors name.
	Namespaces []string
	// KeepTrying lets hopeless starts time out, as KubeSpawner does.
	KeepTrying bool
	// Repeats is how often a failure that may pass must be seen before a start is given up; zero means 3.
	Repeats int
	// Grace is how long a failure that may pass may last before a start is given up; zero means 15 s.
	Grace time.Duration
	// UnschedulableGrace is how long a pod may find no node, counted anew when an autoscaler has found or ordered one;
	// zero means Grace in a cluster that is known to keep its nodes, and any other as long as the start may take.
	UnschedulableGrace time.Duration
	// ForceAfter is how long after its grace period a pod that stays is deleted by force, because its node must be
	// gone; zero means 30 s.
	ForceAfter time.Duration
	// Logger gets log records; nil discards them.
	Logger *slog.Logger
	// Now and LookupEnv replace the clock and the process's environment (for option env_keep) in tests.
	Now       func() time.Time
	LookupEnv func(string) (string, bool)
}

const (
	getTimeout = 5 * time.Second  // of a single request outside of starts and stops
	stopBudget = 30 * time.Second // of a request of a stop and its repetitions
)

// Spawner runs single-user servers as pods. It implements [outpost.Spawner] and is safe for concurrent use. Methods
// wait until Run runs.
type Spawner struct {
	client     kubernetes.Interface
	namespace  string
	builder    *kubespawner.Builder
	keepTrying bool
	repeats    int
	grace      time.Duration
	roomGrace  time.Duration // Options.UnschedulableGrace
	scaling    *scaling
	forceAfter time.Duration
	logger     *slog.Logger
	now        func() time.Time
	reapAfter  time.Duration
	// maxWatchers bounds the watchers of namespaces that are not configured.
	maxWatchers int

	running      chan struct{} // closed by Run
	installation string        // set before running is closed, like changed
	changed      func(outpost.Key)

	mu       sync.Mutex
	runCtx   context.Context // of Run, for watchers that are added later
	stopped  bool            // Run has ended: nothing may be added to wg
	wg       sync.WaitGroup
	watchers map[string]*watcher
	starts   map[outpost.Key]*handle
	reaping  map[types.UID]bool      // ended pods that will be deleted
	foreign  map[string]bool         // namespace and installation of pods of others that have been logged
	adopted  map[podName]outpost.Key // pods that do not say whose they are, and have been polled
}

// podName names a pod of the cluster.
type podName struct{ namespace, name string }

var _ outpost.Spawner = (*Spawner)(nil)

// New makes a Spawner whose pods are in namespace unless an option says otherwise. Wrong options are KindInvalid; the
// message names all of them.
func New(client kubernetes.Interface, namespace string, o Options) (*Spawner, error) {
	b, err := kubespawner.NewBuilder(namespace, o.Own, o.Spawner, o.StartTimeout, o.LookupEnv)
	if err != nil {
		return nil, err
	}
	s := &Spawner{
		client: client, namespace: namespace, builder: b, keepTrying: o.KeepTrying,
		repeats: cmp.Or(o.Repeats, 3), grace: cmp.Or(o.Grace, 15*time.Second),
		forceAfter: cmp.Or(o.ForceAfter, 30*time.Second), now: o.Now,
		logger:  cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		running: make(chan struct{}), watchers: map[string]*watcher{}, starts: map[outpost.Key]*handle{},
		reaping: map[types.UID]bool{}, foreign: map[string]bool{}, adopted: map[podName]outpost.Key{},
		reapAfter:   reapAfter,
		maxWatchers: maxWatchers, roomGrace: o.UnschedulableGrace,
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.scaling = &scaling{client: client, now: s.now}
	for _, ns := range append([]string{namespace, b.Namespace()}, o.Namespaces...) {
		if s.watchers[ns] != nil {
			continue
		}
		w, err := newWatcher(client, ns, s.logger, s.now, s.scaling.observe, s.podChanged)
		if err != nil {
			return nil, err
		}
		w.configured = true
		s.watchers[ns] = w
	}
	return s, nil
}

// Run implements [outpost.Spawner]. It returns when all that the Spawner has started has ended. installation is 32
// hexadecimal digits.
func (s *Spawner) Run(ctx context.Context, installation string, changed func(outpost.Key)) error {
	s.mu.Lock()
	s.runCtx, s.installation, s.changed = ctx, installation, changed
	for _, w := range s.watchers {
		s.wg.Go(func() { w.run(ctx) })
	}
	close(s.running)
	s.mu.Unlock()
	for ticker := time.NewTicker(idleCheck); ctx.Err() == nil; {
		select {
		case <-ctx.Done():
			ticker.Stop()
		case <-ticker.C:
			s.endIdle()
		}
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// waitRun waits until Run runs.
func (s *Spawner) waitRun(ctx context.Context) error {
	select {
	case <-s.running:
		return nil
	default: // else every poll would need the channel of its context, which is made when it is asked for
	}
	select {
	case <-s.running:
		return nil
	case <-ctx.Done():
		return outpost.Starting(ctx.Err())
	}
}

// Plan implements [outpost.Spawner]. It makes no request.
func (s *Spawner) Plan(
	ctx context.Context, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor,
) (outpost.Plan, error) {
	if err := s.waitRun(ctx); err != nil {
		return outpost.Plan{}, err
	}
	o, err := s.builder.Build(s.installation, hub, r, flavor)
	if err != nil {
		return outpost.Plan{}, err
	}
	return outpost.Plan{Key: r.Key, State: o.State(), Objects: o}, nil
}

// Offer implements [outpost.Spawner].
func (s *Spawner) Offer(hub outpost.Hub, groups access.Groups) catalog.Offer {
	return s.builder.Offer(hub, groups)
}

// Restore implements [outpost.Spawner].
func (s *Spawner) Restore(hub outpost.Hub, svc outpost.Service) outpost.State {
	return s.builder.Restore(hub, svc)
}

// origin is that of the objects of a start, if this outpost made them.
func (s *Spawner) origin(k outpost.Key) kubespawner.Origin {
	return kubespawner.Origin{Installation: s.installation, Key: k}
}

// Ready implements [outpost.Spawner].
func (s *Spawner) Ready(ctx context.Context) error {
	s.mu.Lock()
	watchers := slices.Collect(maps.Values(s.watchers))
	s.mu.Unlock()
	for _, w := range watchers {
		if w.namespace == s.namespace && !w.synced() {
			return outpost.NotListed(nil)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	// Not ServerVersion, which no context ends.
	if err := s.client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return outpost.Wrap(err, outpost.KindUnavailable, "Kubernetes does not answer; try again.")
	}
	return nil
}

// Age is how long ago Kubernetes last sent anything about pods, in the namespace where that is longest ago; below two
// minutes while all watches work.
func (s *Spawner) Age() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var age time.Duration
	for _, w := range s.watchers {
		age = max(age, w.age())
	}
	return age
}

// getPod asks Kubernetes for a pod; nil if there is none.
func (s *Spawner) getPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	pod, err := s.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, outpost.Wrap(err, outpost.KindUnavailable, "Kubernetes does not answer; try again.")
	}
	return pod, nil
}

// Found implements [outpost.Spawner]. It waits at most a minute for lists, and not at all for a namespace that
// Kubernetes has refused to list.
func (s *Spawner) Found(ctx context.Context) (found []outpost.Found, unseen []string, err error) {
	limited, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	if _, err := s.watch(limited, s.namespace); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	watchers := slices.Collect(maps.Values(s.watchers))
	s.mu.Unlock()
	for _, w := range watchers {
		if w.configured {
			w.waitAnswered(limited)
		}
		switch {
		case ctx.Err() != nil:
			return nil, nil, outpost.NotListed(ctx.Err())
		case w.synced():
		case w.configured:
			unseen = append(unseen, w.namespace)
			continue
		default:
			continue // a namespace of a single service, which may be forbidden by now
		}
		for _, pod := range w.pods() {
			origin, _ := kubespawner.OriginOf(pod)
			if origin.Installation != s.installation {
				s.noteForeign(pod, origin.Installation)
				continue
			}
			found = append(found, outpost.Found{
				Key: origin.Key, State: kubespawner.StateOf(pod), Created: pod.CreationTimestamp.UTC(),
			})
		}
	}
	slices.SortFunc(found, func(a, b outpost.Found) int { return a.Created.Compare(b.Created) })
	slices.Sort(unseen)
	return found, unseen, nil
}

// noteForeign logs once that there are pods of another outpost, or of a database that this one has lost.
func (s *Spawner) noteForeign(pod *corev1.Pod, installation string) {
	s.mu.Lock()
	known := s.foreign[pod.Namespace+"/"+installation]
	s.foreign[pod.Namespace+"/"+installation] = true
	s.mu.Unlock()
	// Anybody may write the annotation, and it is put into a command.
	if known || len(validation.IsValidLabelValue(installation)) > 0 {
		return
	}
	remove := "kubectl -n " + pod.Namespace + " delete pods,services,secrets -l " +
		kubespawner.InstallationKey + "=" + installation
	s.logger.Warn("found pods of another outpost's database, leaving them; if that database was this outpost's own, "+
		"restore it or delete the pods",
		"namespace", pod.Namespace, "pod", pod.Name, "installation", installation, "own_installation", s.installation,
		"delete", remove)
}

// maxLogBytes bounds how much of a log is read.
const maxLogBytes = 1 << 20

// Logs implements [outpost.Spawner]. A server that is restarting shows the log of its last run.
func (s *Spawner) Logs(ctx context.Context, k outpost.Key, st outpost.State, lines int) ([]string, error) {
	parsed := kubespawner.ParseState(st, s.namespace)
	if parsed.Pod == "" || lines <= 0 {
		return nil, nil
	}
	pod, err := s.getPod(ctx, parsed.Namespace, parsed.Pod)
	if err != nil || pod == nil || !belongs(pod, s.origin(k), parsed) {
		return nil, err
	}
	o := &corev1.PodLogOptions{
		Container: kubespawner.NotebookContainer, TailLines: new(int64(lines)), LimitBytes: new(int64(maxLogBytes)),
	}
	if c := diagnosis.Notebook(pod); c != nil && c.State.Waiting != nil && c.RestartCount > 0 {
		o.Previous = true
	}
	stream, err := s.client.CoreV1().Pods(parsed.Namespace).GetLogs(parsed.Pod, o).Stream(ctx)
	if apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) { // no container has run yet
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log of %s/%s: %w", parsed.Namespace, parsed.Pod, err)
	}
	defer stream.Close()
	var out []string
	scanner := bufio.NewScanner(stream)
	scanner.Buffer(nil, maxLogBytes)
	for scanner.Scan() {
		out = append(out, strings.ToValidUTF8(scanner.Text(), "?"))
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read log of %s/%s: %w", parsed.Namespace, parsed.Pod, err)
	}
	return out, nil
}
