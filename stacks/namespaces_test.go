package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/infratest"
)

// tenantConfig is the local stack of somebody who has two namespaces.
func tenantConfig(t *testing.T) map[string]string {
	t.Helper()
	raw := committedConfig(t, "local")
	change(t, raw, "hub.namespace", "{name: team-hub, create: false}")
	change(t, raw, "outpost.namespace", "{name: team, create: false}")
	return raw
}

// ofTenant is a cluster in which somebody may look at two namespaces and nothing else.
func ofTenant() fakeCluster {
	return fakeCluster{
		owners: map[string]string{"team-hub": "", "team": ""}, uids: map[string]string{"team-hub": "h", "team": "o"},
	}
}

// TestNamespaces holds what a stack makes of its namespaces: as config says, or nothing.
func TestNamespaces(t *testing.T) {
	t.Run("made", func(t *testing.T) {
		w := testWorld(committedConfig(t, "local"))
		change(t, w.config, "hub.namespace", "{name: team-hub, labels: {a: b}, annotations: {c: d}}")
		r := &infratest.Recorder{}
		if err := runStack(t, r, "local", w); err != nil {
			t.Fatal(err)
		}
		got := string(infratest.JSON(t, r.Find(t, "kubernetes:core/v1:Namespace", "cluster-team-hub").Inputs))
		for _, want := range []string{`"a": "b"`, `"c": "d"`, `"outposts.dev/stack": "organization/outposts/local"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%s is not in\n%s", want, got)
			}
		}
	})
	t.Run("found", func(t *testing.T) {
		w := testWorld(tenantConfig(t))
		w.open = func(cluster.Access) (clusterAPI, error) { return ofTenant(), nil }
		r := &infratest.Recorder{}
		if err := runStack(t, r, "local", w); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(r.List(), "v1:Namespace ") {
			t.Errorf("namespaces are made:\n%s", r.List())
		}
		for _, name := range []string{"team-hub", "team"} {
			mark := r.Find(t, "kubernetes:rbac.authorization.k8s.io/v1:Role", "cluster-mark-"+name)
			want := `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"annotations":{` +
				`"outposts.dev/stack":"organization/outposts/local"},` +
				`"name":"outposts-stack","namespace":"` + name + `"}}`
			got := strings.Join(strings.Fields(string(infratest.JSON(t, mark.Inputs))), "")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("mark of %s (-want +got):\n%s", name, diff)
			}
		}
		made := r.Find(t, hub.Type, "hub")
		if !slices.Contains(made.DependsOn, "cluster-mark-team-hub") {
			t.Errorf("the hub does not wait for its namespace's mark: %v", made.DependsOn)
		}
		provider := r.Find(t, "pulumi:providers:kubernetes", "cluster-kubernetes").Inputs
		if got := provider["clusterIdentifier"].StringValue(); got != "h" {
			t.Errorf("the cluster is known by %s, want the uid of the hub's namespace", got)
		}
	})
}

// TestNamespaceOptionsRefused holds what of the options of namespaces is refused.
func TestNamespaceOptionsRefused(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		api         fakeCluster
		made        map[string]any
		want        string
	}{
		{
			name: "not there", value: "{name: team, create: false}",
			api: fakeCluster{identity: "a", missing: []string{"team"}},
			want: "outposts:outpost.namespace: namespace team does not exist, and outpost.namespace.create is " +
				"false; have it made first, or leave that out",
		},
		{
			name: "made before", value: "{name: outpost, create: false}", api: fakeCluster{identity: "a"},
			made: madeNamespaces("a", "jupyter", "outpost", "outpost-servers"),
			want: "outposts:outpost.namespace.create is false, but this stack has made namespace outpost, which " +
				"would be deleted with everything in it; nothing was changed. Leave it out",
		},
		{
			name: "labels without effect", value: "{name: team, create: false, labels: {a: b}}",
			want: "outposts:outpost.namespace.labels: has no effect here; the stack does not make the namespace",
		},
		{
			name: "mark of the program", value: "{name: team, annotations: {outposts.dev/stack: a}}",
			want: "outposts:outpost.namespace.annotations: has no effect here; the program sets outposts.dev/stack",
		},
		{name: "no name", value: "{create: false}", want: "outposts:outpost.namespace.name is missing"},
		{name: "bad name", value: "{name: A}", want: "outposts:outpost.namespace.name: want lower-case letters"},
		{name: "unknown key", value: "{name: a, lables: {}}", want: "outposts:outpost.namespace.lables: unknown key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(committedConfig(t, "local"))
			change(t, w.config, "outpost.namespace", tt.value)
			w.open = func(cluster.Access) (clusterAPI, error) { return tt.api, nil }
			r := &infratest.Recorder{Made: tt.made}
			err := runStack(t, r, "local", w)
			if err == nil || !strings.Contains(err.Error(), tt.want) || r.List() != "" {
				t.Errorf("error %v, want %s; registered:\n%s", err, tt.want, r.List())
			}
		})
	}
}

// TestIdentity holds by what a cluster is known, to those who may read its namespace kube-system and to those who may
// read a namespace of the stack alone; they may take turns.
func TestIdentity(t *testing.T) {
	open := ofTenant()
	open.identity = "k"
	moved := fakeCluster{uids: map[string]string{"team-hub": "x", "team": "y"}}
	inState := state{clusters: []string{"k"}, uids: map[string]string{"team-hub": "h", "team": "o"}}
	byTenant := state{clusters: []string{"h"}, uids: map[string]string{"team-hub": "h", "team": "o"}}
	const another = "outposts:cluster: context local is another cluster than last time: "
	const unknown = "outposts:cluster: context local cannot be told from another cluster than last time: "
	for _, tt := range []struct {
		name       string
		api        fakeCluster
		before     state
		want, fail string
		adopt      string // cluster.adopt
	}{
		{"first, everything open", open, state{}, "k", "", ""},
		{"first, of a tenant", ofTenant(), state{}, "h", "", ""},
		{"again, of a tenant", ofTenant(), byTenant, "h", "", ""},
		{"a tenant after somebody else", ofTenant(), inState, "k", "", ""},
		{"somebody else after a tenant", open, byTenant, "h", "", ""},
		{"another cluster, of a tenant", moved, byTenant, "", unknown, ""},
		{"another cluster", fakeCluster{identity: "z", uids: moved.uids}, byTenant, "", another, ""},
		{
			"nothing may be read",
			fakeCluster{},
			state{},
			"",
			"outposts:cluster: context local: neither namespace kube-system nor a namespace of this config may be read",
			"",
		},
		{
			"unreachable",
			fakeCluster{err: errors.New("timeout")},
			byTenant, "",
			"outposts:cluster: context local: timeout",
			"",
		},
		{
			"a third cluster than the one to move to, of a tenant",
			moved,
			state{},
			"",
			"outposts:cluster.adopt: context local is another cluster: its namespace team-hub has uid x, not n;",
			"n",
		},
		{
			"a third cluster than the one to move to",
			open,
			state{},
			"",
			"outposts:cluster.adopt: context local is another cluster: its namespace kube-system has uid k, not n;",
			"n",
		},
		{"the one to move to, of a tenant", moved, state{}, "x", "", "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := LoadConfig(tenantConfig(t), "/project")
			if err != nil {
				t.Fatal(err)
			}
			c.Cluster.Adopt = tt.adopt
			got, err := c.identify(t.Context(), tt.api, tt.before)
			if tt.fail == "" && (got != tt.want || err != nil) {
				t.Errorf("identity %q, %v; want %s", got, err, tt.want)
			}
			if tt.fail != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.fail)) {
				t.Errorf("identity %q, %v; want %s", got, err, tt.fail)
			}
		})
	}
}

// TestFoundNamespaceIsOwn holds that what this stack has installed into somebody else's namespace is its own the next
// time, and nobody else's.
func TestFoundNamespaceIsOwn(t *testing.T) {
	c, err := LoadConfig(tenantConfig(t), "/project")
	if err != nil {
		t.Fatal(err)
	}
	c.Outpost.Servers = "team"
	api := ofTenant()
	api.identity = "k"
	api.parts = map[string][]cluster.Part{}
	for _, p := range c.places() {
		api.parts[p.namespace] = p.parts
	}
	if errs := c.foreignPlaces(t.Context(), api, state{}); len(errs) != 2 {
		t.Errorf("with an empty state: %v, want a refusal for each namespace", errs)
	}
	before := stateOf(map[string]any{
		"urn:pulumi:local::outposts::outposts:index:Cluster::cluster": map[string]any{
			"type":    cluster.Type,
			"outputs": map[string]any{cluster.Found: map[string]any{"team-hub": "h", "team": "o"}},
		},
	})
	if errs := c.foreignPlaces(t.Context(), api, before); len(errs) != 0 {
		t.Errorf("with its own state: %v", errs)
	}
	if diff := cmp.Diff(map[string]string{"team-hub": "h", "team": "o"}, before.uids); diff != "" {
		t.Errorf("uids (-want +got):\n%s", diff)
	}
}

// TestFoundNamespaceHasOneOwner holds that a second stack is refused by name in a namespace that neither has made, and
// that stacks which have shared one since before there were marks still do.
func TestFoundNamespaceHasOneOwner(t *testing.T) {
	shared := func(outputs map[string]any) state {
		outputs[cluster.Found] = map[string]any{"team-hub": "h", "team": "o"}
		before := stateOf(map[string]any{"urn": map[string]any{"type": cluster.Type, "outputs": outputs}})
		before.self = thisStack
		return before
	}
	markedAs := func(owner string) state {
		return shared(map[string]any{cluster.Marks: map[string]any{"team": owner}})
	}
	first := stateOf(nil)
	first.self = thisStack
	for _, tt := range []struct {
		name    string
		before  state
		owner   string // by the mark in team
		adopt   []string
		refused bool
		marked  []string
	}{
		{"free", first, "", nil, false, []string{"team-hub", "team"}},
		{"another stack's", first, otherStack, nil, true, []string{"team-hub"}},
		{"another stack's, adopted", first, otherStack, []string{"team"}, false, []string{"team-hub", "team"}},
		{"own", markedAs(thisStack), thisStack, nil, false, []string{"team-hub", "team"}},
		{"own, renamed since", markedAs(otherStack), otherStack, nil, false, []string{"team-hub", "team"}},
		{"taken over by another stack", markedAs(thisStack), otherStack, nil, true, []string{"team-hub"}},
		{"from before there were marks", shared(map[string]any{}), "", nil, false, []string{"team-hub", "team"}},
		{"shared since before", shared(map[string]any{}), otherStack, nil, false, []string{"team-hub"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := LoadConfig(tenantConfig(t), "/project")
			if err != nil {
				t.Fatal(err)
			}
			c.Outpost.Servers, c.Adopt = "team", tt.adopt
			api := ofTenant()
			api.owners["team"] = tt.owner
			errs := c.foreignPlaces(t.Context(), api, tt.before)
			const says = "namespace team of context local belongs to stack " + otherStack + "; 0 servers run there"
			if refused := len(errs) == 1 && strings.Contains(errs[0].Error(), says); refused != tt.refused ||
				!refused && len(errs) > 0 {
				t.Errorf("refusals %v, want one: %v", errs, tt.refused)
			}
			at, err := c.target(t.Context(), api, tt.before)
			if diff := cmp.Diff(tt.marked, at.Marked); err != nil || diff != "" {
				t.Errorf("%v, marked (-want +got):\n%s", err, diff)
			}
		})
	}
}
