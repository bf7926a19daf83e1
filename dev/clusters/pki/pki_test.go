package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

func TestEnsure(t *testing.T) {
	network, err := plan.ParseNetwork(plan.DefaultNetwork)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pki")
	cluster := plan.Cluster{Name: "remote", Index: 3, Network: network}
	if err := Ensure(dir, cluster); err != nil {
		t.Fatal(err)
	}
	type leaf struct {
		User  string
		Group []string
	}
	want := map[string]leaf{
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
	got := map[string]leaf{}
	for name := range want {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		authority := "ca.crt"
		if name == "front-proxy-client" {
			authority = "front-proxy-ca.crt"
		}
		pool := x509.NewCertPool()
		pem, err := os.ReadFile(filepath.Join(dir, authority))
		if err != nil || !pool.AppendCertsFromPEM(pem) {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got[name] = leaf{pair.Leaf.Subject.CommonName, pair.Leaf.Subject.Organization}
		if info, err := os.Stat(filepath.Join(dir, name+".key")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key of %s: %v, %v", name, info, err)
		}
		if name == "apiserver" {
			for _, host := range []string{"10.77.0.3", "10.97.0.1", "127.0.0.1", "kubernetes.default.svc", "remote"} {
				if err := pair.Leaf.VerifyHostname(host); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	var config struct {
		Clusters []struct{ Cluster struct{ Server string } }
		Users    []struct{ Name string }
	}
	text, err := os.ReadFile(filepath.Join(dir, "admin.kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &config); err != nil || config.Clusters[0].Cluster.Server != "https://10.77.0.3:6443" || config.Users[0].Name != "remote-admin" {
		t.Errorf("kubeconfig: %+v, %v", config, err)
	}

	// What is there stays: the clusters' users hold its certificates.
	if err := Ensure(dir, cluster); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(dir, "admin.kubeconfig")); err != nil || string(again) != string(text) {
		t.Errorf("a second call changed the keys: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".pki-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
