package outpost

import (
	"errors"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/site"
)

// checkFiles finds what the outpost itself would refuse of its files of configuration, flavors and credits, once it runs
// with these values of the chart: it is the same check. Faults are named by the chart's keys.
func (a Args) checkFiles(made map[string]any) []schema.Fault {
	var faults []schema.Fault
	add := func(file, key, text string) {
		faults = append(faults, schema.Fault{Path: append([]string{file}, partsOf(key)...), Text: text})
	}
	s := site.Site{Namespace: a.Namespace}
	for _, p := range a.readConfig(made, &s) {
		add("config", strings.TrimPrefix(strings.TrimPrefix(p.Name, "config"), ": "), p.Message)
	}
	var err error
	s.Flavors, err = flavor.Parse(textOf(made["flavors"]))
	addFlavorFaults("flavors", err, add)
	_, err = flavor.ParseCredits(textOf(made["credits"]))
	addFlavorFaults("credits", err, add)
	files := map[site.File]string{site.Config: "config", site.Flavors: "flavors"}
	for _, fault := range s.Check() {
		add(files[fault.File], fault.Key, fault.Text)
	}
	for _, setting := range s.Settings("enable_user_namespaces") {
		if setting.Value == true && makesRole(made) {
			add(files[setting.File], setting.Key, "needs rights in all namespaces (a ClusterRole), which the chart does not "+
				"give; set values.rbac.create: false, and give the outpost's service account its rights yourself")
		}
	}
	return faults
}

// readConfig reads the configuration file into a site, and returns what is wrong with the file by itself.
func (a Args) readConfig(made map[string]any, s *site.Site) config.Problems {
	file, problems := config.ParseFile("config", textOf(made["config"]), nil)
	names := make([]string, len(a.Hubs))
	for i, hub := range a.Hubs {
		names[i] = hub.Name
		s.Hubs = append(s.Hubs, file.Of(hub.Name).Hub)
	}
	s.Spawner = file.Spawner
	if made["internalSsl"] == true {
		s.Spawner = values.Merge(s.Spawner, map[string]any{"internal_ssl": true})
	}
	return append(problems, file.Check("config", names)...)
}

// addFlavorFaults adds what is wrong with a file of flavors or credits.
func addFlavorFaults(file string, err error, add func(file, key, text string)) {
	var faults flavor.Faults
	if err != nil && !errors.As(err, &faults) {
		add(file, "", err.Error())
	}
	for _, fault := range faults {
		add(file, fault.Key, fault.Text)
	}
}

// makesRole reports whether the chart makes the Role of the outpost.
func makesRole(made map[string]any) bool {
	rbac, _ := made["rbac"].(map[string]any)
	return rbac["create"] != false
}

// textOf is a value of the chart as it becomes a file; nothing, and what is empty, is no file.
func textOf(value any) []byte {
	if m, isMap := value.(map[string]any); !isMap || len(m) == 0 {
		return nil
	}
	text, err := yaml.Marshal(value)
	if err != nil {
		return nil // the schema says so
	}
	return text
}

// partsOf splits a key such as "spawner.volumes[0].name". A name of the operator's with a dot becomes two parts, which
// are written as one again.
func partsOf(key string) []string {
	return strings.FieldsFunc(key, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}
