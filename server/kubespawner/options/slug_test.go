package options

import (
	"testing"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
)

// TestProfileSlugsArePythonSlugifys compares with slugify-vectors.json: names that sites write, names of every script,
// and all characters of the Basic Multilingual Plane.
func TestProfileSlugsArePythonSlugifys(t *testing.T) {
	var v struct {
		Names, Characters [][2]string // a display name and its slug
	}
	kubespawnertest.Load(t, "slugify-vectors", &v)
	if len(v.Names) < 500 || len(v.Characters) < 900 {
		t.Fatalf("only %d names and %d runs of characters", len(v.Names), len(v.Characters))
	}
	for _, c := range append(v.Names, v.Characters...) {
		if got := profileSlug(c[0]); got != c[1] {
			t.Errorf("%+q\ngot  %s\nwant %s", c[0], got, c[1])
		}
	}
}
