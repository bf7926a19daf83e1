package dialout

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// stranger opens a WebSocket to a replica from an address, and says nothing.
func (w *world) stranger(from string) (*websocket.Conn, error) {
	w.mu.Lock()
	w.from = from
	w.mu.Unlock()
	//nolint:bodyclose // the library closes it
	ws, _, err := websocket.Dial(w.t.Context(), w.url("inner"), &websocket.DialOptions{HTTPClient: w.client()})
	if err == nil {
		w.t.Cleanup(func() { ws.CloseNow() })
	}
	return ws, err
}

// Who dials in and proves nothing holds a place that is lost to later ones, first of its own source; an outpost of
// another source gets in all the same.
func TestStrangersAreBounded(t *testing.T) {
	w := newWorld(t, "one")
	r := w.replicas[0]
	for range maxUnprovedPerSource + 50 {
		if _, err := w.stranger("203.0.113.9"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		if n := r.newcomers.Len(); n != maxUnprovedPerSource {
			return fmt.Errorf("%d places are held", n)
		}
		return nil
	})
	if n := r.dropped.Load(); n != 50 {
		t.Errorf("%d were dropped, want 50", n)
	}
	w.mu.Lock()
	w.from = "192.0.2.1"
	w.mu.Unlock()
	p := w.dial(w.url("inner"), "inner", DialerOptions{})
	w.wantConnected(p)
	if n := r.dropped.Load(); n != 50 {
		t.Errorf("%d were dropped, want 50", n)
	}
}

// A browser of another site's page cannot dial in.
func TestOtherOriginsAreRefused(t *testing.T) {
	w := newWorld(t, "one")
	//nolint:bodyclose // the library does
	_, answer, err := websocket.Dial(t.Context(), w.url("inner"), &websocket.DialOptions{
		HTTPClient: w.front.Client(), HTTPHeader: http.Header{"Origin": {"https://evil.example.org"}},
	})
	if err == nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("the answer is %v, %v", answer, err)
	}
}

func TestRequestThatIsNoWebSocket(t *testing.T) {
	w := newWorld(t, "one")
	answer, err := w.front.Client().Get(w.url("inner"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("the answer is %s", answer.Status)
	}
	if n := w.replicas[0].newcomers.Len(); n != 0 {
		t.Errorf("%d places are held", n)
	}
}

// A message that is too long, or is text, ends the connection.
func TestMessagesRefused(t *testing.T) {
	w := newWorld(t, "one")
	for name, send := range map[string]func(*websocket.Conn) error{
		"too long": func(ws *websocket.Conn) error {
			return ws.Write(t.Context(), websocket.MessageBinary, make([]byte, maxMessage+1))
		},
		"text": func(ws *websocket.Conn) error {
			return ws.Write(t.Context(), websocket.MessageText, []byte("inner\n"))
		},
	} {
		ws, err := w.stranger("203.0.113.9")
		if err != nil {
			t.Fatal(err)
		}
		_ = send(ws) // it may be refused under way
		if _, _, err := ws.Read(t.Context()); err == nil {
			t.Errorf("%s: the connection goes on", name)
		}
	}
}

func TestSourceOf(t *testing.T) {
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"10.0.0.1:1234", nil, "10.0.0.1"},
		{"10.0.0.1:1234", []string{"192.0.2.1"}, "192.0.2.1"},
		{"10.0.0.1:1234", []string{"192.0.2.1, 192.0.2.2"}, "192.0.2.2"},
		{"10.0.0.1:1234", []string{"192.0.2.1", "192.0.2.3"}, "192.0.2.3"},
		{"10.0.0.1:1234", []string{"unknown"}, "10.0.0.1"},
		{"[::1]:1234", []string{"192.0.2.1,::ffff:192.0.2.4"}, "::ffff:192.0.2.4"},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got := sourceOf(r).String(); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

// What a side has sent before it ends is delivered as a whole.
func TestLastBytesAreDelivered(t *testing.T) {
	const size = 3 << 20
	got := make(chan int64, 1)
	g := NewGate(GateOptions{
		Replica: "one", DialsOut: func(string) bool { return true },
		Join: func(_ context.Context, _, _ string, conn net.Conn, proved func() bool) string {
			proved()
			n, _ := io.Copy(io.Discard, conn)
			got <- n
			return ""
		},
	})
	w := newWorld(t)
	w.answer = g.ServeHTTP
	l := NewListener()
	defer l.Close()
	roots := x509.NewCertPool()
	roots.AddCert(w.front.Certificate())
	d := newDialer(w.url("inner"), l, DialerOptions{Roots: roots}, patient)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx)
	}()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if host, _, err := net.SplitHostPort(conn.RemoteAddr().String()); err != nil || host != "127.0.0.1" {
		t.Errorf("the other side is %v", conn.RemoteAddr())
	}
	cancel() // the server that has the connection ends it, not the dialer
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if n := <-got; n != size {
		t.Errorf("%d bytes came of %d", n, size)
	}
	<-done
	g.Wait()
}

// What is sent to an outpost that does not read holds up the end of its connection for a moment only.
func TestOutpostThatDoesNotRead(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		cut := make(chan struct{})
		g := NewGate(GateOptions{
			Replica: "one", DialsOut: func(string) bool { return true },
			Join: func(_ context.Context, _, _ string, conn net.Conn, proved func() bool) string {
				defer conn.Close()
				proved()
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				_, err := io.Copy(conn, neverEnding{})
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("all was read: %v", err)
				}
				close(cut)
				return ""
			},
		})
		w.answer = g.ServeHTTP
		if _, err := w.stranger("203.0.113.9"); err != nil {
			t.Fatal(err)
		}
		<-cut
		begin := time.Now()
		g.Wait()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("the connection has ended after %v", took)
		}
	})
}

// neverEnding has data without an end.
type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

func TestListenerThatIsClosed(t *testing.T) {
	l := NewListener()
	l.Close()
	l.Close()
	if _, err := l.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
	near, far := net.Pipe()
	if l.Deliver(t.Context(), near) {
		t.Error("a closed listener takes a connection")
	}
	if _, err := far.Write([]byte("x")); err == nil {
		t.Error("the connection is open")
	}
}

// The answer to an outpost that is connected to this replica ends the connection: a proxy on the way that kept it would
// never lead to another one.
func TestAReplicaThatIsConnectedEndsTheConnection(t *testing.T) {
	w := newWorld(t, "one")
	for known, want := range map[string]struct {
		status int
		closed bool
	}{
		"one": {http.StatusConflict, true}, "two": {http.StatusUpgradeRequired, false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url("inner"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(replicasHeader, known)
		answer, err := w.front.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want.status || answer.Close != want.closed {
			t.Errorf("%s: %s, closed %v", known, answer.Status, answer.Close)
		}
	}
}
