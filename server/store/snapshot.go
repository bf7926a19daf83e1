package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/outposts-dev/outposts/server/backup"
	"github.com/outposts-dev/outposts/server/outpost"
)

// snapshotTimeout bounds a snapshot and a restore, which read and write all there is.
const snapshotTimeout = 5 * time.Minute

// Snapshot returns what the database holds at one moment, while processes go on working on it.
func (d *DB) Snapshot(ctx context.Context) (s backup.Snapshot, err error) {
	provider, err := d.provider()
	if err != nil {
		return s, err
	}
	s.Made = time.Now().UTC().Truncate(time.Microsecond)
	s.CryptKeys = d.ring.Fingerprints()
	err = d.within(ctx, snapshotTimeout, "snapshot", func(ctx context.Context) error {
		have, known, err := provider.GetVersions(ctx)
		if err != nil {
			return err
		}
		s.Schema = min(have, known) // of tables that a newer program has added to it has what this one knows
		tx, err := d.read.BeginTx(ctx, d.dialect.snapshot)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it has changed nothing
		return d.readSnapshot(ctx, tx, &s)
	})
	return s, err
}

// readSnapshot reads the tables in a transaction that sees one moment.
func (d *DB) readSnapshot(ctx context.Context, tx *sql.Tx, s *backup.Snapshot) error {
	if err := tx.QueryRowContext(ctx, selectInstallation).Scan(&s.Installation); err != nil {
		return err
	}
	err := tx.QueryRowContext(ctx, selectPlace).Scan(&s.Place.UID, &s.Place.Namespace)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.Maintenance, err = readAnnounced(ctx, tx); err != nil {
		return err
	}
	return errors.Join(
		d.each(ctx, tx, func(row *sql.Rows) error {
			var hub string
			err := row.Scan(&hub)
			s.Hubs = append(s.Hubs, hub)
			return err
		}, `SELECT name FROM jupyterhub ORDER BY name`),
		d.each(ctx, tx, func(row *sql.Rows) error {
			var h backup.Home
			var used dbTime
			err := row.Scan(&h.Namespace, &h.Name, &used)
			h.Used = used.Time
			s.Homes = append(s.Homes, h)
			return err
		}, `SELECT namespace, name, used FROM outpost_home ORDER BY namespace, name`),
		d.each(ctx, tx, func(row *sql.Rows) error {
			one, err := scanService(row)
			s.Services = append(s.Services, one)
			return err
		}, `SELECT `+shownColumns+`, `+sealedColumns+` FROM service ORDER BY id`),
	)
}

func readAnnounced(ctx context.Context, tx *sql.Tx) (*backup.Announced, error) {
	m, err := scanMaintenance(tx.QueryRowContext(ctx, selectMaintenance))
	if m == nil {
		return nil, err
	}
	return &backup.Announced{From: m.From, Until: dbTime{m.Until}.orNil(), Text: m.Text, Evict: m.Evict}, nil
}

func scanService(row *sql.Rows) (backup.Service, error) {
	var shown shownRow
	var sealed sealedRow
	err := row.Scan(append(shown.into(), sealed.into()...)...)
	return backup.Service{
		Name: orNull(shown.name.String, shown.name.Valid), StartID: orNull(shown.startID.String, shown.startID.Valid),
		Hub: shown.hub, LastUpdate: shown.lastUpdate.orNil(), StartDate: shown.startDate.orNil(),
		EndDate:      shown.endDate.orNil(),
		StateStored:  orNull(shown.stateStored.Bool, shown.stateStored.Valid),
		StartPending: orNull(shown.startPending.Bool, shown.startPending.Valid),
		StopPending:  orNull(shown.stopPending.Bool, shown.stopPending.Valid),
		UserID:       orNull(shown.userID.Int64, shown.userID.Valid),
		Flavor:       orNull(shown.flavor.String, shown.flavor.Valid),
		Body:         sealed.body, State: sealed.state, StartResponse: sealed.startResponse,
	}, err
}

// orNull returns a value of the database, nil if it is NULL.
func orNull[T any](value T, valid bool) *T {
	if !valid {
		return nil
	}
	return &value
}

// orNil returns the time, nil if it is NULL.
func (t dbTime) orNil() *time.Time { return orNull(t.Time, !t.Time.IsZero()) }

const noteBackup = `INSERT INTO outpost_backup (one, made) VALUES (1, ?)
	ON CONFLICT (one) DO UPDATE SET made = excluded.made`

// BackedUp notes when a backup was made.
func (d *DB) BackedUp(ctx context.Context, made time.Time) error {
	return d.inTx(ctx, "backed_up", func(ctx context.Context, tx *sql.Tx) error {
		_, err := d.exec(ctx, tx, noteBackup, d.dialect.time(made))
		return err
	})
}

// LastBackup returns when the last backup was made; the zero time if there was none.
func (d *DB) LastBackup(ctx context.Context) (time.Time, error) {
	var made dbTime
	err := d.do(ctx, "last_backup", func(ctx context.Context) error {
		err := d.read.QueryRowContext(ctx, `SELECT made FROM outpost_backup`).Scan(&made)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return made.Time, err
}

// ReasonRestored is the Reason of the error for a database that was restored since this process has opened it.
const ReasonRestored = "restored"

var errRestored = &outpost.Error{
	Kind: outpost.KindUnavailable, Reason: ReasonRestored, Message: "The outpost is restarting; try again.",
	Cause: errors.New("the database was restored from a backup; this process, which was there before, must end"),
}

// Current returns an error if the database is no longer what this process has opened: it was restored
// ([ReasonRestored]), or moved to another place ([ReasonPlace]).
func (d *DB) Current(ctx context.Context) error {
	return d.do(ctx, "current", d.checkCurrent)
}

// checkCurrent is Current within an operation.
func (d *DB) checkCurrent(ctx context.Context) error {
	if d.restored == nil {
		return nil
	}
	restored, err := d.lastRestore(ctx)
	if err != nil {
		return err
	}
	if restored != *d.restored {
		return errRestored
	}
	return d.checkPlace(ctx)
}

// lastRestore returns the id of the last restore; empty if there was none.
func (d *DB) lastRestore(ctx context.Context) (id string, err error) {
	err = d.read.QueryRowContext(ctx, `SELECT id FROM outpost_restore`).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}
