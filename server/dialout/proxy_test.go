package dialout

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outposts-dev/outposts/server/excerpt"
)

// urls are what a hub may have.
var urls = map[string]func(*world) string{
	"with TLS":    func(w *world) string { return w.url("inner") },
	"without TLS": (*world).plainURL,
}

func TestThroughAProxy(t *testing.T) {
	for name, address := range urls {
		t.Run(name, func(t *testing.T) {
			w, via := newWorld(t, "one", "two"), newProxy(t)
			user := url.UserPassword("user", "sesame")
			p := w.dial(address(w), "inner", DialerOptions{Proxy: via.url(t, user)})
			w.wantConnected(p)
			for range 5 { // it cuts what is open
				before := via.connects.Load()
				via.cut()
				eventually(t, func() error {
					if via.connects.Load() < before+2 {
						return errors.New("no new connection")
					}
					return nil
				})
				w.wantConnected(p)
			}
			if log := p.log.String(); strings.Contains(log, "sesame") {
				t.Errorf("the log has the proxy's password:\n%s", log)
			}
		})
	}
}

// A proxy with TLS is known by the same CAs as the hub.
func TestThroughAProxyWithTLS(t *testing.T) {
	for name, address := range urls {
		t.Run(name, func(t *testing.T) {
			w, via := newWorld(t, "one"), startProxy(t, (*httptest.Server).StartTLS)
			o := DialerOptions{Proxy: via.url(t, url.UserPassword("user", "sesame"))}
			w.wantConnected(w.dial(address(w), "inner", o))
			o.Roots = x509.NewCertPool()
			stranger := w.dial(address(w), "inner", o)
			wantLog(t, stranger.log, "certificate signed by unknown authority")
		})
	}
}

func TestProxyThatRefuses(t *testing.T) {
	for name, address := range urls {
		t.Run(name, func(t *testing.T) {
			w, via := newWorld(t, "one"), newProxy(t)
			user := url.UserPassword("user", "wrong-word")
			p := w.dial(address(w), "inner", DialerOptions{Proxy: via.url(t, user)})
			wantLog(t, p.log, "Proxy Authentication Required")
			if log := p.log.String(); strings.Contains(log, "wrong-word") {
				t.Errorf("the log has the proxy's password:\n%s", log)
			}
		})
	}
}

// What a proxy answers may be no answer at all.
func TestProxyThatSaysSomethingElse(t *testing.T) {
	long := "X: " + strings.Repeat("x", maxHeader) + "\r\n"
	for name, c := range map[string]struct{ says, want string }{
		"nothing":              {"", "unexpected EOF"},
		"another protocol":     {"SSH-2.0-OpenSSH_9.6\r\n", "malformed HTTP response"},
		"more than is read":    {"HTTP/1.1 200 OK\r\n" + long + "\r\n", "unexpected EOF"},
		"more than its answer": {"HTTP/1.1 200 OK\r\n\r\nSSH", "it has sent more than its answer"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			via := answering(t, c.says)
			p := w.dial(w.plainURL(), "inner", DialerOptions{Proxy: via})
			wantLog(t, p.log, "proxy "+via.Host+": "+c.want)
		})
	}
}

// What a proxy answers may be long; the log has its beginning.
func TestProxyThatSaysMuch(t *testing.T) {
	w := newWorld(t)
	p := w.dial(w.plainURL(), "inner", DialerOptions{
		Proxy: answering(t, "HTTP/1.1 502 Gone for "+strings.Repeat("x", maxHeader/2)+"\r\n\r\n"),
	})
	wantLog(t, p.log, ": its answer is 502 Gone for xxx")
	for line := range strings.Lines(p.log.String()) {
		if len(line) > excerpt.Sentence+500 {
			t.Errorf("a line of %d bytes:\n%s", len(line), line)
		}
	}
}

// A proxy that never answers is left when the time is over.
func TestProxyThatIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, far) }() // until near is closed
		c := connector{
			url:   &url.URL{Scheme: "http", Host: "hub.example.org"},
			proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example.org:3128"}),
			dial:  func(context.Context, string, string) (net.Conn, error) { return near, nil },

			handshake: defaultPauses.handshake,
		}
		began := time.Now()
		_, err := c.dialContext(t.Context(), "tcp", "hub.example.org:80")
		if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != c.handshake {
			t.Errorf("error %v after %s, want one of the time after %s", err, took, c.handshake)
		}
	})
}

// answering is the URL of a proxy that gives everybody the same answer and hangs up.
func answering(t *testing.T, says string) *url.URL {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn)) // who asks may have gone
			_, _ = io.WriteString(conn, says)
			conn.Close()
		}
	})
	t.Cleanup(func() {
		l.Close()
		tasks.Wait()
	})
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// A URL without TLS has the proxy for https before the one for http, and what is neither is left to the transport.
func TestProxyOfTheEnvironment(t *testing.T) {
	one, two := &url.URL{Scheme: "http", Host: "one:3128"}, &url.URL{Scheme: "https", Host: "two"}
	socks, refused := &url.URL{Scheme: "socks5", Host: "three"}, errors.New("no URL")
	const first, second = "https://hub:80", "http://hub/services/outposts/inner"
	type found struct {
		Via, Other *url.URL // Other is the transport's
		Err        error
		Asked      []string
	}
	for name, c := range map[string]struct {
		of    map[string]*url.URL // by scheme
		fails error
		want  found
	}{
		"none":  {nil, nil, found{Asked: []string{first, second}}},
		"both":  {map[string]*url.URL{"https": two, "http": one}, nil, found{Via: two, Asked: []string{first}}},
		"http":  {map[string]*url.URL{"http": one}, nil, found{Via: one, Asked: []string{first, second}}},
		"SOCKS": {map[string]*url.URL{"https": socks}, nil, found{Via: socks, Other: socks, Asked: []string{first}}},
		"fault": {nil, refused, found{Err: refused, Asked: []string{first}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got found
			u := &url.URL{Scheme: "http", Host: "hub", Path: path + "inner"}
			conn := connector{url: u, proxy: func(r *http.Request) (*url.URL, error) {
				got.Asked = append(got.Asked, r.URL.String())
				return c.of[r.URL.Scheme], c.fails
			}}
			got.Via, got.Err = conn.via()
			asked := got.Asked
			got.Other, _ = conn.otherProxy(nil)
			got.Asked = asked
			if diff := cmp.Diff(c.want, got, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
		})
	}
}
