//go:build e2e

package clusters

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// testIngress holds that an Ingress of the default class is served over HTTP and HTTPS with the certificate of
// its Secret, that the backend learns how it was asked, that a WebSocket passes, and that a renewed
// certificate is used at once.
func (tb *testbed) testIngress(t *testing.T) {
	const ns, host = "ingress", "web.example.test"
	c := tb.t1
	first := tb.web(t, ns, host)
	c.kubectl(t, fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls: [{hosts: [%[1]s], secretName: web-tls}]
  rules:
  - host: %[1]s
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
`, host), "-n", ns, "apply", "-f", "-")

	eventually(t, "plain", func() error {
		got, err := get(t.Context(), clientFor(c.node, nil), "http://"+host+"/a/b")
		return want(err, got, "for "+host+"/a/b proto http")
	})
	eventually(t, "TLS with the Secret's certificate", func() error {
		got, err := get(t.Context(), clientFor(c.node, first.pool), "https://"+host+"/")
		return want(err, got, "hello from asker on t1")
	})
	got, err := get(t.Context(), clientFor(c.node, first.pool), "https://"+host+"/x")
	if err := want(err, got, "for "+host+"/x proto https"); err != nil {
		t.Error(err)
	}
	if _, err := get(t.Context(), clientFor(c.node, nil), "http://other.example.test/"); err == nil {
		t.Error("a host without an Ingress was served")
	}
	eventually(t, "class and address of the Ingress", func() error {
		got := c.kubectl(t, "", "-n", ns, "get", "ingress", "web", "-o",
			"jsonpath={.spec.ingressClassName} {.status.loadBalancer.ingress[0].ip}")
		return want(nil, got, "standard "+c.node)
	})
	webSocket(t, c.node, host, first.pool)
	tb.fromOther(t, ns, c.node+":443")

	second := newCertificate(t, host)
	secret := c.kubectl(t, "", "-n", ns, "create", "secret", "tls", "web-tls", "--cert="+second.certFile,
		"--key="+second.keyFile, "--dry-run=client", "-o", "yaml")
	c.kubectl(t, secret, "-n", ns, "apply", "-f", "-")
	eventually(t, "the renewed certificate", func() error {
		_, err := get(t.Context(), clientFor(c.node, second.pool), "https://"+host+"/")
		return err
	})
}

// web makes the askers, and in the first cluster a Service web of them and a Secret web-tls with a certificate for a
// host, which it returns.
func (tb *testbed) web(t *testing.T, ns, host string) certificate {
	t.Helper()
	tb.askers(t, ns)
	pair := newCertificate(t, host)
	tb.t1.kubectl(t, "", "-n", ns, "create", "secret", "tls", "web-tls",
		"--cert="+pair.certFile, "--key="+pair.keyFile)
	tb.t1.kubectl(t, `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: asker}, ports: [{name: http, port: 80, targetPort: 8080}]}
`, "-n", ns, "apply", "-f", "-")
	return pair
}

// fromOther holds that a pod of the second cluster can connect to an address.
func (tb *testbed) fromOther(t *testing.T, ns, address string) {
	t.Helper()
	eventually(t, "from a pod of the other cluster", func() error {
		got, err := tb.t2.ask(t.Context(), ns, "asker", "/dial", map[string][]string{"address": {address}})
		return want(err, got, "connected")
	})
}

// clientFor returns a client that finds every name at address and trusts the given certificates only.
func clientFor(address string, pool *x509.CertPool) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, target string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(target)
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(address, port))
		},
	}}
}

// webSocket opens a WebSocket over TLS by hand (RFC 6455, 1.2 for key and answer) and sends bytes both ways.
func webSocket(t *testing.T, address, host string, pool *x509.CertPool) {
	t.Helper()
	conn, err := tls.Dial("tcp", net.JoinHostPort(address, "443"),
		&tls.Config{RootCAs: pool, ServerName: host, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn,
		"GET /echo HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "+
			"13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols ||
		response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("WebSocket: %s %v", response.Status, response.Header)
	}
	for _, message := range []string{"first", "second message"} {
		if _, err := io.WriteString(conn, message); err != nil {
			t.Fatal(err)
		}
		back := make([]byte, len(message))
		if _, err := io.ReadFull(in, back); err != nil || string(back) != message {
			t.Fatalf("WebSocket sent %q back: %v", back, err)
		}
	}
}

type certificate struct {
	certFile, keyFile string
	pool              *x509.CertPool
}

func newCertificate(t *testing.T, host string) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := certificate{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), x509.NewCertPool()}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	c.pool.AppendCertsFromPEM(certPEM)
	if err := os.WriteFile(c.certFile, certPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	err = os.WriteFile(c.keyFile,
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
