//go:build e2e

package published

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// image holds cert-manager's controller and solver, and Pebble. Its entrypoint is the solver: cert-manager starts
// solvers with arguments only.
const image = "localhost/outposts/acme"

// acmeBalancer is the last number of the address of our load balancer, far from those that are assigned in order.
const acmeBalancer = 111

// authority is the ACME server.
type authority struct {
	address   string         // of its directory and of its management
	directory string         // PEM of the certificate that both of them show
	root      string         // PEM of the root of what it issues
	pool      *x509.CertPool // the same
}

// installACME builds and loads the image, puts cert-manager on both clusters and the ACME server on the hub's.
func (tb *testbed) installACME(ctx context.Context, t *testing.T) {
	t.Helper()
	if _, err := tb.dev(ctx, "build", "acme"); err != nil {
		t.Fatal(err)
	}
	folder, err := tb.dev(ctx, "cache", "acme")
	if err != nil {
		t.Fatal(err)
	}
	tb.tools = strings.TrimSpace(folder)
	// Nodes keep what they have pulled, so another build has another tag.
	image := image + ":" + filepath.Base(tb.tools)
	archive := filepath.Join(tb.state, "acme.tar")
	for _, args := range [][]string{
		{
			"clusters", "image", "-o", archive, "--ref", image, "--user", "65532:65532",
			"--add", tb.tools + "/bin/certmanager:/certmanager:755", "--add", tb.tools + "/bin/pebble:/pebble:755",
			"--entrypoint", "/certmanager", "--entrypoint", "solver",
		},
		{"clusters", "load", archive},
	} {
		if _, err := tb.dev(ctx, "run", args...); err != nil {
			t.Fatal(err)
		}
	}
	certManager := manifest(t, "certmanager.yaml", map[string]string{"Image": image})
	tb.ca.address = tb.local.balancer(acmeBalancer)
	certificate, key := deployed.NewCertificate(t, tb.ca.address)
	tb.ca.directory = certificate
	pebble := manifest(t, "pebble.yaml", map[string]string{
		"Image": image, "Address": tb.ca.address, "Certificate": certificate, "Key": key,
	})
	err = tb.both(func(c cluster) error {
		// By the server: three of the CRDs are longer than the annotation that the client would keep them in.
		if _, err := c.kubectl(ctx, "", "apply", "--server-side", "-f", tb.tools+"/crds"); err != nil {
			return err
		}
		everything := certManager
		if c.name == tb.local.name {
			everything += "---\n" + pebble
		}
		_, err := c.kubectl(ctx, everything, "apply", "-f", "-")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tb.ca.root = tb.readRoot(ctx, t)
	tb.ca.pool = x509.NewCertPool()
	if !tb.ca.pool.AppendCertsFromPEM([]byte(tb.ca.root)) {
		t.Fatalf("the root of the ACME server is not PEM: %q", tb.ca.root)
	}
}

// readRoot asks the ACME server for the root that it has made for itself at its start.
func (tb *testbed) readRoot(ctx context.Context, t *testing.T) string {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(tb.ca.directory))
	client := http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}
	var root []byte
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+tb.ca.address+":15000/roots/0", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		root, err = io.ReadAll(response.Body)
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", request.URL, response.Status)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(root)
}

// issue makes the ClusterIssuer that the annotations name.
func (tb *testbed) issue(ctx context.Context, t *testing.T, c cluster) {
	t.Helper()
	text := manifest(t, "issuer.yaml", map[string]string{
		"Address": tb.ca.address, "Solver": tb.way.solver,
		"CABundle": base64.StdEncoding.EncodeToString([]byte(tb.ca.directory)),
	})
	if _, err := c.kubectl(ctx, text, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// renew asks cert-manager to issue a certificate anew, as `cmctl renew` does: by a condition.
func (c cluster) renew(ctx context.Context, namespace, certificate string) error {
	patch := fmt.Sprintf(`[{"op": "add", "path": "/status/conditions/-", "value": {"type": "Issuing", "status": "True",
		"reason": "ManuallyTriggered", "message": "renewed by a test", "lastTransitionTime": %q}}]`,
		time.Now().UTC().Format(time.RFC3339))
	_, err := c.kubectl(ctx, "", "-n", namespace, "patch", "certificate", certificate,
		"--subresource=status", "--type=json", "-p", patch)
	return err
}

// served returns the certificate that the Ingress or Gateway presents for a name. It is verified as the hub does it: by
// the root of the ACME server alone.
func (tb *testbed) served(ctx context.Context, name string) (*x509.Certificate, error) {
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: tb.ca.pool, ServerName: name}}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(addressOf(name), "443"))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// awaitCertificate waits until the Ingress or Gateway presents a valid certificate for a name other than the old one.
func (tb *testbed) awaitCertificate(
	ctx context.Context, t *testing.T, name string, old *x509.Certificate,
) *x509.Certificate {
	t.Helper()
	var current *x509.Certificate
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		var err error
		if current, err = tb.served(ctx, name); err == nil && old != nil && current.Equal(old) {
			err = fmt.Errorf("%s still presents the old certificate", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return current
}

// transport opens the names of the clusters' DNS from this machine, which does not know them, with a new connection and
// so a look at the certificate for each request.
func (tb *testbed) transport() *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: tb.ca.pool},
		DialContext: func(ctx context.Context, network, target string) (net.Conn, error) {
			name, port, err := net.SplitHostPort(target)
			if err != nil {
				return nil, err
			}
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(addressOf(name), port))
		},
	}
}

// addressOf undoes host.
func addressOf(name string) string {
	labels := strings.Split(name, ".")
	return strings.ReplaceAll(labels[len(labels)-3], "-", ".")
}

func manifest(t *testing.T, file string, values map[string]string) string {
	t.Helper()
	parsed, err := template.ParseFiles(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := parsed.Execute(&text, values); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
