// Package kubespawnertest holds what KubeSpawner really does, for the tests of what is made like it.
package kubespawnertest

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/outposts-dev/outposts/server/outpost"
)

//go:embed testdata/*.json.gz
var recorded embed.FS

// Load reads one of the recorded files, such as "pod-vectors", into what its test needs of it.
func Load(t testing.TB, name string, into any) {
	t.Helper()
	data, err := recorded.ReadFile("testdata/" + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// Decode reads a recorded object into a Kubernetes type, every key of which must be known; nil if there is none.
func Decode[T any](t testing.TB, data json.RawMessage) *T {
	t.Helper()
	if len(data) == 0 || string(data) == "null" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	out := new(T)
	if err := dec.Decode(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// SameObject compares Kubernetes objects as the API server would: quantities as amounts, empty lists and maps
// like none.
var SameObject = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 }),
}

// Request is a start with as many variables as a hub sends.
func Request(k outpost.Key) outpost.StartRequest {
	env := map[string]string{"JUPYTERHUB_USER": "alice@example.org", "JUPYTERHUB_USER_ID": "17"}
	for i := range 25 {
		env[fmt.Sprint("JUPYTERHUB_VARIABLE_", i)] = strings.Repeat("x", 72)
	}
	misc := map[string]json.RawMessage{
		"dns_name_template": json.RawMessage(`"{name}.{namespace}.svc.cluster.local"`),
		"pod_name_template": json.RawMessage(`"jupyter-{username}--{servername}"`),
		"internal_ssl":      json.RawMessage(`false`),
		"port":              json.RawMessage(`45123`), "ip": json.RawMessage(`"0.0.0.0"`),
		"services_enabled": json.RawMessage(`true`), "extra_labels": json.RawMessage(`{}`),
	}
	return outpost.StartRequest{Key: k, Body: outpost.Body{Env: env, Misc: misc}}
}
