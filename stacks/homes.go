package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/values"
)

// settleHomes decides what is kept of servers if config does not say so: a home for each user. An operator who deals
// with storage in their own options is left alone. So is an outpost that has kept nothing so far while the cluster has
// no class for homes, or may not be asked: it goes on without them, and warned says so.
func (c *Config) settleHomes(ctx context.Context, api clusterAPI, before state) (warned []string, err error) {
	o := c.Outpost
	if o == nil || o.Homes != nil || c.outpostArgs().OwnStorage() != "" {
		return nil, nil
	}
	o.Homes = outpost.DefaultHomes()
	if before.outpost.namespace == "" || before.homes || !c.outpostArgs().HomesClass() {
		return nil, nil
	}
	names, hasDefault, known, err := api.StorageClasses(ctx)
	if err != nil || hasDefault {
		return nil, err
	}
	o.Homes = nil
	if !known {
		return []string{project + ":outpost.homes is missing, and the storage classes may not be read, so that " +
			"servers go on without homes; set homes: {size: 10Gi}, with storageClass: NAME unless one is the " +
			"default, or homes: none"}, nil
	}
	return []string{fmt.Sprintf("%s:outpost.homes is missing, and no storage class is the default, so that servers go "+
		"on without homes; name a class (homes: {storageClass: NAME}), or set homes: none. The cluster has %s",
		project, choice(names))}, nil
}

// validateHomes finds homes that are said twice, and culling that would remove files nobody has another copy of.
func (c Config) validateHomes(f *faults) {
	o := c.Outpost
	none := o.Homes == outpost.NoHomes
	f.addNoEffect("outpost.homes", o.Homes != nil && values.At(o.Config, "spawner", "homes") != nil,
		"outpost.config.spawner.homes says what homes are; remove one of them")
	f.addNoEffect("outpost.temporaryServers", o.TemporaryServers && !none, "it is for %s:outpost.homes: none", project)
	if c.Hub != nil && none && !o.TemporaryServers && c.Hub.culls() {
		f.add("outpost.homes: none, but the hub ends idle servers, and their files with them; set %[1]s:outpost."+
			"temporaryServers: true if that is meant, or %[1]s:hub.values.cull.enabled: false", project)
	}
}

// culls reports whether the hub ends idle servers.
func (h HubConfig) culls() bool { return values.At(h.Values, "cull", "enabled") != false }

// noHomeClass finds homes of the cluster's default storage class where no class is the default.
func (c Config) noHomeClass(ctx context.Context, api clusterAPI) []error {
	if c.Outpost == nil || !c.outpostArgs().HomesClass() {
		return nil
	}
	has, missing, err := missingClass(ctx, api)
	if err != nil {
		return []error{err}
	}
	if !missing {
		return nil
	}
	return []error{fmt.Errorf("%s:outpost.homes: users' homes ask for the cluster's default storage class, but none "+
		"is the default; nothing was changed. Name a class there (homes: {storageClass: NAME}), make one the default, "+
		"or keep nothing of servers (homes: none); the cluster has %s", project, has)}
}

// missingClass reports whether no storage class is the default, and says which there are. Where that may not be read,
// none is missing.
func missingClass(ctx context.Context, api clusterAPI) (has string, missing bool, err error) {
	names, hasDefault, known, err := api.StorageClasses(ctx)
	if err != nil || !known || hasDefault {
		return "", false, err
	}
	return choice(names), true, nil
}

// choice are the storage classes, of which none is the default, in words.
func choice(names []string) string {
	if len(names) == 0 {
		return "no storage class"
	}
	return "only " + strings.Join(names, ", ")
}
