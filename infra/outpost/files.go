package outpost

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/site"
)

const (
	userNamespaces = "needs rights in all namespaces (a ClusterRole), which the chart does not give; " +
		"set values.rbac.create: false, and give the outpost's service account its rights yourself"
	anyNamespace = "is not one namespace, so that the chart cannot give rights in it; name each in a choice of its own"
)

// checkFiles finds what the outpost itself would refuse of its files of configuration, flavors and credits, once it
// runs with these values of the chart: it is the same check. Faults are named by the chart's keys.
func (a Args) checkFiles(made map[string]any) []schema.Fault {
	s, faults := a.site(made)
	for _, fault := range s.Check() {
		faults = append(faults, faultAt(fileKeys[fault.File], fault.Key, fault.Text))
	}
	if makesRole(made) {
		faults = append(faults, withoutRights(s)...)
	}
	for _, fault := range s.Unused() {
		option := fault.Key[strings.LastIndex(fault.Key, ".")+1:]
		text := fault.Text
		if instead := idleOptions[option]; instead != "" {
			text += "; " + instead
		}
		faults = append(faults, faultAt(fileKeys[fault.File], fault.Key, text))
	}
	return faults
}

// withoutRights finds options that need rights which the chart's Role does not give.
func withoutRights(s site.Site) (faults []schema.Fault) {
	const option = "enable_user_namespaces"
	for _, setting := range s.Settings(option) {
		if setting.Value == true {
			faults = append(faults, faultAt(fileKeys[setting.File], setting.Key, userNamespaces))
		}
	}
	for _, hub := range s.Hubs {
		if slices.Contains(hub.AllowedOptions, option) {
			key := "hubs." + hub.Name + ".allowedOptions"
			faults = append(faults, faultAt("config", key, "lists "+option+", which "+userNamespaces))
		}
	}
	for _, setting := range s.Settings("namespace") {
		if name, ok := setting.Value.(string); ok && strings.Contains(name, "{") {
			faults = append(faults, faultAt(fileKeys[setting.File], setting.Key, anyNamespace))
		}
	}
	return faults
}

// fileKeys are the chart's keys of the files.
var fileKeys = map[site.File]string{site.Config: "config", site.Flavors: "flavors"}

// Namespaces returns the namespaces that options of any layer name for servers, each with a key that names it.
func (a Args) Namespaces() map[string]string {
	s, _ := a.site(a.values())
	keys := map[string]string{}
	for _, setting := range s.Settings("namespace") {
		fault := a.asTyped(faultAt(fileKeys[setting.File], setting.Key, ""))
		if name, ok := setting.Value.(string); ok && keys[name] == "" && !strings.Contains(name, "{") {
			keys[name] = fault.Key()
		}
	}
	return keys
}

// asTyped is a fault with the key that the operator has typed.
func (a Args) asTyped(fault schema.Fault) schema.Fault {
	if reaches(a.Settings.Values, fault) {
		return fault.Below("values")
	}
	return fault
}

// Warnings are about what has no effect or is likely a mistake in flavors and credits, and profiles that allow more
// than a flavor.
func (a Args) Warnings() (all []schema.Fault) {
	made := a.values()
	var hubs []string
	for _, hub := range a.Hubs {
		hubs = append(hubs, hub.Name)
	}
	for key, parse := range map[string]func([]byte) (*flavor.Flavors, error){
		"flavors": flavor.Parse, "credits": flavor.ParseCredits,
	} {
		f, err := parse(textOf(made[key]))
		if f == nil || err != nil {
			continue
		}
		for _, w := range append(f.Warnings, f.UnknownHubs(hubs)...) {
			all = append(all, a.asTyped(faultAt(key, w.Key, w.Text)))
		}
	}
	s, _ := a.site(made)
	for _, fault := range s.Raised() {
		all = append(all, a.asTyped(faultAt(fileKeys[fault.File], fault.Key, fault.Text)))
	}
	slices.SortStableFunc(all, func(a, b schema.Fault) int { return cmp.Compare(a.Key(), b.Key()) })
	return all
}

// Flavors are what an outpost with these arguments offers users of a hub, by name. It is nil without a flavors file,
// where a start may name any.
func (a Args) Flavors(hub string) []flavor.Text {
	f, err := flavor.Parse(textOf(a.values()["flavors"]))
	if err != nil {
		return nil // checkFiles says so
	}
	return f.Texts(hub)
}

// site reads the files among the values of the chart, and returns what is wrong with each by itself.
func (a Args) site(made map[string]any) (site.Site, []schema.Fault) {
	s := site.Site{Namespace: a.Namespace}
	var faults []schema.Fault
	for _, p := range a.readConfig(made, &s) {
		key := strings.TrimPrefix(strings.TrimPrefix(p.Name, "config"), ": ")
		faults = append(faults, faultAt("config", key, p.Message))
	}
	var err error
	s.Flavors, err = flavor.Parse(textOf(made["flavors"]))
	faults = append(faults, flavorFaults("flavors", err)...)
	_, err = flavor.ParseCredits(textOf(made["credits"]))
	return s, append(faults, flavorFaults("credits", err)...)
}

// faultAt is a fault at a key of a file; empty for the file.
func faultAt(file, key, text string) schema.Fault {
	return schema.Fault{Path: append([]string{file}, partsOf(key)...), Text: text}
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

// flavorFaults are what is wrong with a file of flavors or credits.
func flavorFaults(file string, err error) (all []schema.Fault) {
	var faults flavor.Faults
	if err != nil && !errors.As(err, &faults) {
		return []schema.Fault{faultAt(file, "", err.Error())}
	}
	for _, fault := range faults {
		all = append(all, faultAt(file, fault.Key, fault.Text))
	}
	return all
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
