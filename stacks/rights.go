package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/values"
)

// rule is what must be allowed in a namespace, as in a Role.
type rule struct {
	Groups    []string `json:"apiGroups"`
	Resources []string `json:"resources"`
	Names     []string `json:"resourceNames,omitempty"`
	Verbs     []string `json:"verbs"`
}

var (
	// manage is what the provider does with an object: it looks, applies, and watches it until it is gone.
	manage = []string{"get", "list", "watch", "create", "patch", "delete"}
	watch  = []string{"get", "list", "watch"}
)

// Groups of the API.
const (
	coreGroup       = ""
	appsGroup       = "apps"
	batchGroup      = "batch"
	networkingGroup = "networking.k8s.io"
	policyGroup     = "policy"
	rbacGroup       = "rbac.authorization.k8s.io"
	leasesGroup     = "coordination.k8s.io"
	gatewayGroup    = cluster.GatewayAPI
)

func allow(group string, verbs []string, resources ...string) rule {
	return rule{Groups: []string{group}, Resources: resources, Verbs: verbs}
}

// installation is what installing a chart needs in its namespace: its objects, and what a Deployment is waited for by.
var installation = []rule{
	allow(coreGroup, manage, "configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services"),
	allow(appsGroup, manage, "deployments"),
	allow(networkingGroup, manage, "networkpolicies"),
	allow(policyGroup, manage, "poddisruptionbudgets"),
	allow(rbacGroup, manage, "roles", "rolebindings"),
	allow(appsGroup, watch, "replicasets"),
	allow(coreGroup, watch, "pods"),
}

// What the Roles of a chart give, which only somebody who has it may give.
var (
	givenToHub = []rule{
		allow(coreGroup, []string{"create", "delete"}, "pods"),
		allow(coreGroup, append(slices.Clip(watch), "create"), "events"),
	}
	givenToOutpost = []rule{
		allow(coreGroup, []string{"get", "list", "watch", "create", "delete"}, "pods"),
		allow(coreGroup, []string{"get"}, "pods/log"),
		allow(coreGroup, []string{"update"}, "pods/finalizers"),
		allow(coreGroup, []string{"list", "watch"}, "events"),
		allow(coreGroup, []string{"get", "create", "delete"}, "services"),
		allow(coreGroup, []string{"get", "create", "patch", "delete"}, "secrets"),
		allow(coreGroup, []string{"get", "create"}, "persistentvolumeclaims"),
		allow(coreGroup, []string{"get"}, "configmaps", "serviceaccounts"),
	}
)

// rights are what an operator of this stack must be allowed, by namespace; "" is the whole cluster. It is the one list
// of this: preflight asks for it, and `stacks rights` prints it. before is what is there already; exposures are how the
// outpost is reached, or may be.
func (c Config) rights(before state, exposures ...outpost.Exposure) map[string][]rule {
	all := map[string][]rule{}
	for _, p := range c.places() {
		if !before.hasNamespace(p.namespace) && c.options(p.key).isMade() {
			all[""] = []rule{allow(coreGroup, manage, "namespaces")}
		}
		look := allow(coreGroup, []string{"get"}, "namespaces")
		look.Names = []string{p.namespace}
		all[p.namespace] = append(all[p.namespace], look)
	}
	if c.Hub != nil {
		all[c.Hub.Namespace] = slices.Concat(
			all[c.Hub.Namespace], installation, givenToHub, routed(c.Hub.Exposure.Type, false),
			[]rule{bind("hub", hub.TunnelsDeployment)})
	}
	if c.Outpost != nil {
		all[c.Outpost.Namespace] = slices.Concat(all[c.Outpost.Namespace], installation, c.Outpost.given())
		all[c.Outpost.Namespace] = append(all[c.Outpost.Namespace],
			bind(outpost.Release, outpost.Release+"-namespace", outpost.Release+"-leader"))
		for _, e := range exposures {
			all[c.Outpost.Namespace] = append(all[c.Outpost.Namespace], routed(e.Type, e.SSHGateway != nil)...)
		}
		for _, name := range c.serverNamespaces() {
			all[name] = slices.Concat(all[name], givenToOutpost, c.Outpost.givenOfServers(), []rule{
				allow(rbacGroup, manage, "roles", "rolebindings"),
				allow(networkingGroup, manage, "networkpolicies"),
			})
			if name != c.Outpost.Namespace {
				all[name] = append(all[name], bind(outpost.Release))
			}
		}
	}
	for namespace, rules := range all {
		all[namespace] = distinct(rules)
	}
	return all
}

// routed are the rights to what an exposure of some type goes by.
func routed(kind string, sshGateway bool) []rule {
	var all []rule
	switch kind {
	case exposure.Ingress:
		all = append(all, allow(networkingGroup, manage, "ingresses"))
	case exposure.Gateway:
		all = append(all, allow(gatewayGroup, manage, "httproutes"))
	}
	if sshGateway {
		all = append(all, allow(gatewayGroup, manage, "tcproutes"))
	}
	return all
}

// distinct are rules of which none allows what one before it does.
func distinct(rules []rule) []rule {
	type object struct{ group, resource string }
	allowed, all := map[object][]string{}, []rule{}
	for _, r := range rules {
		for _, resource := range r.Resources {
			at := object{r.Groups[0], resource}
			verbs := slices.DeleteFunc(slices.Clone(r.Verbs), func(verb string) bool {
				return slices.Contains(allowed[at], verb)
			})
			if len(verbs) == 0 {
				continue
			}
			if len(r.Names) == 0 {
				allowed[at] = append(allowed[at], verbs...)
			}
			last := len(all) - 1
			alike := last >= 0 && at.group == all[last].Groups[0] && slices.Equal(verbs, all[last].Verbs)
			if alike && len(r.Names) == 0 {
				all[last].Resources = append(slices.Clip(all[last].Resources), resource)
				continue
			}
			all = append(all, rule{Groups: r.Groups, Resources: []string{resource}, Names: r.Names, Verbs: verbs})
		}
	}
	return all
}

// given are rights of the outpost in its own namespace, and its objects there, that its values ask for.
func (o *OutpostConfig) given() []rule {
	var all []rule
	replicas, _ := values.At(o.Values, "replicaCount").(float64)
	if len(o.volumes()) == 0 || replicas > 1 {
		all = append(all, allow(leasesGroup, []string{"get", "create", "update"}, "leases"))
	}
	if values.At(o.Values, "prePuller", "enabled") == true {
		all = append(all, allow(appsGroup, manage, "daemonsets"))
	}
	if values.At(o.Values, "backup", "enabled") == true {
		all = append(all, allow(batchGroup, manage, "cronjobs"))
	}
	return all
}

// givenOfServers are rights of the outpost where it starts servers that its values ask for.
func (o *OutpostConfig) givenOfServers() []rule {
	if values.At(o.Values, "rbac", "homes") == true {
		return []rule{allow(coreGroup, []string{"list", "delete"}, "persistentvolumeclaims")}
	}
	return nil
}

// serverNamespaces are those in which the outpost starts servers, with its own, where the chart may let it too.
func (c Config) serverNamespaces() []string {
	all := slices.Collect(maps.Keys(c.outpostArgs().Namespaces()))
	all = append(all, c.Outpost.Namespace, cmp.Or(c.Outpost.Servers, c.Outpost.Namespace))
	slices.Sort(all)
	return slices.Compact(all)
}

// bind lets the charts' RoleBindings be previewed before their Roles are there: otherwise the API server looks at what
// is in those.
func bind(roles ...string) rule {
	return rule{Groups: []string{rbacGroup}, Resources: []string{"roles"}, Names: roles, Verbs: []string{"bind"}}
}

// each is a rule as single rights in a namespace.
func (r rule) each(namespace string) []cluster.Right {
	names := r.Names
	if len(names) == 0 {
		names = []string{""} // of any
	}
	var all []cluster.Right
	for _, resource := range r.Resources {
		for _, verb := range r.Verbs {
			for _, name := range names {
				all = append(all, cluster.Right{
					Namespace: namespace, Group: r.Groups[0], Resource: resource, Name: name, Verb: verb,
				})
			}
		}
	}
	return all
}

// missingRights finds what the operator may not do of what this stack needs, and says all of it at once: a line for
// each namespace.
func (c Config) missingRights(ctx context.Context, api clusterAPI, before state, shown outpostIdentity) []error {
	needed := c.rights(before, shown.exposure)
	var all []cluster.Right
	for _, namespace := range slices.Sorted(maps.Keys(needed)) {
		for _, r := range needed[namespace] {
			for _, right := range r.each(namespace) {
				if !slices.Contains(all, right) {
					all = append(all, right)
				}
			}
		}
	}
	missing, err := api.Missing(ctx, all)
	if err != nil {
		return []error{err}
	}
	if len(missing) == 0 {
		return nil
	}
	in := map[string][]cluster.Right{}
	for _, right := range missing {
		in[right.Namespace] = append(in[right.Namespace], right)
	}
	var lines strings.Builder
	for _, namespace := range slices.Sorted(maps.Keys(in)) {
		where := "in namespace " + namespace
		if namespace == "" {
			where = "in the cluster, unless the namespaces are there and " + strings.Join(c.createKeys(), ", ") +
				" are false"
		}
		fmt.Fprintf(&lines, "\n  %s: %s", where, strings.Join(summary(in[namespace]), "; "))
	}
	return []error{fmt.Errorf("%s:cluster: the user of %s lacks rights; nothing was changed. `make rights STACK=... "+
		"SUBJECT=...` prints Roles with them, for the cluster's admin. Missing are:%s", project, c.Cluster, &lines)}
}

// summary is rights in one namespace in words: the verbs, then the resources that lack just these.
func summary(rights []cluster.Right) []string {
	verbs, resources := map[string][]string{}, []string{}
	for _, right := range rights {
		resource := strings.TrimSuffix(right.Resource+"."+right.Group, ".")
		if verbs[resource] == nil {
			resources = append(resources, resource)
		}
		if !slices.Contains(verbs[resource], right.Verb) {
			verbs[resource] = append(verbs[resource], right.Verb)
		}
	}
	alike, order := map[string][]string{}, []string{}
	for _, resource := range resources {
		lacks := strings.Join(verbs[resource], ", ")
		if alike[lacks] == nil {
			order = append(order, lacks)
		}
		alike[lacks] = append(alike[lacks], resource)
	}
	for i, lacks := range order {
		order[i] = lacks + " " + strings.Join(alike[lacks], ", ")
	}
	return order
}
