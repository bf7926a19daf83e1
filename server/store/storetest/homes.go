package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

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
