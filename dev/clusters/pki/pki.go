// Package pki makes the keys and certificates of a one-node cluster, and the kubeconfigs of its components.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// validity is long, because nothing renews certificates in a local cluster.
const validity = 10 * 365 * 24 * time.Hour

// clients are the users of the API server: file name to user and group.
var clients = map[string]struct{ user, group string }{
	"admin":              {"admin", "system:masters"},
	"controller-manager": {"system:kube-controller-manager", ""},
	"scheduler":          {"system:kube-scheduler", ""},
	"kubelet":            {"system:node:%s", "system:nodes"},
	"kube-proxy":         {"system:kube-proxy", ""},
}

// Ensure makes the folder dir with all files of the cluster, unless it exists. It appears complete or not at all.
func Ensure(dir string, cluster plan.Cluster) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), ".pki-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := generate(temporary, cluster); err != nil {
		return fmt.Errorf("certificates of %s: %w", cluster.Name, err)
	}
	return os.Rename(temporary, dir)
}

func generate(dir string, cluster plan.Cluster) error {
	ca, err := newAuthority(dir, "ca", cluster.Name+"-ca")
	if err != nil {
		return err
	}
	front, err := newAuthority(dir, "front-proxy-ca", cluster.Name+"-front-proxy-ca")
	if err != nil {
		return err
	}
	node := cluster.Node().String()
	apiNames := []string{
		"127.0.0.1", "localhost", node, cluster.APIService().String(), cluster.Name,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	for _, leaf := range []struct {
		authority         *pair
		file, user, group string
		names             []string
	}{
		{front, "front-proxy-client", "front-proxy-client", "", nil},
		{ca, "apiserver", "kube-apiserver", "", apiNames},
		{ca, "apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters", nil},
		{ca, "kubelet", "system:node:" + cluster.Name, "system:nodes", []string{cluster.Name, node, "127.0.0.1"}},
	} {
		if _, err := leaf.authority.issue(dir, leaf.file, leaf.user, leaf.group, leaf.names); err != nil {
			return err
		}
	}
	if err := newServiceAccountKey(dir); err != nil {
		return err
	}
	for file, client := range clients {
		user := client.user
		if file == "kubelet" {
			user = fmt.Sprintf(user, cluster.Name)
		}
		leaf, err := ca.issue(dir, "client-"+file, user, client.group, nil)
		if err != nil {
			return err
		}
		name := filepath.Join(dir, file+".kubeconfig")
		if err := os.WriteFile(name, kubeconfig(cluster, file, ca, leaf), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// newServiceAccountKey makes the key that signs the tokens of service accounts.
func newServiceAccountKey(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, "sa.key"), key); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	return os.WriteFile(filepath.Join(dir, "sa.pub"), text, 0o644)
}

// pair is a certificate with its key, parsed and as PEM.
type pair struct {
	cert            *x509.Certificate
	key             *ecdsa.PrivateKey
	certPEM, keyPEM []byte
}

func newAuthority(dir, file, name string) (*pair, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return sign(dir, file, template, nil)
}

// issue writes FILE.crt and FILE.key for a user in a group (which may be empty), valid for the given
// names and addresses.
func (p *pair) issue(dir, file, user, group string, names []string) (*pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: user},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(dir, file, template, p)
}

// sign completes template, signs it by authority (by itself when nil) and writes both files.
func sign(dir, file string, template *x509.Certificate, authority *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.BasicConstraintsValid = true
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(validity)
	parent, signer := template, key
	if authority != nil {
		parent, signer = authority.cert, authority.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	p := &pair{cert: cert, key: key, certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	if err := os.WriteFile(filepath.Join(dir, file+".crt"), p.certPEM, 0o644); err != nil {
		return nil, err
	}
	keyFile := filepath.Join(dir, file+".key")
	if err := writeKey(keyFile, key); err != nil {
		return nil, err
	}
	p.keyPEM, err = os.ReadFile(keyFile)
	return p, err
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func kubeconfig(cluster plan.Cluster, user string, ca, client *pair) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: %[1]s
clusters:
- name: %[1]s
  cluster: {server: "%[2]s", certificate-authority-data: %[3]s}
contexts:
- name: %[1]s
  context: {cluster: %[1]s, user: %[1]s-%[4]s}
users:
- name: %[1]s-%[4]s
  user: {client-certificate-data: %[5]s, client-key-data: %[6]s}
`, cluster.Name, cluster.Server(), b64(ca.certPEM), user, b64(client.certPEM), b64(client.keyPEM))
}
