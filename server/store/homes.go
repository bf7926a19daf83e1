package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

// UseHome implements outpost.Store.
func (d *DB) UseHome(ctx context.Context, h outpost.Home, at time.Time) error {
	return d.inTx(ctx, "use_home", func(ctx context.Context, tx *sql.Tx) error {
		_, err := d.exec(ctx, tx, `INSERT INTO outpost_home (namespace, name, used) VALUES (?, ?, ?)
			ON CONFLICT (namespace, name) DO UPDATE SET used = excluded.used`, h.Namespace, h.Name, d.dialect.time(at))
		return err
	})
}

// Homes implements outpost.Store.
func (d *DB) Homes(ctx context.Context) (map[outpost.Home]time.Time, error) {
	used := map[outpost.Home]time.Time{}
	err := d.do(ctx, "homes", func(ctx context.Context) error {
		return d.each(ctx, d.read, func(row *sql.Rows) error {
			var h outpost.Home
			var at dbTime
			err := row.Scan(&h.Namespace, &h.Name, &at)
			used[h] = at.Time
			return err
		}, `SELECT namespace, name, used FROM outpost_home`)
	})
	return used, err
}

// ForgetHome implements outpost.Store.
func (d *DB) ForgetHome(ctx context.Context, h outpost.Home) error {
	return d.inTx(ctx, "forget_home", func(ctx context.Context, tx *sql.Tx) error {
		_, err := d.exec(ctx, tx, `DELETE FROM outpost_home WHERE namespace = ? AND name = ?`, h.Namespace, h.Name)
		return err
	})
}
