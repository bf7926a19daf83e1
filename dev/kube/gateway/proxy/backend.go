package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// connectTimeout bounds how long a backend may take to accept a connection.
const connectTimeout = 5 * time.Second

var (
	errBroken     = errors.New("no backend that exists and may be used")
	errNoEndpoint = errors.New("no ready endpoint")
)

// pick chooses a backend by weight and one of its endpoints, all at random.
func pick(backends []Backend) (*Backend, netip.AddrPort, error) {
	total := 0
	for i := range backends {
		total += backends[i].Weight
	}
	if total == 0 {
		return nil, netip.AddrPort{}, errBroken
	}
	at := rand.IntN(total)
	for i := range backends {
		b := &backends[i]
		if at -= b.Weight; at >= 0 {
			continue
		}
		endpoint, err := b.endpoint()
		return b, endpoint, err
	}
	panic("unreachable: weights add up to total")
}

func (b *Backend) endpoint() (netip.AddrPort, error) {
	switch {
	case b.Broken:
		return netip.AddrPort{}, errBroken
	case len(b.Endpoints) == 0:
		return netip.AddrPort{}, errNoEndpoint
	}
	return b.Endpoints[rand.IntN(len(b.Endpoints))], nil
}

// scheme is that of a backend's URL, and tells transports apart.
func (b *Backend) scheme() string {
	if b.HTTPS {
		return "https"
	}
	return "http"
}

// transports keeps connections to backends open. The environment's proxy is for the world outside.
type transports struct{ http1, h2c *http.Transport }

func newTransports() transports {
	transport := func() *http.Transport {
		return &http.Transport{
			DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext,
			//nolint:gosec // as documented for Backend.HTTPS
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
			TLSHandshakeTimeout: connectTimeout, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true,
		}
	}
	t := transports{http1: transport(), h2c: transport()}
	t.h2c.Protocols = new(http.Protocols)
	t.h2c.Protocols.SetUnencryptedHTTP2(true)
	return t
}

func (t transports) of(b *Backend) *http.Transport {
	if b.H2C {
		return t.h2c
	}
	return t.http1
}

func dial(ctx context.Context, backends []Backend) (net.Conn, error) {
	_, endpoint, err := pick(backends)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, "tcp", endpoint.String())
}
