package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
)

// See protocol 4.5.
func TestFlavorAndCreditRoutes(t *testing.T) {
	f := &fake{}
	a := newAPI(t, f, Options{})
	routes := []request{
		{method: "GET", path: "/flavors/"},
		{method: "POST", path: "/userflavors", body: `{"name":"maria","groups":["staff"],"n":1}`},
		{method: "GET", path: "/credits/"},
		{method: "POST", path: "/usercredits", body: ` null `},
	}
	for _, r := range routes {
		r.user = "hub-a"
		want(t, r.path+" without flavors", a.do(t, r), 200, `{}`)
	}
	f.flavors = map[string]flavor.Flavor{"tiny": {
		"max": 5, "display_name": "Tiny & <ä>",
		"runtime": map[string]any{"hours": 2}, "own": []any{nil}, "current": 3,
	}}
	for _, r := range routes {
		r.user = "hub-a"
		r.header = []string{"Content-Type: text/plain"} // is not looked at
		want(t, r.path, a.do(t, r), 200,
			`{"tiny":{"current":3,"display_name":"Tiny & <ä>","max":5,"own":[null],"runtime":{"hours":2}}}`)
	}
	asked := []any{map[string]any{"name": "maria", "groups": []any{"staff"}, "n": 1.0}, nil}
	if diff := cmp.Diff(append(asked, asked...), f.asked); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestUserRoutesRefuseWhatIsNoJSON(t *testing.T) {
	f := &fake{}
	a := newAPI(t, f, Options{})
	for _, path := range []string{"/userflavors", "/usercredits"} {
		for _, body := range []string{"", "planted", `{"a":`, `{} {}`} {
			want(t, path+" "+body, a.do(t, request{method: "POST", path: path, body: body, user: "hub-a"}), 419,
				failureBody("Exception", "The request's body is not JSON."))
		}
	}
	if len(f.asked) > 0 {
		t.Error("the manager was asked")
	}
}

func (w *world) catalog(t *testing.T, hub, body string) reply {
	t.Helper()
	return w.do(t, request{method: "POST", path: w.base + "/catalog", user: hub, body: body})
}

// unlimited is how the catalog of a user who may start everything, and has started nothing, begins.
const unlimited = `{"version":1,"outpost":"unknown","denied":null,"maintenance":null,"user":{"limit":null,"used":0},` +
	`"hub":{"limit":null,"used":0},`

// See protocol 1.14.
func TestCatalog(t *testing.T) {
	w := newWorld(t, lifecycle.Options{
		Version: "0.1.0", GlobalMaxPerUser: new(3),
		MaxServers: func(hub string) *int { return map[string]*int{"hub-a": new(20)}[hub] },
		Hubs: []outpost.Hub{
			{
				Name: "hub-a", AllowedOptions: []string{"image"}, AllowedImages: []string{"quay.io/jupyter/*"},
				AllowedRegistries: []string{"quay.io"},
			},
			{Name: "hub-b", AllowedOptions: []string{"*"}},
		},
		Flavors: parsedFlavors(t, `
flavors:
  tiny: {max: 9, maxPerUser: 2, display_name: Tiny & <b>, description: A little, resources: {cpu_limit: 1}, weight: 2}
  gpu: {max: 1, runtime: {hours: 2}, weight: 5}
  plain: {}
hubs:
  b: {jupyterhub_name: [hub-b], flavors: [tiny], flavorsOverride: {tiny: {max: 4}}}
users:
  gpu: {authentication: {groups: "urn:.*:group:gpu"}, negate_authentication: true, flavors: [plain, tiny]}
`),
	}, Options{})
	body := func(name, flavor string, user int) string {
		return fmt.Sprintf(`"user_options":{"start_id":"1","flavor":%q},"env":{"JUPYTERHUB_USER_ID":%d},`+
			`"authentication":{"name":%q,"groups":["urn:x:group:gpu"]}`, flavor, user, name)
	}
	for _, s := range []struct {
		hub, name, flavor string
		user              int
	}{
		{"hub-a", "one", "tiny", 42},
		{"hub-a", "two", "gpu", 42},
		{"hub-a", "three", "plain", 43},
		{"hub-b", "four", "tiny", 42},
	} {
		if got := w.startAs(t, s.hub, s.name, "1", body(s.name, s.flavor, s.user)); got.status != 200 {
			t.Fatalf("%+v: %+v", s, got)
		}
	}
	const gpu = `{"name":"gpu","display_name":"gpu","description":"","default":false,"limit":1,"used":1,` +
		`"user":{"limit":null,"used":%d},"runtime":7200,"until":null,"denied":null},`
	const tiny = `{"name":"tiny","display_name":"Tiny & <b>","description":"A little","default":true,` +
		`"limit":%d,"used":%d,"user":{"limit":2,"used":%d},"runtime":null,"until":null,"denied":null}`
	const plain = `,{"name":"plain","display_name":"plain","description":"","default":false,"limit":null,"used":1,` +
		`"user":{"limit":null,"used":%d},"runtime":null,"until":null,"denied":null}`
	const images = `"home":null,"shared":[],"profiles":[],"images":["quay.io/jupyter/*"],"registries":["quay.io"]}`
	const hubA, hubB = `{"limit":20,"used":3}`, `{"limit":null,"used":1}`
	begin := func(used int, hub string) string {
		return fmt.Sprintf(`{"version":1,"outpost":"0.1.0","denied":null,"maintenance":null,`+
			`"user":{"limit":3,"used":%d},"hub":%s,"flavors":[`, used, hub)
	}
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("%q", fmt.Sprint("urn:geant:example.org:group:project-", i))
	}
	for _, tc := range []struct{ name, hub, body, want string }{
		{
			"a user of the group", "hub-a",
			`{"user_id":42,"authentication":{"name":"ann","groups":["urn:x:group:gpu"]}}`,
			begin(2, hubA) + fmt.Sprintf(gpu, 1) + fmt.Sprintf(tiny, 9, 2, 1) + fmt.Sprintf(plain, 0) + "]," + images,
		},
		{
			"another one, with markup in a group", "hub-a",
			`{"user_id":"43","authentication":{"name":"bob","groups":["<script>alert(1)</script>"],"admin":false}}`,
			begin(1, hubA) + fmt.Sprintf(tiny, 9, 2, 0) + fmt.Sprintf(plain, 1) + "]," + images,
		},
		{
			"300 groups, the last of which counts", "hub-a",
			`{"user_id":42,"authentication":{"groups":[` + strings.Join(many, ",") + `,"urn:x:group:gpu"]}}`,
			begin(2, hubA) + fmt.Sprintf(gpu, 1) + fmt.Sprintf(tiny, 9, 2, 1) + fmt.Sprintf(plain, 0) + "]," + images,
		},
		{
			"a user that has started nothing", "hub-a", `{"user_id":7,"authentication":{"name":"new","groups":[]}}`,
			begin(0, hubA) + fmt.Sprintf(tiny, 9, 2, 0) + fmt.Sprintf(plain, 0) + "]," + images,
		},
		{
			"nothing said of the user", "hub-a", `{}`,
			begin(0, hubA) + fmt.Sprintf(gpu, 0) + fmt.Sprintf(tiny, 9, 2, 0) + fmt.Sprintf(plain, 0) + "]," + images,
		},
		{
			"the same name and id at another hub, and its name in the body", "hub-b",
			`{"hub":"hub-a","user_id":42,"authentication":{"name":"ann","groups":["urn:x:group:gpu"]}}`,
			begin(1, hubB) + fmt.Sprintf(tiny, 4, 1, 1) +
				`],"home":null,"shared":[],"profiles":[],"images":["*"],"registries":[]}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) { want(t, tc.name, w.catalog(t, tc.hub, tc.body), 200, tc.want) })
	}
}

func TestCatalogWithoutFlavorsAndImages(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	want(t, "catalog", w.catalog(t, "hub-a", `{"authentication":null}`), 200,
		unlimited+`"flavors":null,"home":null,"shared":[],"profiles":[],"images":[],"registries":[]}`)
	w = newWorld(t, lifecycle.Options{Flavors: parsedFlavors(t, twoFlavors)}, Options{})
	want(t, "catalog of a hub without flavors", w.catalog(t, "hub-b", `{}`), 200,
		unlimited+`"flavors":[],"home":null,"shared":[],"profiles":[],"images":[],"registries":[]}`)
}

// What a catalog does not show, a start does not take, and with the same words (protocol 1.14, 4.6).
func TestGroupsDecideWhatMayBeStarted(t *testing.T) {
	w := newWorld(t, lifecycle.Options{
		Hubs: []outpost.Hub{
			{Name: "hub-a", Access: access.Rule{AllowedGroups: []string{"urn:*:lab"}, DeniedText: "Ask <Bob>."}},
			{Name: "hub-b", Access: access.Rule{AllowedGroups: []string{"lab"}}},
		},
		Flavors: parsedFlavors(t, `
flavors:
  gpu: {allowedGroups: [gpu], deniedText: GPUs are for the group gpu.}
  staff: {allowedGroups: [staff]}
  base: {}
`),
	}, Options{})
	const denied = `{"version":1,"outpost":"unknown","denied":%q,"maintenance":null,` +
		`"user":{"limit":null,"used":0},"hub":{"limit":null,"used":0},"flavors":[],` +
		`"home":null,"shared":[],"profiles":[],"images":[],"registries":[]}`
	const open = unlimited + `"flavors":[%s],` +
		`"home":null,"shared":[],"profiles":[],"images":[],"registries":[]}`
	entry := func(name string, isDefault bool, denied string) string {
		return fmt.Sprintf(`{"name":%q,"display_name":%q,"description":"","default":%v,"limit":null,"used":0,`+
			`"user":{"limit":null,"used":0},"runtime":null,"until":null,"denied":%s}`, name, name, isDefault, denied)
	}
	for _, c := range []struct {
		name, hub, authentication string
		catalog                   string
		flavor, refused           string // of a start; "" for one that is taken
	}{
		{
			"no group", "hub-a", `{"name":"ann"}`, fmt.Sprintf(denied, "Ask <Bob>."),
			"base", "lab - You may not use this system. Ask <Bob>.",
		},
		{
			"another hub's group", "hub-b", `{"groups":["urn:x:lab"]}`, fmt.Sprintf(denied, ""),
			"base", "lab - You may not use this system.",
		},
		{
			"nothing said", "hub-b", `null`, fmt.Sprintf(denied, ""), "base", "lab - You may not use this system.",
		},
		{
			"the system's group alone", "hub-a", `{"groups":["urn:x:lab"]}`,
			fmt.Sprintf(open, entry("gpu", false, `"GPUs are for the group gpu."`)+","+entry("base", true, "null")),
			"gpu", "lab - You may not use the flavor gpu. GPUs are for the group gpu.",
		},
		{
			"a flavor without words", "hub-a", `{"groups":["urn:x:lab","gpu"]}`,
			fmt.Sprintf(open, entry("gpu", true, "null")+","+entry("base", false, "null")),
			"staff", "lab - Start with flavor staff not allowed. Allowed values for user: ['gpu', 'base']",
		},
		{
			"both groups", "hub-b", `{"groups":["staff","lab"]}`,
			fmt.Sprintf(open, entry("gpu", false, `"GPUs are for the group gpu."`)+","+entry("staff", true, "null")+","+
				entry("base", false, "null")),
			"staff", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			want(t, "catalog", w.catalog(t, c.hub, `{"authentication":`+c.authentication+`}`), 200, c.catalog)
			got := w.startAs(t, c.hub, "lab", "1",
				`"user_options":{"start_id":"1","flavor":"`+c.flavor+`"},"authentication":`+c.authentication)
			if c.refused == "" {
				want(t, "start", got, 200, started(keyFor(c.hub, "lab", "1")))
				return
			}
			want(t, "start", got, 419, failureBody("Exception", c.refused))
		})
	}
	want(t, "hub-a has started nothing", w.get(t, "hub-a", "/services/"), 200, `[]`)
}

func TestCatalogHasProfilesAndHome(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	w.Spawner.OnOffer = func(hub outpost.Hub, groups access.Groups) catalog.Offer {
		if hub.Name != "hub-a" || !slices.Equal(groups, access.Groups{"lab"}) {
			t.Errorf("profiles of %s, %v", hub.Name, groups)
		}
		home := &catalog.Home{Size: new("10Gi"), Mount: "/home/jovyan", Per: "user"}
		data := []catalog.Shared{{Name: "data", Mount: "/data", ReadOnly: true}}
		return catalog.Offer{Home: home, Shared: data, Profiles: []catalog.Profile{{
			Slug: "base", DisplayName: "Base", Default: true,
			Options: map[string]catalog.ProfileOption{"image": {
				DisplayName: "Image", Choices: map[string]catalog.Choice{"a": {DisplayName: "A", Default: true}},
				UnlistedChoice: &catalog.UnlistedChoice{DisplayName: "Other", Regex: new("^a")},
			}},
		}}}
	}
	want(t, "catalog", w.catalog(t, "hub-a", `{"authentication":{"groups":["lab"]}}`), 200,
		unlimited+`"flavors":null,"home":{"size":"10Gi","mount":"/home/jovyan","per":"user"},`+
			`"shared":[{"name":"data","mount":"/data","readOnly":true}],"profiles":[`+
			`{"slug":"base","display_name":"Base","description":"","default":true,"denied":null,"profile_options":{`+
			`"image":{"display_name":"Image","choices":{"a":{"display_name":"A","default":true}},`+
			`"unlisted_choice":{"display_name":"Other","validation_regex":"^a","validation_message":""}}}}],`+
			`"images":[],"registries":[]}`)
}

// A catalog announces a maintenance; at its time starts are refused, and servers go on (protocol 2.14).
func TestMaintenance(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	var clock atomic.Int64
	clock.Store(now.UnixNano())
	w := newWorld(t, lifecycle.Options{Now: func() time.Time { return time.Unix(0, clock.Load()) }}, Options{})
	wait := func(d time.Duration) {
		now = now.Add(d)
		clock.Store(now.UnixNano())
	}
	want(t, "start", w.start(t, "lab", "1", ""), 200, started(keyFor("hub-a", "lab", "1")))
	told := func(what, maintenance string) {
		t.Helper()
		body := strings.Replace(unlimited, `"maintenance":null`, `"maintenance":`+maintenance, 1)
		body = strings.ReplaceAll(body, `"used":0`, `"used":1`) +
			`"flavors":null,"home":null,"shared":[],"profiles":[],"images":[],"registries":[]}`
		want(t, what, w.catalog(t, "hub-a", `{}`), 200, body)
	}
	refused := func(what, sentence string) {
		t.Helper()
		got := w.start(t, "two", "1", "")
		want(t, what, got, 503, failureBody("Unavailable", sentence))
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", what)
		}
	}
	set := func(m *outpost.Maintenance) {
		t.Helper()
		if err := w.Store.SetMaintenance(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	set(&outpost.Maintenance{From: now.Add(time.Hour), Until: now.Add(3 * time.Hour), Text: "New <disks>."})
	const planned = `{"from":"2026-05-04T13:00:00Z","until":"2026-05-04T15:00:00Z","text":"New <disks>.",` +
		`"evict":false,"active":%v}`
	told("before", fmt.Sprintf(planned, false))
	want(t, "start before", w.start(t, "one", "1", ""), 200, started(keyFor("hub-a", "one", "1")))
	want(t, "stop", w.remove(t, "hub-a", "/services/one/1"), 200, `{"logs":[]}`)
	wait(time.Hour)
	told("at the time", fmt.Sprintf(planned, true))
	refused("at the time", "This system is in maintenance until 2026-05-04 15:00 UTC. New <disks>.")
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
	wait(2 * time.Hour)
	told("after", "null")
	want(t, "start after", w.start(t, "two", "1", ""), 200, started(keyFor("hub-a", "two", "1")))
	want(t, "stop", w.remove(t, "hub-a", "/services/two/1"), 200, `{"logs":[]}`)
	set(&outpost.Maintenance{From: now})
	told("without an end", `{"from":"2026-05-04T15:00:00Z","until":null,"text":"","evict":false,"active":true}`)
	refused("without an end", "This system is in maintenance.")
	set(nil)
	told("ended", "null")
	w.SetMaintenance(&outpost.Maintenance{From: now.Add(time.Hour), Evict: true})
	told("by the file", `{"from":"2026-05-04T16:00:00Z","until":null,"text":"","evict":true,"active":false}`)
	set(&outpost.Maintenance{From: now, Text: "Now."})
	refused("by the database, before that of the file", "This system is in maintenance. Now.")
	set(nil)
	w.SetMaintenance(nil)
	told("ended again", "null")
	w.Store.Fail(func(op string) error {
		if op == "Maintenance" {
			return errors.New("connection refused")
		}
		return nil
	})
	refused("while nobody knows", "The outpost's database does not answer; try again.")
}

// A maintenance that ends servers ends those of each flavor whose run time would pass its beginning; another one ends
// those that have a run time (protocol 1.14).
func TestMaintenanceShortensFlavors(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	flavors, err := flavor.Parse([]byte(
		"flavors: {short: {runtime: {minutes: 60}}, long: {runtime: {minutes: 61}}, endless: {}}"))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, lifecycle.Options{Now: func() time.Time { return now }, Flavors: flavors}, Options{})
	until := func(evict bool, from time.Time) map[string]string {
		t.Helper()
		if err := w.Store.SetMaintenance(t.Context(), &outpost.Maintenance{From: from, Evict: evict}); err != nil {
			t.Fatal(err)
		}
		var c catalog.Catalog
		if err := json.Unmarshal([]byte(w.catalog(t, "hub-a", `{}`).body), &c); err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for _, f := range c.Flavors {
			all[f.Name] = "its end"
			if f.Until != nil {
				all[f.Name] = f.Until.Format(time.RFC3339)
			}
		}
		return all
	}
	ends := map[string]string{"short": "its end", "long": "its end", "endless": "its end"}
	if diff := cmp.Diff(ends, until(true, now)); diff != "" {
		t.Errorf("with a maintenance that has begun (-want +got):\n%s", diff)
	}
	ends["long"] = "2026-05-04T13:00:00Z"
	if diff := cmp.Diff(ends, until(false, now.Add(time.Hour))); diff != "" {
		t.Errorf("with a maintenance that lets servers run (-want +got):\n%s", diff)
	}
	ends["endless"] = "2026-05-04T13:00:00Z"
	if diff := cmp.Diff(ends, until(true, now.Add(time.Hour))); diff != "" {
		t.Errorf("with one that ends them (-want +got):\n%s", diff)
	}
	ends["short"], ends["long"] = "2026-05-04T12:01:00Z", "2026-05-04T12:01:00Z"
	w.SetMaintenance(&outpost.Maintenance{From: now.Add(time.Minute), Until: now.Add(2 * time.Minute)})
	if diff := cmp.Diff(ends, until(true, now.Add(time.Hour))); diff != "" {
		t.Errorf("with one that ends them, and a sooner one that does not (-want +got):\n%s", diff)
	}
}

func TestCatalogIsRefused(t *testing.T) {
	const number = "Value error, JUPYTERHUB_USER_ID must be an integer"
	problem := func(kind, where, message string) string {
		return `{"detail":[{"type":"` + kind + `","loc":["body"` + where + `],"msg":"` + message + `"}]}`
	}
	f := &fake{}
	a := newAPI(t, f, Options{MaxBody: 1000})
	for body, wanted := range map[string]string{
		``:                             problem("missing", ``, "Field required"),
		`null`:                         problem("missing", ``, "Field required"),
		`planted`:                      problem("json_invalid", `,0`, "JSON decode error"),
		`["planted"]`:                  problem("model_attributes_type", ``, problemTexts["model_attributes_type"]),
		`{"user_id":"planted"}`:        problem("value_error", ``, number),
		`{"user_id":null}`:             problem("value_error", ``, number),
		`{"user_id":2147483648}`:       problem("value_error", ``, number),
		`{"authentication":"planted"}`: problem("dict_type", `,"authentication"`, "Input should be a valid dictionary"),
	} {
		want(t, body, a.do(t, request{method: "POST", path: "/catalog", user: "hub-a", body: body}), 422, wanted)
	}
	large := `{"user_id":1,"x":"` + strings.Repeat("x", 1000) + `"}`
	if got := a.do(t, request{method: "POST", path: "/catalog", user: "hub-a", body: large}); got.status != 413 {
		t.Errorf("a large body: %d", got.status)
	}
	for _, header := range [][]string{nil, {basic("hub-a", "wrong")}, {basic("hub-c", "passwd2")}} {
		got := a.do(t, request{method: "POST", path: "/catalog", header: header, body: `{}`})
		if got.status != 401 {
			t.Errorf("%q: %d", header, got.status)
		}
	}
	if len(f.users) > 0 {
		t.Errorf("the manager was asked for %v", f.users)
	}
	f.err = outpost.Errorf(outpost.KindUnavailable, "The database does not answer.")
	if got := a.do(t, request{method: "POST", path: "/catalog", user: "hub-a", body: `{}`}); got.status != 503 {
		t.Errorf("without a database: %d", got.status)
	}
}

// A flavors file in YAML can hold a number that JSON cannot.
func TestAFlavorWithoutAJSONFormIsAnInternalError(t *testing.T) {
	a := newAPI(t, &fake{flavors: map[string]flavor.Flavor{"tiny": {"weight": math.Inf(1), "current": 0}}}, Options{})
	want(t, "flavors", a.do(t, request{method: "GET", path: "/flavors/", user: "hub-a"}), 419,
		failureBody("InternalError", internalSentence))
}
