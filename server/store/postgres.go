package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/outposts-dev/outposts/server/outpost"
)

// insertLock is the advisory lock of all inserts into one database. One for all hubs, not one for each: the usage that
// a check is given also counts the flavors of all hubs, and an insert takes a few milliseconds.
const insertLock int64 = 0x6f7574706f737401 // "outpost", 1

// openPostgreSQL prepares a pool; the first connection is made when it is used.
func (d *DB) openPostgreSQL(c Config) error {
	d.dialect = postgresDialect
	config, err := d.connection(c)
	if err != nil {
		return err
	}
	d.write = stdlib.OpenDB(*config, stdlib.OptionAfterConnect(d.bound))
	d.write.SetMaxOpenConns(10)
	d.write.SetMaxIdleConns(4)
	d.write.SetConnMaxLifetime(30 * time.Minute)
	d.read = d.write
	return nil
}

// connection is how the pool connects. What Config does not say (sslmode, sslrootcert) comes from libpq's own
// variables, such as PGSSLMODE, as with the Python outpost.
func (d *DB) connection(c Config) (*pgx.ConnConfig, error) {
	if c.Host == "" || c.User == "" || c.Name == "" {
		return nil, outpost.Errorf(outpost.KindInvalid, "PostgreSQL needs a host, a user and the name of a database")
	}
	// A part of an operation's time: another of the host's addresses is tried in what is left.
	timeout := max(1, int((d.timeout / 3).Seconds()))
	config, err := pgx.ParseConfig(dsn(
		"host", c.Host, "port", strconv.Itoa(cmp.Or(c.Port, 5432)),
		"user", c.User, "password", c.Password.Reveal(), "dbname", c.Name,
		"connect_timeout", strconv.Itoa(timeout), "application_name", "outpost", "timezone", "UTC",
	))
	if err != nil {
		// The library's error repeats the parameters, but not the password.
		return nil, outpost.Wrap(err, outpost.KindInvalid, "the settings of the PostgreSQL database are not valid")
	}
	return config, nil
}

// bound lets the server give up a connection whose process is gone without a word, as with a node that loses power:
// else its locks, that of all inserts among them, would be held until TCP gives up, two hours by default. No operation
// of ours waits longer than its time-out, so none is cut short. The settings are not in the start-up message, which
// poolers in between refuse; a server that does not have one of them goes without.
func (d *DB) bound(ctx context.Context, c *pgx.Conn) error {
	_, err := c.Exec(ctx, `SELECT set_config(name, $1, false) FROM pg_settings WHERE name IN
		('idle_in_transaction_session_timeout', 'tcp_user_timeout') AND context = 'user'`,
		strconv.FormatInt(d.timeout.Milliseconds(), 10))
	return err
}

// dsn writes libpq's "key='value'" form, in which a password may hold any character.
func dsn(pairs ...string) string {
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%s='%s' ", pairs[i], quote.Replace(pairs[i+1]))
	}
	return b.String()
}

var postgresDialect = dialect{
	name: "PostgreSQL",
	bind: func(query string) string {
		var b strings.Builder
		parts := strings.Split(query, "?")
		for i, part := range parts[:len(parts)-1] {
			fmt.Fprintf(&b, "%s$%d", part, i+1)
		}
		return b.String() + parts[len(parts)-1]
	},
	time: func(t time.Time) any { return t.UTC().Truncate(time.Microsecond) },
	lockInserts: func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", insertLock)
		return err
	},
	snapshot:  &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
	forUpdate: " FOR UPDATE",
	touch: func(ctx context.Context, tx *sql.Tx, at map[outpost.Key]time.Time) error {
		var hubs, names, ids []string
		var times []time.Time
		for k, t := range at {
			hubs, names, ids = append(hubs, k.Hub), append(names, k.Name), append(ids, k.StartID)
			times = append(times, t.UTC().Truncate(time.Microsecond))
		}
		_, err := tx.ExecContext(ctx, `UPDATE service s SET last_update = v.at
			FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS v(hub, name, start_id, at)
			WHERE s.jupyterhub_username = v.hub AND s.name = v.name AND s.start_id = v.start_id
				AND (s.last_update IS NULL OR s.last_update < v.at)`, hubs, names, ids, times)
		return err
	},
	// Deadlock and serialization failure: two processes touched the same rows in another order.
	again: func(err error) bool { return hasState(err, "40") },
	// Data exception: a NUL or broken UTF-8 in a string, a number out of range.
	badValue: func(err error) bool { return hasState(err, "22") },
}

// hasState reports whether PostgreSQL itself answered with an SQLSTATE of this class.
func hasState(err error, class string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(e.Code, class)
}
