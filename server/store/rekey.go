package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/seal"
)

// ReasonKey is the Reason of the error for rows that are sealed with a key that was not given.
const ReasonKey = "key"

// Check verifies that the ring opens every row. KindInvalid with [ReasonKey] if some row is sealed with a key that the
// ring does not have: then nothing may be served, because those servers could neither be polled nor stopped (protocol
// 6.4). Rows that no key can open, because they hold no token, are logged and left alone. Nothing is ever changed.
func (d *DB) Check(ctx context.Context) error {
	var services, foreign int
	var ids []string
	err := d.do(ctx, "check", func(ctx context.Context) error {
		return d.each(ctx, d.read, func(rows *sql.Rows) error {
			var row sealedRow
			if err := rows.Scan(row.into()...); err != nil {
				return err
			}
			services++
			switch err := d.openable(row); {
			case errors.Is(err, seal.ErrWrongKey):
				foreign++
				if len(ids) < 10 {
					ids = append(ids, fmt.Sprint(row.id))
				}
			case err != nil:
				d.log.Warn("a stored service cannot be read and is left alone", "id", row.id, "err", err)
			}
			return nil
		}, `SELECT `+sealedColumns+` FROM service ORDER BY id`)
	})
	if err != nil || foreign == 0 {
		return err
	}
	return &outpost.Error{Kind: outpost.KindInvalid, Reason: ReasonKey, Message: fmt.Sprintf(
		"%d of %d stored services are sealed with a key that is not given (rows of table service with id %s). "+
			"Give the key that they were sealed with behind the first one, and start again; "+
			"all rows can then be sealed with the first. Nothing was changed. "+
			"If that key is lost for good, stop those servers by hand and delete these rows.",
		foreign, services, strings.Join(ids, ", "))}
}

// openable returns why a row's tokens cannot be opened, nil if they can.
func (d *DB) openable(row sealedRow) error {
	var errs []error
	for _, token := range row.tokens() {
		if len(*token) > 0 {
			_, err := d.ring.Open(*token)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Rekeyed says what Rekey did.
type Rekeyed struct {
	Rows     int // services there are
	Resealed int // of these, sealed anew
	Unopened int // of these, left as they are because no key opens them
}

// rekeyBatch is how many rows one transaction of Rekey seals anew.
const rekeyBatch = 100

// Rekey seals every row with the ring's first key, a batch in each transaction. It may run beside a server and be
// repeated after an interruption. Rows that no key opens are left and counted.
func (d *DB) Rekey(ctx context.Context) (done Rekeyed, err error) {
	for last, more := int64(0), true; more; {
		var batch Rekeyed
		next := last
		err := d.inTx(ctx, "rekey", func(ctx context.Context, tx *sql.Tx) (err error) {
			batch, next, err = d.rekeyAfter(ctx, tx, last)
			return err
		})
		if err != nil {
			return done, err
		}
		done.Rows += batch.Rows
		done.Resealed += batch.Resealed
		done.Unopened += batch.Unopened
		last, more = next, batch.Rows == rekeyBatch
	}
	return done, nil
}

// OldKeys counts the rows that another key than the ring's first has sealed. It changes nothing.
func (d *DB) OldKeys(ctx context.Context) (count int, err error) {
	err = d.do(ctx, "old_keys", func(ctx context.Context) error {
		count = 0
		return d.each(ctx, d.read, func(rows *sql.Rows) error {
			var row sealedRow
			if err := rows.Scan(row.into()...); err != nil {
				return err
			}
			other := func(token *[]byte) bool { return len(*token) > 0 && !d.ring.Current(*token) }
			if d.openable(row) == nil && slices.ContainsFunc(row.tokens(), other) {
				count++
			}
			return nil
		}, `SELECT `+sealedColumns+` FROM service`)
	})
	return count, err
}

// rekeyAfter seals the next batch of rows behind an id and returns the last id it met.
func (d *DB) rekeyAfter(ctx context.Context, tx *sql.Tx, after int64) (done Rekeyed, last int64, err error) {
	query := `SELECT ` + sealedColumns + ` FROM service WHERE id > ? ORDER BY id LIMIT ?` + d.dialect.forUpdate
	var batch []sealedRow
	if err := d.each(ctx, tx, func(rows *sql.Rows) error {
		var row sealedRow
		err := rows.Scan(row.into()...)
		batch = append(batch, row)
		return err
	}, query, after, rekeyBatch); err != nil {
		return done, after, err
	}
	last = after
	for _, row := range batch {
		last = row.id
		done.Rows++
		switch changed, err := d.reseal(row); {
		case err != nil:
			done.Unopened++
		case changed != nil:
			done.Resealed++
			if _, err := d.exec(ctx, tx, `UPDATE service SET body = ?, state = ?, start_response = ? WHERE id = ?`,
				changed.body, changed.state, changed.startResponse, row.id); err != nil {
				return done, last, err
			}
		}
	}
	return done, last, nil
}

// reseal returns a row sealed with the first key, nil if it is already.
func (d *DB) reseal(row sealedRow) (*sealedRow, error) {
	if err := d.openable(row); err != nil {
		return nil, err
	}
	changed := false
	for _, token := range row.tokens() {
		if len(*token) == 0 || d.ring.Current(*token) {
			continue
		}
		plain, err := d.ring.Open(*token)
		if err != nil {
			return nil, err
		}
		if *token, err = d.ring.Seal(plain); err != nil {
			return nil, err
		}
		changed = true
	}
	if !changed {
		return nil, nil
	}
	return &row, nil
}
