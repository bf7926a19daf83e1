package main

import (
	"io"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	helm "helm.sh/helm/v3/pkg/registry"
)

// TestHelmPullsTheCharts holds that Helm's own client, as `helm pull` and `helm install oci://` have it, gets the
// charts of a release from a registry: the archives of its folder.
func TestHelmPullsTheCharts(t *testing.T) {
	dir, to := made(t, newKey(t), "program"), served(t)
	if err := push(folder(dir), to, io.Discard); err != nil {
		t.Fatal(err)
	}
	client, err := helm.NewClient(helm.ClientOptPlainHTTP(), helm.ClientOptWriter(io.Discard),
		helm.ClientOptCredentialsFile(filepath.Join(t.TempDir(), "config.json")))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range charts {
		reference := "charts/" + name + ":" + version
		digest, err := folder(dir).find(reference)
		if err != nil {
			t.Fatal(err)
		}
		pulled, err := client.Pull(to.base + "/" + reference)
		if err != nil {
			t.Fatal(err)
		}
		want := [...]string{
			to.base + "/" + reference, digest.String(), name, version,
			read(t, filepath.Join(dir, name+"-"+version+".tgz")),
		}
		meta := pulled.Chart.Meta
		got := [...]string{pulled.Ref, pulled.Manifest.Digest, meta.Name, meta.Version, string(pulled.Chart.Data)}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pulled (-want +got):\n%s", diff)
		}
	}
}
