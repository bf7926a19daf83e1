package store

import (
	"context"
	"database/sql"

	"github.com/outposts-dev/outposts/server/flavor"
)

// Usage implements outpost.Store.
func (d *DB) Usage(ctx context.Context, hub string) (u flavor.Usage, err error) {
	err = d.do(ctx, "usage", func(ctx context.Context) (err error) {
		u, err = d.usage(ctx, d.read, hub)
		return err
	})
	return u, err
}

// UsageOf implements outpost.Store.
func (d *DB) UsageOf(ctx context.Context, hub string, user int) (u flavor.Usage, err error) {
	err = d.do(ctx, "usage", func(ctx context.Context) (err error) {
		u, err = d.usageOf(ctx, d.read, hub, user)
		return err
	})
	return u, err
}

// The queries of a quota check are answered from the index outpost_service_usage alone, by one look through it. They
// return a row for each flavor, not for each user: there may be thousands.
const (
	flavorUsage = `SELECT jupyterhub_username, flavor, count(*), 0 FROM service
		WHERE (stop_pending IS NULL OR stop_pending = ?) GROUP BY jupyterhub_username, flavor`
	userUsage = `SELECT jupyterhub_username, flavor, count(*),
		count(CASE WHEN jupyterhub_username = ? AND jupyterhub_user_id = ? THEN 1 END) FROM service
		WHERE (stop_pending IS NULL OR stop_pending = ?) GROUP BY jupyterhub_username, flavor`
)

// usage counts the rows of a hub, and those of all hubs, that are not being stopped, by flavor. Without one they count
// for the hub only.
func (d *DB) usage(ctx context.Context, q queryer, hub string) (flavor.Usage, error) {
	u := newUsage()
	err := d.eachCount(ctx, q, func(owner, flavor string, n, _ int) { add(&u, owner == hub, flavor, n) },
		flavorUsage, false)
	return u, err
}

// usageOf is usage with what one user of the hub has.
func (d *DB) usageOf(ctx context.Context, q queryer, hub string, user int) (flavor.Usage, error) {
	u, flavors := newUsage(), map[string]int{}
	u.ByUserFlavor[user] = flavors
	err := d.eachCount(ctx, q, func(owner, flavor string, n, own int) {
		add(&u, owner == hub, flavor, n)
		if own == 0 {
			return
		}
		u.ByUser[user] += own
		if flavor != "" {
			flavors[flavor] += own
		}
	}, userUsage, hub, user, false)
	return u, err
}

func newUsage() flavor.Usage {
	return flavor.Usage{
		ByFlavor: map[string]int{}, TotalFlavor: map[string]int{},
		ByUser: map[int]int{}, ByUserFlavor: map[int]map[string]int{},
	}
}

// add counts rows of a hub, or of another one.
func add(u *flavor.Usage, ofHub bool, flavor string, n int) {
	if ofHub {
		u.Hub += n
	}
	if flavor == "" {
		return
	}
	u.TotalFlavor[flavor] += n
	if ofHub {
		u.ByFlavor[flavor] += n
	}
}

// eachCount calls f for each row of a query that counts: all rows, and those of one user.
func (d *DB) eachCount(
	ctx context.Context, q queryer, f func(hub, flavor string, n, own int), query string, args ...any,
) error {
	return d.each(ctx, q, func(row *sql.Rows) error {
		var hub string
		var flavor sql.NullString
		var n, own int
		if err := row.Scan(&hub, &flavor, &n, &own); err != nil {
			return err
		}
		f(hub, flavor.String, n, own)
		return nil
	}, query, args...)
}
