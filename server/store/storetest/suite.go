// Package storetest is the suite that every outpost.Store must pass, and a PostgreSQL server for tests.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Day is the start date of [Service].
var Day = time.Date(2026, 5, 4, 9, 12, 33, 104500000, time.UTC)

// Service is a service with every field set, as it is inserted.
func Service(hub, name, startID string) outpost.Service {
	return outpost.Service{
		Summary: outpost.Summary{
			Key: outpost.Key{Hub: hub, Name: name, StartID: startID}, UserID: 42, Flavor: "tiny",
			StartDate: Day, LastUpdate: Day, EndDate: outpost.NoEnd, StartPending: true,
		},
		Body: outpost.Body{
			Env: map[string]string{"JUPYTERHUB_API_TOKEN": "5d0c", "JUPYTERHUB_USER": "zoë"},
			Misc: map[string]json.RawMessage{
				"port": json.RawMessage("41234"), "extra_labels": json.RawMessage(`{"team":"blue"}`),
			},
			UserOptions: map[string]json.RawMessage{
				"flavor": json.RawMessage(`"tiny"`), "system": json.RawMessage(`["north"]`),
			},
		},
	}
}

// State is a spawner's state, as the Python outpost's spawner writes it.
func State(pod string) outpost.State {
	return outpost.State{
		"kubespawner_version": "7.0.0", "pod_name": pod, "namespace": "outpost",
		"dns_name": pod + ".outpost.svc.cluster.local",
	}
}

// Allow is a quota check that refuses nothing.
func Allow(flavor.Usage) error { return nil }

// Run runs the suite; open returns a new, empty store for each test.
func Run(t *testing.T, open func(t *testing.T) outpost.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s outpost.Store)
	}{
		{"a missing service is not found", missing},
		{"a service comes back as it was inserted", roundTrip},
		{"a key is inserted once", duplicates},
		{"a refused insert leaves nothing", refusedInsert},
		{"usage counts what is not being stopped", usage},
		{"a maintenance is replaced and ended", maintenance},
		{"the last use of homes is noted", homes},
		{"a hub lists its own by start date", list},
		{"all services of all hubs", all},
		{"stopping is marked once", markStopping},
		{"a start stores state and address", finishStart},
		{"a start does not finish a service that is being stopped", finishStopping},
		{"last updates are stored in batches", touch},
		{"a deleted service is gone", deleted},
		{"a quota holds under 64 parallel inserts", parallelQuota},
		{"of 64 parallel inserts of one key one wins", parallelKey},
		{"of 16 parallel stops one is the first", parallelStops},
		{"a cancelled request changes nothing", cancelled},
		{"a large body", large},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func wantKind(t *testing.T, what string, err error, want outpost.Kind) {
	t.Helper()
	if err == nil || outpost.KindOf(err) != want {
		t.Errorf("%s: got %v, want kind %d", what, err, want)
	}
}

func insert(t *testing.T, s outpost.Store, services ...outpost.Service) {
	t.Helper()
	for _, service := range services {
		if err := s.Insert(t.Context(), service, Allow); err != nil {
			t.Fatalf("insert %v: %v", service.Key, err)
		}
	}
}

func wantService(t *testing.T, s outpost.Store, want outpost.Service) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Key)
	if err != nil {
		t.Fatalf("get %v: %v", want.Key, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("service %v (-want +got)\n%s", want.Key, diff)
	}
}

func missing(t *testing.T, s outpost.Store) {
	ctx := t.Context()
	k := outpost.Key{Hub: "hub-a", Name: "lab", StartID: "1"}
	insert(t, s, Service("hub-b", "lab", "1"), Service("hub-a", "lab", "2"),
		Service("hub-a", "Lab", "1"), Service("hub-a", "", "1"))
	_, err := s.Get(ctx, k)
	wantKind(t, "get", err, outpost.KindNotFound)
	_, err = s.MarkStopping(ctx, k)
	wantKind(t, "mark stopping", err, outpost.KindNotFound)
	wantKind(t, "finish start", s.FinishStart(ctx, k, State("p"), "http://p:1", outpost.NoEnd), outpost.KindNotFound)
	if err := s.Touch(ctx, map[outpost.Key]time.Time{k: Day}); err != nil {
		t.Errorf("touch: %v", err)
	}
	if err := s.Delete(ctx, k); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	_, err = s.Get(ctx, outpost.Key{Hub: "hub-a", Name: "lab"})
	wantKind(t, "get with an empty start id", err, outpost.KindNotFound)
}

func roundTrip(t *testing.T, s outpost.Store) {
	plain := Service("hub-a", "lab-one", "0f3c")
	unnamed := Service("hub-a", "", "0")
	unnamed.Flavor, unnamed.UserID, unnamed.Body = "", 0, outpost.Body{}
	odd := Service("hub ä'\"\\%_;--", "näme ☃ ?$1", strings.Repeat("x", 300))
	odd.EndDate = time.Date(2026, 5, 4, 11, 12, 33, 0, time.UTC)
	east := Service("hub-a", "east", "1")
	east.StartDate = Day.In(time.FixedZone("east", 9*3600))
	east.EndDate = outpost.NoEnd.In(time.FixedZone("west", -9*3600))
	insert(t, s, plain, unnamed, odd, east)
	east.StartDate, east.EndDate = Day, outpost.NoEnd
	for _, want := range []outpost.Service{plain, unnamed, odd, east} {
		wantService(t, s, want)
	}
}

func duplicates(t *testing.T, s outpost.Store) {
	first := Service("hub-a", "lab", "1")
	insert(t, s, first)
	second := first
	second.UserID = 43
	wantKind(t, "insert", s.Insert(t.Context(), second, Allow), outpost.KindConflict)
	wantService(t, s, first)
	if _, err := s.MarkStopping(t.Context(), first.Key); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "insert while stopping", s.Insert(t.Context(), second, Allow), outpost.KindConflict)
}

func refusedInsert(t *testing.T, s outpost.Store) {
	refusal := errors.New("full")
	service := Service("hub-a", "lab", "1")
	if err := s.Insert(t.Context(), service, func(flavor.Usage) error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("got %v, want %v", err, refusal)
	}
	_, err := s.Get(t.Context(), service.Key)
	wantKind(t, "get", err, outpost.KindNotFound)
	insert(t, s, service)
}

func usage(t *testing.T, s outpost.Store) {
	one, two, three := Service("hub-a", "one", "1"), Service("hub-a", "two", "1"), Service("hub-a", "three", "1")
	two.Flavor, two.UserID = "big", 43
	three.UserID = 43
	bare := Service("hub-a", "bare", "1")
	bare.Flavor = ""
	other := Service("hub-b", "other", "1")
	insert(t, s, one, two, three, bare, other, Service("hub-a", "stopping", "1"))
	if _, err := s.MarkStopping(t.Context(), outpost.Key{Hub: "hub-a", Name: "stopping", StartID: "1"}); err != nil {
		t.Fatal(err)
	}
	want := flavor.Usage{
		ByFlavor:     map[string]int{"tiny": 2, "big": 1},
		ByUser:       map[int]int{42: 2},
		ByUserFlavor: map[int]map[string]int{42: {"tiny": 1}},
		TotalFlavor:  map[string]int{"tiny": 3, "big": 1},
	}
	// Services without a flavor may be counted under "", and other users than the one who starts a service too.
	extra := cmp.Options{
		cmpopts.IgnoreMapEntries(func(flavor string, _ int) bool { return flavor == "" }),
		cmpopts.IgnoreMapEntries(func(user, _ int) bool { return user != 42 }),
		cmpopts.IgnoreMapEntries(func(user int, _ map[string]int) bool { return user != 42 }),
		cmpopts.EquateEmpty(),
	}
	got, err := s.Usage(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, extra, cmpopts.IgnoreFields(flavor.Usage{}, "ByUser", "ByUserFlavor")); diff != "" {
		t.Errorf("usage (-want +got)\n%s", diff)
	}
	if got, err = s.UsageOf(t.Context(), "hub-a", 42); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, extra); diff != "" {
		t.Errorf("usage of a user (-want +got)\n%s", diff)
	}
	if err := s.Insert(t.Context(), Service("hub-a", "next", "1"), func(u flavor.Usage) error {
		if diff := cmp.Diff(want, u, extra); diff != "" {
			t.Errorf("usage at insert (-want +got)\n%s", diff)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func maintenance(t *testing.T, s outpost.Store) {
	for _, want := range []*outpost.Maintenance{
		nil,
		{From: Day, Text: "Ask <Bob>."},
		{From: Day.Add(time.Microsecond), Until: Day.Add(time.Hour)},
		nil,
	} {
		if err := s.SetMaintenance(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		got, err := s.Maintenance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func homes(t *testing.T, s outpost.Store) {
	one, two := outpost.Home{Namespace: "a", Name: "one"}, outpost.Home{Namespace: "b", Name: "one"}
	for _, use := range []struct {
		home outpost.Home
		at   time.Time
	}{{one, Day}, {two, Day}, {one, Day.Add(time.Microsecond)}} {
		if err := s.UseHome(t.Context(), use.home, use.at); err != nil {
			t.Fatal(err)
		}
	}
	want := map[outpost.Home]time.Time{one: Day.Add(time.Microsecond), two: Day}
	for range 2 {
		got, err := s.Homes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		delete(want, two)
		for range 2 {
			if err := s.ForgetHome(t.Context(), two); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func list(t *testing.T, s outpost.Store) {
	if got, err := s.List(t.Context(), "hub-a"); err != nil || len(got) != 0 {
		t.Errorf("list of nothing: %v, %v", got, err)
	}
	late, early := Service("hub-a", "late", "1"), Service("hub-a", "early", "1")
	late.StartDate = Day.Add(time.Microsecond)
	insert(t, s, late, early, Service("hub-b", "other", "1"))
	got, err := s.List(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]outpost.Summary{early.Summary, late.Summary}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func all(t *testing.T, s outpost.Store) {
	a, b := Service("hub-a", "lab", "1"), Service("hub-b", "lab", "1")
	b.StartDate = Day.Add(time.Second)
	insert(t, s, b, a)
	got, err := s.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byKey := cmpopts.SortSlices(func(x, y outpost.Stored) bool { return x.Hub < y.Hub })
	if diff := cmp.Diff([]outpost.Stored{{Service: a}, {Service: b}}, got, cmpopts.EquateEmpty(), byKey); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func markStopping(t *testing.T, s outpost.Store) {
	service := Service("hub-a", "lab", "1")
	insert(t, s, service)
	for i, want := range []bool{true, false, false} {
		if first, err := s.MarkStopping(t.Context(), service.Key); err != nil || first != want {
			t.Errorf("stop %d: first %v, %v, want %v", i+1, first, err, want)
		}
	}
	service.StopPending = true
	wantService(t, s, service)
}

func finishStart(t *testing.T, s outpost.Store) {
	service, other := Service("hub-a", "lab", "1"), Service("hub-a", "other", "1")
	service.State = State("planned")
	insert(t, s, service, other)
	wantService(t, s, service)
	end := Day.Add(2 * time.Hour)
	if err := s.FinishStart(t.Context(), service.Key, State("made"), "http://made.outpost.svc:41234", end); err != nil {
		t.Fatal(err)
	}
	service.State, service.Address, service.EndDate = State("made"), "http://made.outpost.svc:41234", end
	service.StateStored, service.StartPending = true, false
	wantService(t, s, service)
	wantService(t, s, other)
}

func finishStopping(t *testing.T, s outpost.Store) {
	service := Service("hub-a", "lab", "1")
	insert(t, s, service)
	if _, err := s.MarkStopping(t.Context(), service.Key); err != nil {
		t.Fatal(err)
	}
	service.StopPending = true
	wantKind(t, "finish", s.FinishStart(t.Context(), service.Key, State("p"), "http://p:1", Day), outpost.KindConflict)
	wantService(t, s, service)
}

func touch(t *testing.T, s outpost.Store) {
	at := map[outpost.Key]time.Time{{Hub: "hub-a", Name: "gone", StartID: "1"}: Day}
	var want []outpost.Service
	for i := range 50 {
		service := Service("hub-a", fmt.Sprintf("lab-%d", i), "1")
		insert(t, s, service)
		if i%2 == 0 {
			service.LastUpdate = Day.Add(time.Duration(i+1) * time.Second)
			at[service.Key] = service.LastUpdate
		}
		want = append(want, service)
	}
	if err := s.Touch(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	for k := range at {
		at[k] = Day.Add(-time.Hour) // of a process whose clock is behind
	}
	if err := s.Touch(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	for _, service := range want {
		wantService(t, s, service)
	}
	if err := s.Touch(t.Context(), nil); err != nil {
		t.Errorf("touch nothing: %v", err)
	}
}

func deleted(t *testing.T, s outpost.Store) {
	service, other := Service("hub-a", "lab", "1"), Service("hub-a", "lab", "2")
	insert(t, s, service, other)
	for range 2 {
		if err := s.Delete(t.Context(), service.Key); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Get(t.Context(), service.Key)
	wantKind(t, "get", err, outpost.KindNotFound)
	wantService(t, s, other)
	insert(t, s, service)
}

// together calls f n times at once and returns how many calls succeeded; other errors than of the kind allowed fail.
func together(t *testing.T, n int, allowed outpost.Kind, f func(i int) error) int {
	t.Helper()
	var group sync.WaitGroup
	var succeeded atomic.Int64
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			if err := f(i); err == nil {
				succeeded.Add(1)
			} else if outpost.KindOf(err) != allowed {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	close(start)
	group.Wait()
	return int(succeeded.Load())
}

func parallelQuota(t *testing.T, s outpost.Store) {
	const limit = 10
	n := together(t, 64, outpost.KindQuota, func(i int) error {
		return s.Insert(t.Context(), Service("hub-a", fmt.Sprintf("lab-%d", i), "1"), func(u flavor.Usage) error {
			if u.ByFlavor["tiny"] >= limit {
				return outpost.Errorf(outpost.KindQuota, "full")
			}
			return nil
		})
	})
	rows, err := s.List(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	if n != limit || len(rows) != limit {
		t.Errorf("%d inserts and %d rows, want %d", n, len(rows), limit)
	}
}

func parallelKey(t *testing.T, s outpost.Store) {
	n := together(t, 64, outpost.KindConflict, func(int) error {
		return s.Insert(t.Context(), Service("hub-a", "lab", "1"), Allow)
	})
	rows, err := s.List(t.Context(), "hub-a")
	if err != nil {
		t.Fatal(err)
	}
	if n != 1 || len(rows) != 1 {
		t.Errorf("%d inserts and %d rows, want 1", n, len(rows))
	}
}

func parallelStops(t *testing.T, s outpost.Store) {
	service := Service("hub-a", "lab", "1")
	insert(t, s, service)
	var firsts atomic.Int64
	together(t, 16, outpost.KindInternal, func(int) error {
		first, err := s.MarkStopping(t.Context(), service.Key)
		if first {
			firsts.Add(1)
		}
		if err != nil {
			t.Error(err)
		}
		return err
	})
	if firsts.Load() != 1 {
		t.Errorf("%d stops were the first", firsts.Load())
	}
}

func cancelled(t *testing.T, s outpost.Store) {
	service := Service("hub-a", "lab", "1")
	insert(t, s, service)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Insert(ctx, Service("hub-a", "other", "1"), Allow); !errors.Is(err, context.Canceled) {
		t.Errorf("insert: %v", err)
	}
	if err := s.Delete(ctx, service.Key); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	wantService(t, s, service)
	rows, err := s.List(t.Context(), "hub-a")
	if err != nil || len(rows) != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func large(t *testing.T, s outpost.Store) {
	service := Service("hub-a", "lab", "1")
	service.Body.Env["JUPYTER_SCRIPT"] = strings.Repeat("x", 3<<20)
	insert(t, s, service)
	wantService(t, s, service)
}
