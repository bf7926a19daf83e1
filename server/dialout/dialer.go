package dialout

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/outposts-dev/outposts/server/excerpt"
)

// DialerOptions is what a [Dialer] may be told; zero values are defaults.
type DialerOptions struct {
	// Proxy is an HTTP proxy for CONNECT (RFC 9110 section 9.3.6). Default: that of HTTPS_PROXY and NO_PROXY; for a
	// URL without TLS, that of HTTP_PROXY if there is none.
	Proxy *url.URL
	// Roots are the CAs of the URL. Default: the system's.
	Roots *x509.CertPool
	// Logger gets a line for each connection that is made or lost, and for each new reason why there is none.
	Logger *slog.Logger
	// Dialled is called after each attempt with one of the Dial* results.
	Dialled func(result string)
	// Connected is called with the number of connections each time that it changes.
	Connected func(connections int)
}

// Results of an attempt.
const (
	DialOK     = "ok"
	DialKnown  = "known"  // a replica has answered that there is a connection to already
	DialFailed = "failed" // no answer, or another one than that of tunnels
)

// pauses are for how long is waited. Only tests have others than defaultPauses.
type pauses struct {
	handshake           time.Duration // everything before a connection is there: names, proxies, TLS, the answer
	retry, longestRetry time.Duration // after a failure; doubled with each
	look, longestLook   time.Duration // after a replica that is known; doubled with each
	steady              time.Duration // a connection that did not last as long has failed
	ping                time.Duration // between two pings; a line on which nothing comes in between is dead
}

// Replicas are looked for as long as the process runs: one that has just started is found by chance, after about as
// many attempts as there are replicas.
var defaultPauses = pauses{
	handshake: 15 * time.Second, retry: 500 * time.Millisecond, longestRetry: 15 * time.Second,
	look: 100 * time.Millisecond, longestLook: 4 * time.Second, steady: 10 * time.Second, ping: 10 * time.Second,
}

// Dialer keeps a connection of an outpost to each replica of the tunnels of one hub. Make it with [NewDialer].
type Dialer struct {
	address string
	client  *http.Client
	process string // who we are, for the other side
	deliver *Listener
	opts    DialerOptions
	log     *slog.Logger
	pauses  pauses
	lost    chan struct{} // a connection has ended; capacity 1
	carried sync.WaitGroup

	mu       sync.Mutex
	replicas map[string]struct{} // that there is a connection to
	failures int                 // attempts in a row without an answer of tunnels
	brief    int                 // connections in a row that did not last
	said     string              // the reason that was logged last
}

// NewDialer returns a dialer for a URL, https://hub.example.org/services/outposts/remote, whose last element is the
// name of the system. Connections are handed to a listener, which serves SSH.
func NewDialer(address string, to *Listener, o DialerOptions) *Dialer {
	return newDialer(address, to, o, defaultPauses)
}

func newDialer(address string, to *Listener, o DialerOptions, p pauses) *Dialer {
	if o.Dialled == nil {
		o.Dialled = func(string) {}
	}
	if o.Connected == nil {
		o.Connected = func(int) {}
	}
	return &Dialer{
		address: address, process: rand.Text(), deliver: to, opts: o,
		log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), pauses: p,
		lost: make(chan struct{}, 1), replicas: map[string]struct{}{},
		client: &http.Client{
			Transport:     newTransport(address, o, p.handshake),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Run keeps connections until ctx ends, and returns when all of them have ended: the server that they were handed to
// ends them.
func (d *Dialer) Run(ctx context.Context) error {
	defer d.client.CloseIdleConnections()
	defer d.carried.Wait()
	known := 0
	for ctx.Err() == nil {
		switch found, err := d.attempt(ctx); {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.opts.Dialled(DialFailed)
			d.failed(err)
		case found:
			d.opts.Dialled(DialOK)
			d.answered()
			known = 0
		default:
			d.opts.Dialled(DialKnown)
			d.answered()
			known++
		}
		if d.wait(ctx, d.pause(known)) {
			known = 0
		}
	}
	return nil
}

// pause returns how long to wait after so many answers in a row from replicas that are known.
func (d *Dialer) pause(known int) (pause time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known > 0 {
		pause = min(d.pauses.look<<min(known-1, 16), d.pauses.longestLook)
	}
	if n := max(d.failures, d.brief); n > 0 {
		pause = max(pause, min(d.pauses.retry<<min(n-1, 16), d.pauses.longestRetry))
	}
	return pause
}

// wait waits, and reports whether a connection was lost meanwhile, which ends the wait.
func (d *Dialer) wait(ctx context.Context, pause time.Duration) (lost bool) {
	if pause == 0 {
		return false
	}
	timer := time.NewTimer(pause + time.Duration(mathrand.Int64N(int64(pause)/4+1))) // outposts do not come all at once
	defer timer.Stop()
	select {
	case <-d.lost:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// failed notes a failure, and logs a new reason.
func (d *Dialer) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	reason := excerpt.Of(err.Error(), excerpt.Sentence) // it may quote what a proxy says
	if reason != d.said {
		d.said = reason
		d.log.Warn("no connection to the hub's tunnels, retrying", "url", d.address, "err", reason)
	}
	d.failures++
}

// answered notes that tunnels have answered.
func (d *Dialer) answered() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures, d.said = 0, ""
}

// lasts notes that a connection lasts.
func (d *Dialer) lasts() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.brief = 0
}

// attempt makes a connection, and reports whether it leads to a replica that there was none to.
func (d *Dialer) attempt(ctx context.Context) (found bool, err error) {
	dial, cancel := context.WithTimeout(ctx, d.pauses.handshake)
	defer cancel()
	var remote net.Addr = &net.TCPAddr{}
	dial = httptrace.WithClientTrace(dial, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		remote = info.Conn.RemoteAddr()
	}})
	known := d.known()
	if len(known) >= maxReplicas {
		return false, nil
	}
	//nolint:bodyclose // the library closes it
	ws, answer, err := websocket.Dial(dial, d.address, &websocket.DialOptions{
		HTTPClient: d.client,
		HTTPHeader: http.Header{processHeader: {d.process}, replicasHeader: {strings.Join(known, " ")}},
	})
	switch {
	case err != nil && answer != nil && answer.StatusCode == http.StatusConflict &&
		slices.Contains(known, answer.Header.Get(replicaHeader)):
		return false, nil
	case err != nil:
		return false, reasonOf(err, answer)
	}
	replica := answer.Header.Get(replicaHeader)
	if replica == "" || len(replica) > 64 || strings.ContainsRune(replica, ' ') {
		_ = ws.CloseNow() // nothing was sent
		return false, errors.New("who answers is not the tunnels of a hub")
	}
	if !d.add(replica) {
		_ = ws.CloseNow() // as above
		return false, nil
	}
	d.carried.Go(func() { d.carry(context.WithoutCancel(ctx), ws, remote, replica) })
	return true, nil
}

// reasonOf returns why there is no connection, without what the library says about it.
func reasonOf(err error, answer *http.Response) error {
	if answer == nil {
		for next := err; next != nil; next = errors.Unwrap(next) {
			err = next
			if _, ok := errors.AsType[*url.Error](next); !ok {
				break
			}
		}
		return err
	}
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 200)) // a page of somebody else's, or one of our lines
	if answer.Header.Get(replicaHeader) == "" {
		text = nil
	}
	return errors.New(strings.TrimSpace("the answer is " + answer.Status + " " + string(text)))
}

// known returns the replicas that there is a connection to.
func (d *Dialer) known() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]string, 0, len(d.replicas))
	for replica := range d.replicas {
		list = append(list, replica)
	}
	slices.Sort(list)
	return list
}

// add notes a connection, unless there is one to this replica.
func (d *Dialer) add(replica string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.replicas[replica]; there {
		return false
	}
	d.replicas[replica] = struct{}{}
	d.opts.Connected(len(d.replicas))
	return true
}

// carry is the life of one connection.
func (d *Dialer) carry(ctx context.Context, ws *websocket.Conn, remote net.Addr, replica string) {
	start := time.Now()
	near, pipe := net.Pipe()
	far := &countedConn{Conn: pipe}
	d.log.Info("connected to the hub's tunnels", "url", d.address, "replica", replica)
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { d.deliver.Deliver(ctx, WithRemote(near, remote)) })
	tasks.Go(func() { d.ping(ctx, ws, &far.writes) })
	steady := time.AfterFunc(d.pauses.steady, d.lasts)
	err := carry(ctx, ws, far, func() string { return "" })
	lasted := !steady.Stop()
	cancel()
	tasks.Wait()

	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.replicas, replica)
	d.opts.Connected(len(d.replicas))
	reason := "closed"
	if closed, ok := errors.AsType[websocket.CloseError](err); ok && closed.Reason != "" {
		reason = closed.Reason
	} else if err != nil {
		reason = err.Error()
	}
	d.log.Warn("connection to the hub's tunnels lost", "url", d.address, "replica", replica, "reason", reason,
		"duration", time.Since(start).Round(time.Millisecond))
	if !lasted {
		d.brief++ // the next attempt is not made at once
		return
	}
	select {
	case d.lost <- struct{}{}:
	default:
	}
}

// ping asks for a sign of life, so that proxies see traffic and a dead line is noticed, and ends a connection on which
// nothing comes. An answer may take long where data is on its way before it.
func (d *Dialer) ping(ctx context.Context, ws *websocket.Conn, signs *atomic.Int64) {
	tick := time.NewTicker(d.pauses.ping)
	defer tick.Stop()
	var asked sync.WaitGroup
	defer asked.Wait()
	var asking atomic.Bool
	for before := int64(-1); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := signs.Load()
		if now == before {
			_ = ws.CloseNow() // it may be closed
			return
		}
		before = now
		if asking.CompareAndSwap(false, true) {
			asked.Go(func() {
				if ws.Ping(ctx) == nil {
					signs.Add(1)
				}
				asking.Store(false)
			})
		}
	}
}
