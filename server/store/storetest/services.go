package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outposts-dev/outposts/server/outpost"
)

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
