package outposttest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Spawner is an outpost.Spawner in memory: a cluster of pods that are ready at once. Several Managers may share it.
// Its hooks are called without a lock and may block; they are set before use. The zero value is not usable.
type Spawner struct {
	// OnPlan is called for each plan; its error refuses the start.
	OnPlan func(outpost.StartRequest, flavor.Flavor) error
	// Home is the claim that servers use; empty for none.
	Home string
	// OnOffer is called for each catalog; without it there are neither profiles nor homes.
	OnOffer func(outpost.Hub, access.Groups) catalog.Offer
	// OnStart is called when the pod is there and before it is ready; its error fails the start, with the pod left.
	OnStart func(context.Context, outpost.Key, func(outpost.Event)) error
	// OnStop is called before the pod is removed; its error fails the stop.
	OnStop func(context.Context, outpost.Key) error
	// OnPoll is called for each poll, OnLogs for each log.
	OnPoll func(outpost.Key) error
	OnLogs func(context.Context, outpost.Key) error

	mu     sync.Mutex
	pods   map[outpost.Key]*pod
	starts map[outpost.Key]int
	stops  map[outpost.Key]int
	down   error
	unseen []string
	told   map[*func(outpost.Key)]struct{} // called when a pod has changed
}

type pod struct {
	state   outpost.State
	created time.Time
	ended   bool
	code    int
	reason  string
	logs    []string
	flavor  flavor.Flavor
	python  bool
}

// NewSpawner returns a Spawner without pods.
func NewSpawner() *Spawner {
	return &Spawner{
		pods: map[outpost.Key]*pod{}, starts: map[outpost.Key]int{}, stops: map[outpost.Key]int{},
		told: map[*func(outpost.Key)]struct{}{},
	}
}

// Down lets every call fail with err, as when Kubernetes does not answer; nil ends it.
func (s *Spawner) Down(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = err
}

// Hide lets Found report these namespaces as unseen and leave out pods whose states name one of them; without
// namespaces, all are seen again.
func (s *Spawner) Hide(namespaces ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unseen = slices.Sorted(slices.Values(namespaces))
}

// Pods returns the keys of all pods, sorted.
func (s *Spawner) Pods() []outpost.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sortedKeys(s.pods)
}

// Starts returns how many pods were made for a key, Stops how often it was stopped.
func (s *Spawner) Starts(k outpost.Key) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts[k]
}

// Stops returns how often a key was stopped.
func (s *Spawner) Stops(k outpost.Key) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stops[k]
}

// Flavor returns the flavor that a pod was planned with.
func (s *Spawner) Flavor(k outpost.Key) flavor.Flavor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[k]; p != nil {
		return p.flavor
	}
	return nil
}

// AddPod makes a pod that nobody asked for, or that an earlier process made.
func (s *Spawner) AddPod(k outpost.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[k] = &pod{state: stateOf(k), created: time.Now()}
	s.changed(k)
}

// AddPythonPod makes a pod of the Python outpost: it says nothing of its key, and is known by the name in a state
// alone.
func (s *Spawner) AddPythonPod(k outpost.Key) {
	s.AddPod(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[k].python = true
}

// End lets the server of a pod end with an exit code; the pod stays.
func (s *Spawner) End(k outpost.Key, code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[k]
	p.ended, p.code, p.reason = true, code, reason
	s.changed(k)
}

// Lose removes a pod behind everybody's back.
func (s *Spawner) Lose(k outpost.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pods, k)
	s.changed(k)
}

// Log sets the log of a pod.
func (s *Spawner) Log(k outpost.Key, lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pods[k].logs = lines
}

// PodName is the name of a key's pod, as it stands in state and address.
func PodName(k outpost.Key) string {
	name := strings.ToLower("jupyter-" + k.Hub + "-" + k.Name + "-" + k.StartID)
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return 'x'
	}, name), "-")
}

// Address is the start address of a key's pod on port 8888.
func Address(k outpost.Key) string { return fmt.Sprintf("http://%s:8888", Host(k)) }

// Host is the host of a key's pod.
func Host(k outpost.Key) string { return PodName(k) + ".outpost.svc.cluster.local" }

func stateOf(k outpost.Key) outpost.State {
	return outpost.State{
		"kubespawner_version": "7.0.0", "pod_name": PodName(k), "namespace": "outpost", "dns_name": Host(k),
	}
}

// state is stateOf with the claim.
func (s *Spawner) state(k outpost.Key) outpost.State {
	state := stateOf(k)
	if s.Home != "" {
		state["pvc_name"] = s.Home
	}
	return state
}

// plan is what Start gets back as Plan.Objects.
type plan struct {
	flavor flavor.Flavor
	port   int
}

// Run implements outpost.Spawner: it tells what the methods of a test and of Managers change. Each process runs it.
func (s *Spawner) Run(ctx context.Context, _ string, changed func(outpost.Key)) error {
	if changed != nil {
		s.mu.Lock()
		s.told[&changed] = struct{}{}
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.told, &changed)
		}()
	}
	<-ctx.Done()
	return nil
}

// changed tells that a pod has changed. s.mu must be held.
func (s *Spawner) changed(k outpost.Key) {
	for told := range s.told {
		(*told)(k)
	}
}

// Plan implements outpost.Spawner. It looks at misc.port alone.
func (s *Spawner) Plan(
	_ context.Context, _ outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor,
) (outpost.Plan, error) {
	if s.OnPlan != nil {
		if err := s.OnPlan(r, flavor); err != nil {
			return outpost.Plan{}, err
		}
	}
	p := plan{flavor: flavor, port: 8888}
	if raw, ok := r.Body.Misc["port"]; ok {
		if err := json.Unmarshal(raw, &p.port); err != nil {
			return outpost.Plan{}, outpost.Errorf(outpost.KindInvalid, "The option port must be a number.")
		}
	}
	return outpost.Plan{Key: r.Key, State: s.state(r.Key), Objects: p}, nil
}

// Offer implements outpost.Spawner.
func (s *Spawner) Offer(hub outpost.Hub, groups access.Groups) catalog.Offer {
	if s.OnOffer == nil {
		return catalog.Offer{Shared: []catalog.Shared{}, Profiles: []catalog.Profile{}}
	}
	return s.OnOffer(hub, groups)
}

// Start implements outpost.Spawner.
func (s *Spawner) Start(ctx context.Context, p outpost.Plan, progress func(outpost.Event)) (outpost.Started, error) {
	s.mu.Lock()
	if s.down != nil {
		defer s.mu.Unlock()
		return outpost.Started{}, s.down
	}
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return outpost.Started{}, err
	}
	objects := p.Objects.(plan)
	if s.pods[p.Key] == nil {
		s.pods[p.Key] = &pod{state: p.State, created: time.Now(), flavor: objects.flavor}
		s.starts[p.Key]++
		s.changed(p.Key)
	}
	s.mu.Unlock()
	progress(outpost.Event{Progress: 0, Message: "Server requested"})
	progress(outpost.Event{Progress: 30, Message: "Pulling image"})
	if s.OnStart != nil {
		if err := s.OnStart(ctx, p.Key, progress); err != nil {
			return outpost.Started{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return outpost.Started{}, err
	}
	return outpost.Started{Address: fmt.Sprintf("http://%s:%d", Host(p.Key), objects.port), State: s.state(p.Key)}, nil
}

// Poll implements outpost.Spawner.
func (s *Spawner) Poll(_ context.Context, k outpost.Key, _ outpost.State) (outpost.Status, error) {
	if s.OnPoll != nil {
		if err := s.OnPoll(k); err != nil {
			return outpost.Status{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pods[k]
	switch {
	case p == nil:
		return outpost.Status{Ended: true, ExitCode: 1, Gone: true, Reason: "The pod is gone."}, nil
	case p.ended:
		return outpost.Status{Ended: true, ExitCode: p.code, Reason: p.reason}, nil
	}
	return outpost.Status{}, nil
}

// Stop implements outpost.Spawner.
func (s *Spawner) Stop(ctx context.Context, k outpost.Key, st outpost.State) error {
	s.mu.Lock()
	s.stops[k]++
	down := s.down
	s.mu.Unlock()
	if down != nil {
		return down
	}
	if s.OnStop != nil {
		if err := s.OnStop(ctx, k); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pods[k]; p != nil && (!p.python || st["pod_name"] == PodName(k)) {
		delete(s.pods, k)
		s.changed(k)
	}
	return nil
}

// Restore implements outpost.Spawner.
func (s *Spawner) Restore(_ outpost.Hub, svc outpost.Service) outpost.State {
	if _, named := svc.State["pod_name"]; named {
		return svc.State
	}
	return stateOf(svc.Key)
}

// Logs implements outpost.Spawner.
func (s *Spawner) Logs(ctx context.Context, k outpost.Key, _ outpost.State, lines int) ([]string, error) {
	if s.OnLogs != nil {
		if err := s.OnLogs(ctx, k); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	p := s.pods[k]
	if p == nil {
		return nil, nil
	}
	return append([]string(nil), p.logs[max(0, len(p.logs)-lines):]...), nil
}

// Found implements outpost.Spawner.
func (s *Spawner) Found(context.Context) (found []outpost.Found, unseen []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, nil, s.down
	}
	for _, k := range sortedKeys(s.pods) {
		namespace, _ := s.pods[k].state["namespace"].(string)
		if s.pods[k].python || slices.Contains(s.unseen, namespace) {
			continue
		}
		found = append(found, outpost.Found{Key: k, State: s.pods[k].state, Created: s.pods[k].created})
	}
	return found, slices.Clone(s.unseen), nil
}

// Ready implements outpost.Spawner.
func (s *Spawner) Ready(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}
