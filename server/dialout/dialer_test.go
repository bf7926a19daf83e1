package dialout

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Each replica of the tunnels gets one connection: of those that are there, of one that comes, and in place of one that
// is killed.
func TestEachReplicaGetsAConnection(t *testing.T) {
	w := newWorld(t, "one", "two", "three")
	var connected atomic.Int64
	p := w.dial(w.url("inner"), "inner", DialerOptions{Connected: func(n int) { connected.Store(int64(n)) }})
	w.wantConnected(p)
	w.add("four")
	w.wantConnected(p)
	w.remove(w.replicas[0])
	w.remove(w.replicas[0])
	w.add("five")
	w.wantConnected(p)
	eventually(t, func() error {
		if n := connected.Load(); n != 3 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
	p.stop()
	if n := connected.Load(); n != 0 {
		t.Errorf("%d connections after the end", n)
	}
}

// Two processes of one outpost are connected beside each other.
func TestTwoProcesses(t *testing.T) {
	w := newWorld(t, "one")
	w.dial(w.url("inner"), "inner", DialerOptions{})
	w.dial(w.url("inner"), "inner", DialerOptions{})
	eventually(t, func() error {
		if got := w.replicas[0].processes(); len(got) != 2 || got[0] == got[1] {
			return fmt.Errorf("connections of %v", got)
		}
		return nil
	})
}

// Nothing tells that the network drops all packets. It is noticed, and there is a new connection when it is back.
func TestSilentLineIsNoticed(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		w.add("one")
		p := w.dial(w.url("inner"), "inner", DialerOptions{})
		w.wantConnected(p)
		time.Sleep(10 * p.pauses.ping)
		dead := w.replicas[0].connections()
		w.memory.Freeze()
		begin := time.Now()
		wantLog(t, p.log, "connection to the hub's tunnels lost")
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("noticed after %v", took)
		}
		for _, conn := range dead {
			conn.Close() // the other side finds it by SSH's keepalive
		}
		w.wantConnected(p) // a new connection goes through
		if n := strings.Count(p.log.String(), "connection to the hub's tunnels lost"); n != 1 {
			t.Errorf("%d connections were lost", n)
		}
	})
}

// An answer to a ping comes late where much is on its way before it. Whatever comes is a sign of life; nothing for two
// pauses is none.
func TestLineWithDataIsAlive(t *testing.T) {
	inTime(t, func(t *testing.T, w *world) {
		ping := defaultPauses.ping
		var connections atomic.Int64
		sent := make(chan error, 1)
		w.answer = func(rw http.ResponseWriter, r *http.Request) {
			if connections.Add(1) > 1 {
				http.Error(rw, "it is over", http.StatusServiceUnavailable)
				return
			}
			rw.Header().Set(replicaHeader, "one")
			ws, err := websocket.Accept(rw, r, &websocket.AcceptOptions{
				OnPingReceived: func(context.Context, []byte) bool { return false }, // it is not answered
			})
			if err != nil {
				sent <- err
				return
			}
			go func() {
				for i := 0; err == nil && i < 100; i++ { // 10 pauses
					time.Sleep(ping / 10)
					err = ws.Write(r.Context(), websocket.MessageBinary, []byte("x"))
				}
				sent <- err
			}()
			for {
				if _, _, err := ws.Read(r.Context()); err != nil {
					return
				}
			}
		}
		p := w.dial(w.url("inner"), "inner", DialerOptions{})
		if err := <-sent; err != nil {
			t.Errorf("a connection that has data is ended: %v", err)
		}
		begin := time.Now()
		wantLog(t, p.log, "connection to the hub's tunnels lost")
		if took := time.Since(begin); took < ping || took > 30*time.Second {
			t.Errorf("a connection without data is ended after %v", took)
		}
	})
}

// Attempts become rare while they fail, while what they make does not last, and while all replicas are known; and they
// go on.
func TestAttemptsBecomeRare(t *testing.T) {
	const retry, longestRetry, look, longestLook = 500 * time.Millisecond, 15 * time.Second, 100 * time.Millisecond,
		4 * time.Second
	for name, tc := range map[string]struct {
		answer         http.HandlerFunc // nil is that of a replica
		first, longest time.Duration    // pauses
		takes          time.Duration    // an attempt
		late           bool             // the first pauses may be shorter: what is made may end when they have begun
	}{
		"nobody is there": {func(rw http.ResponseWriter, _ *http.Request) {
			http.Error(rw, "nobody is there", http.StatusServiceUnavailable)
		}, retry, longestRetry, 0, false},
		"there is no answer": {func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		}, retry, longestRetry, 15 * time.Second, false},
		"it ends at once": {func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set(replicaHeader, "one")
			if ws, err := websocket.Accept(rw, r, nil); err == nil {
				ws.CloseNow()
			}
		}, retry, longestRetry, 0, true},
		"all are known": {nil, look, longestLook, 0, true},
	} {
		inTime(t, func(t *testing.T, w *world) {
			if tc.answer == nil {
				tc.answer = w.add("one").ServeHTTP
			}
			attempts := make(chan time.Time, 100)
			w.answer = func(rw http.ResponseWriter, r *http.Request) {
				select {
				case attempts <- time.Now():
				default: // the test has seen enough
				}
				tc.answer(rw, r)
			}
			w.dial(w.url("inner"), "inner", DialerOptions{})
			before := <-attempts
			for pause, i := tc.first, 0; i < 12; pause, i = min(2*pause, tc.longest), i+1 {
				next := <-attempts
				least := pause
				if tc.late && i < 11 {
					least = 0
				}
				// A quarter comes by chance.
				if took := next.Sub(before) - tc.takes; took < least || took > pause+pause/4 {
					t.Errorf("%s: pause %d is %v, want %v", name, i, took, pause)
				}
				before = next
			}
		})
	}
}

// What answers may be something else, and is said once, by what it is.
func TestOtherAnswers(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"nobody": {nil, "503 Service Unavailable"},
		"a page": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>secret")) }, "200 OK"},
		"no reason": {
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) }, `"the answer is 599 status code 599"`,
		},
		"a redirect": {http.RedirectHandler("/login", http.StatusFound).ServeHTTP, "302 Found"},
	} {
		t.Run(name, func(t *testing.T) {
			w.mu.Lock()
			w.answer = c.answer
			w.mu.Unlock()
			var attempts atomic.Int64
			p := w.dial(w.url("inner"), "inner", DialerOptions{Dialled: func(result string) {
				if result == DialFailed {
					attempts.Add(1)
				}
			}})
			eventually(t, func() error {
				if n := attempts.Load(); n < 3 {
					return fmt.Errorf("%d attempts", n)
				}
				return nil
			})
			log := p.log.String()
			if strings.Count(log, "no connection to the hub's tunnels") != 1 || !strings.Contains(log, c.want) ||
				strings.Contains(log, "secret") {
				t.Errorf("log:\n%s", log)
			}
			p.stop()
		})
	}
}

func TestUnknownSystemIsSaid(t *testing.T) {
	w := newWorld(t, "one")
	p := w.dial(w.url("outer"), "outer", DialerOptions{})
	wantLog(t, p.log, "404 Not Found the tunnels know no system of this name that dials out")
}

func TestUnknownCAIsRefused(t *testing.T) {
	w := newWorld(t, "one")
	p := w.dial(w.url("inner"), "inner", DialerOptions{Roots: x509.NewCertPool()})
	wantLog(t, p.log, "certificate signed by unknown authority")
}

// A host key that is refused is said, and it is tried again after pauses that grow.
func TestWrongHostKeyIsSaid(t *testing.T) {
	w := newWorld(t, "one")
	p := w.dial(w.url("inner"), "outer", DialerOptions{})
	wantLog(t, p.log, "reason=wrong_host_key")
	eventually(t, func() error {
		p.Dialer.mu.Lock()
		defer p.Dialer.mu.Unlock()
		if p.brief < 3 {
			return fmt.Errorf("%d brief connections in a row", p.brief)
		}
		return nil
	})
	if got := p.pause(0); got < 4*time.Millisecond {
		t.Errorf("the pause is %v after 3 of them", got)
	}
}

// A replica that is about to end takes no connection; the outpost goes to another one.
func TestReplicaThatStops(t *testing.T) {
	w := newWorld(t, "one", "two")
	close(w.replicas[0].stopping)
	p := w.dial(w.url("inner"), "inner", DialerOptions{})
	eventually(t, func() error {
		if got := w.replicas[1].processes(); len(got) != 1 {
			return fmt.Errorf("connections of %v", got)
		}
		return nil
	})
	wantLog(t, p.log, "503 Service Unavailable this replica of the tunnels is stopping")
	if got := w.replicas[0].processes(); len(got) != 0 {
		t.Errorf("the replica that stops has connections of %v", got)
	}
}
