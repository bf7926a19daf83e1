package dialout

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server/nettest"
)

// world is replicas of tunnels behind a front with TLS, as JupyterHub's proxy has it, and outposts. In place of SSH
// each outpost says its name, which is its host key, and is an echo then.
type world struct {
	t      *testing.T
	front  *httptest.Server  // nil in memory
	plain  *httptest.Server  // the same without TLS
	memory *nettest.Listener // nil over sockets
	log    *lockedBuffer

	mu       sync.Mutex
	replicas []*replica
	from     string // who the front says that asks
	answer   http.HandlerFunc
}

// path is that of the tunnels below a front.
const path = "/services/outposts/"

// replica is one process of the tunnels.
type replica struct {
	*Gate
	name     string
	stopping chan struct{}
	dropped  atomic.Int64

	mu     sync.Mutex
	joined map[net.Conn]string // the processes
}

// patient are the pauses of a world over sockets: nothing in it is given up because time passes, however rarely a busy
// machine lets it run. A test of what is given up has a clock of its own, see [inTime].
var patient = pauses{
	handshake: time.Hour, retry: time.Millisecond, longestRetry: 20 * time.Millisecond, look: time.Millisecond,
	longestLook: 5 * time.Millisecond, steady: time.Hour, ping: time.Hour,
}

func newWorld(t *testing.T, replicas ...string) *world {
	w := &world{t: t, log: &lockedBuffer{}, from: "192.0.2.1"}
	w.front = httptest.NewTLSServer(w)
	w.front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(w.front.Close)
	w.plain = httptest.NewServer(w)
	t.Cleanup(w.plain.Close)
	for _, name := range replicas {
		w.add(name)
	}
	return w
}

// ServeHTTP is the front.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	answer := w.answer
	r.Header.Set("X-Forwarded-For", "198.51.100.7, "+w.from)
	if answer == nil && len(w.replicas) > 0 {
		answer = w.replicas[rand.IntN(len(w.replicas))].ServeHTTP
	}
	w.mu.Unlock()
	if answer == nil {
		http.Error(rw, "nobody is there", http.StatusServiceUnavailable)
		return
	}
	answer(rw, r)
}

// add starts a replica.
func (w *world) add(name string) *replica {
	r := &replica{name: name, stopping: make(chan struct{}), joined: map[net.Conn]string{}}
	r.Gate = NewGate(GateOptions{
		Replica: name, DialsOut: func(system string) bool { return system == "inner" }, Join: r.join,
		Stopping: r.stopping, Dropped: func() { r.dropped.Add(1) },
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.replicas = append(w.replicas, r)
	w.t.Cleanup(func() {
		r.kill()
		r.Wait()
	})
	return r
}

// remove kills a replica.
func (w *world) remove(r *replica) {
	w.mu.Lock()
	for i, other := range w.replicas {
		if other == r {
			w.replicas = append(w.replicas[:i:i], w.replicas[i+1:]...)
			break
		}
	}
	w.mu.Unlock()
	r.kill()
}

func (r *replica) kill() {
	for _, conn := range r.connections() {
		conn.Close()
	}
}

// connections are those that a replica has.
func (r *replica) connections() []net.Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.joined))
}

// join uses a connection until it ends.
func (r *replica) join(ctx context.Context, system, process string, conn net.Conn, proved func() bool) string {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	key, err := lines.ReadString('\n')
	if err != nil {
		return "unreachable"
	}
	if strings.TrimSpace(key) != system {
		return "wrong_host_key"
	}
	if !proved() {
		return "unreachable"
	}
	r.mu.Lock()
	r.joined[conn] = process
	r.mu.Unlock()
	_, _ = io.Copy(io.Discard, lines)
	r.mu.Lock()
	delete(r.joined, conn)
	r.mu.Unlock()
	return ""
}

// processes are those that are connected.
func (r *replica) processes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, p := range r.joined {
		list = append(list, p)
	}
	return list
}

// url is where the tunnels are for a system.
func (w *world) url(system string) string {
	if w.memory != nil {
		return "http://hub.example.org" + path + system
	}
	return w.front.URL + path + system
}

// client is one of the front.
func (w *world) client() *http.Client {
	if w.memory != nil {
		return &http.Client{Transport: &http.Transport{DialContext: w.memory.DialContext}}
	}
	return w.front.Client()
}

// plainURL is where they are for system inner without TLS.
func (w *world) plainURL() string { return w.plain.URL + path + "inner" }

// outpost is one process of an outpost.
type outpost struct {
	*Dialer
	*Listener
	stop func()
	log  *lockedBuffer

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

// dial starts an outpost that has a host key.
func (w *world) dial(address, key string, o DialerOptions) *outpost {
	w.t.Helper()
	p := &outpost{Listener: NewListener(), log: &lockedBuffer{}, conns: map[net.Conn]struct{}{}}
	if o.Roots == nil && w.front != nil {
		o.Roots = x509.NewCertPool()
		o.Roots.AddCert(w.front.Certificate())
	}
	o.Logger = slog.New(slog.NewTextHandler(p.log, nil))
	if p.Dialer = newDialer(address, p.Listener, o, patient); w.memory != nil {
		p.pauses, p.client.Transport = defaultPauses, w.client().Transport
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { p.serve(key) })
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		p.Listener.Close()
		p.cut()
		<-done
		tasks.Wait()
	})
	w.t.Cleanup(p.stop)
	return p
}

// serve is the server of an outpost.
func (p *outpost) serve(key string) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for {
		conn, err := p.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.conns[conn] = struct{}{}
		p.mu.Unlock()
		tasks.Go(func() {
			defer conn.Close()
			if key == "" { // it says nothing
				_, _ = io.Copy(io.Discard, conn)
				return
			}
			_, _ = io.WriteString(conn, key+"\n")
			_, _ = io.Copy(conn, conn)
		})
	}
}

// cut ends the connections that an outpost has.
func (p *outpost) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
	clear(p.conns)
}

// wantConnected waits until each replica has one connection, of this process.
func (w *world) wantConnected(p *outpost) {
	w.t.Helper()
	eventually(w.t, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, r := range w.replicas {
			if got := r.processes(); len(got) != 1 || got[0] != p.process {
				return fmt.Errorf("%s has connections of %v, want one of %s\n%s", r.name, got, p.process, p.log)
			}
		}
		return nil
	})
}

func wantLog(t *testing.T, log *lockedBuffer, want string) {
	t.Helper()
	eventually(t, func() error {
		if !strings.Contains(log.String(), want) {
			return fmt.Errorf("no %q in the log:\n%s", want, log)
		}
		return nil
	})
}

// proxy is an HTTP proxy that knows CONNECT alone and wants a password.
type proxy struct {
	*httptest.Server
	connects atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T) *proxy { return startProxy(t, (*httptest.Server).Start) }

func startProxy(t *testing.T, start func(*httptest.Server)) *proxy {
	p := &proxy{conns: map[net.Conn]struct{}{}}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		if r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpzZXNhbWU=" { // user:sesame
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		p.connects.Add(1)
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, "no such host", http.StatusBadGateway)
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			far.Close()
			return
		}
		io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
		p.mu.Lock()
		p.conns[near], p.conns[far] = struct{}{}, struct{}{}
		p.mu.Unlock()
		go func() {
			defer near.Close()
			_, _ = io.Copy(near, far)
		}()
		defer far.Close()
		_, _ = io.Copy(far, near)
	}))
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	start(p.Server)
	t.Cleanup(func() {
		p.cut()
		p.Close()
	})
	return p
}

// cut breaks all connections, as proxies do after some time.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
	clear(p.conns)
}

func (p *proxy) url(t *testing.T, user *url.Userinfo) *url.URL {
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = user
	return u
}

// patience is how long a test waits for what must come; only a fault makes it wait as long.
const patience = 5 * time.Minute

// eventually waits until f returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	err := errors.New("not tried")
	pause := time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); pause = min(2*pause, 50*time.Millisecond) {
		if err = f(); err == nil {
			return
		}
		time.Sleep(pause)
	}
	t.Fatal(err)
}

// lockedBuffer collects log lines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
