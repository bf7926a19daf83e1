package tunnels

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// hub does what a hub does without any memory of its own: it gives each user's server a port that no Service has now.
// Beside it are the nodes, which know what the Services say with a delay.
type hub struct {
	w        *world
	lag      time.Duration // of the nodes
	services map[int]*corev1.Service

	mu    sync.Mutex
	known []*known // what nodes know
}

// known is where a node believes a user's server.
type known struct {
	user    int
	port    uint16
	svc     *corev1.Service
	led     bool      // the tunnels have said that they serve it: until then the hub leads nobody there
	stopped time.Time // not before it was deleted; zero until then. The node learns of it later
}

// start starts the server of a user, lab-USER, or moves it to another system.
func (h *hub) start(user int, system string) {
	if svc := h.services[user]; svc != nil {
		svc = svc.DeepCopy()
		svc.Labels[systemLabel] = system
		h.w.update(svc)
		h.services[user] = svc
		return
	}
	taken := map[uint16]bool{}
	for _, svc := range h.services {
		taken[uint16(svc.Spec.Ports[0].TargetPort.IntVal)] = true
	}
	var free []uint16
	for port := ports.First; port <= ports.Last; port++ {
		if !taken[port] {
			free = append(free, port)
		}
	}
	if len(free) == 0 {
		return
	}
	port := free[rand.IntN(len(free))]
	svc := h.w.service(fmt.Sprintf("user-%d", user), system, fmt.Sprintf("lab-%d.ns.svc:8888", user), port)
	h.w.create(svc)
	h.services[user] = svc
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = append(h.known, &known{user: user, port: port, svc: svc})
}

// stop ends the server of a user. The nodes lead to its port for some time.
func (h *hub) stop(user int) {
	if h.services[user] == nil {
		return
	}
	h.mu.Lock()
	for _, k := range h.known {
		if k.user == user && k.stopped.IsZero() {
			k.stopped = time.Now()
		}
	}
	h.mu.Unlock()
	h.w.delete(h.services[user].Name)
	delete(h.services, user)
}

// leads reports whether a route was still that of its user for who had made a connection by a time. On a busy machine
// more time than the port rests may pass between a node's choice and the connection.
func (h *hub) leads(k *known, connected time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return k.stopped.IsZero() || connected.Before(k.stopped.Add(h.w.limits.rest))
}

// ask sends a request on a route, and reports whether there was an answer.
func (h *hub) ask(k *known) bool {
	conn, err := h.w.dial(k.port)
	if err != nil {
		return false
	}
	defer conn.Close()
	connected := time.Now()
	got, err := askOn(conn)
	if err != nil {
		return false
	}
	if !strings.HasPrefix(got, fmt.Sprintf("lab-%d of ", k.user)) && h.leads(k, connected) {
		h.w.t.Errorf("a request of user %d is answered by %s", k.user, got)
	}
	return true
}

// some returns one of the routes that nodes know.
func (h *hub) some() (*known, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = slices.DeleteFunc(h.known, func(k *known) bool {
		return !k.stopped.IsZero() && time.Since(k.stopped) > h.lag
	})
	var led []*known
	for _, k := range h.known {
		if !k.led {
			state, _ := h.w.tunnels.Service(k.svc.Name)
			k.led = state == ServiceState{k.svc.UID, stateServed, ""}
		}
		if k.led {
			led = append(led, k)
		}
	}
	if len(led) == 0 {
		return nil, false
	}
	if gone := led[rand.IntN(len(led))]; !gone.stopped.IsZero() { // twice as often
		return gone, true
	}
	return led[rand.IntN(len(led))], true
}

// No request ever reaches another user's server, however connections are lost, servers start and end, and ports go from
// one to the other in a range that is nearly full; and in the end each server answers with its own name.
func TestNoRequestReachesAnotherUsersServer(t *testing.T) {
	const rounds, users = 1000, 96
	systems := []string{"north", "south", "west"}
	outposts := map[string]*outpost{}
	w := newWorld(t, func(w *world) {
		w.limits.rest, w.limits.wait = 4*time.Second, time.Second
		for _, name := range systems {
			outposts[name] = w.outpost(name)
			for user := 1; user <= users; user++ {
				outposts[name].allow(fmt.Sprintf("lab-%d.ns.svc:8888", user))
			}
		}
	})
	h := &hub{w: w, lag: time.Second, services: map[int]*corev1.Service{}}
	var answered, failed atomic.Int64
	stop := make(chan struct{})
	var browsers sync.WaitGroup
	for range 4 {
		browsers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				k, ok := h.some()
				if !ok {
					time.Sleep(time.Millisecond)
					continue
				}
				if h.ask(k) {
					answered.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	for round := range rounds {
		user, system := 1+rand.IntN(users), systems[rand.IntN(len(systems))]
		switch {
		case round%10 == 0:
			outposts[system].relay.cut()
		case rand.IntN(3) == 0:
			h.stop(user)
			h.start(1+rand.IntN(users), system) // with the range full, on the port that was given back
		default:
			h.start(user, system)
		}
		if len(h.services) == 0 {
			continue
		}
		for enough := answered.Load() + failed.Load() + 1; answered.Load()+failed.Load() < enough; {
			time.Sleep(time.Millisecond) // requests are under way in each round
		}
	}
	eventually(t, func() error {
		if n := answered.Load(); n < rounds {
			return fmt.Errorf("only %d requests were answered in %d rounds", n, rounds)
		}
		return nil
	})
	close(stop)
	browsers.Wait()
	t.Logf("%d requests were answered, %d failed", answered.Load(), failed.Load())
	for user, svc := range h.services {
		port := uint16(svc.Spec.Ports[0].TargetPort.IntVal)
		w.wantAnswer(port, fmt.Sprintf("lab-%d of %s", user, svc.Labels[systemLabel]))
	}
}
