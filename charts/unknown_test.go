package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/infra/schema/schematest"
)

// ownNames are the maps among the values whose keys are names of the operator's or of others, so that none is unknown.
var ownNames = []string{
	"annotations", "podAnnotations", "labels", "podLabels", "matchLabels", "nodeSelector", // of Kubernetes
	"limits", "requests", "extra_resource_limits", // resources, those of devices too
	"authentication", // what the hub's authenticator knows of a user
	"systems",        // of the hub
	"global",         // of Helm, for charts inside this one
}

// TestUnknownKeysAreRefused puts an unknown key into each level of each value set.
func TestUnknownKeysAreRefused(t *testing.T) {
	for _, c := range []struct {
		folder string
		levels int // at least
		render func(*testing.T, map[string]any) (map[string]string, error)
	}{{"outpost", 150, render}, {hubChart, 40, renderHub}} {
		refused := 0
		for _, path := range valueSetsOf(t, c.folder) {
			t.Run(c.folder+" "+setName(path), func(t *testing.T) {
				for _, planted := range schematest.Plant(readValues(t, path)) {
					level := strings.Join(planted.Level, ".")
					_, err := c.render(t, planted.Document)
					switch named := err != nil && strings.Contains(err.Error(), schematest.UnknownKey); {
					case named:
						refused++
					case level == "" || !slices.Contains(ownNames, planted.Level[len(planted.Level)-1]):
						t.Errorf("%s: an unknown key is not refused by name: %v", level, err)
					}
				}
			})
		}
		if refused < c.levels {
			t.Errorf("%s: %d levels were tried", c.folder, refused)
		}
	}
}
