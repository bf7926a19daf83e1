package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestServersHaveANamespaceOfTheirOwn holds that a new stack makes a namespace for servers, that it makes the outpost
// start servers there, and that the hub's policies let them through; and that a stack which has none makes none.
func TestServersHaveANamespaceOfTheirOwn(t *testing.T) {
	for _, tt := range []struct {
		name, outpost string // its config
		before        map[string]any
		namespaces    []string // in the order in which they are made
	}{
		{"new", "{}", nil, []string{"jupyter", "outpost-servers", "outpost"}},
		{"named", "{serverNamespace: labs}", nil, []string{"jupyter", "labs", "outpost"}},
		{"one namespace on purpose", "{serverNamespace: outpost}", nil, []string{"jupyter", "outpost"}},
		{"from before", "{}", withOwner(thisStack), []string{"jupyter", "outpost"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(committedConfig(t, "local"))
			change(t, w.config, "outpost", tt.outpost)
			w.open = func(cluster.Access) (clusterAPI, error) { return fakeCluster{identity: "a"}, nil }
			r := &infratest.Recorder{Made: tt.before}
			if err := runStack(t, r, "local", w); err != nil {
				t.Fatal(err)
			}
			made, want := map[string][]string{}, map[string][]string{"cluster-jupyter": nil}
			for _, one := range r.Resources() {
				if one.Type == "kubernetes:core/v1:Namespace" {
					made[one.Name] = one.DependsOn
				}
			}
			for i, name := range tt.namespaces[1:] {
				want["cluster-"+name] = []string{"cluster-" + tt.namespaces[i]}
			}
			if diff := cmp.Diff(want, made); diff != "" {
				t.Errorf("namespaces, and which each waits for (-want +got):\n%s", diff)
			}
			compact := func(chart string) string {
				text := infratest.JSON(t, r.Find(t, "kubernetes:helm.sh/v4:Chart", chart).Inputs)
				return strings.Join(strings.Fields(string(text)), "")
			}
			servers := tt.namespaces[1]
			named := strings.Contains(compact("outpost"),
				`"spawner":{"homes":{"size":"10Gi"},"namespace":"`+servers+`"}`)
			if want := servers != "outpost"; named != want {
				t.Errorf("the outpost starts servers in %s by a key of its own: %t, want %t", servers, named, want)
			}
			if !strings.Contains(compact("hub"), `"kubernetes.io/metadata.name":"`+servers+`"`) {
				t.Errorf("the hub's policies do not know namespace %s", servers)
			}
		})
	}
}

// TestSettleServers holds where servers run if config does not say so: nothing that there is moves, and nothing that is
// half made changes its mind.
func TestSettleServers(t *testing.T) {
	const both = "outpost outpost-servers"
	long := strings.Repeat("x", 56)
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		state   string // namespaces in it, marked as this stack's
		cluster string // namespaces in it
		want    string
		refused string
	}{
		{name: "new", want: "outpost-servers"},
		{name: "new, in another namespace", changes: map[string]string{"outpost.namespace": "north"}, want: "north-servers"},
		{name: "killed before the outpost's namespace", state: "outpost-servers", cluster: "outpost-servers", want: "outpost-servers"},
		{name: "killed before its state knew", cluster: "outpost-servers", want: "outpost-servers"},
		{name: "again", state: both + " jupyter", cluster: both, want: "outpost-servers"},
		{name: "from before", state: "jupyter outpost", cluster: "jupyter outpost", want: "outpost"},
		{name: "from before, beside a namespace of that name", state: "jupyter outpost", cluster: both, want: "outpost"},
		{name: "from before, killed before the hub's namespace", state: "outpost", want: "outpost"},
		{name: "its state is lost", cluster: both + " jupyter", want: "outpost-servers"},
		{name: "from before, its state is lost", cluster: "jupyter outpost", want: "outpost"},
		{name: "a hub gets an outpost", state: "jupyter", cluster: "jupyter", want: "outpost-servers"},
		{name: "one namespace on purpose", changes: map[string]string{"outpost.serverNamespace": "outpost"}, want: "outpost"},
		{name: "named", changes: map[string]string{"outpost.serverNamespace": "labs"}, state: "outpost", want: "labs"},
		{name: "options say so", changes: map[string]string{"outpost.config": "{spawner: {namespace: labs}}"}, want: "outpost"},
		{
			name:    "options among the values say so",
			changes: map[string]string{"outpost.values": "{config: {spawner: {namespace: labs}}}"}, want: "outpost",
		},
		{
			name: "from before, its hub has that namespace", changes: map[string]string{"hub.namespace": "outpost-servers"},
			state: both, cluster: both, want: "outpost",
		},
		{
			name: "the hub has that namespace", changes: map[string]string{"hub.namespace": "outpost-servers"},
			refused: `outposts:outpost.serverNamespace is missing: its default, "outpost-servers", is also outposts:hub.namespace`,
		},
		{
			name: "too long", changes: map[string]string{"outpost.namespace": long},
			refused: `outposts:outpost.serverNamespace is missing: its default, "` + long + `-servers", is longer than 63 characters`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := loaded(t, localConfig, tt.changes)
			before, there := state{namespaces: map[string]string{}}, map[string]string{}
			for _, name := range strings.Fields(tt.state) {
				before.namespaces[name] = thisStack
			}
			for _, name := range strings.Fields(tt.cluster) {
				there[name] = ""
			}
			err := c.settleServers(t.Context(), fakeCluster{owners: there}, before)
			if tt.refused != "" {
				if err == nil || err.Error() != tt.refused {
					t.Errorf("error %v, want %s", err, tt.refused)
				}
			} else if err != nil || c.Outpost.Servers != tt.want {
				t.Errorf("servers run in %q, %v, want %q", c.Outpost.Servers, err, tt.want)
			}
		})
	}
}

func TestSettleServersWithoutAnAnswer(t *testing.T) {
	c := loaded(t, localConfig, nil)
	silent := errors.New("no answer")
	err := c.settleServers(t.Context(), fakeCluster{ownerErr: silent}, state{})
	if !errors.Is(err, silent) || c.Outpost.Servers != "" {
		t.Errorf("servers run in %q, error %v", c.Outpost.Servers, err)
	}
}
