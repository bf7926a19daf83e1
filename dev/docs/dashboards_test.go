package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDashboardsShowWhatThereIs holds that the dashboards of the charts show metrics that processes have, by labels
// that these have, and at least seven of each process.
func TestDashboardsShowWhatThereIs(t *testing.T) {
	labels := map[string][]string{"process_resident_memory_bytes": nil}
	of := map[string]string{}
	for title, metrics := range processes(t) {
		for _, m := range metrics {
			labels[m.name] = append(labels[m.name], m.labels...)
			of[m.name] = title
		}
	}
	expression := regexp.MustCompile(`"expr": "(.*)"`)
	name := regexp.MustCompile(`\b(?:outpost|process)_\w+`)
	grouping := regexp.MustCompile(`\bby \(([a-z_, ]+)\)`)
	shown := map[string]map[string]bool{"Of the outpost": {}, "Of the tunnels": {}, "Of the hub": {}}
	for _, chart := range []string{"outpost", "outposts-hub"} {
		for _, found := range expression.FindAllStringSubmatch(read(t, "charts/"+chart+"/files/dashboard.json"), -1) {
			metric := strings.TrimSuffix(name.FindString(found[1]), "_bucket")
			has, known := labels[metric]
			if !known {
				t.Errorf("%s: no process has %s", chart, metric)
			}
			if title, ours := of[metric]; ours {
				shown[title][metric] = true
			}
			for _, by := range grouping.FindAllStringSubmatch(found[1], -1) {
				for _, label := range strings.Split(by[1], ", ") {
					if label != "le" && !slices.Contains(has, label) {
						t.Errorf("%s: %s has no label %s, but %v", chart, metric, label, has)
					}
				}
			}
		}
	}
	for title, metrics := range shown {
		if len(metrics) < 7 {
			t.Errorf("%s, %d are shown", title, len(metrics))
		}
	}
}
