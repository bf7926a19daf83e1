package sshd

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshtest"
)

// world is a server on port 0, its keys, and the services behind it. Names resolve to addresses of 10.1.2.0/24, and
// dialling those reaches listeners on loopback: the server itself never dials loopback.
type world struct {
	t       testing.TB
	opts    Options
	limits  limits
	now     func() time.Time // time.Now if nil
	server  *Server
	addr    string
	hosts   string // directory
	keys    string // directory
	hubKey  ssh.Signer
	hostKey ssh.Signer
	stop    func() // ends the server and waits for it
	log     *lockedBuffer
	seen    *recorder

	mu       sync.Mutex
	services map[string]map[string]bool // hub, "host:port"
	names    map[string][]netip.Addr
	backends map[netip.AddrPort]string
	dialled  []netip.AddrPort
}

const (
	hubName     = "jupyterhub"
	serviceHost = "jupyter-alice-1.outpost.svc.cluster.local"
	servicePort = 8888
)

var serviceAddr = netip.MustParseAddr("10.1.2.3")

// patience is how long a test waits for what must come; only a fault makes it wait as long.
const patience = 5 * time.Minute

// patient are the limits of a world in real time: nothing in it ends because time passes, however rarely a busy machine
// lets it run. A test of a limit has a clock of its own, see [inTime].
func patient() limits {
	l := limitsFor(usualMemory)
	for _, limit := range []*time.Duration{
		&l.handshakeTimeout, &l.dialTimeout, &l.deadAfter, &l.reloadInterval, &l.deliverGrace, &l.libraryGrace,
	} {
		*limit = time.Hour
	}
	l.drainTimeout = 50 * time.Millisecond // what is open at the end of a test
	return l
}

// newWorld makes keys for one hub and one service of it that echoes; change adapts the options before the start.
func newWorld(t testing.TB, change func(*world)) *world {
	t.Helper()
	w := &world{
		t: t, limits: patient(), hosts: t.TempDir(), keys: t.TempDir(),
		log: &lockedBuffer{}, seen: newRecorder(),
		services: map[string]map[string]bool{},
		names:    map[string][]netip.Addr{},
		backends: map[netip.AddrPort]string{},
	}
	w.hostKey = w.writeHostKey("ssh_host_ed25519_key")
	w.hubKey = sshtest.NewKey(t)
	w.writeKeys(hubName, authorizedLine("", w.hubKey))
	w.opts = Options{
		Hubs: []string{hubName}, HostKeysDir: w.hosts, AuthorizedKeysDir: w.keys,
		PermitOpen: w.permit, Resolve: w.resolve, Dial: w.dial,
		Logger: newWorldLogger(w), Observer: w.seen,
	}
	w.serve(hubName, serviceHost, servicePort, serviceAddr, echo)
	if change != nil {
		change(w)
	}
	var err error
	if w.server, err = newServer(w.opts, w.limits); err != nil {
		t.Fatal(err)
	}
	if w.now != nil {
		w.server.now = w.now
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(ctx, l) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *world) permit(hub, host string, port uint16) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.services[hub][join(host, port)]
}

func (w *world) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a, ok := w.names[host]; ok {
		return a, nil
	}
	return nil, errors.New("no such host")
}

func (w *world) dial(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, target)
	backend, ok := w.backends[target]
	w.mu.Unlock()
	if !ok {
		return nil, errors.New("connection refused")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", backend)
}

// allow makes host:port a live service of a hub.
func (w *world) allow(hub, host string, port uint16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.services[hub] == nil {
		w.services[hub] = map[string]bool{}
	}
	w.services[hub][join(host, port)] = true
}

func (w *world) remove(hub, host string, port uint16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.services[hub], join(host, port))
}

// serve runs a service: handle gets each connection and the service closes it afterwards.
func (w *world) serve(hub, host string, port uint16, addr netip.Addr, handle func(*net.TCPConn)) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var handlers sync.WaitGroup
	conns := map[net.Conn]struct{}{}
	var mu sync.Mutex
	handlers.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = struct{}{}
			mu.Unlock()
			handlers.Go(func() {
				handle(c.(*net.TCPConn))
				c.Close()
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
			})
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		handlers.Wait()
	})
	w.allow(hub, host, port)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[host] = []netip.Addr{addr}
	w.backends[netip.AddrPortFrom(addr, port)] = l.Addr().String()
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// login is the client's side of a handshake with a key.
func (w *world) login(key ssh.Signer) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback: ssh.FixedHostKey(w.hostKey.PublicKey()),
	}
}

// client connects as a hub with x/crypto's client.
func (w *world) client(key ssh.Signer) (*ssh.Client, error) {
	return ssh.Dial("tcp", w.addr, w.login(key))
}

func (w *world) mustClient() *ssh.Client {
	w.t.Helper()
	c, err := w.client(w.hubKey)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// openService opens a channel to the service that echoes.
func (w *world) openService(c *ssh.Client) net.Conn {
	w.t.Helper()
	conn, err := c.Dial("tcp", join(serviceHost, servicePort))
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func (w *world) writeKeys(file string, lines ...string) {
	w.t.Helper()
	writeFile(w.t, filepath.Join(w.keys, file), strings.Join(lines, "\n")+"\n")
}

func (w *world) writeHostKey(file string) ssh.Signer {
	w.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		w.t.Fatal(err)
	}
	writeFile(w.t, filepath.Join(w.hosts, file), string(pem.EncodeToMemory(block)))
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		w.t.Fatal(err)
	}
	return signer
}

// writeFile replaces a file at once, as a mounted Secret is.
func writeFile(t testing.TB, name, text string) {
	t.Helper()
	temp := filepath.Join(filepath.Dir(name), ".new")
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, name); err != nil {
		t.Fatal(err)
	}
}

// authorizedLine is a line of an authorized_keys file.
func authorizedLine(options string, key ssh.Signer) string {
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	if options != "" {
		line = options + " " + line
	}
	return line
}

func join(host string, port uint16) string {
	return net.JoinHostPort(host, slog.IntValue(int(port)).String())
}

// lockedBuffer collects log lines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
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

// logged checks the reason why a connection has ended.
func (w *world) logged(reason string) {
	w.t.Helper()
	if log := w.log.String(); !strings.Contains(log, "reason=\""+reason+"\"") {
		w.t.Errorf("the log does not say %q:\n%s", reason, log)
	}
}

// recorder is an Observer that keeps counts, and lets a test wait for them.
type recorder struct {
	mu      sync.Mutex
	changed *sync.Cond
	counts  map[string]int64
}

func newRecorder() *recorder {
	r := &recorder{counts: map[string]int64{}}
	r.changed = sync.NewCond(&r.mu)
	return r
}

func (r *recorder) add(name string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[name] += n
	r.changed.Broadcast()
}

func (r *recorder) get(name string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts[name]
}

// wait blocks until a count has a value; the test's own time limit is the bound.
func (r *recorder) wait(name string, want int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.counts[name] != want {
		r.changed.Wait()
	}
}

func (r *recorder) Handshake(result string, _ time.Duration) { r.add("handshake "+result, 1) }
func (r *recorder) Connection(_ string, delta int)           { r.add("connections", int64(delta)) }
func (r *recorder) Channel(_ string, delta int)              { r.add("channels", int64(delta)) }
func (r *recorder) Refused(_, reason string)                 { r.add("refused "+reason, 1) }
func (r *recorder) Closed(_, reason string)                  { r.add("closed "+reason, 1) }
func (r *recorder) Copied(_ string, up, down int64)          { r.add("up", up); r.add("down", down) }

func (r *recorder) Dialled(_ string, _ time.Duration, err error) {
	if err != nil {
		r.add("dial failed", 1)
	} else {
		r.add("dialled", 1)
	}
}

func (r *recorder) Reloaded(err error) {
	if err != nil {
		r.add("reload failed", 1)
	} else {
		r.add("reloaded", 1)
	}
}

func newWorldLogger(w *world) *slog.Logger {
	return slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
