package server

import (
	"context"
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// Two outposts of two clusters on one database: each would end the servers of the other. The second one is refused,
// changes nothing, and says what to do, also if it has a Lease, which is of its own namespace.
func TestADatabaseOfAnotherClusterIsRefused(t *testing.T) {
	const north, south = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	lead := func(ctx context.Context, work func(context.Context)) error { work(ctx); return nil }
	cfg := settings(t)
	first := up(t, cfg, outposttest.NewSpawner(), Options{Namespace: "outpost", NamespaceUID: north})
	if status, body := first.ask("POST", "/services", "hub-a", password, startBody(t, "lab")); status != 200 {
		t.Fatalf("start: %d %s", status, body)
	}
	for _, opts := range []Options{
		{Namespace: "servers", NamespaceUID: south}, {Namespace: "servers", NamespaceUID: south, Lead: lead},
	} {
		_, err := New(t.Context(), cfg, outposttest.NewSpawner(), opts)
		if err == nil {
			t.Fatal("an outpost of another cluster was made")
		}
		for _, want := range []string{
			"SQL_*: ", "namespace outpost (uid " + north + ")", "namespace servers (uid " + south + ")",
			"Give each outpost a database of its own", "set OUTPOST_MOVED_FROM (movedFrom of the chart)",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not say %q: %v", want, err)
			}
		}
	}
	for _, c := range []struct {
		name string
		opts Options
	}{
		{"without the right to read its namespace", Options{Namespace: "servers"}},
		{"the same place again", Options{Namespace: "outpost", NamespaceUID: north}},
		{"the same place again, with a Lease", Options{Namespace: "outpost", NamespaceUID: north, Lead: lead}},
	} {
		again := cfg
		again.HostKeysDir = t.TempDir()
		s, err := New(t.Context(), again, outposttest.NewSpawner(), c.opts)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
	if status, body := first.probe("/readyz"); status != 200 {
		t.Errorf("the first outpost is %d %s", status, body)
	}
}

// An operator who restores a database into another cluster says so; the outpost that had it no longer touches it.
func TestAMovedDatabaseIsLeftByTheOldPlace(t *testing.T) {
	cfg := settings(t)
	old := up(t, cfg, outposttest.NewSpawner(), Options{Namespace: "outpost", NamespaceUID: "north"})
	next := cfg
	next.HostKeysDir, next.MovedFrom = t.TempDir(), "north"
	up(t, next, outposttest.NewSpawner(), Options{Namespace: "outpost", NamespaceUID: "south"})
	if status, body := old.probe("/readyz"); status != 503 || !strings.Contains(body, "database") {
		t.Errorf("the old outpost is %d %s", status, body)
	}
	if _, err := old.store.All(t.Context()); err == nil {
		t.Error("the old outpost still reads rows")
	}
}
