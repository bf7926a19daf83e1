package main

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
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
	// protocol is that of a listener that can have the route; other is what to do where it has another.
	protocol string
	other    string
	// port is where clients go, which is the listener's unless something in front of the Gateway maps it; portKey is
	// the key that says it.
	port    int
	portKey string
}

// at names the Gateway.
func (r route) at() cluster.Object {
	return cluster.Object{Namespace: cmp.Or(r.gateway.Namespace, r.name.Namespace), Name: r.gateway.Name}
}

// routes are those that a stack with this config makes, with an outpost as shown.
func (c Config) routes(shown outpostIdentity) []route {
	var all []route
	http := func(key, urlKey, portKey, address string, name cluster.Object, gateway exposure.GatewayRef) {
		r := route{
			key: key, kind: cluster.RouteKind{Kind: cluster.HTTPRoute, Version: "v1"}, name: name, gateway: gateway,
			protocol: "HTTPS", other: "name one of protocol HTTPS, or set " + urlKey,
			port: portOf(address), portKey: portKey,
		}
		if !strings.HasPrefix(address, "https://") {
			r.protocol, r.other = "HTTP", "name one of protocol HTTP, or set "+urlKey
		}
		all = append(all, r)
	}
	if c.Hub != nil && c.Hub.Exposure.Type == exposure.Gateway {
		http("hub.exposure.gateway", "the scheme of "+project+":hub.url to the listener's",
			"the port of "+project+":hub.url", c.Hub.URL,
			cluster.Object{Namespace: c.Hub.Namespace, Name: hub.Route}, *c.Hub.Exposure.Gateway)
	}
	if c.Outpost == nil || shown.exposure.Type != exposure.Gateway {
		return all
	}
	e, name := shown.exposure, cluster.Object{Namespace: c.Outpost.Namespace, Name: outpost.Release}
	at := e.Endpoint(shown.address)
	http(c.exposureKey(shown, "gateway"), "tls beside it to what the listener speaks", "apiPort beside it",
		at.API, name, *e.Gateway)
	if e.SSHGateway != nil {
		version, _ := values.At(c.Outpost.Values, "tcpRoute", "version").(string)
		all = append(all, route{
			key: c.exposureKey(shown, "sshGateway"), gateway: *e.SSHGateway, protocol: "TCP",
			kind:  cluster.RouteKind{Kind: cluster.TCPRoute, Version: cmp.Or(version, "v1")},
			name:  cluster.Object{Namespace: name.Namespace, Name: outpost.SSHService},
			other: "name one of protocol TCP", port: at.SSHPort, portKey: "sshPort beside it",
		})
	}
	return all
}

// portOf is the port of a URL.
func portOf(address string) int {
	at, err := url.Parse(address)
	if err != nil {
		return 0 // the schema has said so
	}
	if port, err := strconv.Atoi(at.Port()); err == nil {
		return port
	}
	return map[string]int{"http": 80, "https": 443}[at.Scheme]
}

// unroutable finds routes that the cluster does not know, and those to a Gateway or a listener that is not there. It
// warns of those that clients reach only if something is in front of the Gateway.
func (c Config) unroutable(ctx context.Context, api clusterAPI, shown outpostIdentity) (warned []string, errs []error) {
	for _, r := range c.routes(shown) {
		text, warning, err := r.lacks(ctx, api)
		if text != "" {
			err = fmt.Errorf("%s:%s: %s; nothing was changed", project, r.key, text)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if warning != "" {
			warned = append(warned, fmt.Sprintf("%s:%s: %s", project, r.key, warning))
		}
	}
	return warned, errs
}

// lacks says what a route lacks in a cluster, and what to do, and what to warn of; empty if there is nothing.
func (r route) lacks(ctx context.Context, api clusterAPI) (fault, warning string, err error) {
	served, err := api.ServesRoutes(ctx, r.kind, r.name.Namespace)
	if err != nil {
		return "", "", err
	}
	if !served {
		fault, err = r.unknownKind(ctx, api)
		return fault, "", err
	}
	found, known, err := api.Gateway(ctx, r.at())
	if err != nil || !known {
		return "", "", err
	}
	if found == nil {
		names, err := api.Gateways(ctx, r.at().Namespace)
		return fmt.Sprintf("Gateway %s does not exist; make it, or name another; namespace %s has %s",
			r.at(), r.at().Namespace, listed(names)), "", err
	}
	fault, warning = r.unheard(found)
	return fault, warning, nil
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

// unheard says what is wrong with the listener that a route is for, and what to warn of.
func (r route) unheard(gateway *cluster.Gateway) (fault, warning string) {
	var names []string
	for _, listener := range gateway.Listeners {
		names = append(names, fmt.Sprintf("%s (%s, port %d)", listener.Name, listener.Protocol, listener.Port))
	}
	has := "; it has " + listed(names)
	called := slices.DeleteFunc(slices.Clone(gateway.Listeners), func(l cluster.Listener) bool {
		return r.gateway.SectionName != "" && l.Name != r.gateway.SectionName
	})
	fit := slices.DeleteFunc(slices.Clone(called), func(l cluster.Listener) bool { return l.Protocol != r.protocol })
	plain := slices.IndexFunc(called, func(l cluster.Listener) bool { return l.Protocol == "HTTP" })
	switch {
	case r.gateway.SectionName != "" && len(called) == 0:
		return fmt.Sprintf("Gateway %s has no listener %s", r.at(), r.gateway.SectionName) + has, ""
	case len(fit) == 0 && r.protocol == "HTTPS" && plain >= 0:
		return "", fmt.Sprintf("listener %s of Gateway %s has protocol HTTP: TLS must end in front of the Gateway; if "+
			"it does not, %s", called[plain].Name, r.at(), r.other) + has
	case len(fit) == 0 && r.gateway.SectionName == "":
		return fmt.Sprintf("Gateway %s has no listener for it: %s", r.at(), r.other) + has, ""
	case len(fit) == 0:
		return fmt.Sprintf("listener %s of Gateway %s has protocol %s: %s",
			r.gateway.SectionName, r.at(), called[0].Protocol, r.other) + has, ""
	case !slices.ContainsFunc(fit, func(l cluster.Listener) bool { return l.Port == r.port }):
		return "", fmt.Sprintf("listener %s of Gateway %s has port %d, not %d; set %s to %d, unless something in "+
			"front of the Gateway maps the port", fit[0].Name, r.at(), fit[0].Port, r.port, r.portKey, fit[0].Port)
	}
	return "", ""
}

// listed are names as a list; "none" of none.
func listed(names []string) string { return cmp.Or(strings.Join(names, ", "), "none") }
