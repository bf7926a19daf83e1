package store

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

var (
	north = Place{UID: "11111111-1111-4111-8111-111111111111", Namespace: "outpost"}
	south = Place{UID: "22222222-2222-4222-8222-222222222222", Namespace: "servers"}
)

// wantElsewhere checks that a database is refused because it belongs to a place, which the error names.
func wantElsewhere(t *testing.T, err error, there Place) {
	t.Helper()
	if e, ok := errors.AsType[*outpost.Error](err); !ok || e.Reason != ReasonPlace ||
		!strings.Contains(err.Error(), "namespace "+there.Namespace+" (uid "+there.UID+")") {
		t.Errorf("got %v, want a refusal that names %v", err, there)
	}
}

// See protocol 6.7.
func TestADatabaseBelongsToOnePlace(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		first := mustOpen(t, c, ring(t, keyA))
		fill(t, first, 1)
		for range 2 {
			if err := first.Bind(t.Context(), north, ""); err != nil {
				t.Fatal(err)
			}
		}
		second := mustOpen(t, c, ring(t, keyA))
		wantElsewhere(t, second.Bind(t.Context(), south, ""), north)
		wantElsewhere(t, second.Bind(t.Context(), south, south.UID), north)
		if err := first.Ping(t.Context()); err != nil {
			t.Errorf("after refusals: %v", err)
		}
		for range 2 { // the switch may stay
			if err := second.Bind(t.Context(), south, north.UID); err != nil {
				t.Fatal(err)
			}
		}
		if rows, err := second.All(t.Context()); err != nil || len(rows) != 1 {
			t.Errorf("%d rows have moved, error %v", len(rows), err)
		}
		wantElsewhere(t, first.Ping(t.Context()), south)
		_, err := first.All(t.Context())
		wantElsewhere(t, err, south)
		wantElsewhere(t, mustOpen(t, c, ring(t, keyA)).Bind(t.Context(), north, ""), south)
	})
}

func TestOneOfSeveralPlacesGetsADatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		d := mustOpen(t, config(t), ring(t, keyA))
		places := []Place{north, south}
		errs := make([]error, 16)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				other := *d // as if it had opened the database itself
				errs[i] = other.Bind(t.Context(), places[i%2], "")
			})
		}
		all.Wait()
		for i, err := range errs {
			if (err == nil) != (errs[i%2] == nil) || (errs[0] == nil) == (errs[1] == nil) {
				t.Errorf("process %d of %v: %v", i, places[i%2], err)
			}
		}
	})
}

// openBefore opens a new database with the tables that were there before places.
func openBefore(t *testing.T, c Config) *DB {
	t.Helper()
	d := &DB{
		ring: ring(t, keyA), log: slog.New(slog.DiscardHandler), timeout: time.Minute,
		observe: func(string, time.Duration, error) {},
	}
	open := d.openSQLite
	if c.Type == TypePostgreSQL {
		open = d.openPostgreSQL
	}
	if err := open(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	provider, err := d.provider()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	return d
}

// A database of a release before places is bound by the first process that opens it, with all that is in it.
func TestADatabaseFromBeforeIsBound(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		before := openBefore(t, c)
		var installation string
		const query = `SELECT id FROM outpost_installation`
		if err := before.read.QueryRowContext(t.Context(), query).Scan(&installation); err != nil {
			t.Fatal(err)
		}
		fill(t, before, 3)
		want, err := before.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		after := mustOpen(t, c, ring(t, keyA))
		if after.Installation() != installation {
			t.Errorf("installation %s became %s", installation, after.Installation())
		}
		if err := after.Bind(t.Context(), north, ""); err != nil {
			t.Fatal(err)
		}
		got, err := after.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows (-before +after)\n%s", diff)
		}
		wantElsewhere(t, mustOpen(t, c, ring(t, keyA)).Bind(t.Context(), south, ""), north)
	})
}

func TestADatabaseOfPythonIsBound(t *testing.T) {
	c := pythonCopy(t)
	d := mustOpen(t, c, ring(t, pythonKey))
	if err := d.Bind(t.Context(), north, ""); err != nil {
		t.Fatal(err)
	}
	if rows, err := d.All(t.Context()); err != nil || len(rows) == 0 {
		t.Errorf("%d rows, error %v", len(rows), err)
	}
	r := ring(t, pythonKey)
	if diff := cmp.Diff(pythonRows(t), readAsPython(t, c.Path, r.Open)); diff != "" {
		t.Errorf("what Python reads (-before +after)\n%s", diff)
	}
}
