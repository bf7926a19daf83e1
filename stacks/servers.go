package main

import (
	"context"
	"fmt"
	"slices"
)

// Labels by which running servers are counted: the hub's module sets systemLabel on what it makes for a server, the
// outpost hubLabel on its pods, which is an annotation too.
const (
	systemLabel = "outposts.dev/system"
	hubLabel    = "outposts.dev/hub"
)

// lostServers finds running servers that nobody would know any more: those of systems that the hub would not have, and
// those of hubs that the outpost would not.
func (c Config) lostServers(ctx context.Context, api clusterAPI, before state) []error {
	return append(c.lostSystems(ctx, api, before), c.lostHubs(ctx, api, before)...)
}

func (c Config) lostSystems(ctx context.Context, api clusterAPI, before state) []error {
	if c.Hub == nil {
		return nil
	}
	var errs []error
	for _, name := range before.systems {
		if slices.ContainsFunc(c.Outposts, func(s SystemConfig) bool { return s.Name == name }) || slices.Contains(c.AllowServerLoss, name) {
			continue
		}
		running, err := api.CountServices(ctx, c.Hub.Namespace, map[string]string{systemLabel: name, "component": "singleuser-server"})
		// Where its pods are, if it was the one in this cluster.
		if in := before.outpost.namespace; err == nil && running == 0 && in != "" {
			running, err = api.CountPods(ctx, in, map[string]string{systemLabel: name, hubLabel: ""})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("count the servers of system %s: %w", name, err))
		} else if running > 0 {
			errs = append(errs, fmt.Errorf("system %s is not in %s:outposts any more, but %d of its servers run; nothing was changed. "+
				"Stop them, or add %q to %s:allowServerLoss", name, project, running, name, project))
		}
	}
	return errs
}

// lostHubs asks for all hubs at once, and only if one goes: a hub that is called otherwise than before is another hub, which
// sees none of the servers of the first.
func (c Config) lostHubs(ctx context.Context, api clusterAPI, before state) []error {
	gone := slices.DeleteFunc(slices.Clone(before.outpost.hubs), func(name string) bool {
		return slices.Contains(c.hubNames(), name) || slices.Contains(c.AllowServerLoss, name)
	})
	in := before.outpost.namespace
	if len(gone) == 0 || c.mayLoseAll(in) {
		return nil
	}
	running, err := api.CountPodsBy(ctx, in, hubLabel)
	if err != nil {
		return []error{fmt.Errorf("count the servers in namespace %s: %w", in, err)}
	}
	var errs []error
	for _, name := range gone {
		if running[name] > 0 {
			errs = append(errs, fmt.Errorf("hub %s may not ask the outpost in namespace %s any more (%s), but %d of its servers run there; nothing was changed. "+
				"Stop them, or add %q to %s:allowServerLoss", name, in, c.hubKeys(), running[name], name, project))
		}
	}
	return errs
}

// hubNames are the hubs that may ask the outpost of this stack. The stack's own hub is one even if the outpost goes: its
// servers are then those of a system that goes, which lostSystems counts.
func (c Config) hubNames() []string {
	var names []string
	if c.Hub != nil {
		names = append(names, c.Hub.Name)
	}
	for _, peer := range c.Hubs {
		names = append(names, peer.Name)
	}
	return names
}

// hubKeys are the keys of config that name hubs.
func (c Config) hubKeys() string {
	if c.Hub != nil {
		return fmt.Sprintf("it is neither %s:hub.name nor in %s:hubs", project, project)
	}
	return fmt.Sprintf("it is not in %s:hubs", project)
}
