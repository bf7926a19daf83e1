package addons

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
)

func TestMatch(t *testing.T) {
	for _, test := range []struct {
		rule, host string
		rank       int
		ok         bool
	}{
		{"", "any.test", 0, true},
		{"a.test", "a.test", 2, true},
		{"A.test", "a.test", 2, true},
		{"a.test", "b.test", 0, false},
		{"*.test", "a.test", 1, true},
		{"*.test", "a.b.test", 1, false},
		{"*.test", "test", 1, false},
	} {
		if rank, ok := matchHost(test.rule, test.host); ok != test.ok || ok && rank != test.rank {
			t.Errorf("matchHost(%q, %q): %d, %v", test.rule, test.host, rank, ok)
		}
	}
	prefix, exact := netv1.PathTypePrefix, netv1.PathTypeExact
	for _, test := range []struct {
		kind       *netv1.PathType
		rule, path string
		ok         bool
	}{
		{&prefix, "/", "/", true},
		{&prefix, "/", "/a", true},
		{&prefix, "/a", "/a", true},
		{&prefix, "/a", "/a/b", true},
		{&prefix, "/a/", "/a/b", true},
		{&prefix, "/a", "/ab", false},
		{&exact, "/a", "/a", true},
		{&exact, "/a", "/a/", false},
		{&exact, "/a", "/a/b", false},
		{nil, "/a", "/a/b", true},
		{nil, "", "/x", true},
	} {
		if _, ok := matchPath(netv1.HTTPIngressPath{PathType: test.kind, Path: test.rule}, test.path); ok != test.ok {
			t.Errorf("matchPath(%q, %q): %v", test.rule, test.path, ok)
		}
	}
}

// front is an Ingress controller on free ports of 127.0.0.1 with a backend that says what it was asked.
type front struct{ plain, secure string }

func newFront(t *testing.T, objects func(host string, port int32) []runtime.Object) front {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "echo" {
			conn, buffered, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn,
				"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
			_, _ = io.Copy(conn, buffered)
			return
		}
		fmt.Fprintf(w, "%s%s proto %s for %s", r.Host, r.URL.Path, r.Header.Get("X-Forwarded-Proto"),
			r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(backend.Close)
	address := backend.Listener.Addr().(*net.TCPAddr)
	client := fake.NewClientset(objects(address.IP.String(), int32(address.Port))...)
	factory := informers.NewSharedInformerFactory(client, 0)
	r, err := newRouter(factory.Networking().V1().Ingresses().Lister(), factory.Core().V1().Services().Lister(),
		factory.Core().V1().Secrets().Lister(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	plain, secure := listen(), listen()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.serveOn(ctx, plain, secure) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return front{plain.Addr().String(), secure.Addr().String()}
}

func ingress(name, host, path, service string, edit func(*netv1.Ingress)) *netv1.Ingress {
	ing := &netv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec: netv1.IngressSpec{
			IngressClassName: ptr.To(IngressClass),
			Rules: []netv1.IngressRule{{
				Host: host,
				IngressRuleValue: netv1.IngressRuleValue{HTTP: &netv1.HTTPIngressRuleValue{
					Paths: []netv1.HTTPIngressPath{{
						Path: path, PathType: ptr.To(netv1.PathTypePrefix),
						Backend: netv1.IngressBackend{Service: &netv1.IngressServiceBackend{
							Name: service,
							Port: netv1.ServiceBackendPort{Name: "http"},
						}},
					}},
				}},
			}},
		},
	}
	if edit != nil {
		edit(ing)
	}
	return ing
}

func web(name, host string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: host, Ports: []corev1.ServicePort{{Name: "http", Port: port}}},
	}
}

func (f front) get(t *testing.T, roots *x509.CertPool, address string) (int, string, error) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	target := f.plain
	if u.Scheme == "https" {
		target = f.secure
	}
	client := &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, target)
		},
	}}
	response, err := client.Get(address)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

func TestIngressRouting(t *testing.T) {
	f := newFront(t, func(host string, port int32) []runtime.Object {
		return []runtime.Object{
			web("web", host, port), web("dead", "127.0.0.1", 1),
			&corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "headless"},
				Spec:       corev1.ServiceSpec{ClusterIP: "None"},
			},
			ingress("a", "a.test", "/", "web", nil),
			ingress("a-dead", "a.test", "/dead", "dead", nil),
			ingress("headless", "h.test", "/", "headless", nil),
			ingress("lost", "lost.test", "/", "nosuchservice", nil),
			ingress("else", "else.test", "/", "web",
				func(i *netv1.Ingress) { i.Spec.IngressClassName = ptr.To("nginx") }),
			ingress("classless", "classless.test", "/", "web",
				func(i *netv1.Ingress) { i.Spec.IngressClassName = nil }),
		}
	})
	for _, test := range []struct {
		address string
		status  int
		want    string
	}{
		{"http://a.test/x/y?z=1", 200, "a.test/x/y proto http for 127.0.0.1"},
		{"http://A.test:80/", 200, "proto http"},
		{"http://a.test/dead/x", 502, "bad gateway"},
		{"http://a.test/deadly", 200, "a.test/deadly"},
		{"http://classless.test/", 200, "classless.test/"},
		{"http://else.test/", 404, "no Ingress has a rule for else.test/"},
		{"http://h.test/", 404, "no Ingress"},
		{"http://lost.test/", 404, "no Ingress"},
		{"http://unknown.test/", 404, "no Ingress"},
	} {
		status, text, err := f.get(t, nil, test.address)
		if err != nil || status != test.status || !strings.Contains(text, test.want) {
			t.Errorf("%s: %d %q, %v; want %d %q", test.address, status, text, err, test.status, test.want)
		}
	}
}

func TestIngressTLS(t *testing.T) {
	roots := x509.NewCertPool()
	secret := func(name, host string) *corev1.Secret {
		pair, err := selfSigned(host)
		if err != nil {
			t.Fatal(err)
		}
		certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
		key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		roots.AppendCertsFromPEM(certPEM)
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{
				"tls.crt": certPEM,
				"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
			},
		}
	}
	withTLS := func(host, secret string) func(*netv1.Ingress) {
		return func(i *netv1.Ingress) { i.Spec.TLS = []netv1.IngressTLS{{Hosts: []string{host}, SecretName: secret}} }
	}
	f := newFront(t, func(host string, port int32) []runtime.Object {
		return []runtime.Object{
			web("web", host, port),
			secret("a-tls", "a.test"), secret("star-tls", "*.star.test"), secret("b-star-tls", "b.star.test"),
			&corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "broken-tls"},
				Data:       map[string][]byte{"tls.crt": []byte("x")},
			},
			ingress("a", "a.test", "/", "web", withTLS("a.test", "a-tls")),
			ingress("star", "*.star.test", "/", "web", withTLS("*.star.test", "star-tls")),
			ingress("b", "b.star.test", "/", "web", withTLS("b.star.test", "b-star-tls")),
			ingress("broken", "broken.test", "/", "web", withTLS("broken.test", "broken-tls")),
			ingress("absent", "absent.test", "/", "web", withTLS("absent.test", "absent-tls")),
		}
	})
	for _, host := range []string{"a.test", "b.star.test", "c.star.test"} {
		status, text, err := f.get(t, roots, "https://"+host+"/x")
		if err != nil || status != 200 || !strings.Contains(text, host+"/x proto https") {
			t.Errorf("%s: %d %q, %v", host, status, text, err)
		}
	}
	// A certificate that is not there, or unusable, or of another name, is never replaced by one
	// that a client would trust.
	for _, host := range []string{"broken.test", "absent.test", "unknown.test"} {
		if _, text, err := f.get(t, roots, "https://"+host+"/"); err == nil ||
			!strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %q, %v", host, text, err)
		}
	}
}

func TestIngressPassesUpgrades(t *testing.T) {
	f := newFront(t, func(host string, port int32) []runtime.Object {
		return []runtime.Object{web("web", host, port), ingress("a", "a.test", "/", "web", nil)}
	})
	conn, err := net.Dial("tcp", f.plain)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil) //nolint:bodyclose // what follows a 101 is the connection itself
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", response, err)
	}
	fmt.Fprint(conn, "ping")
	back := make([]byte, 4)
	if _, err := io.ReadFull(in, back); err != nil || string(back) != "ping" {
		t.Errorf("%q, %v", back, err)
	}
}

func TestPublish(t *testing.T) {
	client := fake.NewClientset(
		ingress("new", "a.test", "/", "web", nil),
		ingress("done", "b.test", "/", "web", func(i *netv1.Ingress) {
			i.Status.LoadBalancer.Ingress = []netv1.IngressLoadBalancerIngress{{IP: "10.77.0.2"}}
		}),
		ingress("else", "c.test", "/", "web", func(i *netv1.Ingress) { i.Spec.IngressClassName = ptr.To("nginx") }),
	)
	factory := informers.NewSharedInformerFactory(client, 0)
	p := publisher{client: client, ingresses: factory.Networking().V1().Ingresses().Lister(), address: "10.77.0.2"}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	if err := p.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if actions := writes(client); len(actions) != 1 || actions[0].GetVerb() != "update" ||
		actions[0].GetSubresource() != "status" {
		t.Errorf("actions: %v", actions)
	}
	got, err := client.NetworkingV1().Ingresses("ns").Get(t.Context(), "new", metav1.GetOptions{})
	if err != nil || len(got.Status.LoadBalancer.Ingress) != 1 || got.Status.LoadBalancer.Ingress[0].IP != "10.77.0.2" {
		t.Errorf("%+v, %v", got, err)
	}
}
