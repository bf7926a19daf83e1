package outposttest

import (
	"context"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Call is one call that a HubAPI got.
type Call struct {
	What    string // event, flavors, tunnel, restart, servers
	URL     string
	Token   string
	Event   outpost.Event
	Flavors map[string]flavor.Flavor
	Address string
}

// HubAPI is an outpost.HubAPI that records its calls.
type HubAPI struct {
	mu      sync.Mutex
	onCall  func(context.Context, Call) error
	calls   []Call
	servers map[string][]string // by URL
}

// NewHubAPI returns a HubAPI that answers everything well.
func NewHubAPI() *HubAPI { return &HubAPI{servers: map[string][]string{}} }

// OnCall lets f be called for each call, without a lock; it may block, and its error is the answer.
func (h *HubAPI) OnCall(f func(context.Context, Call) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onCall = f
}

// Calls returns the calls of one sort in their order, of every sort if what is empty.
func (h *HubAPI) Calls(what string) []Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Call
	for _, c := range h.calls {
		if what == "" || c.What == what {
			list = append(list, c)
		}
	}
	return list
}

// SetServers sets what a hub lists at a URL.
func (h *HubAPI) SetServers(url string, list ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers[url] = list
}

func (h *HubAPI) record(ctx context.Context, c outpost.HubCall, call Call) error {
	call.URL, call.Token = c.URL, c.Token.Reveal()
	h.mu.Lock()
	h.calls = append(h.calls, call)
	answer := h.onCall
	h.mu.Unlock()
	if answer != nil {
		return answer(ctx, call)
	}
	return nil
}

// PostEvent implements outpost.HubAPI.
func (h *HubAPI) PostEvent(ctx context.Context, c outpost.HubCall, e outpost.Event) error {
	return h.record(ctx, c, Call{What: "event", Event: e})
}

// PostFlavors implements outpost.HubAPI.
func (h *HubAPI) PostFlavors(ctx context.Context, c outpost.HubCall, flavors map[string]flavor.Flavor) error {
	return h.record(ctx, c, Call{What: "flavors", Flavors: flavors})
}

// PostTunnel implements outpost.HubAPI.
func (h *HubAPI) PostTunnel(ctx context.Context, c outpost.HubCall, address string) error {
	return h.record(ctx, c, Call{What: "tunnel", Address: address})
}

// RestartTunnels implements outpost.HubAPI.
func (h *HubAPI) RestartTunnels(ctx context.Context, c outpost.HubCall) error {
	return h.record(ctx, c, Call{What: "restart"})
}

// Servers implements outpost.HubAPI.
func (h *HubAPI) Servers(ctx context.Context, c outpost.HubCall) ([]string, error) {
	if err := h.record(ctx, c, Call{What: "servers"}); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.servers[c.URL], nil
}

// Clock is a wall clock that can jump; between jumps it goes as package time does (also under testing/synctest).
type Clock struct {
	mu     sync.Mutex
	offset time.Duration
}

// Now is for lifecycle.Options.Now.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset).Round(0)
}

// Jump moves the clock.
func (c *Clock) Jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}
