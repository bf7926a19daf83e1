package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/backup"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// lived is a database with everything in it that a backup keeps.
func lived(t *testing.T, c Config) *DB {
	t.Helper()
	d := mustOpen(t, c, ring(t, keyA))
	if err := d.Bind(t.Context(), north, ""); err != nil {
		t.Fatal(err)
	}
	fill(t, d, 3)
	planned := &outpost.Maintenance{From: storetest.Day.AddDate(100, 0, 0), Text: "New disks.", Evict: true}
	if err := d.SetMaintenance(t.Context(), planned); err != nil {
		t.Fatal(err)
	}
	if err := d.UseHome(t.Context(), outpost.Home{Namespace: "outpost", Name: "claim-zoë"}, storetest.Day); err != nil {
		t.Fatal(err)
	}
	// As the Python outpost may write it: a key twice, and columns that are NULL.
	for _, row := range []string{`'lab-000', '1'`, `NULL, NULL`} {
		_, err := d.write.ExecContext(t.Context(),
			`INSERT INTO service (name, start_id, jupyterhub_username) VALUES (`+row+`, 'hub-a')`)
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func snapshot(t *testing.T, d *DB) backup.Snapshot {
	t.Helper()
	s, err := d.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// content is a snapshot without what differs between two databases with the same rows.
func content(t *testing.T, d *DB) backup.Snapshot {
	t.Helper()
	s := snapshot(t, d)
	s.Made = time.Time{}
	return s
}

func mustRestore(t *testing.T, d *DB, s backup.Snapshot, r Restoring) Restored {
	t.Helper()
	done, err := d.Restore(t.Context(), s, r)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// everyPair runs a test with each kind of database to take a backup of, and to restore it into.
func everyPair(t *testing.T, test func(t *testing.T, from, to func(t testing.TB) Config)) {
	onBoth(t, func(t *testing.T, from func(t testing.TB) Config) {
		onBoth(t, func(t *testing.T, to func(t testing.TB) Config) { test(t, from, to) })
	})
}

func TestARestoredDatabaseIsTheOneOfTheBackup(t *testing.T) {
	everyPair(t, func(t *testing.T, from, to func(t testing.TB) Config) {
		d := lived(t, from(t))
		want, made := content(t, d), snapshot(t, d)
		if want.Schema != 9 || want.Installation != d.Installation() || len(want.Services) != 5 ||
			want.Place != backup.Place(north) || want.Maintenance == nil || want.Services[4].Name != nil {
			t.Fatalf("a strange snapshot: %+v", want)
		}
		c := to(t)
		fresh := mustOpen(t, c, ring(t, keyA))
		before := time.Now().UTC()
		got := mustRestore(t, fresh, made, Restoring{Here: north})
		if diff := cmp.Diff(Restored{Services: 5}, got); diff != "" {
			t.Error(diff)
		}
		again := mustOpen(t, c, ring(t, keyA))
		have := content(t, again)
		for i := range have.Homes { // nobody knows who has used them since the backup
			if used := have.Homes[i].Used; used.Before(before.Add(-time.Second)) {
				t.Errorf("home was last used %v", used)
			}
			have.Homes[i].Used = want.Homes[i].Used
		}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Errorf("(-backup +restored)\n%s", diff)
		}
		if again.Installation() != d.Installation() {
			t.Errorf("installation %s, want %s", again.Installation(), d.Installation())
		}
		if at, err := again.LastBackup(t.Context()); err != nil || !at.Equal(made.Made) {
			t.Errorf("last backup %v, error %v; want %v", at, err, made.Made)
		}
		wantRows, err1 := d.All(t.Context())
		gotRows, err2 := again.All(t.Context())
		byName := func(a, b outpost.Stored) int { return strings.Compare(a.Name, b.Name) } // NULL is first or last
		slices.SortStableFunc(wantRows, byName)
		slices.SortStableFunc(gotRows, byName)
		if diff := cmp.Diff(wantRows, gotRows); diff != "" || err1 != nil || err2 != nil {
			t.Errorf("rows: errors %v, %v (-backup +restored)\n%s", err1, err2, diff)
		}
		if err := again.Bind(t.Context(), north, ""); err != nil {
			t.Error(err)
		}
		another := storetest.Service("hub-a", "another", "1")
		if err := again.Insert(t.Context(), another, storetest.Allow); err != nil {
			t.Errorf("a start after it: %v", err)
		}
	})
}

func TestRestoreRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		source := lived(t, config(t))
		made := snapshot(t, source)
		newer := made
		newer.Schema, newer.Version = 99, "9.9.9"
		full := lived(t, config(t))
		for _, c := range []struct {
			name string
			into *DB
			s    backup.Snapshot
			r    Restoring
			want string
		}{
			{
				"a newer schema", nil, newer,
				Restoring{},
				"made by a newer version of this program, 9.9.9: its schema is 99, and this one knows 9",
			},
			{
				"another place", nil, made,
				Restoring{Here: south},
				"the backup is of an outpost in namespace outpost (uid " + north.UID + "); " +
					"this one is in namespace servers",
			},
			{
				"another installation's rows", full, made,
				Restoring{},
				"it has 5 services of another installation than the backup, " + source.Installation() +
					", so that its pods would be left alone. Give an empty database, or lose these rows with " +
					"--replace " + full.Installation(),
			},
			{
				"its own rows", source, made,
				Restoring{},
				"it has 5 services of this installation. Give an empty database, or lose these rows with --replace " +
					source.Installation(),
			},
			{
				"rows of another installation than was said", full, made,
				Restoring{Replace: source.Installation()},
				"the database is not empty",
			},
			{
				"keys", mustOpen(t, config(t), ring(t, keyB)), made,
				Restoring{},
				"3 of 5 services in the backup are sealed with a key that is not given. The outpost had the keys of " +
					"these fingerprints: " + made.CryptKeys[0],
			},
		} {
			t.Run(c.name, func(t *testing.T) {
				if c.into == nil {
					c.into = mustOpen(t, config(t), ring(t, keyA))
				}
				before := content(t, c.into)
				_, err := c.into.Restore(t.Context(), c.s, c.r)
				if err == nil || !strings.Contains(err.Error(), c.want) || outpost.KindOf(err) != outpost.KindInvalid {
					t.Errorf("got %v\nwant ... %s", err, c.want)
				}
				if diff := cmp.Diff(before, content(t, c.into)); diff != "" {
					t.Errorf("something was changed (-before +after)\n%s", diff)
				}
				if err := c.into.Current(t.Context()); err != nil {
					t.Errorf("processes end: %v", err)
				}
			})
		}
		done := mustRestore(t, full, made, Restoring{Replace: full.Installation(), Here: south, MovedFrom: north.UID})
		if diff := cmp.Diff(Restored{Services: 5, Replaced: 5}, done); diff != "" {
			t.Error(diff)
		}
		if got := snapshot(t, full); got.Place != backup.Place(south) || got.Installation != source.Installation() {
			t.Errorf("restored: %+v", got)
		}
	})
}

// What the process that runs meanwhile would do to restored rows, it leaves.
func TestAProcessNoticesARestore(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		made := snapshot(t, lived(t, config(t)))
		c := config(t)
		running := mustOpen(t, c, ring(t, keyA))
		if err := running.Current(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustRestore(t, mustOpen(t, c, ring(t, keyA)), made, Restoring{})
		_, all := running.All(t.Context())
		insert := running.Insert(t.Context(), storetest.Service("hub-a", "late", "1"), storetest.Allow)
		for name, err := range map[string]error{
			"current": running.Current(t.Context()), "ping": running.Ping(t.Context()), "all": all, "insert": insert,
		} {
			if e, ok := errors.AsType[*outpost.Error](err); !ok || e.Reason != ReasonRestored ||
				e.Message != "The outpost is restarting; try again." { // users read it
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := snapshot(t, running); len(got.Services) != 5 {
			t.Errorf("%d rows", len(got.Services))
		}
		if err := mustOpen(t, c, ring(t, keyA)).Current(t.Context()); err != nil {
			t.Errorf("the next process: %v", err)
		}
	})
}

// Rows that a restore replaces while they are read are not those of the process that reads them: it knows other pods.
func TestARestoreWhileRowsAreRead(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		made := snapshot(t, lived(t, config(t)))
		c := config(t)
		running, other := mustOpen(t, c, ring(t, keyA)), mustOpen(t, c, ring(t, keyA))
		bind := running.dialect.bind
		running.dialect.bind = func(query string) string {
			running.dialect.bind = bind
			mustRestore(t, other, made, Restoring{})
			return bind(query)
		}
		rows, err := running.All(t.Context())
		if e, ok := errors.AsType[*outpost.Error](err); !ok || e.Reason != ReasonRestored {
			t.Errorf("%d rows, error %v", len(rows), err)
		}
	})
}

func TestServicesThatRunGetRows(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		d := mustOpen(t, config(t), ring(t, keyA))
		starting, known := storetest.Service("hub-a", "starting", "1"), storetest.Service("hub-a", "known", "1")
		known.StartPending, known.StateStored, known.Address = false, true, "http://known:1"
		lost := storetest.Service("hub-a", "lost", "1")
		lost.StartPending = true
		for _, s := range []outpost.Service{starting, known, lost} {
			if err := d.Insert(t.Context(), s, storetest.Allow); err != nil {
				t.Fatal(err)
			}
		}
		running := func(name string) outpost.Service {
			return outpost.Service{
				Summary: outpost.Summary{
					Key: outpost.Key{Hub: "hub-b", Name: name, StartID: "1"}, UserID: 7, StartDate: storetest.Day,
					LastUpdate: storetest.Day, EndDate: outpost.NoEnd, StateStored: true,
				},
				Body:  outpost.Body{Env: map[string]string{"JUPYTERHUB_API_TOKEN": "5d0d"}},
				State: storetest.State(name), Address: "http://" + name + ":8888",
			}
		}
		nobody, started, other := running("nobody"), running("starting"), running("known")
		started.Hub, other.Hub = "hub-a", "hub-a"
		fresh := mustOpen(t, config(t), ring(t, keyA))
		done := mustRestore(t, fresh, snapshot(t, d), Restoring{Running: []outpost.Service{started, other, nobody}})
		if diff := cmp.Diff(Restored{Services: 2, Adopted: 2}, done); diff != "" {
			t.Error(diff)
		}
		wantStarted := starting
		wantStarted.StartPending, wantStarted.StateStored = false, true
		wantStarted.State, wantStarted.Address = started.State, started.Address
		for _, want := range []outpost.Service{wantStarted, known, lost, nobody} {
			got, err := fresh.Get(t.Context(), want.Key)
			want.Body = outpost.Body{
				Env: orEmpty(want.Body.Env), Misc: orEmpty(want.Body.Misc), UserOptions: orEmpty(want.Body.UserOptions),
			}
			want.State = orEmpty(want.State)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: error %v (-want +got)\n%s", want.Name, err, diff)
			}
		}
	})
}

// See protocol 6.8. A snapshot is of one moment: of rows that are inserted two at a time it has both or none.
func TestASnapshotIsOfOneMoment(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		d := mustOpen(t, config(t), ring(t, keyA))
		ctx, cancel := context.WithCancel(t.Context())
		var writer sync.WaitGroup
		began := make(chan struct{})
		writer.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				err := d.inTx(t.Context(), "test", func(ctx context.Context, tx *sql.Tx) error {
					home := fmt.Sprint("claim-", i)
					_, err1 := d.exec(ctx, tx, `INSERT INTO jupyterhub (name) VALUES (?)`, home)
					_, err2 := d.exec(ctx, tx, `INSERT INTO outpost_home (namespace, name, used) VALUES ('n', ?, ?)`,
						home, d.dialect.time(storetest.Day))
					return errors.Join(err1, err2)
				})
				if err != nil {
					t.Error(err)
				}
				if i == 0 {
					close(began)
				}
			}
		})
		<-began
		for range 20 {
			if s := snapshot(t, d); len(s.Hubs) != len(s.Homes) || len(s.Hubs) == 0 {
				t.Errorf("%d and %d rows", len(s.Hubs), len(s.Homes))
			}
		}
		cancel()
		writer.Wait()
	})
}

func TestLastBackup(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		d := mustOpen(t, config(t), ring(t, keyA))
		if at, err := d.LastBackup(t.Context()); err != nil || !at.IsZero() {
			t.Errorf("of a new database: %v, error %v", at, err)
		}
		for i := range 2 {
			want := storetest.Day.Add(time.Duration(i) * time.Hour)
			if err := d.BackedUp(t.Context(), want); err != nil {
				t.Fatal(err)
			}
			if at, err := d.LastBackup(t.Context()); err != nil || !at.Equal(want) {
				t.Errorf("%v, error %v; want %v", at, err, want)
			}
		}
	})
}

// killedEnv makes this test's process the one that is killed.
const killedEnv = "OUTPOST_TEST_KILLED"

// A process that is killed in the middle of a restore leaves the database as it was: the restore itself is one
// transaction, and what it writes is large enough to be in several places of the file by then.
func TestAKilledRestoreChangesNothing(t *testing.T) {
	if path := os.Getenv(killedEnv); path != "" {
		d := mustOpen(t, Config{Type: TypeSQLite, Path: path}, ring(t, keyA))
		s := backup.Snapshot{Installation: "other", Schema: 9}
		for i := range 2000 {
			s.Services = append(s.Services, backup.Service{
				Hub: "hub-z", Name: new(fmt.Sprint(i)), Body: []byte(strings.Repeat("x", 4000)),
			})
		}
		t.Error(d.once(t.Context(), func(ctx context.Context, tx *sql.Tx) error {
			_, err1 := d.makeRoom(ctx, tx, s, d.Installation())
			err2 := d.writeFacts(ctx, tx, s, north, time.Now())
			_, _, err3 := d.writeServices(ctx, tx, s, nil)
			if err := errors.Join(err1, err2, err3); err != nil {
				return err
			}
			fmt.Println("written")
			select {}
		}))
		return
	}
	c := sqliteConfig(t)
	d := lived(t, c)
	want := content(t, d)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestAKilledRestoreChangesNothing$")
	cmd.Env = append(os.Environ(), killedEnv+"="+c.Path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 7)
	if _, err := out.Read(text); err != nil || string(text) != "written" {
		t.Errorf("%q, error %v", text, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if diff := cmp.Diff(want, content(t, mustOpen(t, c, ring(t, keyA)))); diff != "" {
		t.Errorf("(-before +after the kill)\n%s", diff)
	}
	if err := d.Current(t.Context()); err != nil {
		t.Error(err)
	}
}

// openNewer opens a database that a newer version has changed; programs must know the migration needs to use it.
func openNewer(t *testing.T, c Config, needs int) error {
	t.Helper()
	d := lived(t, c)
	for _, change := range []string{
		`INSERT INTO outpost_schema_version (version_id, is_applied) VALUES (12, TRUE)`,
		fmt.Sprint(`UPDATE outpost_schema_needs SET version = `, needs),
		`ALTER TABLE service ADD COLUMN of_the_future VARCHAR`,
	} {
		if _, err := d.write.ExecContext(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	newer, err := Open(t.Context(), c, ring(t, keyA), slog.New(slog.DiscardHandler))
	if err == nil {
		if rows, err := newer.All(t.Context()); err != nil || len(rows) != 4 {
			t.Errorf("%d rows, error %v", len(rows), err)
		}
		err = newer.Close()
	}
	return err
}

func TestADatabaseOfANewerVersion(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		if err := openNewer(t, config(t), 9); err != nil {
			t.Errorf("one that only added to it, as before a way back: %v", err)
		}
		want := "a newer version of this program has changed the database: its schema is 12, for which a program " +
			"must know 11, and this one knows 9. Start that version again, or restore a backup from before the " +
			"upgrade into an empty database. Nothing was changed."
		err := openNewer(t, config(t), 11)
		if err == nil || err.Error() != want || outpost.KindOf(err) != outpost.KindInvalid {
			t.Errorf("got %v\nwant %s", err, want)
		}
	})
}

// A program that an operator has gone back to restores its own backups, which hold what it knows.
func TestABackupAfterTheWayBack(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		d := lived(t, config(t))
		_, err := d.write.ExecContext(t.Context(),
			`INSERT INTO outpost_schema_version (version_id, is_applied) VALUES (12, TRUE)`)
		if err != nil {
			t.Fatal(err)
		}
		made := snapshot(t, d)
		if made.Schema != 9 {
			t.Errorf("schema %d", made.Schema)
		}
		done := mustRestore(t, mustOpen(t, config(t), ring(t, keyA)), made, Restoring{Here: north})
		if diff := cmp.Diff(Restored{Services: 5}, done); diff != "" {
			t.Error(diff)
		}
	})
}

// A database of any earlier schema is brought to this one, with what is in it.
func TestEachEarlierSchemaIsMigrated(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		before := openBefore(t, c)
		fill(t, before, 2)
		after := mustOpen(t, c, ring(t, keyA))
		if got := snapshot(t, after); got.Schema != 9 || len(got.Services) != 2 {
			t.Errorf("%+v", got)
		}
	})
}

// Servers that run are kept, whatever was announced when the backup was made: what should end them has done so, or was
// called off since. What is still to come is as it was.
func TestARestoredMaintenanceThatHasBegunEndsNoServers(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		made := snapshot(t, mustOpen(t, config(t), ring(t, keyA)))
		now := time.Now().UTC().Truncate(time.Microsecond)
		for name, c := range map[string]struct {
			from  time.Time
			evict bool
		}{"begun": {now.Add(-time.Hour), false}, "to come": {now.Add(time.Hour), true}} {
			made.Maintenance = &backup.Announced{From: c.from, Text: "New disks.", Evict: true}
			d := mustOpen(t, config(t), ring(t, keyA))
			mustRestore(t, d, made, Restoring{})
			got, err := d.Maintenance(t.Context())
			want := &outpost.Maintenance{From: c.from, Text: "New disks.", Evict: c.evict}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: error %v (-want +got)\n%s", name, err, diff)
			}
		}
	})
}
