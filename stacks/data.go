package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// volume is a volume claim with data that must not be lost by mistake. What cannot be changed of a claim is part of it:
// another one would take its place, and an empty volume with it.
type volume struct {
	cluster.Object
	storageClass *string // as asked for; nil for the cluster's default
	accessModes  []string
	selector     map[string]any
	size         string
	keys         volumeKeys // of what config asks for
}

// volumeKeys are the keys of config that decide on a volume.
type volumeKeys struct{ storageClass, accessModes, selector, size string }

// volumes are the claims that a stack with this config has.
func (c Config) volumes() []volume {
	var all []volume
	if c.Hub != nil {
		all = append(all, c.Hub.volumes()...)
	}
	if c.Outpost != nil {
		all = append(all, c.Outpost.volumes()...)
	}
	return all
}

// database names the hub's data, also where they are in no volume of this stack.
func (h *HubConfig) database() cluster.Object {
	return cluster.Object{Namespace: h.Namespace, Name: hub.DatabaseClaim}
}

// database names the outpost's data, also where they are in no volume of this stack.
func (o *OutpostConfig) database() cluster.Object {
	return cluster.Object{Namespace: o.Namespace, Name: outpost.DatabaseClaim}
}

func (h *HubConfig) volumes() []volume {
	db := hub.Args{Values: h.Values}.Database()
	if db["type"] != "sqlite-pvc" {
		return nil
	}
	const pvc = "hub.values.hub.db.pvc."
	v := volume{
		Object: h.database(), accessModes: texts(at(db, "pvc", "accessModes")),
		keys: volumeKeys{pvc + "storageClassName", pvc + "accessModes", pvc + "selector", pvc + "storage"},
	}
	if class, is := at(db, "pvc", "storageClassName").(string); is {
		v.storageClass = &class
	}
	v.selector, _ = at(db, "pvc", "selector").(map[string]any)
	v.size, _ = at(db, "pvc", "storage").(string)
	return []volume{v}
}

func (o *OutpostConfig) volumes() []volume {
	p := o.Settings.Volume()
	if existing, _ := p["existingClaim"].(string); p["enabled"] != true || existing != "" {
		return nil
	}
	// The keys of our own win over those among the values.
	key := func(own bool, name string) string {
		if own || at(o.Values, "persistence", name) == nil {
			return "outpost.persistence." + name
		}
		return "outpost.values.persistence." + name
	}
	v := volume{
		Object: o.database(), accessModes: texts(p["accessModes"]),
		keys: volumeKeys{
			storageClass: key(o.Persistence.StorageClass != "", "storageClass"),
			accessModes:  "outpost.values.persistence.accessModes",
			size:         key(o.Persistence.Size != "", "size"),
		},
	}
	if class, _ := p["storageClass"].(string); class == "-" {
		v.storageClass = new(string) // as the chart has it
	} else if class != "" {
		v.storageClass = &class
	}
	v.size, _ = p["size"].(string)
	return []volume{v}
}

// texts are the texts of a list.
func texts(list any) []string {
	var all []string
	values, _ := list.([]any)
	for _, value := range values {
		if text, is := value.(string); is {
			all = append(all, text)
		}
	}
	return all
}

// namespaces are those that a stack with this config makes.
func (c Config) namespaces() []string {
	var all []string
	if c.Hub != nil {
		all = append(all, c.Hub.Namespace)
	}
	if c.Outpost != nil {
		all = append(all, c.Outpost.Namespace)
	}
	return all
}

// mayLose tells whether config lets the data of a volume go.
func (c Config) mayLose(claim cluster.Object) bool {
	return slices.Contains(c.AllowDataLoss, claim.String()) || c.mayLoseAll(claim.Namespace)
}

// mayLoseAll tells whether config lets everything in a namespace go. What is in it is more than this stack has made:
// users' homes and servers are made by the outpost, and an operator may have brought a volume of their own.
func (c Config) mayLoseAll(namespace string) bool {
	return slices.Contains(c.AllowDataLoss, everythingIn(namespace))
}

// everythingIn is the entry of allowDataLoss for a whole namespace.
func everythingIn(namespace string) string { return namespace + "/*" }

// lostNamespaces finds namespaces of the stack as it is that the stack as it should be does not have. It knows of no volume
// in them: users' homes are not in the state.
func (c Config) lostNamespaces(before state) []error {
	var errs []error
	for _, name := range before.namespaces {
		if !slices.Contains(c.namespaces(), name) && !c.mayLoseAll(name) {
			errs = append(errs, fmt.Errorf("namespace %s would be deleted with everything in it, users' homes and running servers too: by this config nothing uses it; "+
				"nothing was changed. To let all of it go, first run `up` with %q in %s:allowDataLoss and without this change", name, everythingIn(name), project))
		}
	}
	return errs
}

// at walks down nested maps; nil where there is nothing.
func at(m map[string]any, path ...string) any {
	var value any = m
	for _, key := range path {
		inner, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = inner[key]
	}
	return value
}

// lostVolumes finds volumes of the stack as it is that the stack as it should be would delete or replace.
func (c Config) lostVolumes(before state) []error {
	var errs []error
	next := map[cluster.Object]volume{}
	for _, v := range c.volumes() {
		next[v.Object] = v
	}
	for _, old := range before.volumes {
		if c.mayLose(old.Object) || !slices.Contains(c.namespaces(), old.Namespace) {
			continue // the second: lostNamespaces says so of the whole namespace
		}
		refuse := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("volume %s holds data and %s; nothing was changed. To let the data go, first run `up` with %q in %s:allowDataLoss and without this change",
				old.Object, fmt.Sprintf(format, args...), old.String(), project))
		}
		v, stays := next[old.Object]
		if !stays {
			refuse("would be deleted: by this config nothing uses it")
			continue
		}
		replaced := func(key string, wanted, has string) {
			refuse("would be replaced: %s:%s asks for %s, it has %s", project, key, wanted, has)
		}
		if wanted, has := className(v.storageClass), className(old.storageClass); wanted != has {
			replaced(v.keys.storageClass, wanted, has)
		}
		if !slices.Equal(v.accessModes, old.accessModes) {
			replaced(v.keys.accessModes, "access modes "+strings.Join(v.accessModes, ", "), strings.Join(old.accessModes, ", "))
		}
		if !(len(v.selector) == 0 && len(old.selector) == 0 || reflect.DeepEqual(v.selector, old.selector)) {
			replaced(v.keys.selector, "another selector", "its own")
		}
		if smaller(v.size, old.size) {
			replaced(v.keys.size, v.size, old.size)
		}
	}
	return errs
}

// className says which storage class was asked for.
func className(class *string) string {
	switch {
	case class == nil:
		return "the cluster's default storage class"
	case *class == "":
		return "no storage class"
	}
	return "storage class " + *class
}

// lostKeys finds keys that data are sealed with, or may be, and that the config does not list any more.
func (c Config) lostKeys(before state) []error {
	var errs []error
	if c.Hub != nil && !c.mayLose(c.Hub.database()) {
		errs = append(errs, before.hubSealing.lost("hub.rotation.authStateKey", credentials.Words(c.Hub.Rotation.AuthStateKey), c.Hub.database())...)
	}
	if c.Outpost != nil && !c.mayLose(c.Outpost.database()) {
		errs = append(errs, before.outpostSealing.lost("outpost.rotation.cryptKey", credentials.Words(c.Outpost.Rotation.CryptKey), c.Outpost.database())...)
	}
	return errs
}

// lost finds what is wrong with words that take the place of those from before. A run that was killed, or that failed,
// may have left data of which the key before has sealed a part and the new key another. Then both must stay, and no other
// key may come in front until the new one has sealed everything: else nobody would know which ones are needed.
func (s sealing) lost(key string, words credentials.Words, data cluster.Object) []error {
	words = words.OrFirst()
	needed := s.seeds
	if s.by != "" {
		needed = slices.Compact([]string{s.by, s.with})
	}
	var errs []error
	for _, word := range needed {
		switch {
		case slices.Contains(words, word):
		case s.by == s.with:
			errs = append(errs, fmt.Errorf("%s:%s: %q is missing: %s is sealed with it; nothing was changed. Put a new word in front of it, "+
				"and take it away after the `up` that brought the new one", project, key, word, data))
		default:
			errs = append(errs, fmt.Errorf("%s:%s: %q is missing: the `up` that brought %q has not come through, so %s may be sealed with either; "+
				"nothing was changed. Put it back, and take it away after an `up` that has", project, key, word, s.with, data))
		}
	}
	if s.by != "" && s.by != s.with && slices.Contains(words, s.with) && words[0] != s.with {
		errs = append(errs, fmt.Errorf("%s:%s: %q must be in front: the `up` that brought it has not come through, so %s may be sealed with it in part; "+
			"nothing was changed. Put it in front until an `up` has", project, key, s.with, data))
	}
	return errs
}
