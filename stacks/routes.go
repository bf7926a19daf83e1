package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/values"
)

// route is a route of the Gateway API that a stack makes, and the listener that it needs.
type route struct {
	key     string // of config, for the Gateway
	kind    cluster.RouteKind
	name    cluster.Object
	gateway exposure.GatewayRef
	// protocols are those of a listener that can have the route; other is what to do where it has another.
	protocols []string
	other     string
}

// at names the Gateway.
func (r route) at() cluster.Object {
	return cluster.Object{Namespace: cmp.Or(r.gateway.Namespace, r.name.Namespace), Name: r.gateway.Name}
}

// routes are those that a stack with this config makes, with an outpost as shown.
func (c Config) routes(shown outpostIdentity) []route {
	var all []route
	http := func(key, urlKey string, encrypted bool, name cluster.Object, gateway exposure.GatewayRef) {
		r := route{
			key: key, kind: cluster.RouteKind{Kind: cluster.HTTPRoute, Version: "v1"}, name: name, gateway: gateway,
			protocols: []string{"HTTPS"}, other: "name one of protocol HTTPS, or set " + urlKey,
		}
		if !encrypted {
			r.protocols, r.other = []string{"HTTP"}, "name one of protocol HTTP, or set "+urlKey
		}
		all = append(all, r)
	}
	if c.Hub != nil && c.Hub.Exposure.Type == exposure.Gateway {
		http("hub.exposure.gateway", "the scheme of "+project+":hub.url to the listener's",
			strings.HasPrefix(c.Hub.URL, "https://"),
			cluster.Object{Namespace: c.Hub.Namespace, Name: hub.Route}, *c.Hub.Exposure.Gateway)
	}
	if c.Outpost == nil || shown.exposure.Type != exposure.Gateway {
		return all
	}
	key := "outpost.exposure.%s"
	if shown.from >= 0 {
		key = fmt.Sprintf("hubs[%d]: %%s from %s", shown.from, c.Hubs[shown.from].source())
	}
	e, name := shown.exposure, cluster.Object{Namespace: c.Outpost.Namespace, Name: outpost.Release}
	http(fmt.Sprintf(key, "gateway"), "tls beside it to what the listener speaks", e.Encrypted(), name, *e.Gateway)
	if e.SSHGateway != nil {
		version, _ := values.At(c.Outpost.Values, "tcpRoute", "version").(string)
		all = append(all, route{
			key: fmt.Sprintf(key, "sshGateway"), gateway: *e.SSHGateway, protocols: []string{"TCP"},
			kind:  cluster.RouteKind{Kind: cluster.TCPRoute, Version: cmp.Or(version, "v1")},
			name:  cluster.Object{Namespace: name.Namespace, Name: name.Name + "-ssh"},
			other: "name one of protocol TCP",
		})
	}
	return all
}

// unroutable finds routes that the cluster does not know, and those to a Gateway or a listener that is not there.
func (c Config) unroutable(ctx context.Context, api clusterAPI, shown outpostIdentity) []error {
	var errs []error
	for _, r := range c.routes(shown) {
		text, err := r.lacks(ctx, api)
		if text != "" {
			err = fmt.Errorf("%s:%s: %s; nothing was changed", project, r.key, text)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// lacks says what a route lacks in a cluster, and what to do; empty if there is nothing.
func (r route) lacks(ctx context.Context, api clusterAPI) (string, error) {
	served, err := api.ServesRoutes(ctx, r.kind, r.name.Namespace)
	if err != nil {
		return "", err
	}
	if !served {
		return r.unknownKind(ctx, api)
	}
	found, known, err := api.Gateway(ctx, r.at())
	if err != nil || !known {
		return "", err
	}
	if found == nil {
		names, err := api.Gateways(ctx, r.at().Namespace)
		return fmt.Sprintf("Gateway %s does not exist; make it, or name another; namespace %s has %s",
			r.at(), r.at().Namespace, listed(names)), err
	}
	return r.unheard(found), nil
}

// unknownKind says what to do where the cluster does not know the kind of the route.
func (r route) unknownKind(ctx context.Context, api clusterAPI) (string, error) {
	if r.kind.Kind == cluster.TCPRoute {
		other := cluster.RouteKind{Kind: r.kind.Kind, Version: "v1alpha2"}
		if r.kind == other {
			other.Version = "v1"
		}
		switch served, err := api.ServesRoutes(ctx, other, r.name.Namespace); {
		case err != nil:
			return "", err
		case served:
			return fmt.Sprintf("the cluster does not know %s, but %s; set %s:outpost.values.tcpRoute.version: %s",
				r.kind, other, project, other.Version), nil
		}
	}
	return fmt.Sprintf("the cluster does not know %s; install the CRDs of the Gateway API "+
		"(https://gateway-api.sigs.k8s.io/guides/getting-started/) and a controller of them, or choose another type",
		r.kind), nil
}

// unheard says what is wrong with the listener that a route is for.
func (r route) unheard(gateway *cluster.Gateway) string {
	var names []string
	for _, listener := range gateway.Listeners {
		names = append(names, fmt.Sprintf("%s (%s, port %d)", listener.Name, listener.Protocol, listener.Port))
	}
	fits := func(l cluster.Listener) bool { return slices.Contains(r.protocols, l.Protocol) }
	if r.gateway.SectionName == "" {
		if slices.ContainsFunc(gateway.Listeners, fits) {
			return ""
		}
		return fmt.Sprintf("Gateway %s has no listener for it: %s; it has %s", r.at(), r.other, listed(names))
	}
	i := slices.IndexFunc(gateway.Listeners, func(l cluster.Listener) bool { return l.Name == r.gateway.SectionName })
	switch {
	case i < 0:
		return fmt.Sprintf("Gateway %s has no listener %s; it has %s", r.at(), r.gateway.SectionName, listed(names))
	case !fits(gateway.Listeners[i]):
		return fmt.Sprintf("listener %s of Gateway %s has protocol %s: %s; it has %s",
			r.gateway.SectionName, r.at(), gateway.Listeners[i].Protocol, r.other, listed(names))
	}
	return ""
}

// listed are names as a list; "none" of none.
func listed(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }
