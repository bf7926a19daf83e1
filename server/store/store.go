// Package store keeps services in SQLite or PostgreSQL, in the tables of the Python outpost (protocol, chapter 6).
//
// A database that the Python outpost wrote is adopted in place: [Open] runs the numbered migrations in migrations/,
// which add indexes and tables of their own and change nothing that the Python outpost uses, so an operator can go
// back. Sealed columns hold Fernet tokens of package seal. All times are UTC with microseconds.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/seal"
)

var _ outpost.Store = (*DB)(nil)

// The kinds of databases, as Config.Type names them.
const (
	TypeSQLite     = "sqlite"
	TypePostgreSQL = "postgresql"
)

// Config says where the database is.
type Config struct {
	Type string // TypeSQLite or TypePostgreSQL
	Path string // SQLite: path of the file, made if it is missing; its folder must exist

	Host     string // PostgreSQL: host name, address, or folder of a Unix socket
	Port     int    // PostgreSQL: 0 is 5432
	User     string
	Password outpost.Secret // any characters
	Name     string         // PostgreSQL: name of the database

	// Wait is how long Open waits for a database that does not answer; zero fails at the first try.
	Wait time.Duration
	// Timeout bounds each operation; zero is 15 s.
	Timeout time.Duration
	// Observer is told about each operation, for metrics: a short name of a closed set, its time, its error.
	Observer func(op string, d time.Duration, err error)
}

// DB is a database of services. It is safe for concurrent use, also between processes. Close it once at the end.
type DB struct {
	read, write  *sql.DB // the same for PostgreSQL; SQLite has one connection that writes
	dialect      dialect
	ring         *seal.Keyring
	log          *slog.Logger
	timeout      time.Duration
	observe      func(op string, d time.Duration, err error)
	installation string
	place        string  // see Bind; empty before it
	restored     *string // id of the last restore when the database was opened; nil before that
}

// dialect is what differs between the databases.
type dialect struct {
	name string
	// bind turns the "?" of a query into the database's own marks.
	bind func(query string) string
	// time makes of a time what is stored.
	time func(time.Time) any
	// lockInserts waits until no other transaction that called it is under way, also in other processes.
	lockInserts func(ctx context.Context, tx *sql.Tx) error
	// snapshot begins a transaction that reads, and sees one moment.
	snapshot *sql.TxOptions
	// forUpdate is added to a SELECT of rows that the transaction is going to change.
	forUpdate string
	// touch sets last_update of many services, never back.
	touch func(ctx context.Context, tx *sql.Tx, at map[outpost.Key]time.Time) error
	// again reports whether a transaction that failed so is to be tried once more.
	again func(error) bool
	// badValue reports whether the database refused a value rather than failed.
	badValue func(error) bool
}

// Open connects, migrates and checks that the ring opens the rows that are there ([DB.Check]). It never changes a
// row. KindInvalid errors are the operator's to mend; one without a kind means that the database does not answer.
func Open(ctx context.Context, c Config, ring *seal.Keyring, log *slog.Logger) (*DB, error) {
	d := &DB{ring: ring, log: log, timeout: cmp.Or(c.Timeout, 15*time.Second), observe: c.Observer}
	if d.observe == nil {
		d.observe = func(string, time.Duration, error) {}
	}
	var err error
	switch c.Type {
	case TypeSQLite:
		err = d.openSQLite(c)
	case TypePostgreSQL:
		err = d.openPostgreSQL(c)
	default:
		err = outpost.Errorf(outpost.KindInvalid, "unknown type of database %q: use %q or %q",
			c.Type, TypeSQLite, TypePostgreSQL)
	}
	if err != nil {
		return nil, err
	}
	if err := d.prepare(ctx, c.Wait); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *DB) prepare(ctx context.Context, wait time.Duration) error {
	if err := d.waitFor(ctx, wait); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	if err := d.do(ctx, "installation", func(ctx context.Context) error {
		last, err := d.lastRestore(ctx)
		if err != nil {
			return err
		}
		d.restored = &last
		return d.read.QueryRowContext(ctx, selectInstallation).Scan(&d.installation)
	}); err != nil {
		return err
	}
	return d.Check(ctx)
}

// waitFor returns when the database answers, or with the last error when the time is over.
func (d *DB) waitFor(ctx context.Context, wait time.Duration) error {
	over := time.NewTimer(wait)
	defer over.Stop()
	for warned := false; ; warned = true {
		err := d.do(ctx, "connect", d.write.PingContext)
		if err == nil {
			return nil
		}
		if wait > 0 && !warned {
			d.log.Warn("waiting for the database", "wait", wait, "err", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-over.C:
			return err
		case <-time.After(min(time.Second, wait)):
		}
	}
}

const selectInstallation = `SELECT id FROM outpost_installation`

// Installation is the random id of this database, 32 hexadecimal digits, the same for all processes that have ever
// opened it.
func (d *DB) Installation() string { return d.installation }

// Ping returns an error unless the database answers, has our tables and is what this process has opened ([DB.Current]).
func (d *DB) Ping(ctx context.Context) error {
	return d.do(ctx, "ping", func(ctx context.Context) error {
		rows, err := d.read.QueryContext(ctx, "SELECT 1 FROM service LIMIT 1")
		if err != nil {
			return err
		}
		return errors.Join(rows.Close(), rows.Err(), d.checkCurrent(ctx))
	})
}

// Close closes all connections. Operations that are under way fail.
func (d *DB) Close() error {
	var errs []error
	if d.read != nil && d.read != d.write {
		errs = append(errs, d.read.Close())
	}
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	return errors.Join(errs...)
}

// do runs one operation with a time limit, measures it and translates its error.
func (d *DB) do(ctx context.Context, op string, f func(context.Context) error) error {
	return d.within(ctx, d.timeout, op, f)
}

// within is do with another limit.
func (d *DB) within(ctx context.Context, limit time.Duration, op string, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	begin := time.Now()
	err := d.translate(op, f(ctx))
	d.observe(op, time.Since(begin), err)
	return err
}

// inTx runs f in a transaction that writes, once more if the database asks for it, and commits.
func (d *DB) inTx(ctx context.Context, op string, f func(context.Context, *sql.Tx) error) error {
	return d.do(ctx, op, func(ctx context.Context) error {
		for try := 1; ; try++ {
			err := d.once(ctx, f)
			if err == nil || try == 3 || !d.dialect.again(err) {
				return err
			}
		}
	})
}

func (d *DB) once(ctx context.Context, f func(context.Context, *sql.Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(ctx, tx); err != nil {
		// The first error says why; a connection that is gone cannot be rolled back.
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// exec runs a statement and returns how many rows it met.
func (d *DB) exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, d.dialect.bind(query), args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// translate gives an error the form in which it may leave the package: kinds stay, a refused value is KindInvalid, and
// of a driver's error only the text remains, without a kind: the database failed.
func (d *DB) translate(op string, err error) error {
	if err == nil {
		return nil
	}
	if kind, ok := errors.AsType[*outpost.Error](err); ok {
		return kind
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s in the %s database: %w", op, d.dialect.name, known)
		}
	}
	text := fmt.Errorf("%s in the %s database: %s", op, d.dialect.name, err.Error())
	if d.dialect.badValue(err) {
		return outpost.Wrap(text, outpost.KindInvalid, "The database refuses a value of the request.")
	}
	return text
}

// asIs is the bind of a database that takes question marks.
func asIs(query string) string { return query }
