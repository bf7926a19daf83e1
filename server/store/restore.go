package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/backup"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/seal"
)

// Restoring is how a snapshot is restored.
type Restoring struct {
	// Here is the place of the outpost that gets the rows; without a UID it is not known, and the snapshot's stays.
	// MovedFrom is as in [DB.Bind].
	Here      Place
	MovedFrom string
	// Replace is the id of the installation whose rows may be lost; empty for none.
	Replace string
	// Running are services whose pods run now. They get rows if the snapshot has none, or if it was made while they
	// started.
	Running []outpost.Service
}

// Restored says what Restore did.
type Restored struct {
	Services int // rows of the snapshot
	Adopted  int // services that got rows because their pods run
	Replaced int // rows that are lost
}

// Restore replaces what the database holds by a snapshot, all or nothing. Processes that have the database open see
// it ([DB.Current]). All errors but those of the database itself are KindInvalid, say what to do, and leave everything
// as it was.
func (d *DB) Restore(ctx context.Context, s backup.Snapshot, r Restoring) (done Restored, err error) {
	if err := d.restorable(ctx, s, r); err != nil {
		return done, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	err = d.within(ctx, snapshotTimeout, "restore", func(ctx context.Context) error {
		return d.once(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
			if err := d.dialect.lockInserts(ctx, tx); err != nil {
				return err
			}
			if done.Replaced, err = d.makeRoom(ctx, tx, s, r.Replace); err != nil {
				return err
			}
			if err := d.writeFacts(ctx, tx, s, r.Here, now); err != nil {
				return err
			}
			done.Services, done.Adopted, err = d.writeServices(ctx, tx, s, r.Running)
			return err
		})
	})
	if err != nil {
		return Restored{}, err
	}
	return done, nil
}

// restorable judges a snapshot without looking at what the database holds.
func (d *DB) restorable(ctx context.Context, s backup.Snapshot, r Restoring) error {
	provider, err := d.provider()
	if err != nil {
		return err
	}
	_, known, err := provider.GetVersions(ctx)
	if err != nil {
		return d.translate("restore", err)
	}
	if s.Schema > known {
		return outpost.Errorf(outpost.KindInvalid, "the backup was made by a newer version of this program, %s: its "+
			"schema is %d, and this one knows %d. Restore it with that version", s.Version, s.Schema, known)
	}
	if s.Place.UID != "" && r.Here.UID != "" && s.Place.UID != r.Here.UID && s.Place.UID != r.MovedFrom {
		return &outpost.Error{Kind: outpost.KindInvalid, Reason: ReasonPlace, Message: fmt.Sprintf(
			"the backup is of an outpost in namespace %s (uid %s); this one is in namespace %s (uid %s), and would "+
				"see none of its pods", s.Place.Namespace, s.Place.UID, r.Here.Namespace, r.Here.UID)}
	}
	foreign := 0
	for _, row := range s.Services {
		sealed := sealedRow{body: row.Body, state: row.State, startResponse: row.StartResponse}
		if errors.Is(d.openable(sealed), seal.ErrWrongKey) {
			foreign++
		}
	}
	if foreign > 0 {
		return &outpost.Error{Kind: outpost.KindInvalid, Reason: ReasonKey, Message: fmt.Sprintf(
			"%d of %d services in the backup are sealed with a key that is not given. The outpost had the keys of "+
				"these fingerprints: %s; given are %s. Give them all, the first one first",
			foreign, len(s.Services), strings.Join(s.CryptKeys, ", "), strings.Join(d.ring.Fingerprints(), ", "))}
	}
	return nil
}

// makeRoom empties the tables, unless rows would be lost that nobody has said may be.
func (d *DB) makeRoom(ctx context.Context, tx *sql.Tx, s backup.Snapshot, replace string) (lost int, err error) {
	var there string
	if err := tx.QueryRowContext(ctx, selectInstallation).Scan(&there); err != nil {
		return 0, err
	}
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM service`).Scan(&lost); err != nil {
		return 0, err
	}
	if lost > 0 && replace != there {
		whose := "of this installation"
		if there != s.Installation {
			whose = "of another installation than the backup, " + s.Installation +
				", so that its pods would be left alone"
		}
		return 0, outpost.Errorf(outpost.KindInvalid, "the database is not empty: it has %d services %s. Give an "+
			"empty database, or lose these rows with --replace %s", lost, whose, there)
	}
	for _, table := range []string{
		"service", "jupyterhub", "outpost_home", "outpost_maintenance", "outpost_place", "outpost_backup",
		"outpost_restore",
	} {
		if _, err := d.exec(ctx, tx, `DELETE FROM `+table); err != nil {
			return 0, err
		}
	}
	return lost, nil
}

// writeFacts writes everything but services. Homes count as used now: nobody knows who has used them since the backup,
// and what nobody uses is removed. A maintenance that has begun ends no servers any more: it has done so, or has been
// called off since, and those that run are to be kept.
func (d *DB) writeFacts(ctx context.Context, tx *sql.Tx, s backup.Snapshot, here Place, now time.Time) error {
	if here.UID == "" {
		here = Place(s.Place)
	}
	at := d.dialect.time(now)
	statements := []statement{
		{`UPDATE outpost_installation SET id = ?`, []any{s.Installation}},
		{noteBackup, []any{d.dialect.time(s.Made)}},
		{
			`INSERT INTO outpost_restore (one, id, made, restored) VALUES (1, ?, ?, ?)`,
			[]any{rand.Text(), d.dialect.time(s.Made), at},
		},
	}
	if here.UID != "" {
		statements = append(statements, statement{
			`INSERT INTO outpost_place (one, uid, namespace) VALUES (1, ?, ?)`, []any{here.UID, here.Namespace},
		})
	}
	if m := s.Maintenance; m != nil {
		statements = append(statements, statement{
			addMaintenance,
			[]any{d.dialect.time(m.From), d.timeOrNull(m.Until), m.Text, m.Evict && m.From.After(now)},
		})
	}
	for _, hub := range s.Hubs {
		statements = append(statements, statement{addHub, []any{hub}})
	}
	for _, h := range s.Homes {
		statements = append(statements, statement{
			`INSERT INTO outpost_home (namespace, name, used) VALUES (?, ?, ?)`, []any{h.Namespace, h.Name, at},
		})
	}
	for _, one := range statements {
		if _, err := d.exec(ctx, tx, one.query, one.args...); err != nil {
			return err
		}
	}
	return nil
}

type statement struct {
	query string
	args  []any
}

// timeOrNull is what is stored of a time.
func (d *DB) timeOrNull(t *time.Time) any {
	if t == nil {
		return nil
	}
	return d.dialect.time(*t)
}

// writeServices writes the rows, in their order, and those of services that run. Of a start that was under way when the
// backup was made, and whose pod runs now, the row says so; its request stays as it was.
func (d *DB) writeServices(
	ctx context.Context, tx *sql.Tx, s backup.Snapshot, running []outpost.Service,
) (services, adopted int, err error) {
	left := make(map[outpost.Key]outpost.Service, len(running))
	for _, one := range running {
		left[one.Key] = one
	}
	for _, row := range s.Services {
		key := outpost.Key{Hub: row.Hub, Name: orZero(row.Name), StartID: orZero(row.StartID)}
		if one, runs := left[key]; runs && orZero(row.StartPending) && !orZero(row.StopPending) {
			sealed, err := d.rowOf(one)
			if err != nil {
				return services, adopted, err
			}
			sealed.Body, sealed.Flavor = row.Body, row.Flavor
			sealed.UserID, sealed.StartDate = row.UserID, row.StartDate
			row = sealed
			adopted++
		} else {
			services++
		}
		delete(left, key)
		if err := d.writeService(ctx, tx, row); err != nil {
			return services, adopted, err
		}
	}
	for _, one := range running {
		if _, missing := left[one.Key]; !missing {
			continue
		}
		row, err := d.rowOf(one)
		if err == nil {
			err = d.writeService(ctx, tx, row)
		}
		if err != nil {
			return services, adopted, err
		}
		adopted++
	}
	return services, adopted, nil
}

func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}
