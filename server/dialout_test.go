package server

import (
	"bufio"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// inner is an outpost that nobody can connect to, the tunnels of its hub, and the hub's proxy between the two.
type inner struct {
	t       *testing.T
	cfg     config.Config  // of the outpost
	tunnels config.Tunnels // of the tunnels
	client  *fake.Clientset
	front   *httptest.Server
	to      atomic.Pointer[url.URL] // where the proxy leads
}

func newInner(t *testing.T) *inner {
	t.Helper()
	in := &inner{t: t, cfg: settings(t), tunnels: tunnelsConfig(t), client: fake.NewClientset()}
	in.front = httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(in.to.Load())
			r.SetXForwarded()
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	t.Cleanup(in.front.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: in.front.Certificate().Raw})
	write(t, in.cfg.HubCAFile, string(ca))
	in.cfg.SSHListen = ""
	in.cfg.DialOutURLs = []string{in.front.URL + "/services/outposts/inner"}
	if err := ensureHostKey(in.cfg.HostKeysDir, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(in.cfg.AuthorizedKeysDir, "hub-a"), publicLine(t, in.tunnels.KeyFile))
	in.tunnels.DialOutListen, in.tunnels.APIListen = "127.0.0.1:0", "127.0.0.1:0"
	in.trust(publicLine(t, filepath.Join(in.cfg.HostKeysDir, "ssh_host_ed25519_key")))
	return in
}

// publicLine is the public part of a private key in a file.
func publicLine(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// trust writes the file of systems.
func (in *inner) trust(hostKey string) {
	in.t.Helper()
	write(in.t, in.tunnels.SystemsFile, "systems: {inner: {connect: dialOut, hostKeys: ["+hostKey+"]}}")
}

// upTunnels runs the tunnels until end is called.
func (in *inner) upTunnels() (p *Tunnels, end func()) {
	in.t.Helper()
	p, err := NewTunnels(in.t.Context(), in.tunnels, in.client, Options{Namespace: "jupyter"})
	if err != nil {
		in.t.Fatal(err)
	}
	p.notice = 0
	in.to.Store(&url.URL{Scheme: "http", Host: p.DialOutAddr().String()})
	ctx, cancel := context.WithCancel(context.WithoutCancel(in.t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			in.t.Error(err)
		}
	})
	in.t.Cleanup(end)
	return p, end
}

// get asks a listener of the tunnels.
func get(address net.Addr, path, hub, word string) string {
	r, err := http.NewRequest(http.MethodGet, "http://"+address.String()+path, nil)
	if err != nil {
		return err.Error()
	}
	if hub != "" {
		r.SetBasicAuth(hub, word)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return fmt.Sprint(answer.StatusCode, " ", string(text))
}

func TestOutpostThatDialsOut(t *testing.T) {
	in := newInner(t)
	p, end := in.upTunnels()
	o := up(t, in.cfg, outposttest.NewSpawner(), Options{})
	connected := func(what string, p *Tunnels) {
		t.Helper()
		eventually(t, what, func() bool {
			return strings.HasPrefix(get(p.MetricsAddr(), "/systems/inner", "", ""), `200 {"state":"connected"}`)
		})
	}
	connected("the outpost connects", p)

	// The hub reaches the API through the same connection, with its password.
	want := func(path, hub, word, want string) {
		t.Helper()
		if got := get(p.APIAddr(), path, hub, word); !strings.HasPrefix(got, want) {
			t.Errorf("%s as %s: %s, want %s", path, hub, got, want)
		}
	}
	want("/systems/inner/services/", "hub-a", password, "200 ")
	want("/systems/inner/services/", "hub-a", "wrong", "401 ")
	want("/systems/inner/services/", "", "", "401 ")
	want("/systems/inner/healthz", "hub-a", password, "404 ")
	want("/systems/other/services/", "hub-a", password, "503 ") // 404 would say that the server is gone
	if got := in.start(p); got != "200 OK" {
		t.Fatalf("the start is answered %s", got)
	}

	// A Service leads to its server, which is permitted, and has no such name here.
	in.serve(p, strings.TrimPrefix(address, "http://"))
	eventually(t, "a stream comes to the outpost", func() bool {
		return strings.Contains(get(p.MetricsAddr(), "/metrics", "", ""),
			`outpost_tunnels_streams_total{result="unreachable",system="inner"}`)
	})

	end()
	gauge := `outpost_dial_out_connections{url="` + in.cfg.DialOutURLs[0] + `"} 0`
	eventually(t, "the outpost knows that the tunnels are gone", func() bool {
		_, body := o.probe("/metrics")
		return strings.Contains(body, gauge)
	})
	p, _ = in.upTunnels()
	connected("the outpost connects again", p)
	if err := o.end(); err != nil {
		t.Error(err)
	}
	eventually(t, "the tunnels wait for the outpost", func() bool {
		return strings.Contains(get(p.MetricsAddr(), "/systems/inner", "", ""), "Waiting for the outpost, last seen ")
	})
}

// start starts a server as the hub does, and returns the status.
func (in *inner) start(p *Tunnels) string {
	r, err := http.NewRequest(http.MethodPost, "http://"+p.APIAddr().String()+"/systems/inner/services",
		strings.NewReader(startBody(in.t, "lab")))
	if err != nil {
		return err.Error()
	}
	r.SetBasicAuth("hub-a", password)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	return answer.Status
}

// serve makes a Service for a target and connects to it until it is answered.
func (in *inner) serve(p *Tunnels, target string) {
	in.t.Helper()
	first, _, _ := strings.Cut(in.tunnels.Ports, "-")
	_, err := in.client.CoreV1().Services("jupyter").Create(in.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: "lab", Namespace: "jupyter", UID: "u",
			Labels:      map[string]string{"outposts.dev/tunnels": "hub", "outposts.dev/system": "inner"},
			Annotations: map[string]string{"outposts.dev/target": target},
		},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"outposts.dev/tunnels": "hub"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.Parse(first)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		in.t.Fatal(err)
	}
	eventually(in.t, "the Service is served", func() bool {
		return strings.Contains(get(p.MetricsAddr(), "/services/lab", "", ""), "Served")
	})
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", first))
	if err != nil {
		in.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, conn) // it is reset
}

// An outpost with another host key than the one that the tunnels know is told so, and gets nothing.
func TestOutpostWithAnotherHostKey(t *testing.T) {
	in := newInner(t)
	in.trust(somePublicKey)
	p, _ := in.upTunnels()
	o := up(t, in.cfg, outposttest.NewSpawner(), Options{})
	eventually(t, "the outpost is told", func() bool { return strings.Contains(o.log.String(), "wrong_host_key") })
	if got := get(p.MetricsAddr(), "/systems/inner", "", ""); !strings.Contains(got, `"state":"waiting"`) {
		t.Errorf("the state is %s", got)
	}
	in.trust(publicLine(t, filepath.Join(in.cfg.HostKeysDir, "ssh_host_ed25519_key")))
	eventually(t, "the outpost connects", func() bool {
		return strings.Contains(get(p.MetricsAddr(), "/systems/inner", "", ""), "connected")
	})
}

// Who dials in and sends a byte now and then has no more time than a login. A start of the hub's has all that it needs.
func TestStrangerWhoIsSlow(t *testing.T) {
	before := dialOutLimits.newcomerTime
	t.Cleanup(func() { dialOutLimits.newcomerTime = before })
	dialOutLimits.newcomerTime = 10 * time.Second
	in := newInner(t)
	p, _ := in.upTunnels()
	spawner, held := outposttest.NewSpawner(), make(chan struct{})
	spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
		<-held
		return nil
	}
	up(t, in.cfg, spawner, Options{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	started := make(chan string, 1)
	go func() { started <- in.start(p) }()
	eventually(t, "the tunnels know the system", func() bool {
		return strings.HasPrefix(get(p.MetricsAddr(), "/systems/inner", "", ""), "200 ")
	})
	conn, err := net.Dial("tcp", p.DialOutAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /inner HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	r := bufio.NewReader(conn)
	answer, err := http.ReadResponse(r, nil) //nolint:bodyclose // it has none
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the answer is %v, %v", answer, err)
	}
	conn.Write([]byte{0x82, 0x81, 0, 0, 0, 0, 'S'}) // a message of one byte
	// That it ends is what counts here; TestConnectionWithoutALoginHasLittleTime holds when.
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err = io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection lasts")
	}
	select {
	case got := <-started:
		t.Errorf("the start is answered %s while it is under way", got)
	default:
	}
	release()
	if got := <-started; got != "200 OK" {
		t.Errorf("the start is answered %s", got)
	}
}

func TestDialOutNeedsKeysOfHubs(t *testing.T) {
	in := newInner(t)
	in.cfg.AuthorizedKeysDir = filepath.Join(t.TempDir(), "none")
	_, err := New(t.Context(), in.cfg, outposttest.NewSpawner(), Options{})
	if err == nil || !strings.Contains(err.Error(), "OUTPOST_DIAL_OUT_URLS") {
		t.Errorf("got %v", err)
	}
}
