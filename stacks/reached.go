package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// patience is how long a run looks, after everything is there, for what controllers of the cluster say of it. Without
// any it looks once.
type patience struct {
	answer  time.Duration // that there is an answer
	refusal time.Duration // that a refusal stays: a route is first seen without its Service
	rollout time.Duration // that the pods of Deployments are ready
}

// usualPatience is that of a run which changes something. Clouds take up to a minute for a load balancer. For a
// Deployment the provider, too, waits 10 minutes.
var usualPatience = patience{answer: time.Minute, refusal: 10 * time.Second, rollout: 10 * time.Minute}

const betweenLooks = time.Second

// gatewayKind is the one kind of objects with addresses that has them elsewhere: see read.
const gatewayKind cluster.Balanced = "Gateway"

// addressed is something that a controller gives addresses, and the output that has them.
type addressed struct {
	output  string
	kind    cluster.Balanced // or gatewayKind
	name    cluster.Object
	awaited bool // whether there will be addresses, or only may
}

// addressed are the objects by which hub and outpost are reached, as far as they are given addresses.
func (c Config) addressed(shown outpostIdentity) []addressed {
	var all []addressed
	add := func(output, kind, service, ingress, namespace string, gateway *exposure.GatewayRef) {
		one := addressed{output: output, name: cluster.Object{Namespace: namespace, Name: service}}
		switch {
		case kind == exposure.LoadBalancer:
			one.kind, one.awaited = cluster.Service, true
		case kind == exposure.Ingress && ingress != "": // many controllers never say
			one.kind, one.name.Name = cluster.Ingress, ingress
		case kind == exposure.Gateway && gateway != nil:
			one.kind, one.name, one.awaited = gatewayKind, route{gateway: *gateway, name: one.name}.at(), true
		default:
			return
		}
		all = append(all, one)
	}
	if c.Hub != nil {
		add(outputHubAddresses, c.Hub.Exposure.Type, hub.Service, hub.Ingress, c.Hub.Namespace, c.Hub.Exposure.Gateway)
	}
	if c.Outpost == nil {
		return all
	}
	e := shown.exposure
	add(outputAPIAddresses, e.Type, outpost.Release, outpost.Release, c.Outpost.Namespace, e.Gateway)
	ssh := e.Type
	if e.SSHGateway == nil && e.SSHNodePort == 0 && (ssh == exposure.Gateway || ssh == exposure.Ingress) {
		ssh = exposure.LoadBalancer
	}
	add(outputSSHAddresses, ssh, outpost.SSHService, "", c.Outpost.Namespace, e.SSHGateway)
	return all
}

// reach waits until everything is there, and looks what the cluster's controllers say of it: whether Gateways have
// accepted the routes, and at which addresses hub and outpost are reached. A preview looks for addresses alone, once.
func (b *builder) reach(ctx context.Context, api clusterAPI, p patience, shown outpostIdentity) error {
	routes, all := b.config.routes(shown), b.config.addressed(shown)
	if len(routes)+len(all) == 0 {
		return nil
	}
	for _, installed := range b.installed {
		if _, err := await(b.ctx, installed); err != nil {
			return nil // the engine says what has failed
		}
	}
	if b.ctx.DryRun() {
		routes, p = nil, patience{}
	}
	l := look{api: api, patience: p, deadline: time.Now().Add(p.answer)}
	var errs []error
	for _, a := range all {
		addresses, known, err := l.addresses(ctx, a)
		errs = append(errs, err)
		b.outputs[a.output] = pulumi.ToStringArray(addresses)
		if len(addresses) == 0 && known && a.awaited && !b.ctx.DryRun() {
			text := fmt.Sprintf("%s %s has no address yet; run `pulumi up` again to have it in output %s",
				a.kind, a.name, a.output)
			errs = append(errs, b.ctx.Log.Warn(text, nil))
		}
	}
	for _, r := range routes {
		errs = append(errs, l.accepted(ctx, r))
	}
	return errors.Join(errs...)
}

// look asks a cluster until it has an answer or the time is over.
type look struct {
	api clusterAPI
	patience
	deadline time.Time
}

// again waits for the next look; false when the time is over.
func (l look) again(ctx context.Context, until time.Time) bool {
	if !time.Now().Add(betweenLooks).Before(until) {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(betweenLooks):
		return true
	}
}

// accepted waits until a route is accepted. It gives up when a refusal stays, or when there is no answer.
func (l look) accepted(ctx context.Context, r route) error {
	until := l.deadline
	refused := false
	for {
		status, err := l.api.Route(ctx, r.kind, r.name)
		if err != nil {
			return fmt.Errorf("%s:%s: %s %s: %w", project, r.key, r.kind.Kind, r.name, err)
		}
		switch {
		case status.Verdict == cluster.Accepted:
			return nil
		case status.Verdict == cluster.Refused && !refused:
			refused, until = true, time.Now().Add(l.refusal)
		case status.Verdict == cluster.Unanswered:
			refused, until = false, l.deadline
		}
		if l.again(ctx, until) {
			continue
		}
		if status.Verdict == cluster.Refused {
			return fmt.Errorf("%s:%s: %s %s is %s", project, r.key, r.kind.Kind, r.name, status.Text)
		}
		return fmt.Errorf("%s:%s: %s %s has %s within %s: check that the controller of its GatewayClass runs "+
			"(kubectl -n %s describe gateway %s)",
			project, r.key, r.kind.Kind, r.name, status.Text, l.answer, r.at().Namespace, r.at().Name)
	}
}

// addresses waits for the addresses of an object that will have some. If the user may not read them, known is false.
func (l look) addresses(ctx context.Context, a addressed) (addresses []string, known bool, err error) {
	for {
		addresses, known, err = a.read(ctx, l.api)
		if err != nil || !known || len(addresses) > 0 || !a.awaited || !l.again(ctx, l.deadline) {
			return addresses, known, err
		}
	}
}

// read asks for the addresses once.
func (a addressed) read(ctx context.Context, api clusterAPI) (addresses []string, known bool, err error) {
	if a.kind != gatewayKind {
		addresses, err = api.Addresses(ctx, a.kind, a.name)
		return addresses, err == nil, err
	}
	gateway, known, err := api.Gateway(ctx, a.name)
	if gateway == nil {
		return nil, known, err
	}
	return gateway.Addresses, known, nil
}
