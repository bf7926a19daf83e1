package main

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// withHomes is a state whose servers have homes.
func withHomes(resources map[string]any) map[string]any {
	all := maps.Clone(resources)
	all["urn:pulumi:local::outposts::pulumi:pulumi:Stack::outposts-local"] = map[string]any{
		"type": "pulumi:pulumi:Stack", "outputs": map[string]any{outputHomes: true},
	}
	return all
}

// TestSettleHomes holds what is kept of servers if config does not say so: a home, unless the operator deals with
// storage, or an outpost without homes is in a cluster that has no class for them, or does not say.
func TestSettleHomes(t *testing.T) {
	byDefault := map[string]any{"size": "10Gi"}
	known := madeBy("outpost", "jupyterhub")
	classless := fakeCluster{classes: []string{"fast"}}
	hidden := fakeCluster{hidden: true}
	const warning = "outposts:outpost.homes is missing, and no storage class is the default, so that servers go on " +
		"without homes; name a class (homes: {storageClass: NAME}), or set homes: none. The cluster has only fast"
	const unread = "outposts:outpost.homes is missing, and the storage classes may not be read, so that servers go " +
		"on without homes; set homes: {size: 10Gi}, with storageClass: NAME unless one is the default, or homes: none"
	for _, tt := range []struct {
		name    string
		changes map[string]string
		api     fakeCluster
		before  map[string]any
		want    any
		warned  []string
	}{
		{"first time", nil, fakeCluster{}, nil, byDefault, nil},
		{"an outpost from before", nil, fakeCluster{}, known, byDefault, nil},
		{
			"none",
			map[string]string{"outpost.homes": "none", "outpost.temporaryServers": "true"},
			fakeCluster{},
			nil,
			"none", nil,
		},
		{
			"as typed",
			map[string]string{"outpost.homes": "{per: server}"},
			classless, known,
			map[string]any{"per": "server"},
			nil,
		},
		{
			"storage of the operator's",
			map[string]string{"outpost.config": "{spawner: {storage_pvc_ensure: true, storage_capacity: 1Gi}}"},
			fakeCluster{},
			known, nil, nil,
		},
		{"first time, no class", nil, classless, nil, byDefault, nil}, // preflight refuses it
		{"an outpost from before, no class", nil, classless, known, nil, []string{warning}},
		{"homes from before, no class", nil, classless, withHomes(known), byDefault, nil},
		{"first time, nobody may look", nil, hidden, nil, byDefault, nil},
		{"an outpost from before, nobody may look", nil, hidden, known, nil, []string{unread}},
		{"homes from before, nobody may look", nil, hidden, withHomes(known), byDefault, nil},
		{
			"an outpost from before that chooses, nobody may look",
			map[string]string{"outpost.homes": "{size: 10Gi}"},
			hidden, known, byDefault, nil,
		},
		{
			"an outpost from before, with other options",
			map[string]string{"outpost.config": "{spawner: {image: a}}"},
			fakeCluster{},
			known, byDefault, nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := loaded(t, localConfig, tt.changes)
			warned, err := c.settleHomes(t.Context(), tt.api, stateOf(tt.before))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Outpost.Homes); diff != "" {
				t.Errorf("homes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warned, warned); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestHomesNeedAClass holds that homes which nobody can make are refused before anything is written.
func TestHomesNeedAClass(t *testing.T) {
	const refusal = "outposts:outpost.homes: users' homes ask for the cluster's default storage class, but none is " +
		"the default; nothing was changed. Name a class there (homes: {storageClass: NAME}), make one the default, " +
		"or keep nothing of servers (homes: none); the cluster has only fast"
	for _, tt := range []struct {
		outpost string
		api     fakeCluster
		want    []string
	}{
		{"{homes: {size: 1Gi}}", fakeCluster{}, nil},
		{"{homes: {size: 1Gi}}", fakeCluster{hidden: true}, nil},
		{"{homes: {size: 1Gi}}", fakeCluster{classes: []string{"fast"}}, []string{refusal}},
		{"{homes: {storageClass: fast}}", fakeCluster{classes: []string{"fast"}}, nil},
		{"{homes: none, temporaryServers: true}", fakeCluster{classes: []string{"fast"}}, nil},
	} {
		c := loaded(t, localConfig, map[string]string{"outpost": tt.outpost})
		var got []string
		for _, err := range c.noHomeClass(t.Context(), tt.api) {
			got = append(got, err.Error())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: refusals (-want +got):\n%s", tt.outpost, diff)
		}
	}
}

// TestCullingWithoutHomes holds that a stack which says "none" also says that files may go with idle servers, or that
// none are ended, whoever's stack the hub is of.
func TestCullingWithoutHomes(t *testing.T) {
	const refusal = "outposts:outpost.homes: none, but the hub ends idle servers, and their files with them; set " +
		"outposts:outpost.temporaryServers: true if that is meant, or outposts:hub.values.cull.enabled: false"
	for _, tt := range []struct {
		name    string
		changes map[string]string
		want    string
	}{
		{"culling is the default", map[string]string{"outpost.homes": "none"}, refusal},
		{"without culling", map[string]string{"outpost.homes": "none", "hub.values": "{cull: {enabled: false}}"}, ""},
		{"on purpose", map[string]string{"outpost.homes": "none", "outpost.temporaryServers": "true"}, ""},
		{
			"the switch alone",
			map[string]string{"outpost.temporaryServers": "true"},
			"outposts:outpost.temporaryServers: has no effect here; it is for outposts:outpost.homes: none",
		},
		{"twice", map[string]string{
			"outpost.homes": "{size: 1Gi}", "outpost.config": "{spawner: {homes: {size: 2Gi}}}",
		}, "outposts:outpost.homes: has no effect here; outpost.config.spawner.homes says what homes are; remove one " +
			"of them"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := configFrom(t, localConfig)
			for key, value := range tt.changes {
				change(t, raw, key, value)
			}
			_, err := LoadConfig(raw, "/project")
			if got := message(err); got != tt.want {
				t.Errorf("error %q, want %q", got, tt.want)
			}
		})
	}
	c := loaded(t, remoteConfig, map[string]string{"outpost.homes": "none"})
	_, err := c.shown([]*systemOutput{{Hub: "jupyterhub", Culls: true}})
	const remote = "outposts:outpost.homes: none, but hub jupyterhub ends idle servers, and their files with them; " +
		"set outposts:outpost.temporaryServers: true if that is meant"
	if got := message(err); got != remote {
		t.Errorf("of a remote: error %q, want %q", got, remote)
	}
	if _, err := c.shown([]*systemOutput{{Hub: "jupyterhub"}}); err != nil {
		t.Errorf("of a remote whose hub ends none: %v", err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
