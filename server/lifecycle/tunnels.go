package lifecycle

import (
	"context"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	tunnelTries   = 5
	tunnelPause   = 5 * time.Second
	tunnelsAtOnce = 8
)

// renewal is a call that asks a hub to renew one tunnel or all of them.
type renewal struct {
	call outpost.HubCall
	what string // for metrics and the log
	do   func(context.Context, outpost.HubCall) error
}

// renewTunnels asks the hubs for the tunnels that broke with the process before this one, once SSH and HTTP can be
// reached (protocol 3.4).
func (m *Manager) renewTunnels(ctx context.Context) {
	list := m.renewals()
	if len(list) == 0 {
		return
	}
	if m.opts.Reachable != nil {
		if err := m.opts.Reachable(ctx); err != nil {
			if ctx.Err() == nil {
				m.log.Error("tunnels are not renewed: this outpost cannot be reached", "err", err)
			}
			return
		}
	}
	slots := make(chan struct{}, tunnelsAtOnce)
	var calls sync.WaitGroup
	for _, r := range list {
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			m.renew(ctx, r)
		})
	}
	calls.Wait()
}

// renewals returns what the hubs want to be asked for.
func (m *Manager) renewals() (list []renewal) {
	for _, h := range *m.hubs.Load() {
		if h.TunnelRestart != nil {
			call := *h.TunnelRestart
			call.Hub = h.Name
			list = append(list, renewal{call, "restart", m.hubAPI.RestartTunnels})
		}
		if !h.RecreateTunnels {
			continue
		}
		for _, e := range m.index.all(h.Name) {
			at := e.current()
			if at.phase == phaseRunning && at.address != "" && e.calls.Tunnel.URL != "" {
				post := func(ctx context.Context, c outpost.HubCall) error {
					return m.hubAPI.PostTunnel(ctx, c, at.address)
				}
				list = append(list, renewal{e.calls.Tunnel, "tunnel", post})
			}
		}
	}
	return list
}

// renew tries a renewal several times; an answer that is final ends it: after a 400 the hub has stopped the server.
func (m *Manager) renew(ctx context.Context, r renewal) {
	for try := 1; ; try++ {
		err := r.do(ctx, r.call)
		m.observer.HubCalled(r.call.Hub, r.what, err)
		switch {
		case err == nil:
			m.log.Info("tunnels renewed", "hub", r.call.Hub, "call", r.what)
			return
		case outpost.KindOf(err) == outpost.KindFailed || try == tunnelTries:
			m.log.Warn("tunnel not renewed", "hub", r.call.Hub, "call", r.what, "try", try, "err", err)
			return
		case !sleep(ctx, tunnelPause):
			return
		}
	}
}
