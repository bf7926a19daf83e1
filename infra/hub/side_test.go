package hub

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/charts"
	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/schema/schematest"
	"github.com/outposts-dev/outposts/infra/values"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// TestSideValues holds the values of our chart, and that its schema takes them.
func TestSideValues(t *testing.T) {
	one, long := 1, 3600
	for _, tt := range []struct {
		name   string
		change func(*Args)
	}{
		{"defaults", func(*Args) {}},
		{"remote-only", func(a *Args) { a.Systems = a.Systems[1:] }},
		{"dial-out", func(a *Args) {
			s := &a.Systems[1]
			s.DialsOut, s.URL, s.SSH, s.CAs, s.FormerNames = true, "", nil, nil, []string{"north"}
		}},
		{"chosen", func(a *Args) {
			a.Release, a.Systems[1].FormerNames = "jhub", []string{"north"}
			a.Tunnels = Tunnels{
				Image:        OutpostImage{Repository: "registry.example.org/outpost", Tag: "1"},
				ReplicaCount: &one, Ports: "21000-21999", Drain: &long,
				Resources: map[string]any{"limits": map[string]any{"memory": "1Gi"}},
				Values:    map[string]any{"logLevel": "debug", "podLabels": map[string]any{"example.org/a": "b"}},
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			tt.change(&a)
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			text, err := yaml.Marshal(a.sideValues())
			if err != nil {
				t.Fatal(err)
			}
			infratest.Golden(t, "side-"+tt.name+".golden.yaml", text)
		})
	}
}

// TestEveryValueOfTunnelsIsTakenOrRefused sets each key of our chart's schema alone.
func TestEveryValueOfTunnelsIsTakenOrRefused(t *testing.T) {
	leaves := schematest.Leaves(t, charts.HubSchema, "sample")
	if len(leaves) < 80 {
		t.Fatalf("%d leaves in the schema", len(leaves))
	}
	a, drain := soundArgs(), 60
	a.Tunnels = Tunnels{Image: OutpostImage{Tag: "1"}, Drain: &drain}
	infratest.Golden(t, "refused-side.golden.txt", []byte(schematest.Refused(t, leaves,
		func(document map[string]any) (map[string]any, []schema.Fault) {
			a.Tunnels.Values = document
			faults := a.checkSide()
			for i := range faults {
				faults[i].Path = faults[i].Path[2:] // "tunnels", "values"
			}
			return a.sideValues(), faults
		})))
}

// TestTunnelsRefused holds that what is wrong with a setting of the tunnels is said by its key.
func TestTunnelsRefused(t *testing.T) {
	less := -1
	for want, change := range map[string]func(*Tunnels){
		"tunnels.ports: does not match ^[1-9][0-9]{3,4}-[1-9][0-9]{3,4}$": func(c *Tunnels) { c.Ports = "20000" },
		"tunnels.drain: minimum: got -1, want 0":                          func(c *Tunnels) { c.Drain = &less },
		"tunnels.values.systems.other.url: is made from the systems; set those instead": func(c *Tunnels) {
			c.Values = map[string]any{"systems": map[string]any{"other": map[string]any{"url": "http://a"}}}
		},
	} {
		a := soundArgs()
		change(&a.Tunnels)
		if err := a.Check(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestHubMountsTheSide holds that the values of JupyterHub's chart have the lines that our chart asks for, as its
// README has them.
func TestHubMountsTheSide(t *testing.T) {
	text, err := os.ReadFile("../../charts/outposts-hub/README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile("(?s)```yaml\n(hub:\n  allowNamedServers.*?)```").FindSubmatch(text)
	if lines == nil {
		t.Fatal("no lines for the values of zero-to-jupyterhub")
	}
	needed := strings.ReplaceAll(string(lines[1]), SideRelease+"-trust", trustConfigMap)
	if lost := values.Lost(soundArgs().values(), values.Parse(needed)); lost != nil {
		t.Errorf("missing: %v", lost)
	}
}

// TestTheFirstThatDialsOutRestartsTheHub holds that the hub starts again for the first outpost that connects to it,
// since it makes its service then, and for no further one.
func TestTheFirstThatDialsOutRestartsTheHub(t *testing.T) {
	versions := make([]string, 3)
	a := soundArgs()
	for i := range versions {
		versions[i] = a.sideVersion()
		another := a.Systems[1]
		another.Name, another.DialsOut, another.SSH, another.CAs = fmt.Sprintf("inner%d", i), true, nil, nil
		a.Systems = append(a.Systems, another)
	}
	if versions[0] == versions[1] || versions[1] != versions[2] {
		t.Errorf("versions without one that dials out, with one, with two: %v", versions)
	}
}

// TestARemoteMoreLeavesTheHubAlone holds that a system that comes changes nothing of JupyterHub's chart: neither hub
// nor proxy starts again.
func TestARemoteMoreLeavesTheHubAlone(t *testing.T) {
	before, after := soundArgs(), soundArgs()
	another := after.Systems[1]
	another.Name, another.CAs = "another", nil
	after.Systems = append(after.Systems, another)
	if diff := cmp.Diff(before.values(), after.values()); diff != "" {
		t.Errorf("values (-before +after):\n%s", diff)
	}
}

// TestSideVersion holds for what of our chart the hub starts again.
func TestSideVersion(t *testing.T) {
	drain := 60
	for name, tt := range map[string]struct {
		change func(*Args)
		starts bool
	}{
		"name":           {func(a *Args) { a.Name = "other" }, true},
		"ports":          {func(a *Args) { a.Tunnels.Ports = "21000-21999" }, true},
		"ports by value": {func(a *Args) { a.Tunnels.Values = map[string]any{"ports": "21000-21999"} }, true},
		"drain":          {func(a *Args) { a.Tunnels.Drain = &drain }, false},
	} {
		before, after := soundArgs(), soundArgs()
		tt.change(&after)
		if starts := before.sideVersion() != after.sideVersion(); starts != tt.starts {
			t.Errorf("%s: starts again %v, want %v", name, starts, tt.starts)
		}
	}
}

// TestTunnelsReadTheirSystems holds that the tunnels read what is written for them.
func TestTunnelsReadTheirSystems(t *testing.T) {
	a := soundArgs()
	var text any
	err := (&infratest.Recorder{}).Run("test", func(ctx *pulumi.Context) error {
		var err error
		text, err = infratest.Await(ctx, a.remotes())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	systems, err := remote.Parse([]byte(text.(string)))
	if err != nil {
		t.Fatal(err)
	}
	got := systems["remote"]
	if len(systems) != 1 || got.Host != "10.0.0.3" || got.Port != 30022 || len(got.HostKeys) != 2 {
		t.Errorf("systems %+v", systems)
	}
}

// TestServiceOfOutpostsIsTheirs holds that no service of the operator's has the name of that to which outposts connect,
// where one does: the hub would have only the latter.
func TestServiceOfOutpostsIsTheirs(t *testing.T) {
	a := soundArgs()
	a.Values = map[string]any{"hub": map[string]any{"services": map[string]any{
		"outposts": map[string]any{"url": "http://portal.example.org"},
	}}}
	if faults := a.CheckValues(); len(faults) > 0 {
		t.Errorf("without an outpost that connects: %v", faults)
	}
	s := &a.Systems[1]
	s.DialsOut, s.URL, s.SSH, s.CAs = true, "", nil, nil
	want := []string{"values.hub.services.outposts: " + ofOutposts}
	var got []string
	for _, fault := range a.CheckValues() {
		got = append(got, fault.Error())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with one (-want +got):\n%s", diff)
	}
}
