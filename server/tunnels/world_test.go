package tunnels

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/sshd"
	"github.com/outposts-dev/outposts/server/sshtest"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

const (
	namespace = "jupyter"
	owner     = "hub"
)

var ports = Ports{20000, 20063}

// quick are limits for tests; those that a test measures are set by it. Nothing is given up because time passes,
// however rarely a busy machine lets a test run.
var quick = limits{
	dial: time.Hour, silence: time.Hour, pause: 5 * time.Millisecond, longestPause: 20 * time.Millisecond,
	steady: 0, library: time.Second, wait: time.Hour, open: time.Hour, rest: time.Millisecond,
	streams: 4096, tunnelStreams: 256, backlog: 1 << 30,
}

// patience is how long a test waits for what must come; only a fault makes it wait as long.
const patience = 5 * time.Minute

// world is tunnels, a cluster without kubelets, and outposts with servers behind them. Its ports are on an address of
// its own in 127.0.0.0/8.
type world struct {
	t        testing.TB
	client   *fake.Clientset
	tunnels  *Tunnels
	key      ssh.Signer
	systems  map[string]remote.System
	opts     Options
	limits   limits
	address  netip.Addr
	log      *lockedBuffer
	stop     func() // ends the tunnels and waits for them
	services int

	away    atomic.Bool // the API server answers nothing
	mu      sync.Mutex
	watcher watch.Interface
}

// goAway ends what the API server answers; comeBack lets it answer again.
func (w *world) goAway() {
	w.away.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watcher.Stop()
}

func (w *world) comeBack() { w.away.Store(false) }

func newWorld(t testing.TB, change func(*world)) *world {
	t.Helper()
	some := func() byte { return byte(1 + mathrand.IntN(250)) }
	host := netip.AddrFrom4([4]byte{127, some(), some(), some()})
	w := &world{
		t: t, client: fake.NewClientset(), key: sshtest.NewKey(t), systems: map[string]remote.System{}, limits: quick,
		address: host, log: &lockedBuffer{},
	}
	w.opts = Options{
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Listen: func(ctx context.Context, port uint16) (net.Listener, error) {
			var lc net.ListenConfig
			return lc.Listen(ctx, "tcp", netip.AddrPortFrom(host, port).String())
		},
	}
	if change != nil {
		change(w)
	}
	w.start()
	return w
}

// start starts tunnels; w.stop has ended earlier ones.
func (w *world) start() {
	w.t.Helper()
	// The clientset does not tell a watch what has changed since the list before it.
	watching := make(chan struct{}, 1)
	w.client.PrependWatchReactor("services", func(a k8stesting.Action) (bool, watch.Interface, error) {
		if w.away.Load() {
			return true, nil, errors.New("no API server")
		}
		watcher, err := w.client.Tracker().Watch(a.GetResource(), a.GetNamespace())
		w.mu.Lock()
		w.watcher = watcher
		w.mu.Unlock()
		select {
		case watching <- struct{}{}:
		default:
		}
		return true, watcher, err
	})
	w.client.PrependReactor("list", "services", func(k8stesting.Action) (bool, runtime.Object, error) {
		return w.away.Load(), nil, errors.New("no API server")
	})
	tunnels, err := New(w.client, namespace, owner, ports, w.key, w.systems, w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	tunnels.limits = w.limits
	w.tunnels = tunnels
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := tunnels.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	w.t.Cleanup(w.stop)
	<-watching
}

// service is a Service as the hub's module writes it; uids tell the order of creation.
func (w *world) service(name, system, target string, port uint16) *corev1.Service {
	w.services++
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: namespace, UID: types.UID(fmt.Sprintf("uid-%05d", w.services)),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(1_800_000_000+w.services), 0)),
			Labels:            map[string]string{tunnelsLabel: owner, systemLabel: system},
			Annotations:       map[string]string{targetAnnotation: target},
		},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{tunnelsLabel: owner},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(int32(port))}},
		},
	}
}

func (w *world) api() typedcorev1.ServiceInterface { return w.client.CoreV1().Services(namespace) }

// create adds a Service to the cluster.
func (w *world) create(svc *corev1.Service) {
	w.t.Helper()
	if _, err := w.api().Create(context.Background(), svc, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(svc *corev1.Service) {
	w.t.Helper()
	if _, err := w.api().Update(context.Background(), svc, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(name string) {
	w.t.Helper()
	if err := w.api().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// dial connects to a port of the tunnels.
func (w *world) dial(port uint16) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(w.address, port).String(), patience)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn), nil
}

// ask returns which server answers on a port.
func (w *world) ask(port uint16) (string, error) {
	conn, err := w.dial(port)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return askOn(conn)
}

// askOn is ask on a connection.
func askOn(conn net.Conn) (string, error) {
	if _, err := io.WriteString(conn, "who are you?\n"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSuffix(answer, "\n"), err
}

// wantAnswer waits until a server answers on a port.
func (w *world) wantAnswer(port uint16, want string) {
	w.t.Helper()
	eventually(w.t, func() error {
		got, err := w.ask(port)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("port %d is answered by %q, want %q", port, got, want)
		}
		return nil
	})
}

// wantClosed waits until nobody listens on a port.
func (w *world) wantClosed(port uint16) {
	w.t.Helper()
	eventually(w.t, func() error {
		if conn, err := w.dial(port); err == nil {
			conn.Close()
			return fmt.Errorf("port %d is open", port)
		}
		return nil
	})
}

func (w *world) wantState(system string, want State) {
	w.t.Helper()
	eventually(w.t, func() error {
		if got, _ := w.tunnels.State(system); got != want {
			return fmt.Errorf("%s is %q, want %q", system, got, want)
		}
		return nil
	})
}

// wantService waits until a Service is in a state.
func (w *world) wantService(name string, want ServiceState) {
	w.t.Helper()
	eventually(w.t, func() error {
		if got, _ := w.tunnels.Service(name); got != want {
			return fmt.Errorf("%s is %v, want %v", name, got, want)
		}
		return nil
	})
}

// counter returns the value of a counter with these labels.
func (w *world) counter(name string, labels ...string) float64 {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.tunnels)
	families, err := registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			var got []string
			for _, l := range m.Label {
				got = append(got, l.GetValue())
			}
			slices.Sort(got)
			if f.GetName() == name && slices.Equal(got, labels) {
				return m.Counter.GetValue()
			}
		}
	}
	return 0
}

// eventually waits until f returns nil.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// outpost is our own SSH server with servers behind it, and a relay before it. Each server answers a line with its own
// address; a line "echo" begins an echo, "flood" data without an end.
type outpost struct {
	t       testing.TB
	hostKey ssh.Signer
	keys    string // directory
	address netip.AddrPort
	relay   *relay

	mu      sync.Mutex
	servers map[string]bool // host:port
}

// outpost adds a system, before the tunnels are started.
func (w *world) outpost(name string) *outpost {
	w.t.Helper()
	o := &outpost{t: w.t, keys: w.t.TempDir(), servers: map[string]bool{}}
	hosts := w.t.TempDir()
	o.hostKey = writeHostKey(w.t, hosts)
	writeFile(w.t, filepath.Join(o.keys, "authorized_keys"), ssh.MarshalAuthorizedKey(w.key.PublicKey()))
	server, err := sshd.New(sshd.Options{
		Hubs: []string{"jupyterhub"}, HostKeysDir: hosts, AuthorizedKeysDir: o.keys,
		PermitOpen: func(_, host string, port uint16) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.servers[Target{host, port}.String()]
		},
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			var n byte
			if _, err := fmt.Sscanf(host, "lab-%d.", &n); err != nil {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.AddrFrom4([4]byte{10, 9, 8, n})}, nil
		},
		Dial: func(_ context.Context, target netip.AddrPort) (net.Conn, error) {
			if target.Port() == 1 {
				return nil, errors.New("connection refused")
			}
			return o.connect(name, target)
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	l := listenLocal(w.t)
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ctx, l)
	}()
	o.relay = newRelay(w.t, l.Addr().String())
	o.address = o.relay.address()
	w.t.Cleanup(func() {
		o.relay.cut()
		cancel()
		<-done
	})
	w.systems[name] = o.system()
	return o
}

// system is what the file says about it.
func (o *outpost) system() remote.System {
	return remote.System{
		Host: o.address.Addr().String(), Port: o.address.Port(), User: remote.DefaultUser,
		HostKeys: []ssh.PublicKey{o.hostKey.PublicKey()},
	}
}

// allow lets a server run.
func (o *outpost) allow(target string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.servers[target] = true
}

// connect is a connection to a server, over real sockets.
func (o *outpost) connect(system string, target netip.AddrPort) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	lab, err := l.Accept()
	if err != nil {
		conn.Close()
		return nil, err
	}
	go func() {
		defer lab.Close()
		serveLab(lab.(*net.TCPConn), fmt.Sprintf("lab-%d of %s", target.Addr().As4()[3], system))
	}()
	return conn, nil
}

// serveLab is a server that says who it is.
func serveLab(conn *net.TCPConn, name string) {
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == "echo\n" {
			_, _ = io.Copy(conn, r)
			_ = conn.CloseWrite()
			return
		}
		if line == "flood\n" {
			for block := make([]byte, 256<<10); err == nil; {
				_, err = conn.Write(block)
			}
			return
		}
		if _, err := io.WriteString(conn, name+"\n"); err != nil {
			return
		}
	}
}

// relay is the network to an outpost.
type relay struct {
	net.Listener
	to string

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	frozen bool
	down   bool
	worn   bool // the next packet from the outpost is damaged
	made   int
}

func newRelay(t testing.TB, to string) *relay {
	r := &relay{Listener: listenLocal(t), to: to, conns: map[net.Conn]struct{}{}}
	go func() {
		for {
			near, err := r.Accept()
			if err != nil {
				return
			}
			go r.pass(near)
		}
	}()
	return r
}

func (r *relay) address() netip.AddrPort { return netip.MustParseAddrPort(r.Addr().String()) }

func (r *relay) pass(near net.Conn) {
	r.mu.Lock()
	down := r.down
	r.made++
	r.mu.Unlock()
	if down {
		reset(near)
		return
	}
	far, err := net.Dial("tcp", r.to)
	if err != nil {
		near.Close()
		return
	}
	r.mu.Lock()
	r.conns[near], r.conns[far] = struct{}{}, struct{}{}
	down = r.down
	r.mu.Unlock()
	if down { // by now: who cut the others did not find this one
		reset(near)
		reset(far)
		return
	}
	go r.copy(near, far, &r.worn)
	r.copy(far, near, new(bool))
}

func (r *relay) copy(to, from net.Conn, worn *bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			reset(to)
			reset(from)
			return
		}
		r.mu.Lock()
		frozen := r.frozen
		if *worn {
			buf[n-1] ^= 1
			*worn = false
		}
		r.mu.Unlock()
		if frozen { // what was sent is gone
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			reset(from)
			return
		}
	}
}

// cut breaks all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.conns {
		reset(conn)
	}
	clear(r.conns)
}

// freeze lets nothing through any more, and nobody notices; thaw is for new connections.
func (r *relay) freeze(frozen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = frozen
}

// damage changes a bit of what the outpost sends next.
func (r *relay) damage() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.worn = true
}

// refuse lets no new connections through.
func (r *relay) refuse(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func (r *relay) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.made
}

func listenLocal(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func writeHostKey(t testing.TB, dir string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "ssh_host_ed25519_key"), pem.EncodeToMemory(block))
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func writeFile(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
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
