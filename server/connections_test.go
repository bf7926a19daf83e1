package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/dialout"
	"github.com/outposts-dev/outposts/server/nettest"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// boundedServer is an HTTP server with limits on its connections. A request to /login/{hub} logs in.
type boundedServer struct {
	*connections
	t       *testing.T
	address string
	connect func() (net.Conn, error)
	block   chan struct{} // requests to /login/{hub}/wait wait for it

	mu    sync.Mutex
	drops map[string]int
}

func newBoundedServer(t *testing.T, limits connectionLimits) *boundedServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := serveBounded(t, limits, l)
	b.address = l.Addr().String()
	b.connect = func() (net.Conn, error) { return net.Dial("tcp", b.address) }
	return b
}

// serveBounded is a boundedServer on a listener.
func serveBounded(t *testing.T, limits connectionLimits, l net.Listener) *boundedServer {
	b := &boundedServer{t: t, drops: map[string]int{}, block: make(chan struct{})}
	b.connections = newConnections(limits, func(reason string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.drops[reason]++
	})
	type key struct{}
	server := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, hub, login := strings.Cut(r.URL.Path, "/login/")
		hub, what, _ := strings.Cut(hub, "/")
		if login && !r.Context().Value(key{}).(*connection).LoggedIn(hub) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		switch what {
		case "wait":
			<-b.block
		case "body":
			_, _ = io.Copy(io.Discard, r.Body) // until it is cut off
		case "pour":
			for err := error(nil); err == nil; {
				_, err = w.Write(make([]byte, 32<<10))
			}
		}
		if r.URL.Path == "/upgrade" { // as a WebSocket
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.SetDeadline(time.Time{}) // a closed connection needs none
			_, _ = io.Copy(io.Discard, conn)  // until it ends
			_ = conn.Close()
		}
	}), slog.New(slog.DiscardHandler), b.connections)
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, key{}, connectionOf(conn))
	}
	go func() { _ = server.Serve(b.listen(l)) }()
	t.Cleanup(func() { _ = server.Close() })
	return b
}

// dial opens a connection and sends the text.
func (b *boundedServer) dial(text string) net.Conn {
	b.t.Helper()
	conn, err := b.connect()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		b.t.Fatal(err)
	}
	return conn
}

// boundedInTime runs a test of limits in time.
func boundedInTime(t *testing.T, limits *connectionLimits, test func(t *testing.T, b *boundedServer)) {
	inTime(t, func(t *testing.T) {
		l := nettest.Listen()
		b := serveBounded(t, *limits, l)
		b.connect = func() (net.Conn, error) { return l.Dial(t.Context()) }
		test(t, b)
	})
}

// wantEnd waits until the server ends a connection, which it does after a time.
func wantEnd(t *testing.T, name string, conn net.Conn, want time.Duration) {
	t.Helper()
	begin := time.Now()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if took := time.Since(begin); took != want {
		t.Errorf("%s: ended after %v, want %v", name, took, want)
	}
}

// ask sends a request on a connection and returns its status; 0 if the connection has ended.
func ask(conn net.Conn, path string, header ...string) int {
	text := "GET " + path + " HTTP/1.1\r\nHost: outpost\r\n" + strings.Join(header, "") + "\r\n"
	if _, err := io.WriteString(conn, text); err != nil {
		return 0
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func (b *boundedServer) wantDrops(want map[string]int) {
	b.t.Helper()
	var got map[string]int
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		b.mu.Lock()
		got = make(map[string]int, len(b.drops))
		for reason, n := range b.drops {
			got[reason] = n
		}
		b.mu.Unlock()
		if cmp.Equal(want, got) {
			return
		}
	}
	b.t.Errorf("dropped connections (-want +got):\n%s", cmp.Diff(want, got))
}

// idle is how many connections of a hub have nothing to answer.
func (b *boundedServer) idle(hub string) (count int) {
	b.connections.mu.Lock()
	defer b.connections.mu.Unlock()
	for c := range b.hubs[hub] {
		if c.idle.Load() {
			count++
		}
	}
	return count
}

// testLimits are small, and patient: nothing ends by its time.
func testLimits() connectionLimits {
	return connectionLimits{
		newcomers: 8, newcomersPerSource: 4, newcomerTime: 30 * time.Minute,
		header: 8 << 10, large: 2, largePerSource: 2, perHub: 2, writeTime: time.Hour,
	}
}

func TestLoginGetsThroughAFloodOfHalfSentRequests(t *testing.T) {
	b := newBoundedServer(t, apiLimits)
	hub := b.dial("")
	if status := ask(hub, "/login/hub-a"); status != http.StatusOK {
		t.Fatalf("login before: %d", status)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const flood = 10_000
	held := make([]net.Conn, 2000) // the others of this side are closed, to need fewer files
	for i := range flood {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /services/ HTTP/1.1\r\nX-Half: sent")
		if old := held[i%len(held)]; old != nil {
			_ = old.Close()
		}
		held[i%len(held)] = conn
		if i%1000 == 0 {
			if status := ask(b.dial(""), "/login/hub-a"); status != http.StatusOK {
				t.Errorf("login after %d connections: %d", i, status)
			}
		}
	}
	if status := ask(hub, "/login/hub-a"); status != http.StatusOK {
		t.Errorf("the hub's connection after the flood: %d", status)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	open, loggedIn := b.counts()
	bytes := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)
	if open > apiLimits.newcomersPerSource || loggedIn != 11 {
		t.Errorf("%d newcomers and %d of hubs are open, want at most %d and 11", open, loggedIn,
			apiLimits.newcomersPerSource)
	}
	if bytes > 64<<20 {
		t.Errorf("the process holds %d MiB more", bytes>>20)
	}
	t.Logf("%d connections: %d open, %d KiB held", flood, open, bytes>>10)
	for _, conn := range held {
		_ = conn.Close()
	}
}

func TestOldestConnectionWithoutALoginGoes(t *testing.T) {
	b := newBoundedServer(t, testLimits())
	hub := b.dial("")
	if status := ask(hub, "/login/hub-a"); status != http.StatusOK {
		t.Fatalf("login: %d", status)
	}
	silent := b.dial("")
	answered := b.dial("")
	if status := ask(answered, "/ping"); status != http.StatusOK {
		t.Fatalf("ping: %d", status)
	}
	for range 4 {
		b.dial("GET / HTTP/1.1\r\n")
	}
	b.wantDrops(map[string]int{droppedNewcomer: 2})
	for name, conn := range map[string]net.Conn{"silent": silent, "idle after a request": answered} {
		if status := ask(conn, "/ping"); status != 0 {
			t.Errorf("the one that is %s: %d", name, status)
		}
	}
	if status := ask(hub, "/login/hub-a"); status != http.StatusOK {
		t.Errorf("the hub's: %d", status)
	}
}

func TestLongHeadersBeforeALoginAreFew(t *testing.T) {
	b := newBoundedServer(t, testLimits())
	long := "X-Long: " + strings.Repeat("x", 20<<10) + "\r\n"
	first := b.dial("GET / HTTP/1.1\r\n" + long)
	eventually(t, "the first", func() bool { return b.large.Len() == 1 })
	for range 2 {
		b.dial("GET / HTTP/1.1\r\n" + long)
	}
	b.wantDrops(map[string]int{droppedLarge: 1})
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the oldest long header still has its connection")
	}
	// A hub may send one, for it is answered at once; from its login on nothing is counted.
	conn := b.dial("")
	for range 3 {
		if status := ask(conn, "/login/hub-a", long); status != http.StatusOK {
			t.Errorf("a hub's long header: %d", status)
		}
	}
	b.wantDrops(map[string]int{droppedLarge: 2})
	// Many short requests are no long header.
	conn = b.dial("")
	for range 20 {
		if status := ask(conn, "/ping", "X-Some: "+strings.Repeat("x", 1<<10)+"\r\n"); status != http.StatusOK {
			t.Errorf("ping: %d", status)
		}
	}
	b.wantDrops(map[string]int{droppedLarge: 2})
}

func TestConnectionWithoutALoginHasLittleTime(t *testing.T) {
	const limit = 10 * time.Second
	boundedInTime(t, &apiLimits, func(t *testing.T, b *boundedServer) {
		ended := func(name string, conn net.Conn) {
			t.Helper()
			wantEnd(t, name, conn, limit)
		}
		ended("silent", b.dial(""))
		ended("half a header", b.dial("GET / HTTP/1.1\r\n"))
		ended("half a TLS handshake", b.dial("\x16\x03\x01\x02\x00"))
		slow := b.dial("GET /upgrade HTTP/1.1\r\nHost: outpost\r\n\r\n")
		go func() {
			for err := error(nil); err == nil; time.Sleep(3 * time.Second) {
				_, err = slow.Write([]byte("x"))
			}
		}()
		ended("a byte now and then", slow)
		b.wantDrops(map[string]int{droppedSlow: 4})
		ended("idle after a request", b.dial("GET /ping HTTP/1.1\r\nHost: outpost\r\n\r\n"))

		// A hub waits longer for its start than that, and says nothing between two polls.
		hub := b.dial("GET /login/hub-a/wait HTTP/1.1\r\nHost: outpost\r\n\r\n")
		synctest.Wait()
		if _, hubs := b.counts(); hubs != 1 {
			t.Fatal("the hub has not logged in")
		}
		time.Sleep(2 * limit) // what would end it ends it by then
		close(b.block)
		answer, err := http.ReadResponse(bufio.NewReader(hub), nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("a long start: %v, %v", answer, err)
		}
		_ = answer.Body.Close()
		time.Sleep(3 * limit)
		if status := ask(hub, "/login/hub-a"); status != http.StatusOK {
			t.Errorf("the next request of the hub: %d", status)
		}
		b.wantDrops(map[string]int{droppedSlow: 4})
	})
}

// Every listener has the same time for strangers.
func TestSilentConnectionOfEveryListener(t *testing.T) {
	for name, limits := range map[string]*connectionLimits{
		"api": &apiLimits, "metrics": &metricsLimits, "dial out": &dialOutLimits,
	} {
		boundedInTime(t, limits, func(t *testing.T, b *boundedServer) {
			wantEnd(t, name, b.dial(""), 10*time.Second)
			wantEnd(t, name, b.dial("GET / HTTP/1.1\r\n"), 10*time.Second)
		})
	}
}

// A hub has more time than a stranger, and not for ever either.
func TestConnectionOfAHubHasItsTime(t *testing.T) {
	boundedInTime(t, &apiLimits, func(t *testing.T, b *boundedServer) {
		login := func() net.Conn {
			t.Helper()
			conn := b.dial("")
			if status := ask(conn, "/login/hub-a"); status != http.StatusOK {
				t.Fatalf("login: %d", status)
			}
			return conn
		}
		send := func(conn net.Conn, text string) net.Conn {
			t.Helper()
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			return conn
		}
		wantEnd(t, "idle", login(), 3*time.Minute)
		wantEnd(t, "half a header", send(login(), "GET /login/hub-a HTTP/1.1\r\n"), 10*time.Second)
		wantEnd(t, "half a body", send(login(),
			"POST /login/hub-a/body HTTP/1.1\r\nHost: outpost\r\nContent-Length: 9\r\n\r\nhalf"), 30*time.Second)

		send(login(), "GET /login/hub-a/pour HTTP/1.1\r\nHost: outpost\r\n\r\n")
		begin := time.Now()
		for open := 1; open > 0; _, open = b.counts() {
			time.Sleep(time.Second)
		}
		// A deadline is kept while it has most of its time left.
		if took := time.Since(begin); took < 45*time.Second || took > time.Minute+time.Second {
			t.Errorf("who does not read: ended after %v", took)
		}
		b.wantDrops(map[string]int{})
	})
}

// What others may take too long for has its time.
func TestWhatIsAskedHasItsTime(t *testing.T) {
	never := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for name, tc := range map[string]struct {
		ask  func(t *testing.T)
		want time.Duration
	}{
		"a probe": {func(*testing.T) {
			r := readiness{checks: []check{{name: "silent", ask: never}}, log: slog.New(slog.DiscardHandler)}
			r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", nil))
		}, 3 * time.Second},
		"the last backup": {func(*testing.T) {
			lastBackup(func(ctx context.Context) (time.Time, error) { return time.Time{}, never(ctx) }).Collect(nil)
		}, 2 * time.Second},
		"the API that accepts no channel": {func(t *testing.T) {
			for _, open := range (&dialOut{api: dialout.NewListener()}).named() {
				if _, err := open(t.Context(), netip.IPv4Unspecified()); err == nil {
					t.Error("no error")
				}
			}
		}, 10 * time.Second},
	} {
		inTime(t, func(t *testing.T) {
			begin := time.Now()
			tc.ask(t)
			if took := time.Since(begin); took != tc.want {
				t.Errorf("%s: %v, want %v", name, took, tc.want)
			}
		})
	}
}

func TestHubTakesNoConnectionFromAnother(t *testing.T) {
	b := newBoundedServer(t, testLimits())
	const wait = " HTTP/1.1\r\nHost: outpost\r\n\r\n"
	other := b.dial("")
	if status := ask(other, "/login/hub-a"); status != http.StatusOK {
		t.Fatalf("hub-a: %d", status)
	}
	b.dial("GET /login/hub-b/wait" + wait)
	idle := b.dial("")
	if status := ask(idle, "/login/hub-b"); status != http.StatusOK {
		t.Fatalf("hub-b: %d", status)
	}
	eventually(t, "hub-b has its share", func() bool { _, hubs := b.counts(); return hubs == 3 })
	// The answer is there before its connection is idle.
	eventually(t, "one of them is idle", func() bool { return b.idle("hub-b") == 1 })
	b.dial("GET /login/hub-b/wait" + wait) // for which the idle one goes
	b.wantDrops(map[string]int{droppedIdle: 1})
	if status := ask(idle, "/login/hub-b"); status != 0 {
		t.Errorf("the idle one: %d", status)
	}
	if status := ask(b.dial(""), "/login/hub-b"); status != http.StatusServiceUnavailable {
		t.Errorf("one more while all are busy: %d", status)
	}
	b.wantDrops(map[string]int{droppedIdle: 1, droppedHub: 1})
	if status := ask(other, "/login/hub-a"); status != http.StatusOK {
		t.Errorf("hub-a: %d", status)
	}
	close(b.block)
}

func TestHubsIdleConnectionWithTheOldestAnswerGoes(t *testing.T) {
	b := newBoundedServer(t, testLimits())
	first, second := b.dial(""), b.dial("")
	for i, conn := range []net.Conn{first, second, first} { // the first one is older, and its answer is younger
		if status := ask(conn, "/login/hub-a"); status != http.StatusOK {
			t.Fatalf("login %d: %d", i, status)
		}
	}
	eventually(t, "both are idle", func() bool { return b.idle("hub-a") == 2 })
	if status := ask(b.dial(""), "/login/hub-a"); status != http.StatusOK {
		t.Errorf("one more: %d", status)
	}
	b.wantDrops(map[string]int{droppedIdle: 1})
	if status := ask(second, "/login/hub-a"); status != 0 {
		t.Errorf("the one with the older answer: %d", status)
	}
	if status := ask(first, "/login/hub-a"); status != http.StatusOK {
		t.Errorf("the one with the younger answer: %d", status)
	}
}

// deadlines is a connection that keeps the read deadline.
type deadlines struct {
	net.Conn
	reading, writing time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.reading = t
	return nil
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.writing = t
	return nil
}

// A deadline that a handler sets for its last write is not put off by that write, and one that is taken back leaves
// the connection with its own.
func TestWritesKeepADeadlineOfTheServer(t *testing.T) {
	client, conn := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, client) }()
	defer client.Close()
	defer conn.Close()
	kept := &deadlines{Conn: conn}
	limits := testLimits()
	registry := newConnections(limits, nil)
	c := registry.add(kept)
	write := func() time.Time {
		t.Helper()
		if _, err := c.Write([]byte("line\n")); err != nil {
			t.Fatal(err)
		}
		return kept.writing
	}
	soon := registry.began.Add(limits.newcomerTime / 100)
	for _, before := range []bool{false, true} { // whether something was written before
		if err := c.SetWriteDeadline(soon); err != nil {
			t.Fatal(err)
		}
		if !c.LoggedIn("hub") { // its time is another one than a newcomer's, so that a write sets a deadline
			t.Fatal("refused")
		}
		if got := write(); !got.Equal(soon) {
			t.Errorf("after a write (%v) the deadline is %v, want %v", before, got, soon)
		}
		if err := c.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got := write(); !got.After(soon) {
			t.Errorf("the deadline is %v, want one of the connection's own", got)
		}
	}
}

// A login gives the connection the time that http.Server wants, whichever hub's it is: a proxy's connection changes
// hubs.
func TestLoginKeepsTheDeadlineOfTheServer(t *testing.T) {
	client, conn := net.Pipe()
	defer client.Close()
	defer conn.Close()
	kept := &deadlines{Conn: conn}
	c := newConnections(testLimits(), nil).add(kept)
	hour := time.Now().Add(time.Hour)
	for i, hub := range []string{"hub-a", "hub-a", "hub-b", "hub-a"} {
		want := hour.Add(time.Duration(i) * time.Second)
		if err := c.SetReadDeadline(want); err != nil {
			t.Fatal(err)
		}
		if i == 0 && !kept.reading.Before(hour) {
			t.Errorf("a newcomer has until %v", kept.reading)
		}
		if !c.LoggedIn(hub) || !kept.reading.Equal(want) {
			t.Errorf("login %d: the deadline is %v, want %v", i, kept.reading, want)
		}
	}
}

// What is read while the connection is closed takes no place that nobody gives back.
func TestReadAfterCloseTakesNoPlace(t *testing.T) {
	client, conn := net.Pipe()
	defer client.Close()
	defer conn.Close()
	limits := testLimits()
	registry := newConnections(limits, nil)
	c := registry.add(conn)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c.Conn = readable{conn}
	if _, err := c.Read(make([]byte, limits.header+1)); err != nil {
		t.Fatal(err)
	}
	if got := registry.large.Len(); got != 0 {
		t.Errorf("%d places are taken", got)
	}
}

// readable is a connection whose Read is over only now.
type readable struct{ net.Conn }

func (readable) Read(b []byte) (int, error) { return len(b), nil }

func TestConnectionsAreGivenBack(t *testing.T) {
	b := newBoundedServer(t, testLimits())
	for i := range 20 {
		conn := b.dial("")
		if status := ask(conn, fmt.Sprintf("/login/hub-%d", i%3)); status != http.StatusOK {
			t.Errorf("login %d: %d", i, status)
		}
		_ = conn.Close()
		b.dial("GET / HTTP/1.1\r\n" + "X-Long: " + strings.Repeat("x", 20<<10)).Close()
	}
	eventually(t, "all places are given back", func() bool {
		newcomers, hubs := b.counts()
		return newcomers == 0 && hubs == 0 && b.large.Len() == 0
	})
}

// The probes' listener has nobody to log in: it is bounded too, as is a handshake on the API with TLS.
func TestEveryListenerBoundsItsConnections(t *testing.T) {
	cfg := settings(t)
	cert, key, pool := selfSigned(t, 1)
	cfg.TLSCertFile, cfg.TLSKeyFile = filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	write(t, cfg.TLSCertFile, cert)
	write(t, cfg.TLSKeyFile, key)
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	for range apiLimits.newcomersPerSource + 3 {
		conn, err := net.Dial("tcp", p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	for range metricsLimits.newcomersPerSource + 5 {
		conn, err := net.Dial("tcp", p.MetricsAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	p.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	p.scheme = "https"
	if status, _ := p.ask(http.MethodGet, "/services/", "hub-a", password, ""); status != http.StatusOK {
		t.Errorf("login behind them: %d", status)
	}
	_, text := p.probe("/metrics")
	for _, want := range []string{
		`outpost_http_connections_dropped_total{listener="api",reason="newcomers"} 4`,
		`outpost_http_connections_dropped_total{listener="metrics",reason="newcomers"} 6`,
		`outpost_api_connections{login="yes"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
}
