// Package storetest is the suite that every outpost.Store must pass, and a PostgreSQL server for tests.
package storetest

import (
	"encoding/json"
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
