package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/outposts-dev/outposts/infra/hub"
)

// declaredOnce ends a warning of flavors that are declared twice.
const declaredOnce = "since the outpost says what it offers; what this hub is not to have, leave out in " + project +
	":outpost.flavors.hubs"

// profileList is where an outpost of ours has its profiles.
const profileList = "outpost.config.spawner.profile_list"

// warnOfFlavors warns of a system in this cluster for which c, which must have a hub, declares other flavors than its
// outpost has.
func warnOfFlavors(c Config, warn func(format string, args ...any)) {
	for i, s := range c.Outposts {
		if !s.InCluster() {
			continue
		}
		if in := c.differences(s.Flavors, c.Hub.Name); len(in) > 0 {
			warn("outposts[%d].flavors differs from %s:outpost.flavors: %s; leave outposts[%d].flavors out, %s",
				i, project, strings.Join(in, "; "), i, declaredOnce)
		}
	}
}

// declaredElsewhere are warnings of hubs whose stacks declare other flavors for this outpost than it has, or profiles,
// which it says itself. told is what those tell, by the order of hubs in c.
func (c Config) declaredElsewhere(told []*systemOutput) (all []string) {
	for i, out := range told {
		if out == nil {
			continue
		}
		if in := c.differences(out.Flavors, out.Hub); len(in) > 0 {
			all = append(all, fmt.Sprintf("%[1]s:outpost.flavors differs from the flavors of this system in "+
				"%[1]s:outposts of %[2]s: %[3]s; leave those flavors out there, %[4]s",
				project, c.Hubs[i].source(), strings.Join(in, "; "), declaredOnce))
		}
		if len(out.Profiles) > 0 {
			all = append(all, fmt.Sprintf("the profiles %[4]s of this system in %[1]s:outposts of %[2]s have no "+
				"effect, since the outpost says its own, from %[1]s:%[3]s; leave them out there",
				project, c.Hubs[i].source(), profileList, inWords(out.Profiles)))
		}
	}
	return all
}

// differences are in what the flavors that a hub declares differ from those that the outpost of c offers it, each with
// both values. What the hub does not say, of a flavor or at all, is no declaration.
func (c Config) differences(declared []hub.Flavor, hubName string) (in []string) {
	if len(declared) == 0 {
		return nil
	}
	texts := c.outpostArgs().Flavors(hubName)
	offered := map[string]hub.Flavor{}
	for _, f := range texts {
		offered[f.Name] = hub.Flavor(f)
	}
	var names []string
	add := func(key string, f hub.Flavor, said, by string) {
		if said != "" && said != by {
			in = append(in, fmt.Sprintf("%s of %s is %q (the outpost: %q)", key, f.Name, said, by))
		}
	}
	for _, f := range declared {
		names = append(names, f.Name)
		of, ok := offered[f.Name]
		if !ok {
			continue
		}
		if f.DisplayName != f.Name { // which is what the form shows of a flavor without one
			add("displayName", f, f.DisplayName, of.DisplayName)
		}
		add("description", f, f.Description, of.Description)
	}
	slices.Sort(names)
	if texts == nil {
		return []string{fmt.Sprintf("it has %s (the outpost has no file of flavors: it takes any name, and limits "+
			"nothing by it)", inWords(names))}
	}
	if by := slices.Sorted(maps.Keys(offered)); !slices.Equal(names, by) {
		in = slices.Insert(in, 0, fmt.Sprintf("it has %s (the outpost: %s)", inWords(names), inWords(by)))
	}
	return in
}

// inWords are names of flavors or profiles. What does not print is escaped: those that another operator gave have not
// been checked.
func inWords(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strings.Trim(strconv.Quote(name), `"`)
	}
	return strings.Join(quoted, ", ")
}
