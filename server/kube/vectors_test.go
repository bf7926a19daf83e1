package kube

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/resource"
)

// loadVectors reads one file of testdata, what the peer really does.
func loadVectors(t testing.TB, name string, into any) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(z)
	if err := dec.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// sameObject compares Kubernetes objects as the API server would: quantities as amounts, empty lists and maps
// like none.
var sameObject = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 }),
}

// likePeer removes what only we put on objects and makes the versions equal.
func likePeer(m map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range m {
		switch {
		case strings.HasPrefix(key, "outposts.dev/"):
		case key == kubespawnerKey || key == jupyterhubKey:
			out[key] = "any"
		default:
			out[key] = value
		}
	}
	return out
}

// decode reads a vector's object into a Kubernetes type, every key of which must be known.
func decode[T any](t *testing.T, data json.RawMessage) *T {
	t.Helper()
	if len(data) == 0 || string(data) == "null" {
		return nil
	}
	var p problems
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	out := new(T)
	decodeInto(out, object, "vector", &p)
	if text := p.String(); text != "" {
		t.Fatal(text)
	}
	return out
}
