package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/values"
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
		Object: h.database(), accessModes: stringsOf(values.At(db, "pvc", "accessModes")),
		keys: volumeKeys{pvc + "storageClassName", pvc + "accessModes", pvc + "selector", pvc + "storage"},
	}
	if class, is := values.At(db, "pvc", "storageClassName").(string); is {
		v.storageClass = &class
	}
	v.selector, _ = values.At(db, "pvc", "selector").(map[string]any)
	v.size, _ = values.At(db, "pvc", "storage").(string)
	return []volume{v}
}

func (o *OutpostConfig) volumes() []volume {
	p := o.Settings.Volume()
	if existing, _ := p["existingClaim"].(string); p["enabled"] != true || existing != "" {
		return nil
	}
	// The keys of our own win over those among the values.
	key := func(own bool, name string) string {
		if own || values.At(o.Values, "persistence", name) == nil {
			return "outpost.persistence." + name
		}
		return "outpost.values.persistence." + name
	}
	v := volume{
		Object: o.database(), accessModes: stringsOf(p["accessModes"]),
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

// noDefaultClass finds new volumes of the cluster's default storage class where no class is the default.
func (c Config) noDefaultClass(ctx context.Context, api clusterAPI, before state) []error {
	wanted := slices.DeleteFunc(c.volumes(), func(v volume) bool {
		return v.storageClass != nil ||
			slices.ContainsFunc(before.volumes, func(old volume) bool { return old.Object == v.Object })
	})
	if len(wanted) == 0 {
		return nil
	}
	has, missing, err := missingClass(ctx, api)
	if err != nil {
		return []error{err}
	}
	if !missing {
		return nil
	}
	var errs []error
	for _, v := range wanted {
		errs = append(errs, fmt.Errorf(
			"%s:%s: volume %s asks for the cluster's default storage class, but none is the default; nothing was "+
				"changed. Name a class there, or make one the default; the cluster has %s",
			project, v.keys.storageClass, v.Object, has))
	}
	return errs
}

// stringsOf are the strings of a list.
func stringsOf(list any) []string {
	var all []string
	items, _ := list.([]any)
	for _, value := range items {
		if text, is := value.(string); is {
			all = append(all, text)
		}
	}
	return all
}

// namespaces are those of a stack with this config.
func (c Config) namespaces() []string {
	var all []string
	for _, p := range c.places() {
		all = append(all, p.namespace)
	}
	return all
}
