package store

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/seal"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := storetest.RemoveShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	keyA = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="
	keyB = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
)

func ring(t testing.TB, keys ...string) *seal.Keyring {
	t.Helper()
	r, err := seal.New(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustOpen(t testing.TB, c Config, r *seal.Keyring) *DB {
	t.Helper()
	d, err := Open(t.Context(), c, r, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// patience is how long an operation of a test may take; only a fault makes it take as long.
const patience = 5 * time.Minute

func sqliteConfig(t testing.TB) Config {
	return Config{Type: TypeSQLite, Path: filepath.Join(t.TempDir(), "outpost.sqlite"), Timeout: patience}
}

func postgresConfig(t testing.TB, server *storetest.Postgres) Config {
	return Config{
		Type: TypePostgreSQL, Host: server.Host, User: server.User, Password: storetest.Password,
		Name: server.NewDatabase(t), Timeout: patience,
	}
}

// onBoth runs a test on each database. PostgreSQL's is skipped where its programs are missing.
func onBoth(t *testing.T, test func(t *testing.T, config func(t testing.TB) Config)) {
	t.Run("SQLite", func(t *testing.T) { test(t, sqliteConfig) })
	t.Run("PostgreSQL", func(t *testing.T) {
		server := storetest.SharedPostgres(t)
		test(t, func(t testing.TB) Config { return postgresConfig(t, server) })
	})
}

func TestSuite(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		storetest.Run(t, func(t *testing.T) outpost.Store { return mustOpen(t, config(t), ring(t, keyA)) })
	})
}

// The use of homes is noted since the database has the table for it, whenever it is opened.
func TestHomesNoted(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		before := time.Now().Truncate(time.Second)
		d := mustOpen(t, c, ring(t, keyA))
		after := time.Now()
		for range 2 {
			since, err := d.HomesNoted(t.Context())
			if err != nil || since.Before(before) || since.After(after) {
				t.Errorf("%s, %v; opened between %s and %s", since, err, before, after)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = mustOpen(t, c, ring(t, keyA))
		}
	})
}

// See protocol 6.3.
func TestInstallationIsOfTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		const replicas = 4
		ids := make([]string, replicas)
		var all sync.WaitGroup
		for i := range replicas {
			if c.Type == TypeSQLite { // has one process
				ids[i] = mustOpen(t, c, ring(t, keyA)).Installation()
				continue
			}
			all.Go(func() {
				d, err := Open(t.Context(), c, ring(t, keyA), slog.New(slog.DiscardHandler))
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = d.Installation()
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if first := ids[0]; !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(first) ||
			slices.ContainsFunc(ids, func(id string) bool { return id != first }) {
			t.Errorf("ids %q of one database", ids)
		}
		if other := mustOpen(t, config(t), ring(t, keyA)).Installation(); other == ids[0] {
			t.Errorf("two databases have the id %s", other)
		}
	})
}
