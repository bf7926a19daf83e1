package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

func maintenance(t *testing.T, s outpost.Store) {
	for _, want := range []*outpost.Maintenance{
		nil,
		{From: Day, Text: "Ask <Bob>."},
		{From: Day.Add(time.Microsecond), Until: Day.Add(time.Hour)},
		{From: Day, Until: Day.Add(time.Hour), Evict: true},
		{From: Day},
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
