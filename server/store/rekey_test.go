package store

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

func fill(t *testing.T, d *DB, n int) {
	t.Helper()
	for i := range n {
		service := storetest.Service("hub-a", fmt.Sprintf("lab-%03d", i), "1")
		service.StateStored, service.State, service.Address = true, storetest.State("p"), "http://p:1"
		if err := d.Insert(t.Context(), service, storetest.Allow); err != nil {
			t.Fatal(err)
		}
	}
}

// See protocol 6.4.
func TestAWrongKeyIsAClearErrorAndDeletesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		d := mustOpen(t, c, ring(t, keyA))
		fill(t, d, 2)
		_, err := Open(t.Context(), c, ring(t, keyB), slog.New(slog.DiscardHandler))
		want := "2 of 2 stored services are sealed with a key that is not given " +
			"(rows of table service with id 1, 2). " +
			"Give the key that they were sealed with behind the first one, and start again; " +
			"all rows can then be sealed with the first. Nothing was changed. " +
			"If that key is lost for good, stop those servers by hand and delete these rows."
		if err == nil || err.Error() != want || outpost.KindOf(err) != outpost.KindInvalid {
			t.Errorf("got %v\nwant %s", err, want)
		}
		if strings.Contains(fmt.Sprint(err), keyB) {
			t.Error("the key is printed")
		}
		// The old key behind the new one opens them.
		if rows, err := mustOpen(t, c, ring(t, keyB, keyA)).All(t.Context()); err != nil || len(rows) != 2 ||
			rows[0].Unopened {
			t.Errorf("%v, %v", rows, err)
		}
	})
}

// A row that nobody can read does not keep the others from being served, and is never left out or dropped.
func TestARowWithoutATokenIsKeptApart(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		d := mustOpen(t, c, ring(t, keyA))
		fill(t, d, 2)
		for _, garbage := range [][]byte{[]byte("not a token"), {0xff, 0}} {
			spoil := d.dialect.bind(`UPDATE service SET state = ? WHERE id = 1`)
			if _, err := d.write.Exec(spoil, garbage); err != nil {
				t.Fatal(err)
			}
			d := mustOpen(t, c, ring(t, keyA))
			rows, err := d.All(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := outpost.Stored{Unopened: true, Service: storetest.Service("hub-a", "lab-000", "1")}
			want.StateStored, want.Body = true, outpost.Body{}
			if diff := cmp.Diff(want, rows[0], cmpopts.EquateEmpty()); diff != "" || rows[1].Unopened {
				t.Errorf("(-want +got)\n%s", diff)
			}
			_, err = d.Get(t.Context(), want.Key)
			if err == nil || outpost.KindOf(err) != outpost.KindInternal ||
				!strings.HasPrefix(err.Error(), outpost.Unopened(nil).Message) {
				t.Errorf("get: %v", err)
			}
			done, err := d.Rekey(t.Context())
			if diff := cmp.Diff(Rekeyed{Rows: 2, Unopened: 1}, done); diff != "" || err != nil {
				t.Errorf("rekey: %v (-want +got)\n%s", err, diff)
			}
			// One that no key opens is none of an old key.
			if old, err := d.OldKeys(t.Context()); old != 0 || err != nil {
				t.Errorf("%d rows of old keys, %v", old, err)
			}
		}
	})
}

func TestRekeySealsEveryRowWithTheFirstKey(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		old := mustOpen(t, c, ring(t, keyA))
		const n = 2*rekeyBatch + 1
		fill(t, old, n)
		before, err := old.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		both := mustOpen(t, c, ring(t, keyB, keyA))
		oldKeys := func(want int) {
			t.Helper()
			if got, err := both.OldKeys(t.Context()); got != want || err != nil {
				t.Errorf("%d rows of old keys, %v; want %d", got, err, want)
			}
		}
		oldKeys(n)
		done, err := both.Rekey(t.Context())
		if diff := cmp.Diff(Rekeyed{Rows: n, Resealed: n}, done); diff != "" || err != nil {
			t.Errorf("%v (-want +got)\n%s", err, diff)
		}
		done, err = both.Rekey(t.Context())
		if diff := cmp.Diff(Rekeyed{Rows: n}, done); diff != "" || err != nil {
			t.Errorf("a second time: %v (-want +got)\n%s", err, diff)
		}
		oldKeys(0)
		after, err := mustOpen(t, c, ring(t, keyB)).All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("(-before +after)\n%s", diff)
		}
		if err := old.Check(t.Context()); outpost.KindOf(err) != outpost.KindInvalid {
			t.Errorf("the old key still opens everything: %v", err)
		}
	})
}
