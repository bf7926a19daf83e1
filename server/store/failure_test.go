package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

func TestOpenRefuses(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("this is not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{"an unknown type", Config{Type: "mysql"}, `unknown type of database "mysql": use "sqlite" or "postgresql"`},
		{"no path", Config{Type: TypeSQLite}, "the path of the SQLite file is empty"},
		{"no folder", Config{Type: TypeSQLite, Path: filepath.Join(folder, "none", "db")}, "its folder must exist"},
		{"a folder", Config{Type: TypeSQLite, Path: folder}, "the SQLite file cannot be written"},
		{"another file", Config{Type: TypeSQLite, Path: file}, "file is not a database"},
		{
			"no host",
			Config{Type: TypePostgreSQL, User: "u", Name: "n"},
			"PostgreSQL needs a host, a user and the name of a database",
		},
		{
			"nobody there",
			Config{Type: TypePostgreSQL, Host: folder, User: "u", Name: "n", Password: "geheim"},
			"connect in the PostgreSQL database",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d, err := Open(t.Context(), test.config, ring(t, keyA), slog.New(slog.DiscardHandler))
			if err == nil {
				d.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant ... %s", err, test.want)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("the password is printed: %v", err)
			}
		})
	}
}

// A path may hold what would end or change a URL.
func TestSQLitePathsAreTakenAsTheyAre(t *testing.T) {
	for _, name := range []string{"a?b.sqlite", "a#b", "a%20b", "a b", "ä&x=y", "a+b"} {
		c := Config{Type: TypeSQLite, Path: filepath.Join(t.TempDir(), name)}
		d := mustOpen(t, c, ring(t, keyA))
		fill(t, d, 1)
		if info, err := os.Stat(c.Path); err != nil || info.Size() == 0 || info.Mode().Perm()&0o007 != 0 {
			t.Errorf("%q: %v, %v", name, info, err)
		}
	}
}

func TestSQLiteWritesAheadAndWaitsForLocks(t *testing.T) {
	d := mustOpen(t, sqliteConfig(t), ring(t, keyA))
	var log bytes.Buffer
	for _, pragma := range []string{"journal_mode", "busy_timeout", "synchronous", "foreign_keys"} {
		var value string
		if err := d.write.QueryRow("PRAGMA " + pragma).Scan(&value); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&log, "%s=%s ", pragma, value)
	}
	if want := "journal_mode=wal busy_timeout=10000 synchronous=2 foreign_keys=1 "; log.String() != want {
		t.Errorf("got %s, want %s", &log, want)
	}
}

func wantFailure(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s succeeded", what)
		return
	}
	// No kind means that the database failed; nothing of it may look like an answer.
	if kind, ok := errors.AsType[*outpost.Error](err); ok {
		t.Errorf("%s: kind %d: %v", what, kind.Kind, err)
	}
}

func TestDiskFull(t *testing.T) {
	d := mustOpen(t, sqliteConfig(t), ring(t, keyA))
	fill(t, d, 1)
	if _, err := d.write.Exec("PRAGMA max_page_count = 1"); err != nil { // SQLite rounds up to what there is
		t.Fatal(err)
	}
	service := storetest.Service("hub-a", "more", "1")
	service.Body.Env["X"] = strings.Repeat("x", 1<<20)
	err := d.Insert(t.Context(), service, storetest.Allow)
	wantFailure(t, "insert", err)
	if !strings.Contains(fmt.Sprint(err), "database or disk is full") {
		t.Errorf("got %v", err)
	}
	// Nothing of it is there, what was there can be read and stopped, and with space again it works.
	if rows, err := d.All(t.Context()); err != nil || len(rows) != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if _, err := d.write.Exec("PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := d.Insert(t.Context(), service, storetest.Allow); err != nil {
		t.Error(err)
	}
}

func TestALockedDatabaseIsAFailureAndReadsGoOn(t *testing.T) {
	c := sqliteConfig(t)
	d, other := mustOpen(t, c, ring(t, keyA)), mustOpen(t, c, ring(t, keyA))
	fill(t, d, 1)
	tx, err := other.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	service := storetest.Service("hub-a", "more", "1")
	d.timeout = 200 * time.Millisecond
	wantFailure(t, "insert", d.Insert(t.Context(), service, storetest.Allow))
	d.timeout = c.Timeout
	if rows, err := d.All(t.Context()); err != nil || len(rows) != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := d.Insert(t.Context(), service, storetest.Allow); err != nil {
		t.Error(err)
	}
}

func TestPostgreSQLGoesDownInMidFlightAndComesBack(t *testing.T) {
	server := storetest.StartPostgres(t)
	c := postgresConfig(t, server)
	d := mustOpen(t, c, ring(t, keyA))
	fill(t, d, 1)
	service := storetest.Service("hub-a", "more", "1")
	// It goes down inside a transaction.
	err := d.Insert(t.Context(), service, func(flavor.Usage) error { server.Stop(t); return nil })
	wantFailure(t, "insert", err)
	wantFailure(t, "ping", d.Ping(t.Context()))
	_, err = d.Get(t.Context(), outpost.Key{Hub: "hub-a", Name: "lab-000", StartID: "1"})
	wantFailure(t, "get", err)
	_, err = d.MarkStopping(t.Context(), outpost.Key{Hub: "hub-a", Name: "lab-000", StartID: "1"})
	wantFailure(t, "mark stopping", err)
	server.Start(t)
	if err := d.Ping(t.Context()); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	rows, err := d.All(t.Context())
	if err != nil || len(rows) != 1 || rows[0].StopPending {
		t.Errorf("rows %v, %v", rows, err)
	}
	if err := d.Insert(t.Context(), service, storetest.Allow); err != nil {
		t.Error(err)
	}
}

// Nothing waits for a database for ever; the error says what was tried.
func TestOpenGivesUpOnADatabaseThatNeverComes(t *testing.T) {
	server := storetest.StartPostgres(t)
	c := postgresConfig(t, server)
	c.Wait = 200 * time.Millisecond
	server.Stop(t)
	if d, err := Open(t.Context(), c, ring(t, keyA), slog.New(slog.DiscardHandler)); err == nil {
		t.Error(d.Close())
	} else if !strings.Contains(err.Error(), "PostgreSQL") && !strings.Contains(err.Error(), c.Name) {
		t.Errorf("the error does not say what does not answer: %v", err)
	}
}

func TestOpenWaitsForADatabaseThatIsNotUpYet(t *testing.T) {
	server := storetest.StartPostgres(t)
	c := postgresConfig(t, server)
	c.Wait = patience
	server.Stop(t)
	warned := make(chan struct{}, 1)
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		select {
		case warned <- struct{}{}:
		default:
		}
		return len(p), nil
	}), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var group sync.WaitGroup
	group.Go(func() {
		d, err := Open(t.Context(), c, ring(t, keyA), log)
		if err != nil {
			t.Error(err)
			return
		}
		if err := errors.Join(d.Ping(t.Context()), d.Close()); err != nil {
			t.Error(err)
		}
	})
	<-warned
	server.Start(t)
	group.Wait()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestAnyCharacterInThePassword(t *testing.T) {
	server := storetest.SharedPostgres(t)
	c := postgresConfig(t, server)
	mustOpen(t, c, ring(t, keyA))
	c.Password = "wrong-" + storetest.Password
	if d, err := Open(t.Context(), c, ring(t, keyA), slog.New(slog.DiscardHandler)); err == nil {
		d.Close()
		t.Error("a wrong password is taken: the test proves nothing")
	} else if strings.Contains(err.Error(), storetest.Password) {
		t.Errorf("the password is printed: %v", err)
	}
}

// What PostgreSQL cannot hold is the request's fault, not the database's.
func TestAValueThatPostgreSQLRefusesIsInvalid(t *testing.T) {
	d := mustOpen(t, postgresConfig(t, storetest.SharedPostgres(t)), ring(t, keyA))
	for _, name := range []string{"a\x00b", "\xff"} {
		if err := d.Insert(t.Context(), storetest.Service("hub-a", name, "1"), storetest.Allow); outpost.KindOf(
			err,
		) != outpost.KindInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	service := storetest.Service("hub-a", "lab", "1")
	service.UserID = 1 << 40
	if err := d.Insert(t.Context(), service, storetest.Allow); err == nil {
		t.Error("a user id of 41 bits is taken")
	}
}

func TestAnEmptyStartIDIsRefused(t *testing.T) {
	d := mustOpen(t, sqliteConfig(t), ring(t, keyA))
	if err := d.Insert(t.Context(), storetest.Service("hub-a", "lab", ""), storetest.Allow); outpost.KindOf(
		err,
	) != outpost.KindInvalid {
		t.Errorf("got %v", err)
	}
}

// See protocol 6.5.
func TestTouchNeverGoesBack(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		d := mustOpen(t, config(t), ring(t, keyA))
		service := storetest.Service("hub-a", "lab", "1")
		if err := d.Insert(t.Context(), service, storetest.Allow); err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Time{storetest.Day.Add(time.Minute), storetest.Day} {
			if err := d.Touch(t.Context(), map[outpost.Key]time.Time{service.Key: at}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := d.Get(t.Context(), service.Key); err != nil ||
			!got.LastUpdate.Equal(storetest.Day.Add(time.Minute)) {
			t.Errorf("%v, %v", got.LastUpdate, err)
		}
	})
}

// Two processes on one PostgreSQL: the quota holds across them (protocol 4.6).
func TestQuotaHoldsBetweenProcesses(t *testing.T) {
	c := postgresConfig(t, storetest.SharedPostgres(t))
	replicas := []*DB{mustOpen(t, c, ring(t, keyA)), mustOpen(t, c, ring(t, keyA))}
	const limit = 7
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			hub := fmt.Sprintf("hub-%d", i%3) // the limit counts the flavor of all hubs
			err := replicas[i%2].Insert(
				t.Context(),
				storetest.Service(hub, fmt.Sprintf("lab-%d", i), "1"),
				func(u flavor.Usage) error {
					if u.TotalFlavor["tiny"] >= limit {
						return outpost.Errorf(outpost.KindQuota, "full")
					}
					return nil
				},
			)
			if err != nil && outpost.KindOf(err) != outpost.KindQuota {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if rows, err := replicas[0].All(t.Context()); err != nil || len(rows) != limit {
		t.Errorf("%d rows, %v, want %d", len(rows), err, limit)
	}
}

func TestOperationsAreObserved(t *testing.T) {
	c := sqliteConfig(t)
	var mu sync.Mutex
	seen := map[string]int{}
	c.Observer = func(op string, d time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		seen[op]++
		if d <= 0 || err != nil {
			t.Errorf("%s: %v, %v", op, d, err)
		}
	}
	d := mustOpen(t, c, ring(t, keyA))
	fill(t, d, 3)
	if _, err := d.OldKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen["insert"] != 3 || seen["connect"] != 1 || seen["check"] != 1 || seen["old_keys"] != 1 {
		t.Errorf("observed %v", seen)
	}
}

// A list is one operation, however long it is; the Python outpost asks once more for each row (protocol 1.9).
func TestAListIsOneOperation(t *testing.T) {
	c := sqliteConfig(t)
	var mu sync.Mutex
	seen := map[string]int{}
	c.Observer = func(op string, _ time.Duration, _ error) {
		mu.Lock()
		defer mu.Unlock()
		seen[op]++
	}
	d := mustOpen(t, c, ring(t, keyA))
	fill(t, d, 100)
	mu.Lock()
	clear(seen)
	mu.Unlock()
	list, err := d.List(t.Context(), "hub-a")
	if err != nil || len(list) != 100 {
		t.Errorf("%d services, %v", len(list), err)
	}
	if seen["list"] != 1 || len(seen) != 1 {
		t.Errorf("operations %v", seen)
	}
}

func BenchmarkInsertSQLite(b *testing.B) {
	d := mustOpen(b, sqliteConfig(b), ring(b, keyA))
	benchmarkInsert(b, d)
}

func BenchmarkInsertPostgreSQL(b *testing.B) {
	d := mustOpen(b, postgresConfig(b, storetest.SharedPostgres(b)), ring(b, keyA))
	benchmarkInsert(b, d)
}

func benchmarkInsert(b *testing.B, d *DB) {
	b.Helper()
	for i := 0; b.Loop(); i++ {
		service := storetest.Service("hub-a", fmt.Sprint(i), "1")
		if err := d.Insert(context.Background(), service, storetest.Allow); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAllOf1000(b *testing.B) {
	d := mustOpen(b, sqliteConfig(b), ring(b, keyA))
	for i := range 1000 {
		service := storetest.Service("hub-a", fmt.Sprint(i), "1")
		if err := d.Insert(context.Background(), service, storetest.Allow); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if rows, err := d.All(context.Background()); err != nil || len(rows) != 1000 {
			b.Fatal(len(rows), err)
		}
	}
}

// The quota check of a start must not read the sealed columns of every row.
func TestUsageIsReadFromAnIndex(t *testing.T) {
	d := mustOpen(t, sqliteConfig(t), ring(t, keyA))
	for query, args := range map[string][]any{flavorUsage: {false}, userUsage: {"hub-a", 42, false}} {
		rows, err := d.read.Query("EXPLAIN QUERY PLAN "+query, args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := eachRow(rows, func() error {
			var id, parent, unused int
			var step string
			err := rows.Scan(&id, &parent, &unused, &step)
			if !strings.Contains(step, " USING COVERING INDEX outpost_service_usage") {
				t.Errorf("%s: %s", query, step)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// A connection that takes long is given up while there is time for one to another address of the host.
func TestConnectingIsAPartOfAnOperationsTime(t *testing.T) {
	c := Config{Host: "db", User: "u", Name: "n"}
	for limit, want := range map[time.Duration]time.Duration{
		15 * time.Second: 5 * time.Second, time.Hour: 20 * time.Minute, time.Second: time.Second,
	} {
		config, err := (&DB{timeout: limit}).connection(c)
		if err != nil {
			t.Fatal(err)
		}
		if config.ConnectTimeout != want {
			t.Errorf("with operations of %s, connecting may take %s, want %s", limit, config.ConnectTimeout, want)
		}
	}
}
