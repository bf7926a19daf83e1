package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/outposts-dev/outposts/server/outpost"
)

const selectMaintenance = `SELECT begins, ends, text, evict FROM outpost_maintenance`

// Maintenance implements outpost.Store.
func (d *DB) Maintenance(ctx context.Context) (m *outpost.Maintenance, err error) {
	err = d.do(ctx, "maintenance", func(ctx context.Context) error {
		var begins, ends dbTime
		var text string
		var evict bool
		row := d.read.QueryRowContext(ctx, selectMaintenance)
		err := row.Scan(&begins, &ends, &text, &evict)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		m = &outpost.Maintenance{From: begins.Time, Until: ends.Time, Text: text, Evict: evict}
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// SetMaintenance replaces the maintenance; nil ends it.
func (d *DB) SetMaintenance(ctx context.Context, m *outpost.Maintenance) error {
	return d.inTx(ctx, "set_maintenance", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := d.exec(ctx, tx, `DELETE FROM outpost_maintenance`); err != nil || m == nil {
			return err
		}
		var ends any
		if !m.Until.IsZero() {
			ends = d.dialect.time(m.Until)
		}
		_, err := d.exec(ctx, tx,
			`INSERT INTO outpost_maintenance (one, begins, ends, text, evict) VALUES (1, ?, ?, ?, ?)`,
			d.dialect.time(m.From), ends, m.Text, m.Evict)
		return err
	})
}
