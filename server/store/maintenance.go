package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	selectMaintenance = `SELECT begins, ends, text, evict FROM outpost_maintenance`
	addMaintenance    = `INSERT INTO outpost_maintenance (one, begins, ends, text, evict) VALUES (1, ?, ?, ?, ?)`
)

// Maintenance implements outpost.Store.
func (d *DB) Maintenance(ctx context.Context) (m *outpost.Maintenance, err error) {
	err = d.do(ctx, "maintenance", func(ctx context.Context) (err error) {
		m, err = scanMaintenance(d.read.QueryRowContext(ctx, selectMaintenance))
		return err
	})
	return m, err
}

// scanMaintenance reads the row of selectMaintenance; nil if there is none.
func scanMaintenance(row *sql.Row) (*outpost.Maintenance, error) {
	var begins, ends dbTime
	var m outpost.Maintenance
	err := row.Scan(&begins, &ends, &m.Text, &m.Evict)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m.From, m.Until = begins.Time, ends.Time
	return &m, nil
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
		_, err := d.exec(ctx, tx, addMaintenance, d.dialect.time(m.From), ends, m.Text, m.Evict)
		return err
	})
}
