package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/outposts-dev/outposts/server/outpost"
)

// sqliteTime is how SQLAlchemy writes and reads a DATETIME: UTC without a zone, always six digits.
const sqliteTime = "2006-01-02 15:04:05.000000"

// openSQLite opens the file with one connection that writes and some that read. WAL lets them read while it writes;
// synchronous FULL keeps a committed row through a crash of the machine.
func (d *DB) openSQLite(c Config) error {
	d.dialect = sqliteDialect
	if c.Path == "" {
		return outpost.Errorf(outpost.KindInvalid, "the path of the SQLite file is empty")
	}
	if err := makeFile(c.Path); err != nil {
		return outpost.Wrap(err, outpost.KindInvalid, "the SQLite file cannot be written")
	}
	path, err := filepath.Abs(c.Path)
	if err != nil {
		return outpost.Wrap(err, outpost.KindInvalid, "the path of the SQLite file is not valid")
	}
	dsn := "file://" + (&url.URL{Path: path}).EscapedPath() + "?" + url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)"},
		"_txlock": {"immediate"},
	}.Encode()
	if d.write, err = sql.Open("sqlite", dsn); err != nil {
		return err
	}
	d.write.SetMaxOpenConns(1)
	if d.read, err = sql.Open("sqlite", dsn+"&_pragma=query_only(ON)"); err != nil {
		return errors.Join(err, d.write.Close())
	}
	d.read.SetMaxOpenConns(4)
	return nil
}

// makeFile makes the file if it is missing, readable by owner and group only: the group is the pod's fsGroup.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o660)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, errors.New("its folder must exist"))
	}
	if err != nil {
		return err
	}
	return f.Close()
}

var sqliteDialect = dialect{
	name: "SQLite",
	bind: asIs,
	time: func(t time.Time) any { return sqliteText(t) },
	// Transactions begin with IMMEDIATE: there is never more than one that writes.
	lockInserts: func(context.Context, *sql.Tx) error { return nil },
	snapshot:    &sql.TxOptions{ReadOnly: true}, // from its first query on it sees that moment
	touch:       touchSQLite,
	again:       func(error) bool { return false },
	badValue: func(err error) bool {
		e, ok := errors.AsType[*sqlite.Error](err)
		return ok && e.Code()&0xff == sqlite3.SQLITE_TOOBIG
	},
}

func sqliteText(t time.Time) string { return t.UTC().Format(sqliteTime) }

// touchSQLite runs one prepared statement for each service.
func touchSQLite(ctx context.Context, tx *sql.Tx, at map[outpost.Key]time.Time) (err error) {
	update, err := tx.PrepareContext(ctx, `UPDATE service SET last_update = ?1
		WHERE jupyterhub_username = ?2 AND name = ?3 AND start_id = ?4 AND (last_update IS NULL OR last_update < ?1)`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, update.Close()) }()
	for k, t := range at {
		if _, err := update.ExecContext(ctx, sqliteText(t), k.Hub, k.Name, k.StartID); err != nil {
			return err
		}
	}
	return nil
}
