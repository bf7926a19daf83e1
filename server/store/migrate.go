package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/outposts-dev/outposts/server/outpost"
)

//go:embed migrations
var migrations embed.FS

// versionTable holds the numbers of the migrations that were applied. The Python outpost has no such table.
const versionTable = "outpost_schema_version"

// migrate applies the migrations that are missing, in order, each in a transaction of its own. Several processes may
// do so at once on PostgreSQL: they wait for each other.
func (d *DB) migrate(ctx context.Context) error {
	provider, err := d.provider()
	if err != nil {
		return err
	}
	if err := d.checkSchema(ctx, provider); err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return outpost.Wrap(d.translate("migrate", err), outpost.KindUnavailable,
			"the tables of the database cannot be made")
	}
	for _, r := range results {
		d.log.Info("database migrated", "migration", r.Source.Path, "duration", r.Duration)
	}
	return nil
}

// ReasonNewer is the Reason of the error for a database that this program is too old for.
const ReasonNewer = "newer"

// checkSchema refuses a database that a newer version of this program has changed so that this one cannot use it: the
// migration that does so writes the number that a program must know into outpost_schema_needs. Newer tables, columns
// and indexes are no reason: an operator may go back to the version before.
func (d *DB) checkSchema(ctx context.Context, provider *goose.Provider) error {
	have, known, err := provider.GetVersions(ctx)
	if err != nil || have <= known {
		return d.translate("schema", err)
	}
	var needs int64
	if err := d.do(ctx, "schema", func(ctx context.Context) error {
		return d.read.QueryRowContext(ctx, `SELECT version FROM outpost_schema_needs`).Scan(&needs)
	}); err != nil {
		return err
	}
	if needs > known {
		return &outpost.Error{Kind: outpost.KindInvalid, Reason: ReasonNewer, Message: fmt.Sprintf(
			"a newer version of this program has changed the database: its schema is %d, for which a program must "+
				"know %d, and this one knows %d. Start that version again, or restore a backup from before the "+
				"upgrade into an empty database. Nothing was changed.", have, needs, known)}
	}
	d.log.Info("a newer version of this program has used the database", "schema", have, "known", known)
	return nil
}

// homesVersion is the migration that made the table in which the use of homes is noted.
const homesVersion = 7

// HomesNoted returns since when the use of homes is noted in this database.
func (d *DB) HomesNoted(ctx context.Context) (since time.Time, err error) {
	provider, err := d.provider()
	if err != nil {
		return since, err
	}
	applied, err := provider.Status(ctx)
	if err != nil {
		return since, outpost.StoreError(d.translate("homes noted", err))
	}
	for _, m := range applied {
		if m.Source.Version == homesVersion {
			since = m.AppliedAt.UTC()
		}
	}
	return since, nil
}

// provider knows the migrations of this kind of database.
func (d *DB) provider() (*goose.Provider, error) {
	dialect, folder := goose.DialectSQLite3, "migrations/sqlite"
	options := []goose.ProviderOption{
		goose.WithTableName(versionTable), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true),
	}
	if d.dialect.name == postgresDialect.name {
		dialect, folder = goose.DialectPostgres, "migrations/postgres"
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
		if err != nil {
			return nil, err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	files, err := fs.Sub(migrations, folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, d.write, files, options...)
}
