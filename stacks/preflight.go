package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// clusterAPI is what a run asks the cluster before it writes to it, and what became of it. Implementation: cluster.API.
type clusterAPI interface {
	Identity(context.Context) (string, error)
	NamespaceUID(ctx context.Context, name string) (string, error)
	Missing(context.Context, []cluster.Right) ([]cluster.Right, error)
	Owner(ctx context.Context, namespace string) (stack string, exists bool, err error)
	HelmRelease(ctx context.Context, namespace string, parts []cluster.Part) (name string, recorded bool, err error)
	SecretData(ctx context.Context, at cluster.Object) (map[string]string, error)
	Present(ctx context.Context, namespace string, parts []cluster.Part) ([]cluster.Part, error)
	StorageClasses(context.Context) (names []string, hasDefault, known bool, err error)
	HasNamespace(ctx context.Context, name string) (bool, error)
	NodePorts(context.Context) (holders map[int]cluster.Object, known bool, err error)
	ServesRoutes(ctx context.Context, kind cluster.RouteKind, namespace string) (bool, error)
	Gateway(ctx context.Context, name cluster.Object) (found *cluster.Gateway, known bool, err error)
	Gateways(ctx context.Context, namespace string) ([]string, error)
	Route(ctx context.Context, kind cluster.RouteKind, name cluster.Object) (cluster.RouteStatus, error)
	Addresses(ctx context.Context, kind cluster.Balanced, name cluster.Object) ([]string, error)
	Rollout(ctx context.Context, name cluster.Object) (cluster.Rollout, error)
	CountServices(ctx context.Context, namespace, selector string) (int, error)
	CountPods(ctx context.Context, namespace, selector string) (int, error)
	CountPodsBy(ctx context.Context, namespace, annotation string) (map[string]int, error)
}

// identify returns what the cluster is known by, unless it is another one than last time: the uid of its namespace
// kube-system or, for somebody who may not read that, the uid of a namespace of the stack. A cluster stays known by
// what it was first known by, whoever looks.
func (c Config) identify(ctx context.Context, api clusterAPI, before state) (string, error) {
	uid, err := api.Identity(ctx)
	known := "kube-system"   // the namespace whose uid is the cluster's
	var here, hereUID string // a namespace of the stack
	var same bool
	if err == nil && (uid == "" || before.cluster() != uid) {
		here, hereUID, same, err = c.recognize(ctx, api, before)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf(
			"%s:cluster: %s: %w; nothing was changed. Check that the cluster is up and that it is the "+
				"one you mean", project, c.Cluster, err)
	case same:
		return before.cluster(), nil
	case uid == "" && before.cluster() != "" && c.Cluster.Adopt == "":
		return "", fmt.Errorf(
			"%s:cluster: %s cannot be told from another cluster than last time: namespace kube-system may not be "+
				"read, and no namespace of this config is one that this stack was in; nothing was changed. Check "+
				"%s:cluster",
			project, c.Cluster, project)
	case uid == "" && hereUID == "":
		return "", fmt.Errorf(
			"%s:cluster: %s: neither namespace kube-system nor a namespace of this config may be read; nothing was "+
				"changed. Have the namespaces made, with rights in them (make rights STACK=... SUBJECT=...), and set "+
				"%s to false",
			project, c.Cluster, strings.Join(c.createKeys(), ", "))
	case uid == "":
		known, uid = here, hereUID
	}
	if adopt := c.Cluster.Adopt; adopt != "" && adopt != uid {
		return "", fmt.Errorf(
			"%s:cluster.adopt: %s is another cluster: its namespace %s has uid %s, not %s; nothing "+
				"was changed. Check %s:cluster.context", project, c.Cluster, known, uid, adopt, project)
	}
	switch last := before.cluster(); {
	case last == "" || slices.Contains(before.clusters, uid) || last == uid:
	case c.Cluster.Adopt == "":
		return "", fmt.Errorf(
			"%s:cluster: %s is another cluster than last time: its namespace %s has uid %s, "+
				"this stack was made in %s; nothing was changed. Go back to the old cluster, or use a new stack for "+
				"the new one. To move the stack with its keys, see docs/adopt.md",
			project, c.Cluster, known, uid, last)
	case len(before.clusters) > 0:
		return "", fmt.Errorf(
			"%s:cluster.adopt: the state of this stack still has the objects of cluster %s; nothing was changed. "+
				"Leave its keys alone in the state: make export-keys import-keys STACK=...", project, last)
	}
	return uid, nil
}

// recognize returns a namespace of this config with its uid, if one may be read, and whether the stack was in it
// before.
func (c Config) recognize(
	ctx context.Context, api clusterAPI, before state,
) (name, uid string, same bool, err error) {
	for _, p := range c.places() {
		found, err := api.NamespaceUID(ctx, p.namespace)
		if err != nil {
			return "", "", false, err
		}
		if before.sameNamespace(p.namespace, found) {
			return p.namespace, found, true, nil
		}
		if uid == "" && found != "" {
			name, uid = p.namespace, found
		}
	}
	return name, uid, false, nil
}

// preflight finds what would go wrong, or lose something, before anything is registered. warned is about what is
// allowed but may be a mistake.
func preflight(
	ctx context.Context, c Config, api clusterAPI, before state, shown outpostIdentity,
) (warned []string, err error) {
	var errs []error
	errs = append(errs, c.checkCharts()...)
	errs = append(errs, c.missingRights(ctx, api, before, shown)...)
	errs = append(errs, c.foreignPlaces(ctx, api, before)...)
	errs = append(errs, c.helmFaults(ctx, api, before)...)
	errs = append(errs, c.notFound(ctx, api)...)
	errs = append(errs, c.missingNamespaces(ctx, api)...)
	errs = append(errs, c.takenNodePorts(ctx, api, shown)...)
	warned, unroutable := c.unroutable(ctx, api, shown)
	errs = append(errs, unroutable...)
	errs = append(errs, c.noDefaultClass(ctx, api, before)...)
	errs = append(errs, c.noHomeClass(ctx, api)...)
	errs = append(errs, c.lostNamespaces(before)...)
	errs = append(errs, c.lostVolumes(before)...)
	errs = append(errs, c.lostKeys(before)...)
	errs = append(errs, c.lostServers(ctx, api, before)...)
	return warned, errors.Join(errs...)
}

// checkCharts finds chart paths without a chart.
func (c Config) checkCharts() []error {
	if c.Hub == nil || c.Hub.Chart.Path == "" {
		return nil
	}
	path := c.Hub.Chart.Path
	text, err := os.ReadFile(filepath.Join(path, "Chart.yaml"))
	if err != nil {
		return []error{fmt.Errorf("%s:hub.chart.path: %s is not a chart: no Chart.yaml there", project, path)}
	}
	var chart struct{ Name string }
	if err := yaml.Unmarshal(text, &chart); err != nil || chart.Name == "" {
		return []error{fmt.Errorf("%s:hub.chart.path: %s is not a chart: Chart.yaml has no name", project, path)}
	}
	return nil
}

// notFound finds namespaces of this stack that somebody else should have made.
func (c Config) notFound(ctx context.Context, api clusterAPI) []error {
	var errs []error
	for _, p := range c.places() {
		if c.options(p.key).isMade() {
			continue
		}
		switch exists, err := api.HasNamespace(ctx, p.namespace); {
		case err != nil:
			errs = append(errs, err)
		case !exists:
			errs = append(errs, fmt.Errorf("%s:%s: namespace %s does not exist, and %s.create is false; have it made "+
				"first, or leave that out", project, p.key, p.namespace, p.key))
		}
	}
	return errs
}

// missingNamespaces finds namespaces of servers that neither exist nor are made by this stack: the chart gives the
// outpost rights in them.
func (c Config) missingNamespaces(ctx context.Context, api clusterAPI) []error {
	if c.Outpost == nil {
		return nil
	}
	keys := c.outpostArgs().Namespaces()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if slices.Contains(c.namespaces(), name) {
			continue
		}
		switch exists, err := api.HasNamespace(ctx, name); {
		case err != nil:
			errs = append(errs, err)
		case !exists:
			errs = append(errs, fmt.Errorf("%s:outpost.%s: namespace %s does not exist; make it first (kubectl create "+
				"namespace %s)", project, keys[name], name, name))
		}
	}
	return errs
}

// takenNodePorts finds node ports of the hub, and of what the outpost shows, that another Service holds.
func (c Config) takenNodePorts(ctx context.Context, api clusterAPI, shown outpostIdentity) []error {
	type wanted struct {
		key  string
		port int
		by   cluster.Object
		out  string
	}
	var all []wanted
	if c.Hub != nil && c.Hub.Exposure.Type == exposure.NodePort {
		all = append(all, wanted{
			"hub.exposure.nodePort", c.Hub.Exposure.NodePort,
			cluster.Object{Namespace: c.Hub.Namespace, Name: hub.Service},
			"choose another",
		})
	}
	if c.Outpost != nil {
		out := "choose another"
		if shown.from >= 0 {
			out = fmt.Sprintf("choose another at %s:outposts[].exposure there", project)
		}
		for _, service := range []struct {
			key  string
			port int
			name string
		}{
			{"apiNodePort", shown.exposure.APINodePort, outpost.Release},
			{"sshNodePort", shown.exposure.SSHNodePort, outpost.SSHService},
		} {
			by := cluster.Object{Namespace: c.Outpost.Namespace, Name: service.name}
			all = append(all, wanted{c.exposureKey(shown, service.key), service.port, by, out})
		}
	}
	all = slices.DeleteFunc(all, func(w wanted) bool { return w.port == 0 })
	if len(all) == 0 {
		return nil
	}
	holders, known, err := api.NodePorts(ctx)
	if err != nil {
		return []error{err}
	}
	if !known {
		return nil
	}
	var errs []error
	for _, w := range all {
		if holder, taken := holders[w.port]; taken && holder != w.by {
			errs = append(errs, fmt.Errorf("%s:%s: node port %d is taken by Service %s; %s",
				project, w.key, w.port, holder, w.out))
		}
	}
	return errs
}

// warnOfMove warns of cluster.adopt where it has had its effect.
func (c Config) warnOfMove(before state) []string {
	if c.Cluster.Adopt == "" || !slices.Contains(before.clusters, c.Cluster.Adopt) {
		return nil
	}
	return []string{project + ":cluster.adopt: this stack is in that cluster; remove the key"}
}

// warnings are about what is allowed but not recommended.
func warnings(c Config, secretKeys []string) []string {
	var all []string
	warn := func(format string, args ...any) { all = append(all, fmt.Sprintf(project+":"+format, args...)) }
	for i, s := range c.Outposts {
		if !s.InCluster() && !s.DialsOut() && !s.Exposure.Encrypted() {
			warn("outposts[%d].exposure.tls is false: passwords and start requests go to %s unencrypted", i, s.Address)
		}
	}
	for _, key := range c.inClear(secretKeys) {
		warn("%s not encrypted: set it with `pulumi config set --secret --path`", key)
	}
	if o := c.Outpost; o != nil && o.exposed() && !o.Exposure.Encrypted() {
		warn("outpost.exposure.tls is false: passwords and start requests reach %s unencrypted", o.Address)
	}
	if c.Outpost != nil {
		for _, w := range c.outpostArgs().Warnings() {
			warn("outpost.%s: %s", w.Key(), w.Text)
		}
	}
	if c.Hub != nil {
		for _, w := range c.Hub.Chart.Warnings() {
			warn("hub.chart.%s", w.Error())
		}
		if keys := c.hubArgs(nil).Overruled(); len(keys) > 0 {
			warn("hub.values has a copy of the chart's defaults, of which only changes are taken, and these have "+
				"another value here: %s; write only what you mean to change", strings.Join(keys, ", "))
		}
		warnOfLogin(c, warn)
		warnOfUsers(c, warn)
		warnOfFlavors(c, warn)
	}
	return all
}

// inClear are the keys for secrets that are set without encryption, each with its verb.
func (c Config) inClear(secretKeys []string) []string {
	var all []string
	add := func(key string, set bool, format string, args ...any) {
		if set && !slices.Contains(secretKeys, project+":"+key) {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add("cluster", c.Cluster.hasContent(), "cluster.kubeconfig is")
	for i, s := range c.Outposts {
		add("outposts", s.Password != "", "outposts[%d].password is", i)
	}
	for i, h := range c.Hubs {
		add("hubs", h.System != nil, "hubs[%d].system is", i)
		add("hubs", h.Password != "", "hubs[%d].password is", i)
	}
	add("outpost", c.Outpost != nil && len(c.Outpost.CryptKeys) > 0, "outpost.cryptKeys are")
	return all
}

// warnOfLogin warns of a login to the hub, which c must have, that goes over plain HTTP, or by which people log in as
// other users.
func warnOfLogin(c Config, warn func(format string, args ...any)) {
	switch {
	case strings.HasPrefix(c.Hub.URL, "http://"):
		warn("hub.url begins with http://: users log in, and servers of other clusters call the hub, over plain HTTP")
	case c.Hub.Exposure.Type == exposure.Ingress && c.Hub.Exposure.TLSSecret == "":
		warn("hub.exposure.tlsSecret is missing: users log in over plain HTTP")
	}
	if text := c.hubArgs(nil).LoginWarning(); text != "" {
		warn("hub.values.hub.config.JupyterHub.authenticator_class %s", text)
	}
}
