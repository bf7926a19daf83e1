// Package hubclient calls the hubs back over HTTP: progress events, flavor counts, tunnels and lists of servers
// (protocol, chapter 3).
package hubclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Limits of one call. The hub answers a request for a tunnel only after it has tried to open it.
const (
	eventTimeout   = 10 * time.Second
	tunnelTimeout  = 20 * time.Second
	serversTimeout = 10 * time.Second

	maxAnswer    = 16 << 20 // of a list of servers
	maxDiscard   = 64 << 10 // of any other answer
	maxRedirects = 3
)

// Options is what a Client may be given. The zero value trusts the system's certificate authorities.
type Options struct {
	// Roots are the certificate authorities to trust for a hub, by its name, instead of DefaultRoots.
	Roots map[string]*x509.CertPool
	// DefaultRoots are those for all other hubs; nil is the system's.
	DefaultRoots *x509.CertPool
	// DialContext makes connections; nil dials TCP.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client implements outpost.HubAPI. It follows redirects only to the same scheme, host and port, uses no proxy, and
// keeps tokens out of its errors. It is safe for concurrent use.
type Client struct {
	byHub  map[string]*http.Client
	others *http.Client
}

// New returns a Client.
func New(o Options) *Client {
	c := &Client{byHub: map[string]*http.Client{}, others: newHTTPClient(o.DefaultRoots, o.DialContext)}
	for hub, roots := range o.Roots {
		c.byHub[hub] = newHTTPClient(roots, o.DialContext)
	}
	return c
}

func newHTTPClient(roots *x509.CertPool, dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext:           dial,
			TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: tunnelTimeout,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   8,
			MaxConnsPerHost:       32,
			ForceAttemptHTTP2:     true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			first := via[0]
			sameServer := r.URL.Scheme == first.URL.Scheme && r.URL.Host == first.URL.Host
			if len(via) > maxRedirects || !sameServer || r.Method != first.Method {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// Close drops idle connections.
func (c *Client) Close() {
	c.others.CloseIdleConnections()
	for _, h := range c.byHub {
		h.CloseIdleConnections()
	}
}

// PostEvent delivers a progress event. KindFailed if the hub refused it.
func (c *Client) PostEvent(ctx context.Context, call outpost.HubCall, e outpost.Event) error {
	return c.do(ctx, http.MethodPost, call, e, eventTimeout, nil)
}

// PostFlavors tells the hub its flavors with their current counts. KindFailed if the hub refused them.
func (c *Client) PostFlavors(ctx context.Context, call outpost.HubCall, flavors map[string]flavor.Flavor) error {
	return c.do(ctx, http.MethodPost, call, flavors, eventTimeout, nil)
}

// PostTunnel asks the hub for a new tunnel to address. KindFailed if the hub refused: it has stopped the server, or
// does not know it.
func (c *Client) PostTunnel(ctx context.Context, call outpost.HubCall, address string) error {
	body := struct {
		Service string `json:"service"`
	}{address}
	return c.do(ctx, http.MethodPost, call, body, tunnelTimeout, nil)
}

// RestartTunnels asks a hub to renew all tunnels of a system. KindFailed if the hub refused.
func (c *Client) RestartTunnels(ctx context.Context, call outpost.HubCall) error {
	return c.do(ctx, http.MethodGet, call, nil, tunnelTimeout, nil)
}

// Servers returns "<user id>_<server name>_<start id>" of each server the hub knows.
func (c *Client) Servers(ctx context.Context, call outpost.HubCall) ([]string, error) {
	var list []string
	if err := c.do(ctx, http.MethodGet, call, nil, serversTimeout, &list); err != nil {
		return nil, err
	}
	if list == nil {
		return nil, outpost.Errorf(outpost.KindUnavailable, "the hub's answer is not a list")
	}
	return list, nil
}

// do makes one call; result, if not nil, takes the JSON answer.
func (c *Client) do(
	ctx context.Context, method string, call outpost.HubCall, body any, timeout time.Duration, result any,
) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the call: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, call.URL, payload)
	if err != nil {
		return outpost.Wrap(stripURL(err), outpost.KindFailed, "the hub's URL is invalid")
	}
	r.Header.Set("Authorization", "token "+call.Token.Reveal())
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "outposts")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	client := c.byHub[call.Hub]
	if client == nil {
		client = c.others
	}
	answer, err := client.Do(r)
	if err != nil {
		return outpost.Wrap(stripURL(err), outpost.KindUnavailable, "the hub at %s does not answer", r.URL.Host)
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, answer.Body, maxDiscard) // so that the connection can be used again
		_ = answer.Body.Close()
	}()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return outpost.Errorf(kindOf(answer.StatusCode), "the hub at %s answered %s %s with status %d",
			r.URL.Host, method, r.URL.Path, answer.StatusCode)
	}
	if result == nil {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return outpost.Wrap(stripURL(err), outpost.KindUnavailable, "the hub's answer is incomplete")
	case len(data) > maxAnswer:
		return outpost.Errorf(outpost.KindUnavailable, "the hub's answer is longer than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(data, result); err != nil {
		return outpost.Errorf(outpost.KindUnavailable, "the hub's answer is not a JSON list of strings")
	}
	return nil
}

// kindOf maps a status to whether asking again can help: a refusal is final, an overloaded or absent hub is not.
func kindOf(status int) outpost.Kind {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		return outpost.KindUnavailable
	case status >= 400 && status <= 499:
		return outpost.KindFailed
	}
	return outpost.KindUnavailable
}

// stripURL removes the URL from an error of net/http: its query may hold what does not belong in a log.
func stripURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
