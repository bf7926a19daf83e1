// Package offer says what hubs and their users may start, and how full it is: flavors, credits, and the catalog of a
// form. It judges by the rules and rows by which a start is judged.
package offer

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/maintenance"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Store is what is asked of an [outpost.Store].
type Store interface {
	maintenance.Store
	Usage(ctx context.Context, hub string) (flavor.Usage, error)
	UsageOf(ctx context.Context, hub string, user int) (flavor.Usage, error)
}

// Spawner is what is asked of an [outpost.Spawner].
type Spawner interface {
	Offer(hub outpost.Hub, groups access.Groups) catalog.Offer
}

// Options is what Offers may be given. The zero value works, but for Now: no flavors, no limits.
type Options struct {
	Flavors, Credits *flavor.Flavors // the loaded files; nil means not configured
	GlobalMaxPerUser *int            // services of one user of one hub, of any flavor; nil or -1 is no limit
	// MaxServers returns how many services a hub may have, of any flavor; nil is no limit, for all hubs or for one.
	MaxServers func(hub string) *int
	Version    string           // the program's, for catalogs; empty is "unknown"
	Now        func() time.Time // the wall clock
}

// Offers are what hubs are offered. All methods are safe for concurrent use.
type Offers struct {
	store            Store
	spawner          Spawner
	opts             Options
	maintenance      *maintenance.Plan
	flavors, credits atomic.Pointer[flavor.Flavors]
}

// New returns the offers of an outpost.
func New(store Store, spawner Spawner, o Options) *Offers {
	offers := &Offers{store: store, spawner: spawner, opts: o, maintenance: maintenance.New(store, o.Now)}
	offers.flavors.Store(o.Flavors)
	offers.credits.Store(o.Credits)
	return offers
}

// SetFlavors replaces the flavors file; nil means not configured.
func (o *Offers) SetFlavors(f *flavor.Flavors) { o.flavors.Store(f) }

// SetCredits replaces the credits file; nil means not configured.
func (o *Offers) SetCredits(f *flavor.Flavors) { o.credits.Store(f) }

// SetMaintenance replaces what the configuration file says of a maintenance; nil is none.
func (o *Offers) SetMaintenance(m *outpost.Maintenance) { o.maintenance.Configure(m) }

// Maintenance returns the present maintenance or the next one; nil if there is none.
func (o *Offers) Maintenance(ctx context.Context) (*outpost.Maintenance, error) {
	return o.maintenance.Next(ctx)
}

// Planned returns the same, and the present or the next one of those that end servers; nil if there is none.
func (o *Offers) Planned(ctx context.Context) (m, eviction *outpost.Maintenance, err error) {
	return o.maintenance.Both(ctx)
}

// OfHub returns the flavors of a hub, by name; the caller may change them.
func (o *Offers) OfHub(hub string) map[string]flavor.Flavor { return o.flavors.Load().OfHub(hub) }

// Flavors returns the flavors of a hub, each with "current", the number of the hub's services of it.
func (o *Offers) Flavors(ctx context.Context, hub string) (map[string]flavor.Flavor, error) {
	return o.counted(ctx, hub, o.OfHub(hub))
}

// UserFlavors returns the flavors of one user of a hub, as [Offers.Flavors] does; authentication is decoded JSON, nil
// or an object.
func (o *Offers) UserFlavors(ctx context.Context, hub string, authentication any) (map[string]flavor.Flavor, error) {
	flavors, err := o.flavors.Load().OfUser(hub, authentication)
	if err != nil {
		return nil, refused(err, "")
	}
	return o.counted(ctx, hub, flavors)
}

// counted adds their present use to flavors.
func (o *Offers) counted(
	ctx context.Context, hub string, flavors map[string]flavor.Flavor,
) (map[string]flavor.Flavor, error) {
	if len(flavors) == 0 {
		return flavors, nil
	}
	usage, err := o.store.Usage(ctx, hub)
	if err != nil {
		return nil, outpost.StoreError(err)
	}
	for name, f := range flavors {
		f["current"] = usage.ByFlavor[name]
	}
	return flavors, nil
}

// Credits returns the credit definitions of a hub.
func (o *Offers) Credits(hub string) map[string]flavor.Flavor { return o.credits.Load().OfHub(hub) }

// UserCredits returns the credit definitions of one user of a hub. Forbidden users get each with cap 0.
func (o *Offers) UserCredits(hub string, authentication any) (map[string]flavor.Flavor, error) {
	credits, err := o.credits.Load().OfUser(hub, authentication)
	if err != nil {
		return nil, refused(err, "")
	}
	return credits, nil
}

// Admit decides whether a start may be planned: that there is no maintenance, and that its user is offered the flavor.
// Errors: KindQuota, KindInvalid, KindUnavailable.
func (o *Offers) Admit(ctx context.Context, r outpost.StartRequest) (flavor.Admission, error) {
	planned, err := o.Maintenance(ctx)
	switch {
	case err != nil:
		return flavor.Admission{}, outpost.StoreError(err)
	case planned != nil && planned.Active(o.opts.Now()):
		return flavor.Admission{}, planned.Refusal()
	}
	admission, err := o.flavors.Load().Admit(r.Hub, r.Authentication, r.Flavor)
	return admission, refused(err, r.Name)
}

// Check judges the start of an admitted service by the usage at its insert; the error is KindQuota.
func (o *Offers) Check(a flavor.Admission, u flavor.Usage, s outpost.Summary) error {
	limits := flavor.Limits{PerUser: o.opts.GlobalMaxPerUser, PerHub: o.ServersOf(s.Hub)}
	return refused(a.Check(u, s.UserID, limits), s.Name)
}

// ServersOf returns how many services a hub may have, of any flavor; nil is no limit.
func (o *Offers) ServersOf(hub string) *int {
	if o.opts.MaxServers == nil {
		return nil
	}
	return o.opts.MaxServers(hub)
}

// CatalogOf returns what a user of a hub may start. Errors: KindInvalid (the authentication), KindUnavailable.
func (o *Offers) CatalogOf(ctx context.Context, hub outpost.Hub, u outpost.User) (catalog.Catalog, error) {
	groups := access.GroupsOf(u.Authentication)
	c := catalog.Catalog{
		Version: catalog.Version, Outpost: cmp.Or(o.opts.Version, "unknown"),
		Flavors: []catalog.Flavor{}, Images: []string{}, Registries: []string{},
		Offer: catalog.Offer{Shared: []catalog.Shared{}, Profiles: []catalog.Profile{}},
	}
	if !hub.Access.Allows(groups) {
		c.Denied = &hub.Access.DeniedText
		return c, nil
	}
	planned, eviction, err := o.Planned(ctx)
	if err != nil {
		return catalog.Catalog{}, outpost.StoreError(err)
	}
	now := o.opts.Now()
	c.Maintenance = maintenance.Shown(planned, now)
	usage, err := o.store.UsageOf(ctx, u.Hub, u.ID)
	if err != nil {
		return catalog.Catalog{}, outpost.StoreError(err)
	}
	c.Flavors, err = o.flavors.Load().Catalog(u.Hub, u.Authentication, usage, u.ID)
	if err != nil {
		return catalog.Catalog{}, refused(err, "")
	}
	shorten(c.Flavors, planned, eviction, now)
	c.Hub = catalog.Use{Used: usage.Hub, Limit: o.ServersOf(u.Hub)}
	c.User.Used, c.Offer, c.Images = usage.ByUser[u.ID], o.spawner.Offer(hub, groups), hub.Images()
	c.Registries = hub.Registries()
	if limit := o.opts.GlobalMaxPerUser; limit != nil && *limit >= 0 {
		c.User.Limit = limit
	}
	return c, nil
}

// shorten says of the flavors whose run time would pass the beginning of a maintenance when it will stop their servers:
// planned is the next one, eviction the next that no server outlives; nil is none.
func shorten(flavors []catalog.Flavor, planned, eviction *outpost.Maintenance, now time.Time) {
	for i, f := range flavors {
		end := outpost.NoEnd
		if f.Runtime != nil {
			end = now.Add(time.Duration(*f.Runtime) * time.Second)
		}
		for _, m := range []*outpost.Maintenance{eviction, planned} {
			// Without a run time nothing says that a server would have ended.
			if m != nil && !m.Active(now) && m.From.Before(end) && (m.Evict || f.Runtime != nil) {
				end = m.From
				flavors[i].Until = new(end.UTC())
			}
		}
	}
}

// End returns when a service ends that was asked for at a time, runs now, and may do so for lifetime: no later than a
// maintenance begins that was still to come when it was asked for. One that evicts servers ends it itself, unless it is
// called off. If the database does not say what is planned, nothing is.
func (o *Offers) End(ctx context.Context, asked time.Time, lifetime time.Duration) time.Time {
	end := o.opts.Now().UTC().Add(lifetime)
	planned, err := o.Maintenance(ctx)
	if err != nil || planned == nil || planned.Evict || !planned.From.After(asked) || planned.From.After(end) {
		return end
	}
	return planned.From.UTC()
}

// FlavorUse is how many services of a flavor a hub has, for gauges. Limit is the max of the flavor for this hub, nil
// without one; services of other hubs count against it too, unless an override sets it.
type FlavorUse struct {
	Hub, Flavor string
	Used        int
	Limit       *int
}

// refused is the error for the hub that an error of package flavor means; service is the server's name.
func refused(err error, service string) error {
	if refusal, ok := errors.AsType[*flavor.Refusal](err); ok {
		return &outpost.Error{
			Kind: outpost.KindQuota, Reason: refusal.Reason, Message: service + " - " + refusal.Error(),
		}
	}
	if errors.Is(err, flavor.ErrAuthentication) {
		return outpost.Errorf(outpost.KindInvalid, "The authentication must be a JSON object.")
	}
	return err
}
