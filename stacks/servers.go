package main

import (
	"context"
	"fmt"

	"github.com/outposts-dev/outposts/infra/values"
)

// ownServers is the namespace that the servers of a new outpost get.
func (o OutpostConfig) ownServers() string { return o.Namespace + "-servers" }

// settleServers decides in which namespace servers run if config does not say so: where they have been; those of a new
// outpost get one of their own.
//
// What tells are the namespaces. They are made before anything else, that of the servers before that of the outpost,
// and stay as long as something may be in them: a state with the outpost's alone is of an outpost whose servers, and
// whose users' homes, are there. So it is after a preview, after a run that was killed, and after a destroy that kept
// the data. A state without both says nothing; then the cluster tells the same, of an outpost whose state is lost, or
// that was no stack's.
func (c *Config) settleServers(ctx context.Context, api clusterAPI, before state) error {
	o := c.Outpost
	if o == nil || o.Servers != "" {
		return nil
	}
	own := o.ownServers()
	made, has := before.hasNamespace(o.Namespace), before.hasNamespace(own)
	if !made && !has {
		var err error
		if _, made, err = api.Owner(ctx, o.Namespace); err == nil {
			_, has, err = api.Owner(ctx, own)
		}
		if err != nil {
			return fmt.Errorf("%s:outpost.serverNamespace is missing, and its default is unknown: %w", project, err)
		}
	}
	return c.placeServers(made, has)
}

// placeServers sets the namespace of servers if config does not say it, by whether that of the outpost, and the default
// of theirs, are there.
func (c *Config) placeServers(made, has bool) error {
	o := c.Outpost
	if o == nil || o.Servers != "" {
		return nil
	}
	own := o.ownServers()
	taken := c.Hub != nil && c.Hub.Namespace == own
	switch {
	case o.placesServers(), made && (!has || taken):
		o.Servers = o.Namespace
	case taken:
		return fmt.Errorf("%s:outpost.serverNamespace is missing: its default, %q, is also %s:hub.namespace",
			project, own, project)
	case len(own) > maxLabel:
		return fmt.Errorf("%s:outpost.serverNamespace is missing: its default, %q, is longer than %d characters",
			project, own, maxLabel)
	default:
		o.Servers = own
	}
	return nil
}

// maxLabel is how long the name of a namespace may be: RFC 1123.
const maxLabel = 63

// placesServers reports whether the outpost's own options say where servers run.
func (o OutpostConfig) placesServers() bool {
	return values.At(o.Config, "spawner", "namespace") != nil ||
		values.At(o.Values, "config", "spawner", "namespace") != nil
}
