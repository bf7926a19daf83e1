package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIntersect(t *testing.T) {
	for _, test := range []struct {
		a, b, want string
		ok         bool
	}{
		{"", "", "", true},
		{"a.example.org", "", "a.example.org", true},
		{"a.example.org", "a.example.org", "a.example.org", true},
		{"*.example.org", "a.b.example.org", "a.b.example.org", true},
		{"*.example.org", "*.b.example.org", "*.b.example.org", true},
		{"*.example.org", "example.org", "", false},
		{"a.example.org", "b.example.org", "", false},
		{"*.example.org", "*.example.com", "", false},
	} {
		for _, pair := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			if got, ok := Intersect(pair[0], pair[1]); got != test.want || ok != test.ok {
				t.Errorf("Intersect(%q, %q) = %q, %t", pair[0], pair[1], got, ok)
			}
		}
	}
}

func TestSort(t *testing.T) {
	name := func(hostname, path string, exact bool, method string, headers int) Route {
		return Route{Hostname: hostname, Match: Match{
			Path: PathMatch{Value: path, Exact: exact}, Method: method, Headers: make([]ValueMatch, headers),
		}}
	}
	want := []Route{
		name("a.example.org", "/", false, "", 0),
		name("*.b.example.org", "/", false, "", 0),
		name("*.example.org", "/", false, "", 0),
		name("", "/a", true, "", 0),
		name("", "/abc", false, "", 0),
		name("", "/ab", false, "GET", 0),
		name("", "/ab", false, "", 2),
		name("", "/ab", false, "", 1),
		name("", "/ab", false, "", 0),
	}
	got := make([]Route, len(want))
	for i := range want {
		got[len(want)-1-i] = want[i]
	}
	Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		match Match
		url   string
		want  bool
	}{
		{Match{Path: PathMatch{Value: "/a"}}, "/a/b", true},
		{Match{Path: PathMatch{Value: "/a/"}}, "/a", true},
		{Match{Path: PathMatch{Value: "/a"}}, "/ab", false},
		{Match{Path: PathMatch{Value: "/a", Exact: true}}, "/a/", false},
		{Match{Path: PathMatch{Value: "/"}, Method: "POST"}, "/", false},
		{Match{Path: PathMatch{Value: "/"}, Headers: []ValueMatch{{Name: "x-test", Value: "1"}}}, "/", true},
		{Match{Path: PathMatch{Value: "/"}, Headers: []ValueMatch{{Name: "x-test", Value: "2"}}}, "/", false},
		{Match{Path: PathMatch{Value: "/"}, Query: []ValueMatch{{Name: "q", Value: "1"}}}, "/?q=1", true},
		{Match{Path: PathMatch{Value: "/"}, Query: []ValueMatch{{Name: "q", Value: ""}}}, "/", false},
	} {
		r := httptest.NewRequest(http.MethodGet, test.url, nil)
		r.Header.Set("X-Test", "1")
		if got := test.match.covers(r); got != test.want {
			t.Errorf("%+v of %s: %t", test.match, test.url, got)
		}
	}
}

func TestPathEdit(t *testing.T) {
	for _, test := range []struct {
		edit                PathEdit
		matched, path, want string
	}{
		{PathEdit{Value: "/x"}, "/a", "/a/b", "/x"},
		{PathEdit{Prefix: true, Value: "/x"}, "/a", "/a/b", "/x/b"},
		{PathEdit{Prefix: true, Value: "/"}, "/a", "/a/b", "/b"},
		{PathEdit{Prefix: true, Value: "/"}, "/a", "/a", "/"},
		{PathEdit{Prefix: true, Value: "/x/"}, "/a/", "/a/b", "/x/b"},
	} {
		if got := test.edit.edit(test.path, &PathMatch{Value: test.matched}); got != test.want {
			t.Errorf("%+v of %s: %s", test.edit, test.path, got)
		}
	}
}

// bench is a server on one port with a backend that says what it was asked.
type bench struct {
	server  *Server
	address netip.AddrPort
	backend Backend
}

func newBench(t *testing.T) *bench {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, "%s %s%s %s", r.Method, r.Host, r.URL.Path, r.Header.Get("X-Added"))
	}))
	t.Cleanup(backend.Close)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		server:  NewServer(slog.New(slog.DiscardHandler)),
		address: free.Addr().(*net.TCPAddr).AddrPort(),
		backend: Backend{
			Weight: 1, Endpoints: []netip.AddrPort{backend.Listener.Addr().(*net.TCPAddr).AddrPort()},
		},
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.server.Close)
	return b
}

func (b *bench) apply(t *testing.T, listeners ...Listener) {
	t.Helper()
	for address, err := range b.server.Apply(Config{b.address: listeners}) {
		t.Fatalf("%s: %v", address, err)
	}
}

// get asks for a URL at the bench's address, with the server name sni of the TLS handshake.
func (b *bench) get(t *testing.T, sni, url string) string {
	t.Helper()
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{ServerName: sni, InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, b.address.String())
			},
		},
	}
	response, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.StatusCode, " ", response.Header.Get("Location"), strings.TrimSpace(string(body)))
}

func (b *bench) route(hostname, path string, rule Rule) Route {
	if rule.Backends == nil {
		rule.Backends = []Backend{b.backend}
	}
	return Route{Hostname: hostname, Match: Match{Path: PathMatch{Value: path}}, Rule: &rule}
}

// TestHTTP holds what becomes of a request, by host and path.
func TestHTTP(t *testing.T) {
	b := newBench(t)
	routes := []Route{
		b.route("a.example.test", "/edit", Rule{Filters: Filters{
			Request: HeaderEdit{Add: []Header{{"X-Added", "yes"}}},
			Rewrite: &Rewrite{Hostname: "inside.test", Path: &PathEdit{Prefix: true, Value: "/in"}},
		}}),
		b.route("a.example.test", "/to", Rule{Filters: Filters{
			Redirect: &Redirect{Scheme: "https", Status: http.StatusMovedPermanently},
		}}),
		b.route("a.example.test", "/slow", Rule{RequestTimeout: 20 * time.Millisecond}),
		b.route("a.example.test", "/broken", Rule{Backends: []Backend{{Weight: 1, Broken: true}}}),
		b.route("a.example.test", "/idle", Rule{Backends: []Backend{{Weight: 1}}}),
		b.route("a.example.test", "/none", Rule{Backends: []Backend{}}),
		b.route("a.example.test", "/plain", Rule{}),
	}
	b.apply(t, Listener{Name: "any", Protocol: HTTP, Routes: routes},
		Listener{Name: "b", Hostname: "b.example.test", Protocol: HTTP})
	for url, want := range map[string]string{
		"http://a.example.test/plain":  "200 GET a.example.test/plain",
		"http://a.example.test/edit/x": "200 GET inside.test/in/x yes",
		"http://a.example.test/to/x?q": "301 https://a.example.test/to/x?q",
		"http://a.example.test/slow":   "504 the backend did not answer in time",
		"http://a.example.test/broken": "500 no backend",
		"http://a.example.test/none":   "500 no backend",
		"http://a.example.test/idle":   "503 no endpoint is ready",
		"http://a.example.test/else":   "404 no route for a.example.test/else",
		"http://b.example.test/plain":  "404 no route for b.example.test/plain",
	} {
		if got := b.get(t, "", url); got != want {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}

// TestHTTP2 holds that HTTP/2 is spoken on both kinds of ports, in whichever order their servers began, and to backends
// that want it.
func TestHTTP2(t *testing.T) {
	for _, protocol := range []Protocol{HTTP, HTTPS} {
		b := newBench(t)
		backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Proto)
		}))
		backend.Config.Protocols = new(http.Protocols)
		backend.Config.Protocols.SetUnencryptedHTTP2(true)
		backend.Start()
		defer backend.Close()
		b.apply(t, Listener{
			Name: "web", Protocol: protocol, Certificates: []tls.Certificate{certificate(t, "a.example.test")},
			Routes: []Route{b.route("", "/", Rule{Backends: []Backend{{
				Weight: 1, H2C: true,
				Endpoints: []netip.AddrPort{backend.Listener.Addr().(*net.TCPAddr).AddrPort()},
			}}})},
		})
		only := new(http.Protocols)
		scheme := "http"
		if protocol == HTTPS {
			scheme = "https"
			only.SetHTTP2(true)
		} else {
			only.SetUnencryptedHTTP2(true)
		}
		client := &http.Client{Transport: &http.Transport{
			Protocols: only, TLSClientConfig: &tls.Config{ServerName: "a.example.test", InsecureSkipVerify: true},
		}}
		response, err := client.Get(scheme + "://" + b.address.String())
		if err != nil {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.Proto != "HTTP/2.0" || string(body) != "HTTP/2.0" {
			t.Errorf("%s: %s to us, %s to the backend, %v", scheme, response.Proto, body, err)
		}
	}
}

// TestTLS holds that a port takes HTTPS and streams by server name, and that a request for another listener's host is
// refused.
func TestTLS(t *testing.T) {
	b := newBench(t)
	inner := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "inner")
	}))
	defer inner.Close()
	through := []Backend{{Weight: 1, Endpoints: []netip.AddrPort{inner.Listener.Addr().(*net.TCPAddr).AddrPort()}}}
	own := []tls.Certificate{certificate(t, "example.test")}
	b.apply(t,
		Listener{
			Name: "a", Hostname: "a.example.test", Protocol: HTTPS, Certificates: own,
			Routes: []Route{b.route("", "/", Rule{})},
		},
		Listener{
			Name: "b", Hostname: "b.example.test", Protocol: HTTPS, Certificates: own,
			Routes: []Route{b.route("", "/", Rule{})},
		},
		Listener{Name: "through", Hostname: "*.through.test", Protocol: Passthrough, Streams: []Stream{{"", through}}},
		Listener{
			Name: "inside", Hostname: "inside.test", Protocol: TLS, Certificates: own,
			Streams: []Stream{{"", []Backend{b.backend}}},
		})
	for _, test := range [][3]string{
		{"a.example.test", "https://a.example.test/", "200 GET a.example.test/"},
		{"a.example.test", "https://b.example.test/", "421 this connection is for another host"},
		{"x.through.test", "https://x.through.test/", "200 inner"},
	} {
		if got := b.get(t, test[0], test[1]); got != test[2] {
			t.Errorf("%s: got %q, want %q", test[1], got, test[2])
		}
	}
	if got := b.get(t, "nobody.test", "https://nobody.test/"); !strings.Contains(got, "EOF") &&
		!strings.Contains(got, "reset") {
		t.Errorf("a server name of no listener: %q", got)
	}
	conn, err := tls.Dial("tcp", b.address.String(), &tls.Config{ServerName: "inside.test", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /inside HTTP/1.0\r\nHost: inside.test\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the bytes inside of TLS: %s", response.Status)
	}
}

// TestApply holds that a changed config is served at once, and that a removed port is closed.
func TestApply(t *testing.T) {
	b := newBench(t)
	b.apply(t, Listener{Name: "tcp", Protocol: TCP, Streams: []Stream{{"", []Backend{b.backend}}}})
	if got := b.get(t, "", "http://x.test/tcp"); got != "200 GET x.test/tcp" {
		t.Errorf("over TCP: %q", got)
	}
	b.apply(t, Listener{Name: "http", Protocol: HTTP})
	if got := b.get(t, "", "http://x.test/tcp"); !strings.HasPrefix(got, "404") {
		t.Errorf("after the change: %q", got)
	}
	b.apply(t)
	if conn, err := net.Dial("tcp", b.address.String()); err == nil {
		conn.Close()
		t.Error("a port that is no longer in the config accepts connections")
	}
}

// TestWebSocket holds that a connection that was upgraded outlives the timeout of its request.
func TestWebSocket(t *testing.T) {
	b := newBench(t)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if _, err := io.Copy(conn, both); err != nil {
			t.Error(err)
		}
	}))
	defer backend.Close()
	// On a busy machine the upgrade itself may take longer than the timeout: then it is tried again, with more of it.
	limit := 200 * time.Millisecond
	var conn net.Conn
	var in *bufio.Reader
	for ; ; limit *= 2 {
		b.apply(t, Listener{Name: "http", Protocol: HTTP, Routes: []Route{b.route("", "/", Rule{
			RequestTimeout: limit,
			Backends: []Backend{{
				Weight: 1, Endpoints: []netip.AddrPort{backend.Listener.Addr().(*net.TCPAddr).AddrPort()},
			}},
		})}})
		var err error
		if conn, err = net.Dial("tcp", b.address.String()); err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		in = bufio.NewReader(conn)
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		if response.StatusCode != http.StatusGatewayTimeout || limit > time.Minute {
			t.Fatal(response.Status)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(2 * limit)); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("while nothing is sent: %v", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "x")
	if got, err := in.ReadByte(); err != nil || got != 'x' {
		t.Errorf("after the timeout: %q, %v", got, err)
	}
}

func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
