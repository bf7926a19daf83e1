package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/outposts-dev/outposts/server/backup"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	byKey       = ` WHERE jupyterhub_username = ? AND name = ? AND start_id = ?`
	notStopping = ` AND (stop_pending IS NULL OR stop_pending = ?)`
	// Of a key that the Python outpost wrote twice, the first row counts, as it does there: it has the state.
	firstOfKey = ` NOT EXISTS (SELECT 1 FROM service older WHERE older.jupyterhub_username = service.jupyterhub_username
		AND older.name = service.name AND older.start_id = service.start_id AND older.id < service.id)`
)

const addHub = `INSERT INTO jupyterhub (name) VALUES (?) ON CONFLICT DO NOTHING`

func keyArgs(k outpost.Key) []any { return []any{k.Hub, k.Name, k.StartID} }

// Insert implements outpost.Store.
func (d *DB) Insert(ctx context.Context, s outpost.Service, check func(flavor.Usage) error) error {
	if s.StartID == "" || s.Hub == "" {
		return outpost.Errorf(outpost.KindInvalid, "A service needs a hub and a start id.")
	}
	row, err := d.rowOf(s)
	if err != nil {
		return err
	}
	// What the check says is the caller's own error and passes as it is.
	var refused error
	err = d.inTx(ctx, "insert", func(ctx context.Context, tx *sql.Tx) error {
		if err := d.dialect.lockInserts(ctx, tx); err != nil {
			return err
		}
		if there, err := d.mayInsert(ctx, tx, s.Key); err != nil {
			return err
		} else if there {
			return outpost.Duplicate(s.Key)
		}
		usage, err := d.usageOf(ctx, tx, s.Hub, s.UserID)
		if err != nil {
			return err
		}
		if refused = check(usage); refused != nil {
			return refused
		}
		return d.writeService(ctx, tx, row)
	})
	if refused != nil {
		return refused
	}
	return err
}

// rowOf seals a service.
func (d *DB) rowOf(s outpost.Service) (row backup.Service, err error) {
	row = backup.Service{
		Name: &s.Name, StartID: &s.StartID, Hub: s.Hub, LastUpdate: &s.LastUpdate, StartDate: &s.StartDate,
		EndDate: &s.EndDate, StateStored: &s.StateStored, StartPending: &s.StartPending, StopPending: &s.StopPending,
		UserID: new(int64(s.UserID)), Flavor: orNull(s.Flavor, s.Flavor != ""),
	}
	var errs [3]error
	row.Body, errs[0] = d.sealBody(s.Body)
	row.State, errs[1] = d.sealState(s.State)
	row.StartResponse, errs[2] = d.sealAddress(s.Address)
	return row, errors.Join(errs[:]...)
}

// writeService inserts a row, and its hub if there is none of that name.
func (d *DB) writeService(ctx context.Context, tx *sql.Tx, row backup.Service) error {
	if _, err := d.exec(ctx, tx, addHub, row.Hub); err != nil {
		return err
	}
	_, err := d.exec(ctx, tx, `INSERT INTO service (`+shownColumns+`, body, state, start_response)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		row.Name, row.StartID, row.Hub,
		d.timeOrNull(row.LastUpdate), d.timeOrNull(row.StartDate), d.timeOrNull(row.EndDate),
		row.StateStored, row.StartPending, row.StopPending, row.UserID, row.Flavor,
		row.Body, row.State, row.StartResponse)
	return err
}

// mayInsert reports whether there is a row with this key. The error is that of [DB.Current] if the database was
// restored.
func (d *DB) mayInsert(ctx context.Context, tx *sql.Tx, k outpost.Key) (there bool, err error) {
	if d.restored == nil {
		return d.exists(ctx, tx, k)
	}
	var restored string
	query := d.dialect.bind(`SELECT coalesce((SELECT id FROM outpost_restore), ''), EXISTS (SELECT 1 FROM service` +
		byKey + `)`)
	if err := tx.QueryRowContext(ctx, query, keyArgs(k)...).Scan(&restored, &there); err != nil {
		return false, err
	}
	if restored != *d.restored {
		return false, errRestored
	}
	return there, nil
}

// exists reports whether there is a row with this key.
func (d *DB) exists(ctx context.Context, tx *sql.Tx, k outpost.Key) (bool, error) {
	var one int
	err := tx.QueryRowContext(ctx, d.dialect.bind(`SELECT 1 FROM service`+byKey+` LIMIT 1`), keyArgs(k)...).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// Get implements outpost.Store.
func (d *DB) Get(ctx context.Context, k outpost.Key) (s outpost.Service, err error) {
	err = d.do(ctx, "get", func(ctx context.Context) error {
		var shown shownRow
		var sealed sealedRow
		query := d.dialect.bind(`SELECT ` + shownColumns + `, ` + sealedColumns + ` FROM service` + byKey +
			` ORDER BY id LIMIT 1`)
		err := d.read.QueryRowContext(ctx, query, keyArgs(k)...).Scan(append(shown.into(), sealed.into()...)...)
		if errors.Is(err, sql.ErrNoRows) {
			return outpost.ErrNotFound
		}
		if err != nil {
			return err
		}
		if s, err = d.open(shown, sealed); err != nil {
			return outpost.Unopened(err)
		}
		return nil
	})
	return s, err
}

// List implements outpost.Store.
func (d *DB) List(ctx context.Context, hub string) ([]outpost.Summary, error) {
	list := []outpost.Summary{}
	err := d.do(ctx, "list", func(ctx context.Context) error {
		return d.each(ctx, d.read, func(row *sql.Rows) error {
			var shown shownRow
			err := row.Scan(shown.into()...)
			list = append(list, shown.summary())
			return err
		}, `SELECT `+shownColumns+` FROM service
			WHERE jupyterhub_username = ? AND`+firstOfKey+` ORDER BY start_date, id`, hub)
	})
	return list, err
}

// All implements outpost.Store.
func (d *DB) All(ctx context.Context) ([]outpost.Stored, error) {
	list := []outpost.Stored{}
	err := d.do(ctx, "all", func(ctx context.Context) error {
		err := d.each(ctx, d.read, func(row *sql.Rows) error {
			var shown shownRow
			var sealed sealedRow
			if err := row.Scan(append(shown.into(), sealed.into()...)...); err != nil {
				return err
			}
			s, err := d.open(shown, sealed)
			list = append(list, outpost.Stored{Service: s, Unopened: err != nil})
			return nil
		}, `SELECT `+shownColumns+`, `+sealedColumns+` FROM service WHERE`+firstOfKey+` ORDER BY start_date, id`)
		if err != nil {
			return err
		}
		return d.checkCurrent(ctx) // last: the rows may have been replaced while they were read
	})
	return list, err
}

// queryer is a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls f for each row of a query.
func (d *DB) each(ctx context.Context, q queryer, f func(row *sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, d.dialect.bind(query), args...)
	if err != nil {
		return err
	}
	return eachRow(rows, func() error { return f(rows) })
}

// eachRow calls f for each row, then closes.
func eachRow(rows *sql.Rows, f func() error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// MarkStopping implements outpost.Store.
func (d *DB) MarkStopping(ctx context.Context, k outpost.Key) (first bool, err error) {
	err = d.inTx(ctx, "mark_stopping", func(ctx context.Context, tx *sql.Tx) error {
		changed, err := d.exec(ctx, tx,
			`UPDATE service SET stop_pending = ?`+byKey+notStopping, true, k.Hub, k.Name, k.StartID, false)
		if err != nil {
			return err
		}
		if first = changed > 0; first {
			return nil
		}
		there, err := d.exists(ctx, tx, k)
		if err == nil && !there {
			return outpost.ErrNotFound
		}
		return err
	})
	return first && err == nil, err
}

// FinishStart implements outpost.Store.
func (d *DB) FinishStart(ctx context.Context, k outpost.Key, state outpost.State, address string, end time.Time) error {
	sealedState, err := d.sealState(state)
	if err != nil {
		return err
	}
	response, err := d.sealAddress(address)
	if err != nil {
		return err
	}
	return d.inTx(ctx, "finish_start", func(ctx context.Context, tx *sql.Tx) error {
		changed, err := d.exec(ctx, tx,
			`UPDATE service SET state = ?, start_response = ?, end_date = ?, state_stored = ?, start_pending = ?`+
				byKey+notStopping,
			sealedState, response, d.dialect.time(end), true, false, k.Hub, k.Name, k.StartID, false)
		if err != nil || changed > 0 {
			return err
		}
		there, err := d.exists(ctx, tx, k)
		if err != nil {
			return err
		}
		if !there {
			return outpost.ErrNotFound
		}
		return outpost.Errorf(outpost.KindConflict, "This server is being stopped.")
	})
}

// Touch implements outpost.Store.
func (d *DB) Touch(ctx context.Context, at map[outpost.Key]time.Time) error {
	if len(at) == 0 {
		return nil
	}
	return d.inTx(ctx, "touch", func(ctx context.Context, tx *sql.Tx) error { return d.dialect.touch(ctx, tx, at) })
}

// Delete implements outpost.Store. Rows that the Python outpost wrote twice go together.
func (d *DB) Delete(ctx context.Context, k outpost.Key) error {
	return d.inTx(ctx, "delete", func(ctx context.Context, tx *sql.Tx) error {
		_, err := d.exec(ctx, tx, `DELETE FROM service`+byKey, keyArgs(k)...)
		return err
	})
}
