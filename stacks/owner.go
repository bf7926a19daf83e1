package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// anyServer selects the pods and the Services of single-user servers.
const anyServer = "component=singleuser-server"

// place is a namespace of a stack and what an installation in it consists of.
type place struct {
	key       string // of config
	namespace string
	parts     []cluster.Part
}

// places are the namespaces of a stack with this config.
func (c Config) places() []place {
	var all []place
	if c.Hub != nil {
		all = append(all, place{hubNamespace, c.Hub.Namespace, []cluster.Part{
			{Kind: cluster.Deployment, Name: "hub"},
			{Kind: cluster.Secret, Name: hub.KeysSecret},
			{Kind: cluster.Claim, Name: hub.DatabaseClaim},
		}})
	}
	if c.Outpost != nil {
		// Before the outpost's own: see settleServers.
		if c.Outpost.Servers != "" && c.Outpost.Servers != c.Outpost.Namespace {
			all = append(all, place{serverNamespace, c.Outpost.Servers, nil})
		}
		all = append(all, place{outpostNamespace, c.Outpost.Namespace, []cluster.Part{
			{Kind: cluster.Deployment, Name: outpost.Release},
			{Kind: cluster.Secret, Name: outpost.CryptSecret},
			{Kind: cluster.Claim, Name: outpost.DatabaseClaim},
		}})
	}
	return all
}

// foreign says what of somebody else's is in a namespace, and how many servers run there; empty if it is free or this
// stack's own. A namespace that was made beforehand, with nothing of an installation in it, is free.
//
// The engine writes a namespace to the state before anything is made in it. So what is in a namespace that the state
// lacks was not made by this state, even if the namespace is marked with this stack's name.
func (p place) foreign(ctx context.Context, api clusterAPI, before state) (string, error) {
	owner, exists, err := api.Owner(ctx, p.namespace)
	if err != nil || !exists {
		return "", err
	}
	if !before.owns(p.namespace, owner) && !before.shares(p.namespace) {
		return p.withServers(ctx, api, "belongs to stack "+owner)
	}
	if before.hasNamespace(p.namespace) {
		return "", nil
	}
	present, err := api.Present(ctx, p.namespace, p.parts)
	if err != nil || len(present) == 0 {
		return "", err
	}
	names := make([]string, len(present))
	for i, part := range present {
		names[i] = part.String()
	}
	return p.withServers(ctx, api, "has "+strings.Join(names, ", ")+", which this stack's state does not know")
}

// owns reports whether a mark of a namespace leaves that to this stack: there is none, or it names this stack, also by
// the name that the stack had when it made it.
func (s state) owns(namespace, owner string) bool {
	return owner == "" || owner == s.self || owner == cmp.Or(s.namespaces[namespace], s.marks[namespace])
}

// shares reports whether the stack is in a namespace that somebody else has made since before there were marks: another
// stack may be there too.
func (s state) shares(namespace string) bool {
	_, made := s.namespaces[namespace]
	_, marked := s.marks[namespace]
	return s.hasNamespace(namespace) && !made && !marked
}

// target is what the stack does with namespaces: which it makes, and of those that somebody else has made, which it
// marks.
func (c Config) target(ctx context.Context, api clusterAPI, before state) (cluster.Args, error) {
	args := cluster.Args{Namespaces: c.made(), Found: map[string]string{}, Owner: before.self}
	for _, name := range c.found() {
		uid, err := api.NamespaceUID(ctx, name)
		if err != nil {
			return cluster.Args{}, err
		}
		owner, _, err := api.Owner(ctx, name)
		if err != nil {
			return cluster.Args{}, err
		}
		args.Found[name] = uid
		if before.owns(name, owner) || slices.Contains(c.Adopt, name) {
			args.Marked = append(args.Marked, name)
		}
	}
	return args, nil
}

// withServers adds the number of servers that run in a namespace to what is said of it.
func (p place) withServers(ctx context.Context, api clusterAPI, said string) (string, error) {
	count, err := api.CountPods(ctx, p.namespace, anyServer)
	if err != nil {
		return "", fmt.Errorf("count the servers in namespace %s: %w", p.namespace, err)
	}
	return fmt.Sprintf("%s; %d servers run there", said, count), nil
}

// foreignPlaces finds namespaces of this config that are somebody else's, unless they are to be adopted.
func (c Config) foreignPlaces(ctx context.Context, api clusterAPI, before state) []error {
	var errs []error
	for _, p := range c.places() {
		if slices.Contains(c.Adopt, p.namespace) {
			continue
		}
		foreign, err := p.foreign(ctx, api, before)
		if foreign != "" {
			err = fmt.Errorf(
				"%s:%s: namespace %s of %s %s; nothing was changed. Check %s:cluster.context and the backend "+
					"of this stack's state, or choose another namespace. To take this one over, with keys and "+
					"passwords of this stack, list it in %s:adopt",
				project, p.key, p.namespace, c.Cluster, foreign, project, project)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// adoptions says what this run takes over.
func (c Config) adoptions(ctx context.Context, api clusterAPI, before state) ([]string, error) {
	var all []string
	for _, p := range c.places() {
		if !slices.Contains(c.Adopt, p.namespace) {
			continue
		}
		foreign, err := p.foreign(ctx, api, before)
		if err != nil {
			return nil, err
		}
		text := "is this stack's own; remove the entry"
		if foreign != "" {
			text = foreign + "; it becomes this stack's, with keys and passwords of this stack"
		}
		all = append(all, fmt.Sprintf("%s:adopt: namespace %s %s", project, p.namespace, text))
	}
	return all, nil
}

// validateAdopt finds entries that are not namespaces of this config.
func (c Config) validateAdopt(f *faults) {
	has := c.namespaces()
	if c.Outpost != nil && c.Outpost.Servers == "" {
		has = append(has, c.Outpost.ownServers())
	}
	for i, name := range c.Adopt {
		if !slices.Contains(has, name) {
			f.add("adopt[%d]: %q is not a namespace of this config; it has: %s", i, name, strings.Join(has, ", "))
		}
	}
}
