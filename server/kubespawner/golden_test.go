package kubespawner

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Whole objects as they go to Kubernetes, with what is only ours: labels and annotations to find them again, modes,
// overlay.
func TestPlannedObjects(t *testing.T) {
	operator := map[string]any{
		"image":              "quay.io/jupyter/scipy-notebook:2026-05-04",
		"storage_pvc_ensure": true,
		"storage_capacity":   "10Gi",
		"fs_gid":             100,
		"volumes": []any{
			map[string]any{"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"}},
		},
		"volume_mounts": []any{map[string]any{"name": "home", "mountPath": "/home/jovyan"}},
		"environment":   map[string]any{"GREETING": "hello {unescaped_username}", "HOME_OF": "$(GREETING)"},
		"pod_overlay": map[string]any{
			"metadata": map[string]any{
				"labels":      map[string]any{"team": "a"},
				"annotations": map[string]any{HubKey: "stolen", InstallationKey: "stolen"},
			},
			"spec": map[string]any{
				"containers": []any{map[string]any{"name": "notebook", "readinessProbe": map[string]any{
					"tcpSocket": map[string]any{"port": "notebook-port"},
				}}},
			},
		},
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		golden string
		flavor flavor.Flavor
		certs  map[string]string
	}{
		{golden: "pod-with-gpu", flavor: flavor.Flavor{"resources": map[string]any{
			"cpu_limit": "1500m", "mem_limit": "4Gi", "extra_resource_limits": map[string]any{"nvidia.com/gpu": 1},
			"tolerations": []any{map[string]any{"key": "gpu", "operator": "Exists"}},
		}}},
		{golden: "pod-with-internal-tls", certs: map[string]string{"keyfile": "KEY\n", "certfile": "CERT\n", "cafile": "CA\n"}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			o, err := testBuilder(
				t,
				"outpost",
				operator,
			).Build(
				installation,
				outpost.Hub{Name: "jupyterhub", AllowedOptions: []string{"internal_ssl"}},
				outpost.StartRequest{
					Key: outpost.Key{Hub: "jupyterhub", Name: "Lab 1", StartID: "0f3c"}, Flavor: "gpu", Certs: c.certs,
					TrustBundles: map[string]string{"hub-ca": "HUBCA\n"},
					Body: outpost.Body{
						Env: map[string]string{
							"JUPYTERHUB_USER":           "alice@example.org",
							"JUPYTERHUB_USER_ID":        "17",
							"JUPYTERHUB_API_TOKEN":      "token",
							"JUPYTERHUB_COOKIE_OPTIONS": `{"SameSite": "None"}`,
							"JUPYTERHUB_SSL_KEYFILE":    "/of/the/hub.key",
						},
						Misc: map[string]json.RawMessage{
							"services_enabled": json.RawMessage("true"),
							"port":             json.RawMessage("45123"),
						},
					},
				},
				c.flavor,
			)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, object := range []any{o.Claim, o.Secret, o.Service, o.Pod, o.State()} {
				data, err := yaml.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				if string(data) != "null\n" {
					got.WriteString("---\n")
					got.Write(data)
				}
			}
			file := filepath.Join("testdata", c.golden+".golden.yaml")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("objects (-want +got)\n%s", diff)
			}
		})
	}
}
