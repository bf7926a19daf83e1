package flavor_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
)

// groupFile has a flavor for a group with words for all others, one without, and one for everybody.
const groupFile = `
flavors:
  gpu: {allowedGroups: ["urn:*:gpu"], deniedText: Ask Bob.}
  staff: {allowedGroups: [staff]}
  base: {}
users:
  ann: {authentication: {name: ann}, flavors: [gpu, staff]}
  bob: {authentication: {name: bob}, flavorsOverride: {staff: {allowedGroups: ["*"]}}}
`

// See protocol 1.14.
func TestCatalog(t *testing.T) {
	f := mustParse(t, `
flavors:
  plain: {}
  full: {max: 2, weight: 7.5, display_name: Full, description: No room}
  mine: {maxPerUser: 1, weight: 7, runtime: {milliseconds: 1}}
  long: {max: 3, runtime: {hours: 2, minutes: 1}, weight: -1}
  refused: {max: 0}
  unlimited: {max: -1, maxPerUser: -1}
hubs:
  b: {jupyterhub_name: [hub-b], flavors: [full], flavorsOverride: {full: {max: 3}}}
users:
  bad: {authentication: {name: bad}, forbidden: true}
`)
	usage := flavor.Usage{
		ByFlavor:     map[string]int{"plain": 4, "full": 1, "mine": 5, "unlimited": 6},
		TotalFlavor:  map[string]int{"plain": 9, "full": 2, "mine": 5, "long": 1, "unlimited": 7},
		ByUserFlavor: map[int]map[string]int{42: {"plain": 2, "mine": 1}},
	}
	use := func(limit *int, used int) catalog.Use { return catalog.Use{Limit: limit, Used: used} }
	full := catalog.Flavor{
		Name: "full", DisplayName: "Full", Description: "No room", Use: use(new(2), 2), User: use(nil, 0),
	}
	byOverride := full
	byOverride.Use, byOverride.Default = use(new(3), 1), true
	for name, c := range map[string]struct {
		hub, user string
		want      []catalog.Flavor
	}{
		"by weight, and the first with room is the default": {"hub-a", `{"name":"ann"}`, []catalog.Flavor{
			full,
			{
				Name: "mine", DisplayName: "mine", Use: use(nil, 5), User: use(new(1), 1), Runtime: new(1),
			},
			{Name: "plain", DisplayName: "plain", Default: true, Use: use(nil, 4), User: use(nil, 2)},
			{Name: "refused", DisplayName: "refused", Use: use(new(0), 0), User: use(nil, 0)},
			{Name: "unlimited", DisplayName: "unlimited", Use: use(nil, 6), User: use(nil, 0)},
			{Name: "long", DisplayName: "long", Use: use(new(3), 1), User: use(nil, 0), Runtime: new(7260)},
		}},
		"a limit of the hub's own counts the hub's": {"hub-b", `{}`, []catalog.Flavor{byOverride}},
		"a forbidden user":                          {"hub-a", `{"name":"bad"}`, []catalog.Flavor{}},
	} {
		got, err := f.Catalog(c.hub, object(t, c.user), usage, 42)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	gpu := catalog.Flavor{Name: "gpu", DisplayName: "gpu", Use: use(nil, 0), User: use(nil, 0)}
	open, closed, base := gpu, gpu, gpu
	open.Default, closed.Denied = true, new("Ask Bob.")
	base.Name, base.DisplayName = "base", "base"
	free := base
	free.Default = true
	for name, c := range map[string]struct {
		user string
		want []catalog.Flavor
	}{
		"in the group":             {`{"groups":["urn:x:gpu"]}`, []catalog.Flavor{open, base}},
		"in another one":           {`{"groups":["gpu"]}`, []catalog.Flavor{closed, free}},
		"nothing is said":          {`{}`, []catalog.Flavor{closed, free}},
		"a list of the user's own": {`{"name":"ann"}`, []catalog.Flavor{closed}},
		"an override opens another": {`{"name":"bob","groups":["x"]}`, []catalog.Flavor{closed, {
			Name: "staff", DisplayName: "staff", Default: true, Use: use(nil, 0), User: use(nil, 0),
		}, base}},
	} {
		got, err := mustParse(t, groupFile).Catalog("hub-a", object(t, c.user), flavor.Usage{}, 42)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	none, err := (*flavor.Flavors)(nil).Catalog("hub-a", nil, usage, 42)
	if none != nil || err != nil {
		t.Errorf("without flavors: %v, %v", none, err)
	}
}

// A start is judged as the catalog shows it.
func TestFlavorsOfGroups(t *testing.T) {
	const allowed = "Start with flavor %s not allowed. Allowed values for user: [%s]"
	f := mustParse(t, groupFile)
	for name, c := range map[string]struct{ user, flavor, want string }{
		"in the group":   {`{"groups":["urn:x:gpu"]}`, "gpu", ""},
		"with words":     {`{"groups":["<b>"]}`, "gpu", "You may not use the flavor gpu. Ask Bob."},
		"without words":  {`{"groups":["urn:x:gpu"]}`, "staff", fmt.Sprintf(allowed, "staff", "'gpu', 'base'")},
		"unknown":        {`{}`, "other", fmt.Sprintf(allowed, "other", "'base'")},
		"not offered":    {`{"name":"ann","groups":["urn:x:gpu"]}`, "base", fmt.Sprintf(allowed, "base", "'gpu'")},
		"by an override": {`{"name":"bob","groups":["x"]}`, "staff", ""},
	} {
		_, err := f.Admit("hub-a", object(t, c.user), c.flavor)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	offer, err := f.OfUser("hub-a", object(t, `{"groups":["staff"]}`))
	if err != nil || len(offer) != 2 || offer["gpu"] != nil {
		t.Errorf("offer of a user %v, %v", offer, err)
	}
	if offer := f.OfHub("hub-a"); len(offer) != 3 {
		t.Errorf("offer of the hub %v", offer)
	}
}

func TestExplain(t *testing.T) {
	f := mustParse(t, groupFile+`
  bad: {authentication: {name: bad}, forbidden: true}
hubs:
  b: {jupyterhub_name: [hub-b], flavors: [staff, base]}
`)
	const everybody = "the file offers it"
	for _, c := range []struct {
		hub, user string
		want      []flavor.Reason
	}{
		{"hub-a", `{"groups":["urn:x:gpu"]}`, []flavor.Reason{
			{"gpu", true, "in an allowed group: urn:*:gpu"},
			{"staff", false, "in none of the allowed groups: staff"},
			{"base", true, everybody},
		}},
		{"hub-b", `{"groups":["staff"]}`, []flavor.Reason{
			{"gpu", false, "hubs.b does not offer it"},
			{"staff", true, "in an allowed group: staff"},
			{"base", true, "hubs.b offers it"},
		}},
		{"hub-b", `{"name":"bad"}`, []flavor.Reason{
			{"gpu", false, "users.bad does not offer it"},
			{"staff", false, "users.bad does not offer it"},
			{"base", false, "users.bad does not offer it"},
		}},
	} {
		got, err := f.Explain(c.hub, object(t, c.user))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.hub, c.user, diff)
		}
	}
}

func TestTexts(t *testing.T) {
	f := mustParse(t, `
flavors:
  small: {display_name: Small, description: 1 CPU}
  gpu: {display_name: GPU, allowedGroups: [gpu]}
  plain: {}
  mine: {display_name: Mine}
  taken: null
hubs:
  b: {jupyterhub_name: [hub-b], flavors: [small, gpu], flavorsOverride: {small: {description: 2 CPUs}}}
users:
  ann: {hubs: [hub-b], authentication: {name: ann}, flavors: [small, plain]}
  bob: {hubs: [hub-a], authentication: {name: bob}, flavors: [mine]}
  bad: {authentication: {name: bad}, forbidden: true}
`)
	small, gpu := flavor.Text{"small", "Small", "1 CPU"}, flavor.Text{"gpu", "GPU", ""}
	plain, mine := flavor.Text{"plain", "plain", ""}, flavor.Text{"mine", "Mine", ""}
	for hub, want := range map[string][]flavor.Text{
		"hub-a": {small, gpu, plain, mine},
		"hub-b": {{"small", "Small", "2 CPUs"}, gpu, plain},
	} {
		if diff := cmp.Diff(want, f.Texts(hub)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", hub, diff)
		}
	}
	none := mustParse(t, "flavors: {a: {}}\nhubs: {b: {jupyterhub_name: [hub-b], flavors: []}}")
	if got := none.Texts("hub-b"); got == nil || len(got) > 0 {
		t.Errorf("texts of a hub that is offered nothing: %#v", got)
	}
	var unset *flavor.Flavors
	if got := unset.Texts("hub-a"); got != nil {
		t.Errorf("texts without a file: %#v", got)
	}
}
