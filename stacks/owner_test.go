package main

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
)

const (
	thisStack  = "organization/outposts/local"
	otherStack = "organization/outposts/north"
)

// withOwner is the state of a stack with a hub and an outpost whose namespaces are marked with owner.
func withOwner(owner string) map[string]any {
	resources := made("a", hubVolume, outpostVolume)
	for _, namespace := range []string{"jupyter", "outpost"} {
		resources["urn:pulumi:local::outposts::kubernetes:core/v1:Namespace::cluster-"+namespace] = map[string]any{
			"type": "kubernetes:core/v1:Namespace",
			"outputs": map[string]any{
				"__fieldManager": "outposts-local",
				"metadata": map[string]any{
					"name": namespace, "annotations": map[string]any{cluster.OwnerAnnotation: owner},
				},
			},
		}
	}
	return resources
}

// TestOneOwner holds who may write into a namespace: the stack that it is marked with and whose state knows it, or
// whoever finds it free.
func TestOneOwner(t *testing.T) {
	crypt := cluster.Part{Kind: cluster.Secret, Name: outpost.CryptSecret}
	home := cluster.Part{Kind: cluster.Claim, Name: hub.DatabaseClaim}
	refusal := func(key, namespace, what string) string {
		return "outposts:" + key + ": namespace " + namespace + " of context local " + what +
			"; nothing was changed. Check outposts:cluster.context and the backend of this stack's state, or choose " +
			"another namespace. To take this one over, with keys and passwords of this stack, list it in outposts:adopt"
	}
	for _, tt := range []struct {
		name   string
		owners map[string]string
		parts  map[string][]cluster.Part
		before map[string]any
		adopt  string
		want   []string // refusals
		said   []string // of what is adopted
	}{
		{name: "nothing there"},
		{name: "made beforehand", owners: map[string]string{"jupyter": "", "outpost": ""}},
		{
			name:   "own",
			owners: map[string]string{"jupyter": thisStack, "outpost": thisStack}, before: withOwner(thisStack),
		},
		{
			name:   "own, from before there were marks",
			owners: map[string]string{"jupyter": "", "outpost": ""}, before: made("a", hubVolume, outpostVolume),
			parts: map[string][]cluster.Part{"outpost": {crypt}},
		},
		{
			name:   "own, renamed since",
			owners: map[string]string{"jupyter": otherStack, "outpost": otherStack}, before: withOwner(otherStack),
		},
		{name: "own, killed before the state was written", owners: map[string]string{"outpost": thisStack}},
		{
			name:   "another stack's",
			owners: map[string]string{"outpost": otherStack}, parts: map[string][]cluster.Part{"outpost": {crypt}},
			want: []string{refusal("outpost.namespace", "outpost",
				"belongs to stack "+otherStack+"; 17 servers run there")},
		},
		{
			name:   "taken over by another stack",
			owners: map[string]string{"jupyter": thisStack, "outpost": otherStack}, before: withOwner(thisStack),
			want: []string{refusal("outpost.namespace", "outpost",
				"belongs to stack "+otherStack+"; 17 servers run there")},
		},
		{
			name:   "an empty state",
			owners: map[string]string{"jupyter": thisStack, "outpost": thisStack},
			parts:  map[string][]cluster.Part{"jupyter": {home}, "outpost": {crypt}},
			want: []string{
				refusal("hub.namespace", "jupyter", "has PersistentVolumeClaim hub-db-dir, which this stack's state "+
					"does not know; 0 servers run there"),
				refusal("outpost.namespace", "outpost", "has Secret outpost-cryptkey, which this stack's state does "+
					"not know; 17 servers run there"),
			},
		},
		{
			name:   "an installation without a mark",
			owners: map[string]string{"outpost": ""}, parts: map[string][]cluster.Part{"outpost": {crypt}},
			want: []string{refusal("outpost.namespace", "outpost",
				"has Secret outpost-cryptkey, which this stack's state does not know; 17 servers run there")},
		},
		{
			name:   "adopted",
			owners: map[string]string{"outpost": otherStack}, adopt: "[outpost]",
			said: []string{"outposts:adopt: namespace outpost belongs to stack " + otherStack + "; 17 servers run " +
				"there; it becomes this stack's, with keys and passwords of this stack"},
		},
		{
			name:   "another one adopted",
			owners: map[string]string{"outpost": otherStack}, adopt: "[jupyter]",
			want: []string{refusal("outpost.namespace", "outpost",
				"belongs to stack "+otherStack+"; 17 servers run there")},
			said: []string{"outposts:adopt: namespace jupyter is this stack's own; remove the entry"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes := map[string]string{}
			if tt.adopt != "" {
				changes["adopt"] = tt.adopt
			}
			c := loaded(t, localConfig, changes)
			api := fakeCluster{
				identity: "a", owners: tt.owners, parts: tt.parts,
				pods: map[string]map[string]int{"outpost": {"local": 10, "remote": 7}},
			}
			before := stateOf(tt.before)
			before.self = thisStack
			var got []string
			if _, err := preflightAlone(c, api, before); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("refusals (-want +got):\n%s", diff)
			}
			said, err := c.adoptions(context.Background(), api, before)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.said, said); diff != "" {
				t.Errorf("adoptions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAdoptNamesNamespacesOfThisConfig(t *testing.T) {
	raw := configFrom(t, localConfig)
	change(t, raw, "adopt", "[outpost-servers, north]")
	_, err := LoadConfig(raw, "/project")
	const want = `outposts:adopt[1]: "north" is not a namespace of this config; ` +
		`it has: jupyter, outpost, outpost-servers`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestFieldManager holds that each stack owns the fields of its objects, and that one which was made when all stacks
// had the same owner keeps that: another one would meet its own values as somebody else's.
func TestFieldManager(t *testing.T) {
	object := func(manager string) map[string]any {
		return map[string]any{"a": map[string]any{
			"type": "kubernetes:core/v1:ConfigMap", "outputs": map[string]any{"__fieldManager": manager},
		}}
	}
	for _, tt := range []struct {
		name   string
		before map[string]any
		want   string
	}{
		{"new", nil, "outposts-local"},
		{"from before", object("outposts"), "outposts"},
		{"renamed", object("outposts-old"), "outposts-old"},
		{"drawn by the provider", object("pulumi-kubernetes-0a1b2c"), "outposts-local"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := stateOf(tt.before)
			before.self = thisStack
			if got := before.fieldManager(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
