package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

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
		Hub:          4,
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
