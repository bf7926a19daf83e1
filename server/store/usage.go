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

// The queries of a quota check are answered from the index outpost_service_usage alone. They return a row for each
// flavor, not for each user: there may be thousands.
const (
	flavorUsage = `SELECT jupyterhub_username, flavor, count(*) FROM service
		WHERE (stop_pending IS NULL OR stop_pending = ?) GROUP BY jupyterhub_username, flavor`
	userUsage = `SELECT jupyterhub_username, flavor, count(*) FROM service
		WHERE (stop_pending IS NULL OR stop_pending = ?) AND jupyterhub_username = ? AND jupyterhub_user_id = ?
		GROUP BY jupyterhub_username, flavor`
)

// usage counts the rows of a hub, and those of all hubs, that are not being stopped, by flavor. Without one they count
// for the hub only.
func (d *DB) usage(ctx context.Context, q queryer, hub string) (flavor.Usage, error) {
	u := flavor.Usage{
		ByFlavor: map[string]int{}, TotalFlavor: map[string]int{},
		ByUser: map[int]int{}, ByUserFlavor: map[int]map[string]int{},
	}
	return u, d.eachCount(ctx, q, func(owner, flavor string, n int) {
		if owner == hub {
			u.Hub += n
		}
		if flavor == "" {
			return
		}
		u.TotalFlavor[flavor] += n
		if owner == hub {
			u.ByFlavor[flavor] += n
		}
	}, flavorUsage, false)
}

// usageOf is usage with what one user of the hub has.
func (d *DB) usageOf(ctx context.Context, q queryer, hub string, user int) (flavor.Usage, error) {
	u, err := d.usage(ctx, q, hub)
	if err != nil {
		return u, err
	}
	flavors := map[string]int{}
	u.ByUserFlavor[user] = flavors
	return u, d.eachCount(ctx, q, func(_, flavor string, n int) {
		u.ByUser[user] += n
		if flavor != "" {
			flavors[flavor] += n
		}
	}, userUsage, false, hub, user)
}

// eachCount calls f for each row of a query that counts.
func (d *DB) eachCount(
	ctx context.Context, q queryer, f func(hub, flavor string, n int), query string, args ...any,
) error {
	return d.each(ctx, q, func(row *sql.Rows) error {
		var hub string
		var flavor sql.NullString
		var n int
		if err := row.Scan(&hub, &flavor, &n); err != nil {
			return err
		}
		f(hub, flavor.String, n)
		return nil
	}, query, args...)
}
