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
	"global",         // of Helm, for charts inside this one
}

// TestUnknownKeysAreRefused puts an unknown key into each level of each value set.
func TestUnknownKeysAreRefused(t *testing.T) {
	refused := 0
	for _, path := range valueSets(t) {
		t.Run(setName(path), func(t *testing.T) {
			for _, planted := range schematest.Plant(readValues(t, path)) {
				level := strings.Join(planted.Level, ".")
				_, err := render(t, planted.Document)
				switch named := err != nil && strings.Contains(err.Error(), schematest.UnknownKey); {
				case named:
					refused++
				case level == "" || !slices.Contains(ownNames, planted.Level[len(planted.Level)-1]):
					t.Errorf("%s: an unknown key is not refused by name: %v", level, err)
				}
			}
		})
	}
	if refused < 150 {
		t.Errorf("%d levels were tried", refused)
	}
}
