package store

import (
	"database/sql"
	"testing"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// A replica that stops in the middle of a transaction, as one whose node loses power, holds its locks for no longer
// than an operation may take. It is played by a connection of its pool that goes silent.
func TestSilentReplicaHoldsNoLockForLong(t *testing.T) {
	key := outpost.Key{Hub: "hub-a", Name: "lab-000", StartID: "1"}
	for name, tc := range map[string]struct {
		lock func(t *testing.T, d *DB, tx *sql.Tx) error
		then func(t *testing.T, d *DB) error
	}{
		"all inserts": {
			func(t *testing.T, d *DB, tx *sql.Tx) error { return d.dialect.lockInserts(t.Context(), tx) },
			func(t *testing.T, d *DB) error {
				return d.Insert(t.Context(), storetest.Service("hub-a", "more", "1"), storetest.Allow)
			},
		},
		"one row": {
			func(t *testing.T, d *DB, tx *sql.Tx) error {
				const touch = `UPDATE service SET stop_pending = stop_pending` + byKey
				_, err := d.exec(t.Context(), tx, touch, keyArgs(key)...)
				return err
			},
			func(t *testing.T, d *DB) error { return d.Delete(t.Context(), key) },
		},
		"the table": {
			func(t *testing.T, d *DB, tx *sql.Tx) error {
				_, err := d.exec(t.Context(), tx, `LOCK TABLE service`)
				return err
			},
			func(t *testing.T, d *DB) error { return d.Ping(t.Context()) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := postgresConfig(t, storetest.SharedPostgres(t))
			living := mustOpen(t, c, ring(t, keyA))
			fill(t, living, 1)
			silent := mustOpen(t, c, ring(t, keyA))
			tx, err := silent.write.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tx.Rollback() }() // the server has ended it
			if err := tc.lock(t, silent, tx); err != nil {
				t.Fatal(err)
			}
			// In place of what TestConnectionsAreGivenUpInTime finds, and only now: a busy machine is silent too.
			if _, err := silent.exec(t.Context(), tx, `SET idle_in_transaction_session_timeout = '1s'`); err != nil {
				t.Fatal(err)
			}
			if err := tc.then(t, living); err != nil {
				t.Error(err)
			}
		})
	}
}

// The settings that the server has are those of the operations, on each connection.
func TestConnectionsAreGivenUpInTime(t *testing.T) {
	c := postgresConfig(t, storetest.SharedPostgres(t))
	c.Timeout = 0 // what it is if nobody sets it
	d := mustOpen(t, c, ring(t, keyA))
	for range 3 {
		conn, err := d.write.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // held so that the next one is another
		var timeout string
		shown := conn.QueryRowContext(t.Context(), "SHOW idle_in_transaction_session_timeout")
		if err := shown.Scan(&timeout); err != nil {
			t.Fatal(err)
		}
		if timeout != "15s" {
			t.Errorf("idle_in_transaction_session_timeout is %s, want 15s", timeout)
		}
	}
}
