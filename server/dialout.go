package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/dialout"
)

// dialOut is what an outpost has that connects to its hubs by itself.
type dialOut struct {
	dialers []*dialout.Dialer
	ssh     *dialout.Listener // connections to the hubs, on which we are the SSH server
	api     *dialout.Listener // channels on those, on which the API is
}

// apiPatience is how long the API may take to accept a channel. Only tests have another one.
var apiPatience = 10 * time.Second

// newDialOut returns nil for an outpost that does not dial out.
func (s *Server) newDialOut() (*dialOut, error) {
	if len(s.cfg.DialOutURLs) == 0 {
		return nil, nil
	}
	if !sshWanted(s.cfg) {
		return nil, errors.New("OUTPOST_DIAL_OUT_URLS: has no effect without the folder of OUTPOST_AUTHORIZED_KEYS_DIR")
	}
	roots, err := hubRoots(s.cfg)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyOf(s.cfg)
	if err != nil {
		return nil, err
	}
	d := &dialOut{ssh: dialout.NewListener(), api: dialout.NewListener()}
	for _, address := range s.cfg.DialOutURLs {
		d.dialers = append(d.dialers, dialout.NewDialer(address, d.ssh, dialout.DialerOptions{
			Proxy: proxy, Roots: roots.DefaultRoots, Logger: s.component("dialout"),
			Dialled:   func(result string) { s.metrics.dials.WithLabelValues(address, result).Inc() },
			Connected: func(n int) { s.metrics.dialled.WithLabelValues(address).Set(float64(n)) },
		}))
	}
	return d, nil
}

// proxyOf returns the proxy to dial out through; nil for that of the environment.
func proxyOf(cfg config.Config) (*url.URL, error) {
	if cfg.DialOutProxy == "" {
		return nil, nil
	}
	proxy, err := url.Parse(cfg.DialOutProxy.Reveal())
	if err != nil {
		return nil, errors.New("OUTPOST_DIAL_OUT_PROXY: is not a URL") // it may hold a password
	}
	return proxy, nil
}

// named are the targets beside servers that hubs may open by SSH.
func (d *dialOut) named() map[string]func(context.Context, netip.Addr) (net.Conn, error) {
	if d == nil {
		return nil
	}
	api := net.JoinHostPort(dialout.APIHost, strconv.Itoa(dialout.APIPort))
	return map[string]func(context.Context, netip.Addr) (net.Conn, error){
		api: func(ctx context.Context, client netip.Addr) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, apiPatience)
			defer cancel()
			near, far := net.Pipe()
			from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(client, 0))
			if !d.api.Deliver(ctx, dialout.WithRemote(far, from)) {
				return nil, errors.New("the API does not answer")
			}
			return near, nil
		},
	}
}
