package store

import (
	"context"
	"database/sql"

	"github.com/outposts-dev/outposts/server/outpost"
)

// Usage implements outpost.Store.
func (d *DB) Usage(ctx context.Context, hub string) (u outpost.Usage, err error) {
	err = d.do(ctx, "usage", func(ctx context.Context) (err error) {
		u, err = d.usage(ctx, d.read, hub)
		return err
	})
	return u, err
}

// queryer is a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// usage counts rows that are not being stopped. Services without a flavor count for their user only.
func (d *DB) usage(ctx context.Context, q queryer, hub string) (outpost.Usage, error) {
	u := outpost.Usage{
		ByFlavor: map[string]int{}, ByUser: map[int]int{}, ByUserFlavor: map[int]map[string]int{}, TotalFlavor: map[string]int{},
	}
	rows, err := q.QueryContext(ctx, d.dialect.bind(`SELECT jupyterhub_username, flavor, jupyterhub_user_id, count(*) FROM service
		WHERE (stop_pending IS NULL OR stop_pending = ?) GROUP BY jupyterhub_username, flavor, jupyterhub_user_id`), false)
	if err != nil {
		return u, err
	}
	err = eachRow(rows, func() error {
		var owner string
		var flavor sql.NullString
		var user sql.NullInt64
		var n int
		if err := rows.Scan(&owner, &flavor, &user, &n); err != nil {
			return err
		}
		count(u, owner == hub, flavor.String, int(user.Int64), n)
		return nil
	})
	return u, err
}

func count(u outpost.Usage, ours bool, flavor string, user, n int) {
	if flavor != "" {
		u.TotalFlavor[flavor] += n
	}
	if !ours {
		return
	}
	u.ByUser[user] += n
	if flavor == "" {
		return
	}
	u.ByFlavor[flavor] += n
	if u.ByUserFlavor[user] == nil {
		u.ByUserFlavor[user] = map[string]int{}
	}
	u.ByUserFlavor[user][flavor] += n
}
