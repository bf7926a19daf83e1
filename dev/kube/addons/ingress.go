package addons

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	netlisters "k8s.io/client-go/listers/networking/v1"
)

// IngressClass is the name of the only IngressClass, which is the default one; IngressController is its controller.
const (
	IngressClass      = "standard"
	IngressController = "outposts.dev/ingress"
)

// router passes requests for the hosts and paths of Ingresses on to the ClusterIPs of their Services. WebSockets pass.
type router struct {
	ingresses netlisters.IngressLister
	services  corelisters.ServiceLister
	secrets   corelisters.SecretLister
	fallback  *tls.Certificate // for names that no Ingress has a certificate for
	proxy     *httputil.ReverseProxy
	logger    *slog.Logger
}

type backendKey struct{}

func newRouter(
	ingresses netlisters.IngressLister, services corelisters.ServiceLister, secrets corelisters.SecretLister,
	logger *slog.Logger,
) (*router, error) {
	fallback, err := selfSigned("ingress.invalid")
	if err != nil {
		return nil, fmt.Errorf("fallback certificate: %w", err)
	}
	r := &router{ingresses: ingresses, services: services, secrets: secrets, fallback: fallback, logger: logger}
	r.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetXForwarded()
			p.SetURL(p.In.Context().Value(backendKey{}).(*url.URL))
			p.Out.Host = p.In.Host
		},
		FlushInterval: -1, // progress events must not wait for a full buffer
		// The environment's proxy is for the world outside. A backend's certificate is checked by nobody
		// here, as in other controllers.
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
			TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second,
		},
		ErrorHandler: func(w http.ResponseWriter, req *http.Request, err error) {
			http.Error(w, "bad gateway", http.StatusBadGateway)
			logger.Warn("backend did not answer", "host", req.Host, "path", req.URL.Path, "err", err)
		},
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	return r, nil
}

// serve answers on ports 80 and 443 of address until ctx ends.
func (r *router) serve(ctx context.Context, address string) error {
	var config net.ListenConfig
	plain, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, "80"))
	if err != nil {
		return err
	}
	secure, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, "443"))
	if err != nil {
		return errors.Join(err, plain.Close())
	}
	return r.serveOn(ctx, plain, secure)
}

func (r *router) serveOn(ctx context.Context, plain, secure net.Listener) error {
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		TLSConfig: &tls.Config{
			GetCertificate: r.certificate, MinVersion: tls.VersionTLS12,
			// Named, because otherwise Serve may come first and leave a server that negotiates h2 without knowing it.
			NextProtos: []string{"h2", "http/1.1"},
		},
		ErrorLog: slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 2)
	go func() { done <- server.Serve(plain) }()
	go func() { done <- server.ServeTLS(secure, "", "") }()
	var ended []error
	select {
	case <-ctx.Done():
	case err := <-done:
		ended = append(ended, err)
	}
	closed := server.Close()
	for len(ended) < 2 {
		ended = append(ended, <-done)
	}
	ended = slices.DeleteFunc(ended, func(err error) bool { return errors.Is(err, http.ErrServerClosed) })
	return errors.Join(append(ended, closed)...)
}

// ServeHTTP passes one request on, or answers 404 when no rule has its host and path.
func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	backend := r.backend(hostname(req.Host), req.URL.Path)
	if backend == nil {
		http.Error(w, "no Ingress has a rule for "+req.Host+req.URL.Path, http.StatusNotFound)
		return
	}
	r.proxy.ServeHTTP(w, req.WithContext(context.WithValue(req.Context(), backendKey{}, backend)))
}

// backend finds the address that serves a host and path: the most exact host first, then the longest path.
func (r *router) backend(host, path string) *url.URL {
	ingresses, err := r.ingresses.List(labels.Everything())
	if err != nil {
		return nil
	}
	var best *url.URL
	bestRank := -1
	offer := func(ing *netv1.Ingress, service *netv1.IngressServiceBackend, rank int) {
		if service == nil || rank <= bestRank {
			return
		}
		if target := r.target(ing, service); target != nil {
			best, bestRank = target, rank
		}
	}
	for _, ing := range ingresses {
		if !ours(ing) {
			continue
		}
		if ing.Spec.DefaultBackend != nil {
			offer(ing, ing.Spec.DefaultBackend.Service, 0)
		}
		for _, rule := range ing.Spec.Rules {
			hostRank, ok := matchHost(rule.Host, host)
			if !ok || rule.HTTP == nil {
				continue
			}
			for _, p := range rule.HTTP.Paths {
				if pathRank, ok := matchPath(p, path); ok {
					offer(ing, p.Backend.Service, 1+hostRank<<20+pathRank)
				}
			}
		}
	}
	return best
}

// target returns the URL of a backend: its Service's ClusterIP and port. https when the port's appProtocol says so, or
// the annotation that ingress-nginx reads.
func (r *router) target(ing *netv1.Ingress, backend *netv1.IngressServiceBackend) *url.URL {
	svc, err := r.services.Services(ing.Namespace).Get(backend.Name)
	if err != nil || svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == "None" {
		return nil
	}
	for _, port := range svc.Spec.Ports {
		if backend.Port.Name != "" && port.Name != backend.Port.Name ||
			backend.Port.Name == "" && port.Port != backend.Port.Number {
			continue
		}
		scheme := "http"
		if port.AppProtocol != nil && strings.EqualFold(*port.AppProtocol, "https") ||
			strings.EqualFold(ing.Annotations["nginx.ingress.kubernetes.io/backend-protocol"], "HTTPS") {
			scheme = "https"
		}
		return &url.URL{Scheme: scheme, Host: net.JoinHostPort(svc.Spec.ClusterIP, fmt.Sprint(port.Port))}
	}
	return nil
}

// certificate answers a TLS client from the Secret of the Ingress that names the host.
func (r *router) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ingresses, err := r.ingresses.List(labels.Everything())
	if err != nil {
		return nil, err
	}
	var best *tls.Certificate
	bestRank := -1
	for _, ing := range ingresses {
		if !ours(ing) {
			continue
		}
		for _, entry := range ing.Spec.TLS {
			hosts := entry.Hosts
			if len(hosts) == 0 {
				hosts = []string{""}
			}
			for _, host := range hosts {
				rank, ok := matchHost(host, strings.ToLower(hello.ServerName))
				if !ok || rank <= bestRank {
					continue
				}
				secret, err := r.secrets.Secrets(ing.Namespace).Get(entry.SecretName)
				if err != nil {
					continue
				}
				pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
				if err != nil {
					r.logger.Warn("unusable TLS secret", "namespace", ing.Namespace,
						"secret", entry.SecretName, "err", err)
					continue
				}
				best, bestRank = &pair, rank
			}
		}
	}
	if best == nil {
		return r.fallback, nil
	}
	return best, nil
}

// ours reports whether an Ingress is for this controller. One without a class was made before the class
// was there: serve it too.
func ours(ing *netv1.Ingress) bool {
	return ing.Spec.IngressClassName == nil || *ing.Spec.IngressClassName == IngressClass
}

// matchHost reports whether a rule's host covers host, and how exactly: 2 by name, 1 by wildcard, 0 for any host.
func matchHost(rule, host string) (rank int, ok bool) {
	switch {
	case rule == "":
		return 0, true
	case strings.EqualFold(rule, host):
		return 2, true
	case strings.HasPrefix(rule, "*."):
		_, parent, found := strings.Cut(host, ".")
		return 1, found && strings.EqualFold(parent, rule[2:])
	}
	return 0, false
}

// matchPath reports whether a rule's path covers path, and how exactly. A prefix covers whole elements:
// /a covers /a/b, not /ab.
func matchPath(rule netv1.HTTPIngressPath, path string) (rank int, ok bool) {
	if rule.PathType != nil && *rule.PathType == netv1.PathTypeExact {
		return 2*len(rule.Path) + 1, path == rule.Path
	}
	prefix := strings.TrimSuffix(rule.Path, "/")
	return 2 * len(prefix), path == prefix || strings.HasPrefix(path, prefix+"/")
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return strings.ToLower(host)
	}
	return strings.ToLower(hostport)
}

func selfSigned(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// publisher writes the node's address into the status of each Ingress: what people and cert-manager look at.
type publisher struct {
	client    kubernetes.Interface
	ingresses netlisters.IngressLister
	address   string
}

func (p *publisher) sync(ctx context.Context) error {
	ingresses, err := p.ingresses.List(labels.Everything())
	if err != nil {
		return err
	}
	var errs []error
	for _, ing := range ingresses {
		if has := ing.Status.LoadBalancer.Ingress; !ours(ing) || len(has) == 1 && has[0].IP == p.address {
			continue
		}
		ing = ing.DeepCopy()
		ing.Status.LoadBalancer.Ingress = []netv1.IngressLoadBalancerIngress{{IP: p.address}}
		_, err := p.client.NetworkingV1().Ingresses(ing.Namespace).UpdateStatus(ctx, ing,
			metav1.UpdateOptions{})
		if err != nil {
			errs = append(errs, fmt.Errorf("publish ingress %s/%s: %w", ing.Namespace, ing.Name, err))
		}
	}
	return errors.Join(errs...)
}
