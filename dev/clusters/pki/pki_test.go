package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

// ensured makes the files of the third cluster and returns their folder.
func ensured(t *testing.T) (string, plan.Cluster) {
	t.Helper()
	network, err := plan.ParseNetwork(plan.DefaultNetwork)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pki")
	cluster := plan.Cluster{Name: "remote", Index: 3, Network: network}
	if err := Ensure(dir, cluster); err != nil {
		t.Fatal(err)
	}
	return dir, cluster
}

// leaf returns the certificate of a name, which its key fits.
func leaf(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCertificates(t *testing.T) {
	dir, _ := ensured(t)
	type subject struct {
		User  string
		Group []string
	}
	want := map[string]subject{
		"apiserver":                 {User: "kube-apiserver"},
		"apiserver-kubelet-client":  {User: "kube-apiserver-kubelet-client", Group: []string{"system:masters"}},
		"kubelet":                   {User: "system:node:remote", Group: []string{"system:nodes"}},
		"front-proxy-client":        {User: "front-proxy-client"},
		"client-admin":              {User: "admin", Group: []string{"system:masters"}},
		"client-controller-manager": {User: "system:kube-controller-manager"},
		"client-scheduler":          {User: "system:kube-scheduler"},
		"client-kubelet":            {User: "system:node:remote", Group: []string{"system:nodes"}},
		"client-kube-proxy":         {User: "system:kube-proxy"},
	}
	got := map[string]subject{}
	for name := range want {
		authority := "ca.crt"
		if name == "front-proxy-client" {
			authority = "front-proxy-ca.crt"
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(read(t, dir, authority)) {
			t.Fatalf("%s holds no certificate", authority)
		}
		certificate := leaf(t, dir, name)
		options := x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if _, err := certificate.Verify(options); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got[name] = subject{certificate.Subject.CommonName, certificate.Subject.Organization}
		if info, err := os.Stat(filepath.Join(dir, name+".key")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key of %s: %v, %v", name, info, err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNamesOfTheAPIServer(t *testing.T) {
	dir, _ := ensured(t)
	for _, host := range []string{"10.77.0.3", "10.97.0.1", "127.0.0.1", "kubernetes.default.svc", "remote"} {
		if err := leaf(t, dir, "apiserver").VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
}

func TestAdminKubeconfig(t *testing.T) {
	dir, _ := ensured(t)
	var config struct {
		Clusters []struct{ Cluster struct{ Server string } }
		Users    []struct{ Name string }
	}
	if err := yaml.Unmarshal(read(t, dir, "admin.kubeconfig"), &config); err != nil ||
		config.Clusters[0].Cluster.Server != "https://10.77.0.3:6443" || config.Users[0].Name != "remote-admin" {
		t.Errorf("kubeconfig: %+v, %v", config, err)
	}
}

// TestEnsureKeepsKeys holds that existing keys stay: the clusters' users hold their certificates.
func TestEnsureKeepsKeys(t *testing.T) {
	dir, cluster := ensured(t)
	before := read(t, dir, "admin.kubeconfig")
	if err := Ensure(dir, cluster); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, dir, "admin.kubeconfig"), before) {
		t.Error("a second call changed the keys")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".pki-*")); len(left) > 0 {
		t.Errorf("temporary folders are left: %v", left)
	}
}
