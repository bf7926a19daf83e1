// Package site checks what an operator says in all files of an outpost together: spawner options of every layer, every
// profile with its choices, and every flavor, with the plan of a start for each.
package site

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Site is what the files of one outpost say, each checked by itself ([config.ParseFile], [flavor.Parse]).
type Site struct {
	Namespace string          // of the servers, unless an option says otherwise
	Spawner   map[string]any  // options for all hubs
	Hubs      []outpost.Hub   // that may log in, with their options; none for one without options
	Flavors   *flavor.Flavors // nil for none
}

// File is one of an operator's files.
type File int

// The files that faults are in.
const (
	Config File = iota
	Flavors
)

// Fault is one thing that is wrong with a site.
type Fault struct {
	File File
	Key  string // "spawner.profile_list[0].kubespawner_override.mem_limit"
	Text string
}

// Check returns everything that is wrong, in the order of files and keys.
func (s Site) Check() []Fault {
	c := checker{found: map[Fault]bool{}}
	general := c.layer(Config, "spawner", s.Spawner)
	hubs := slices.Clone(s.Hubs)
	if len(hubs) == 0 {
		hubs = []outpost.Hub{{Name: "hub"}}
	}
	plans := []plan{}
	for i, hub := range hubs {
		hubs[i].Options = nil
		c.allowed(hub)
		layers := []layer{general}
		if len(hub.Options) > 0 {
			own := c.layer(Config, "hubs."+hub.Name+".spawner", hub.Options)
			hubs[i].Options = own.Values
			layers = append(layers, own)
		}
		plans = append(plans, plan{hub: hubs[i], namespace: cmp.Or(s.Namespace, "default"), layers: layers})
	}
	for _, p := range plans {
		c.try(p, true)
	}
	of := map[string][]layer{} // by the names of flavors
	for _, f := range s.Flavors.All() {
		resources, _ := f.Own["resources"].(map[string]any)
		own := c.layer(Flavors, f.Key+".resources", resources)
		layers := append(slices.Clone(of[f.Name]), own)
		if of[f.Name] == nil { // else it is an override
			of[f.Name] = layers
		}
		for _, p := range plans {
			p.flavor, p.layers = f.Flavor, append(slices.Clone(p.layers), layers...)
			c.try(p, own.Values["profile_list"] != nil)
		}
	}
	return slices.SortedFunc(maps.Keys(c.found), func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text))
	})
}

// Reason says whether a user may start something, limits aside, and by which rule.
type Reason struct {
	Kind, Name string // "flavor", "gpu"; the system has no name
	Open       bool
	Why        string
}

// Explain returns the reasons for what a user of one of the hubs may start: the system, each flavor, each profile, each
// of the shared data, and the globs of images of their own, none where the hub may send no image.
// Authentication is decoded JSON, nil or an object; else the error is [flavor.ErrAuthentication].
func (s Site) Explain(hub outpost.Hub, authentication any) ([]Reason, error) {
	groups := access.GroupsOf(authentication)
	all := []Reason{{"system", "", hub.Access.Allows(groups), hub.Access.Explain(groups)}}
	flavors, err := s.Flavors.Explain(hub.Name, authentication)
	for _, r := range flavors {
		all = append(all, Reason{"flavor", r.Flavor, r.Open, r.Why})
	}
	merged := options.MergeLayer(s.Spawner, hub.Options)
	for _, profile := range options.Access(merged["profile_list"]) {
		all = append(all, Reason{"profile", profile.Slug, profile.Allows(groups), profile.Explain(groups)})
	}
	for _, data := range options.AccessToShared(merged["shared"]) {
		all = append(all, Reason{"data", data.Name, data.Allows(groups), data.Explain(groups)})
	}
	why := "allowedImages of the hub has it"
	if len(hub.AllowedImages) == 0 {
		why = "the hub has no allowedImages"
	}
	for _, glob := range hub.Images() {
		all = append(all, Reason{"image", glob, true, why})
	}
	return all, err
}

// Setting is the value of an option in one layer.
type Setting struct {
	File  File
	Key   string // "spawner.namespace"
	Value any
}

// Settings returns every value that the files give to an option, in whatever layer: for all hubs, for one, in a profile
// or a choice of one, in a flavor or an override of one.
func (s Site) Settings(option string) []Setting {
	var all []Setting
	add := func(file File, key string, values map[string]any) {
		layers := []options.Layer{{Key: key, Values: values}}
		for _, override := range options.Overrides(values["profile_list"]) {
			layers = append(layers, options.Layer{Key: key + "." + override.Key, Values: override.Values})
		}
		for _, l := range layers {
			if value, set := l.Values[option]; set {
				all = append(all, Setting{file, l.Key + "." + option, value})
			}
		}
	}
	add(Config, "spawner", s.Spawner)
	for _, hub := range s.Hubs {
		add(Config, "hubs."+hub.Name+".spawner", hub.Options)
	}
	for _, f := range s.Flavors.All() {
		resources, _ := f.Own["resources"].(map[string]any)
		add(Flavors, f.Key+".resources", resources)
	}
	return all
}

// Unused returns what the files say without any effect, but for null: options that an outpost accepts from files
// written for a hub, and images for a hub that may not choose one.
func (s Site) Unused() (all []Fault) {
	for _, option := range options.Idle() {
		for _, setting := range s.Settings(option) {
			if setting.Value != nil {
				all = append(all, Fault{setting.File, setting.Key, "has no effect in an outpost"})
			}
		}
	}
	for _, hub := range s.Hubs {
		if len(hub.AllowedImages) > 0 && !hub.Lists("image") {
			all = append(all, Fault{
				Config, "hubs." + hub.Name + ".allowedImages", "has no effect while allowedOptions does not list image",
			})
		}
	}
	return all
}

// Raised returns the limits that a profile sets higher than a flavor: the profile is the later layer, so that its limit
// holds for whoever picks both.
func (s Site) Raised() (all []Fault) {
	for _, option := range options.LimitOptions {
		var limits, profiles []Setting
		for _, set := range s.Settings(option) {
			if strings.Contains(set.Key, ".profile_list[") {
				profiles = append(profiles, set)
			} else if set.File == Flavors {
				limits = append(limits, set)
			}
		}
		for _, set := range profiles {
			var below []string
			for _, limit := range limits {
				if options.Raises(option, limit.Value, set.Value) {
					below = append(below, strings.TrimSuffix(limit.Key, ".resources."+option))
				}
			}
			if len(below) > 0 {
				all = append(all, Fault{set.File, set.Key, "is more than " + strings.Join(below, ", ") +
					" allow; the profile's limit holds for whoever picks both"})
			}
		}
	}
	return all
}

// OpenEnded returns the expressions for values of users that say nothing of how they end. KubeSpawner's form holds them
// against the whole value, but a start by its API, and an outpost, only against the beginning.
func (s Site) OpenEnded() (all []Fault) {
	for _, set := range s.Settings("profile_list") {
		for _, key := range options.OpenEnded(set.Value) {
			all = append(all, Fault{
				set.File, strings.TrimSuffix(set.Key, "profile_list") + key,
				"lets anything follow what it matches; end it with $, or with .* if that is meant",
			})
		}
	}
	return all
}

// layer is a layer of options in a file.
type layer struct {
	options.Layer
	file File
}

// plan is a start to be tried: of a hub, with the layers that it has, the flavor's among them.
type plan struct {
	namespace string
	hub       outpost.Hub
	flavor    flavor.Flavor
	layers    []layer // the first is the general one
}

// withoutProfiles is the plan without any profile list.
func (p plan) withoutProfiles() plan {
	without := func(values map[string]any) map[string]any {
		values = maps.Clone(values)
		delete(values, "profile_list")
		return values
	}
	p.layers = slices.Clone(p.layers)
	for i := range p.layers {
		p.layers[i].Values = without(p.layers[i].Values)
	}
	p.hub.Options = without(p.hub.Options)
	if resources, ok := p.flavor["resources"].(map[string]any); ok {
		p.flavor = maps.Clone(p.flavor)
		p.flavor["resources"] = without(resources)
	}
	return p
}

// checker collects faults; one that several plans have counts once.
type checker struct{ found map[Fault]bool }

// allowed checks the names of the options that a hub may set.
func (c *checker) allowed(hub outpost.Hub) {
	for i, name := range hub.AllowedOptions {
		var p options.Problems
		if name != "*" && !options.CheckName(name, &p) {
			key := fmt.Sprintf("hubs.%s.allowedOptions[%d]", hub.Name, i)
			c.found[Fault{Config, key, fmt.Sprintf("%q: %s", name, p.All()[0].Text)}] = true
		}
	}
}

// layer checks the options of one layer and returns those that are right.
func (c *checker) layer(file File, key string, values map[string]any) layer {
	var p options.Problems
	checked := options.Check(values, &p)
	for _, problem := range p.All() {
		c.found[Fault{file, key + "." + problem.Name, problem.Text}] = true
	}
	return layer{options.Layer{Key: key, Values: checked}, file}
}

// try plans a start for each choice of the profiles, or for the initial ones alone. Without profiles it plans one.
func (c *checker) try(p plan, every bool) {
	var list any
	var of layer // that has the profiles
	for _, l := range p.layers {
		if l.Values["profile_list"] != nil {
			list, of = l.Values["profile_list"], l
		}
	}
	selections := options.Selections(list)
	if len(selections) == 0 { // there are no profiles, or nobody can tell what users write
		p, selections = p.withoutProfiles(), []options.Selection{{}}
	}
	if !every && !options.LiftsLimits(list) {
		selections = selections[:1]
	}
	for _, s := range selections {
		layers := slices.Clone(p.layers)
		for _, chosen := range s.Layers {
			chosen.Key = of.Key + "." + chosen.Key
			layers = append(layers, layer{chosen, of.file})
		}
		trial := kubespawner.Trial{
			Namespace: p.namespace, General: p.layers[0].Values, Hub: p.hub, Flavor: p.flavor, Selection: s,
		}
		for _, problem := range trial.Problems() {
			if problem.Source == "" { // else it is of one layer by itself
				c.found[faultOf(problem, layers)] = true
			}
		}
	}
}

// aliases are options by the names that problems of plans give them.
var aliases = map[string]string{"env": "environment", "extra_labels and common_labels": "extra_labels"}

// faultOf places a problem of a plan in the topmost layer that sets the option.
func faultOf(problem options.Problem, layers []layer) Fault {
	name := cmp.Or(aliases[problem.Name], problem.Name)
	option, _, _ := strings.Cut(name, "[")
	option, _, _ = strings.Cut(option, ".")
	for _, option := range []string{option, "pod_overlay", "extra_pod_config", "extra_container_config"} {
		for _, l := range slices.Backward(layers) {
			if _, set := l.Values[option]; set {
				at := option
				if strings.HasPrefix(name, option) {
					at = name
				}
				return Fault{l.file, l.Key + "." + at, problem.Text}
			}
		}
	}
	return Fault{layers[0].file, layers[0].Key + "." + name, problem.Text}
}
