package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// The tests below look at HTTP with a real Manager behind it, whose pods are in memory. Among them is what the Python
// outpost's own tests show of its API, which holds here too.

// world is a Manager in memory behind HTTP, with the logins of testUsers.
type world struct {
	*outposttest.World
	*api
}

func newWorld(t *testing.T, o lifecycle.Options, http Options) *world {
	t.Helper()
	w := outposttest.NewWorld(t, o).Up(t)
	<-w.Reconciled() // Up does not wait for as long as a busy machine may need
	return &world{w, newAPI(t, w, http)}
}

func parsedFlavors(t *testing.T, text string) *flavor.Flavors {
	t.Helper()
	f, err := flavor.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// start posts a start of hub-a unless the request says otherwise; fields go into the body as JSON.
func (w *world) start(t *testing.T, name, id, fields string, header ...string) reply {
	t.Helper()
	return w.startAs(t, "hub-a", name, id, fields, header...)
}

func (w *world) startAs(t *testing.T, hub, name, id, fields string, header ...string) reply {
	t.Helper()
	options := `"user_options":{"start_id":"` + id + `"}`
	if strings.Contains(fields, "user_options") {
		options = ""
	}
	parts := []string{`"name":"` + name + `"`}
	for _, part := range []string{options, fields} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return w.do(t, request{
		method: "POST", path: w.base + "/services", user: hub, header: header,
		body: "{" + strings.Join(parts, ",") + "}",
	})
}

func (w *world) get(t *testing.T, hub, path string) reply {
	t.Helper()
	return w.do(t, request{method: "GET", path: w.base + path, user: hub})
}

func (w *world) remove(t *testing.T, hub, path string, header ...string) reply {
	t.Helper()
	return w.do(t, request{method: "DELETE", path: w.base + path, user: hub, header: header})
}

func keyFor(hub, name, id string) outpost.Key { return outpost.Key{Hub: hub, Name: name, StartID: id} }

// started is the answer to a start that ran.
func started(k outpost.Key) string { return `{"service":"` + outposttest.Address(k) + `"}` }

const stillRunning, ended = `{"status":null,"logs":[]}`, `{"status":0,"logs":[]}`

const twoFlavors = `
flavors:
  typea: {display_name: A, max: 5, weight: 10}
  typeb: {display_name: B, max: 5, weight: 9}
hubs:
  one: {jupyterhub_name: [hub-a], flavors: [typea, typeb]}
  two: {jupyterhub_name: [hub-b], flavors: []}
`

func TestFlavorsOfAHub(t *testing.T) {
	w := newWorld(t, lifecycle.Options{Flavors: parsedFlavors(t, twoFlavors)}, Options{})
	redirected := w.get(t, "hub-a", "/flavors")
	if redirected.status != 307 {
		t.Fatalf("%d", redirected.status)
	}
	want(t, "hub-a", w.get(t, "hub-a", redirected.header.Get("Location")), 200,
		`{"typea":{"current":0,"display_name":"A","max":5,"weight":10},`+
			`"typeb":{"current":0,"display_name":"B","max":5,"weight":9}}`)
	want(t, "hub-b", w.get(t, "hub-b", "/flavors/"), 200, `{}`)
}

func TestStartWithoutFlavorsFile(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	for i, fields := range []string{"", `"flavor":"typea"`} {
		id := fmt.Sprint(i)
		k := keyFor("hub-a", "lab", id)
		want(t, "start", w.start(t, "lab", id, fields), 200, started(k))
		w.Spawner.End(k, 0, "")
		want(t, "poll of an ended one", w.get(t, "hub-a", "/services/lab/"+id), 200, ended)
	}
}

func TestUnknownFlavorIsRefused(t *testing.T) {
	w := newWorld(t, lifecycle.Options{Flavors: parsedFlavors(t, twoFlavors)}, Options{})
	want(t, "start", w.start(t, "lab", "1", `"flavor":"typec"`), 419,
		failureBody("Exception",
			"lab - Start with flavor typec not allowed. Allowed values for user: ['typea', 'typeb']"))
	want(t, "no row is left", w.get(t, "hub-a", "/services/"), 200, `[]`)
}

func TestStartWithAFlavor(t *testing.T) {
	w := newWorld(t, lifecycle.Options{Flavors: parsedFlavors(t, twoFlavors)}, Options{})
	k := keyFor("hub-a", "lab", "1")
	want(t, "start", w.start(t, "lab", "1", `"flavor":"typea"`), 200, started(k))
	w.Spawner.End(k, 0, "")
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 200, ended)
}

func TestMiscReachesTheSpawner(t *testing.T) {
	hub := outpost.Hub{Name: "hub-a", AllowedOptions: []string{"cmd", "args"}}
	w := newWorld(t, lifecycle.Options{Hubs: []outpost.Hub{hub}}, Options{})
	var misc map[string]json.RawMessage
	w.Spawner.OnPlan = func(r outpost.StartRequest, _ flavor.Flavor) error { misc = r.Body.Misc; return nil }
	want(t, "start", w.start(t, "lab", "1", `"misc":{"cmd":"sleep","args":"5"}`), 200,
		started(keyFor("hub-a", "lab", "1")))
	wanted := map[string]json.RawMessage{"cmd": json.RawMessage(`"sleep"`), "args": json.RawMessage(`"5"`)}
	if diff := cmp.Diff(wanted, misc); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
}

func TestStartPollStop(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	want(t, "start", w.start(t, "lab", "1", ""), 200, started(keyFor("hub-a", "lab", "1")))
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1"), 200, `{"logs":[]}`)
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 404, itemNotFound)
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1"), 404, itemNotFound)
	want(t, "list", w.get(t, "hub-a", "/services/"), 200, `[]`)
	if pods := w.Spawner.Pods(); len(pods) > 0 {
		t.Errorf("pods are left: %v", pods)
	}
}

func TestAHubListsItsOwnServices(t *testing.T) {
	for _, base := range []string{"", "/prefix"} {
		w := newWorld(t, lifecycle.Options{}, Options{BasePath: base})
		want(t, "before", w.get(t, "hub-a", "/services/"), 200, `[]`)
		w.start(t, "lab", "1", "")
		if rows := w.list(t, "hub-a"); len(rows) != 1 || rows[0]["name"] != "lab" || rows[0]["jupyterhub"] != "hub-a" {
			t.Errorf("hub-a lists %v", rows)
		}
		want(t, "the other hub", w.get(t, "hub-b", "/services/"), 200, `[]`)
	}
}

func (w *world) list(t *testing.T, hub string) []map[string]any {
	t.Helper()
	got := w.get(t, hub, "/services/")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(got.body), &rows); err != nil || got.status != 200 {
		t.Fatalf("%d %s: %v", got.status, got.body, err)
	}
	return rows
}

func TestUserIDIsAStringInTheList(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	w.start(t, "lab", "1", `"env":{"JUPYTERHUB_USER_ID":"17"}`)
	if rows := w.list(t, "hub-a"); rows[0]["jupyterhub_userid"] != "17" {
		t.Errorf("rows %v", rows)
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	w.start(t, "lab", "1", "")
	for _, r := range []request{
		{method: "GET", path: "/services/lab/1"},
		{method: "DELETE", path: "/services/lab/1"},
		{method: "GET", path: "/services/"},
		{method: "POST", path: "/services", body: `{"name":"other"}`},
	} {
		r.header = []string{basic("hub-a", "wrong")}
		want(t, r.method+" "+r.path, w.do(t, r), 401, wrongLogin)
	}
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
}

func TestUnknownServiceIs404(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	for _, path := range []string{"/services/lab/1", "/services/lab", "/services//1"} {
		want(t, path, w.get(t, "hub-a", path), 404, itemNotFound)
		want(t, path, w.remove(t, "hub-a", path), 404, itemNotFound)
		want(t, path, w.remove(t, "hub-a", path, "execution-type: async"), 404, itemNotFound)
	}
}

func TestAPollChangesLastUpdate(t *testing.T) {
	c := &clock{now: time.Date(2026, 5, 4, 9, 12, 33, 0, time.UTC)}
	w := newWorld(t, lifecycle.Options{Now: c.Now}, Options{})
	w.start(t, "lab", "1", "")
	before := w.list(t, "hub-a")[0]
	c.add(time.Minute)
	w.get(t, "hub-a", "/services/lab/1")
	after := w.list(t, "hub-a")[0]
	if before["last_update"] != "2026-05-04T09:12:33.000000Z" ||
		after["last_update"] != "2026-05-04T09:13:33.000000Z" || after["start_date"] != before["start_date"] {
		t.Errorf("before %v\nafter %v", before, after)
	}
}

func TestCertificatesAreNotStored(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	var certs, bundles map[string]string
	w.Spawner.OnPlan = func(r outpost.StartRequest, _ flavor.Flavor) error {
		certs, bundles = r.Certs, r.TrustBundles
		return nil
	}
	want(t, "start", w.start(t, "lab", "1",
		`"certs":{"keyfile":"planted-key"},"internal_trust_bundles":{"hub-ca":"planted-ca"},"env":{"A":"b"}`),
		200, started(keyFor("hub-a", "lab", "1")))
	if certs["keyfile"] != "planted-key" || bundles["hub-ca"] != "planted-ca" {
		t.Errorf("the spawner has %v and %v", certs, bundles)
	}
	row, err := w.Store.Get(t.Context(), keyFor("hub-a", "lab", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if stored := fmt.Sprintf("%+v", row); strings.Contains(stored, "planted") || row.Body.Env["A"] != "b" {
		t.Errorf("stored: %s", stored)
	}
}

func TestAnotherHubsServiceIs404(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	w.start(t, "lab", "1", "")
	want(t, "poll", w.get(t, "hub-b", "/services/lab/1"), 404, itemNotFound)
	want(t, "stop", w.remove(t, "hub-b", "/services/lab/1"), 404, itemNotFound)
	want(t, "the owner polls", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
	want(t, "the owner stops", w.remove(t, "hub-a", "/services/lab/1"), 200, `{"logs":[]}`)
}

func TestTwoHubsMayRunTheSameName(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	for _, hub := range []string{"hub-a", "hub-b"} {
		want(t, hub, w.startAs(t, hub, "lab", "1", ""), 200, started(keyFor(hub, "lab", "1")))
	}
	pods := []outpost.Key{keyFor("hub-a", "lab", "1"), keyFor("hub-b", "lab", "1")}
	if diff := cmp.Diff(pods, w.Spawner.Pods()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1"), 200, `{"logs":[]}`)
	want(t, "the other hub's", w.get(t, "hub-b", "/services/lab/1"), 200, stillRunning)
}

// A list says what a hub may set (protocol 2.5). What it may not is refused by name, where the Python outpost, which
// asks a hook, silently leaves it out.
func TestAHubSetsOnlyTheOptionsAllowedForIt(t *testing.T) {
	hubs := []outpost.Hub{{Name: "hub-a", AllowedOptions: []string{"image"}}, {Name: "hub-b"}}
	w := newWorld(t, lifecycle.Options{Hubs: hubs}, Options{})
	want(t, "an allowed option", w.start(t, "lab", "1", `"misc":{"image":"jupyter/base"}`), 200,
		started(keyFor("hub-a", "lab", "1")))
	want(t, "19: refused", w.startAs(t, "hub-b", "lab", "1", `"misc":{"cmd":"planted","image":"x"}`), 419,
		failureBody("Exception", "lab - The hub hub-b may not set these options in misc: cmd, image"))
	want(t, "20: without misc", w.startAs(t, "hub-b", "lab", "1", ""), 200, started(keyFor("hub-b", "lab", "1")))
}

func TestAuthStateReachesTheStart(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	var state map[string]string
	w.Spawner.OnPlan = func(r outpost.StartRequest, _ flavor.Flavor) error { state = r.AuthState; return nil }
	w.start(t, "lab", "1", "", "Auth-State-access_token: secret")
	if diff := cmp.Diff(map[string]string{"access_token": "secret"}, state); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	poll := w.do(t, request{
		method: "GET", path: "/services/lab/1", user: "hub-a",
		header: []string{"Auth-State-access_token: secret"},
	})
	want(t, "poll", poll, 200, stillRunning)
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1", "Auth-State-access_token: secret"), 200, `{"logs":[]}`)
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 404, itemNotFound)
}

func TestAsynchronousStop(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	blocked := make(chan struct{})
	w.Spawner.OnStop = func(ctx context.Context, _ outpost.Key) error {
		select {
		case <-blocked:
		case <-ctx.Done():
		}
		return nil
	}
	w.start(t, "lab", "1", "")
	// The answer does not wait, and the service is marked at once.
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1", "execution-type: async"), 202, `{}`)
	want(t, "poll while stopping", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
	if rows := w.list(t, "hub-a"); rows[0]["stop_pending"] != true {
		t.Errorf("rows %v", rows)
	}
	want(t, "a second stop", w.remove(t, "hub-a", "/services/lab/1", "execution-type: async"), 202, `{}`)
	close(blocked)
	// A synchronous stop joins it, unless it is over already.
	if joined := w.remove(t, "hub-a", "/services/lab/1"); joined.status != 404 {
		want(t, "joined", joined, 200, `{"logs":null}`)
	}
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 404, itemNotFound)
}

func TestFlavorWithMaxZeroIsRefused(t *testing.T) {
	w := newWorld(t, lifecycle.Options{Flavors: parsedFlavors(t, "flavors: {typea: {max: 0}}")}, Options{})
	want(t, "start", w.start(t, "lab", "1", `"flavor":"typea"`), 419,
		failureBody("Exception", "lab - Start with typea for hub-a not allowed. Maximum (0) already reached."))
}

func TestGlobalMaxPerUser(t *testing.T) {
	zero, one := 0, 1
	w := newWorld(t, lifecycle.Options{GlobalMaxPerUser: &zero}, Options{})
	want(t, "0", w.start(t, "lab", "1", ""), 419,
		failureBody("Exception", "lab - User with user id 0 of hub-a has reached the maximum limit of services (0)"))
	w = newWorld(t, lifecycle.Options{GlobalMaxPerUser: &one}, Options{})
	want(t, "first", w.start(t, "lab", "1", ""), 200, started(keyFor("hub-a", "lab", "1")))
	want(t, "second", w.start(t, "lab", "2", ""), 419,
		failureBody("Exception", "lab - User with user id 0 of hub-a has reached the maximum limit of services (1)"))
}

// Servers of all users and flavors count, those of other hubs do not.
func TestServersOfAHub(t *testing.T) {
	limits := map[string]*int{"hub-a": new(2), "hub-b": new(0)}
	w := newWorld(t, lifecycle.Options{MaxServers: func(hub string) *int { return limits[hub] }}, Options{})
	start := func(name string, user int) reply {
		return w.start(t, name, "1", fmt.Sprintf(`"flavor":"any","env":{"JUPYTERHUB_USER_ID":%d}`, user))
	}
	want(t, "first", start("one", 1), 200, started(keyFor("hub-a", "one", "1")))
	want(t, "second", start("two", 2), 200, started(keyFor("hub-a", "two", "1")))
	want(t, "third", start("three", 3), 419, failureBody("Exception",
		"three - The hub hub-a has reached its maximum of servers on this system (2)"))
	want(t, "another hub", w.startAs(t, "hub-b", "one", "1", `"user_options":{"start_id":"1"}`), 419,
		failureBody("Exception", "one - The hub hub-b has reached its maximum of servers on this system (0)"))
	if got := w.do(t, request{method: "DELETE", path: w.base + "/services/one/1", user: "hub-a"}); got.status != 200 {
		t.Fatalf("stop: %+v", got)
	}
	want(t, "after a stop", start("three", 3), 200, started(keyFor("hub-a", "three", "1")))
}

func TestMaxPerUserOfAFlavor(t *testing.T) {
	w := newWorld(t, lifecycle.Options{Flavors: parsedFlavors(t, "flavors: {typea: {maxPerUser: 1}}")}, Options{})
	const fields = `"flavor":"typea","env":{"JUPYTERHUB_USER_ID":17}`
	want(t, "first", w.start(t, "lab", "1", fields), 200, started(keyFor("hub-a", "lab", "1")))
	want(t, "second", w.start(t, "lab", "2", fields), 419,
		failureBody("Exception", "lab - Start with flavor typea not allowed. Each user may only start 1 of typea"))
	want(t, "another user", w.start(t, "lab", "3", `"flavor":"typea","env":{"JUPYTERHUB_USER_ID":18}`), 200,
		started(keyFor("hub-a", "lab", "3")))
}

// What a form has said of the end of a server is so, however long its start takes (protocol 2.14).
func TestEndDatesDoNotPassAMaintenance(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 5, 4, hour, 0, 0, 0, time.UTC) }
	for _, tc := range []struct {
		name, flavor string
		planned      *outpost.Maintenance
		takes        time.Duration
		want         string
	}{
		{"before its end", "day", &outpost.Maintenance{From: at(12)}, 0, "2026-05-04T12:00:00.000000Z"},
		{"after its end", "day", &outpost.Maintenance{From: at(19)}, 0, "2026-05-04T18:00:00.000000Z"},
		{"that evicts", "day", &outpost.Maintenance{From: at(12), Evict: true}, 0, "2026-05-04T18:00:00.000000Z"},
		{"without a run time", "endless", &outpost.Maintenance{From: at(12)}, 0, "9999-12-31T23:59:59.999999Z"},
		{"during its start", "day", &outpost.Maintenance{From: at(10)}, 2 * time.Hour, "2026-05-04T10:00:00.000000Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &clock{now: at(9)}
			w := newWorld(t, lifecycle.Options{
				Flavors: parsedFlavors(t, "flavors: {day: {runtime: {hours: 9}}, endless: {}}"), Now: c.Now,
			}, Options{})
			w.SetMaintenance(tc.planned)
			w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
				c.add(tc.takes)
				return nil
			}
			want(t, "start", w.start(t, "lab", "1", fmt.Sprintf(`"flavor":%q`, tc.flavor)), 200,
				started(keyFor("hub-a", "lab", "1")))
			row := w.get(t, "hub-a", "/services/")
			if !strings.Contains(row.body, `"end_date":"`+tc.want+`"`) {
				t.Errorf("%s, want an end at %s", row.body, tc.want)
			}
		})
	}
}

// See protocol 2.10.
func TestEndDatesFollowFlavors(t *testing.T) {
	c := &clock{now: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)}
	flavors := parsedFlavors(t, `
flavors: {typea: {runtime: {hours: 2}}, typeb: {}}
users: {long: {authentication: {username: "user.*"}, flavorsOverride: {typea: {runtime: {hours: 4}}}}}
`)
	w := newWorld(t, lifecycle.Options{Flavors: flavors, Now: c.Now}, Options{})
	for id, test := range map[string]struct{ fields, want string }{
		"1": {`"flavor":"typea"`, "2026-05-04T11:00:00.000000Z"},
		"2": {`"flavor":"typea","authentication":{"username":"user1"}`, "2026-05-04T13:00:00.000000Z"},
		"3": {`"flavor":"typeb"`, "9999-12-31T23:59:59.999999Z"},
	} {
		if got := w.start(t, "lab", id, test.fields); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		for _, row := range w.list(t, "hub-a") {
			if row["start_id"] == id && row["end_date"] != test.want {
				t.Errorf("%s: ends %v, want %s", test.fields, row["end_date"], test.want)
			}
		}
	}
}

// restarted is the same world with another process: what was in memory alone is lost.
func (w *world) restarted(t *testing.T) *world {
	t.Helper()
	w.Down()
	next := outposttest.NewWorldOn(t, w.Store, w.Spawner, w.HubAPI, lifecycle.Options{}).Up(t)
	return &world{next, newAPI(t, next, Options{})}
}

func TestPollReturnsLogsAndExitCode(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	k := keyFor("hub-a", "lab", "1")
	want(t, "start", w.start(t, "lab", "1", ""), 200, started(k))
	w.Spawner.Log(k, "Hello World")
	want(t, "while it runs", w.get(t, "hub-a", "/services/lab/1?collect_logs=true"), 200,
		`{"status":null,"logs":["Hello World"]}`)
	w.Spawner.End(k, 0, "")
	want(t, "ended", w.get(t, "hub-a", "/services/lab/1?collect_logs=true"), 200, `{"status":0,"logs":["Hello World"]}`)
}

func TestPollAfterTheEndWithAndWithoutMemory(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	w.start(t, "ended", "1", "")
	w.start(t, "runs", "1", "")
	w.Spawner.End(keyFor("hub-a", "ended", "1"), 0, "")
	for _, process := range []func() *world{func() *world { return w }, func() *world { return w.restarted(t) }} {
		p := process()
		want(t, "ended", p.get(t, "hub-a", "/services/ended/1"), 200, ended)
		want(t, "runs", p.get(t, "hub-a", "/services/runs/1"), 200, stillRunning)
	}
}

// A service that never was, or is gone, leaves nothing in memory either.
func TestAStoppedServiceIsForgotten(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	inMemory := func() (n int) {
		for _, c := range w.Counts() {
			n += c.Services
		}
		return n
	}
	w.start(t, "lab", "1", "")
	for i := range 50 {
		want(t, "poll of nothing", w.get(t, "hub-a", fmt.Sprintf("/services/none-%d/1", i)), 404, itemNotFound)
	}
	if n := inMemory(); n != 1 {
		t.Errorf("%d services in memory, want 1", n)
	}
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1"), 200, `{"logs":[]}`)
	if n := inMemory(); n != 0 {
		t.Errorf("%d services in memory, want none", n)
	}
}

func TestStopOfARunningAndOfAnEndedService(t *testing.T) {
	for _, ends := range []bool{false, true} {
		for _, restarts := range []bool{false, true} {
			w := newWorld(t, lifecycle.Options{}, Options{})
			w.start(t, "lab", "1", "")
			if ends {
				w.Spawner.End(keyFor("hub-a", "lab", "1"), 0, "")
			}
			if restarts {
				w = w.restarted(t)
			}
			want(t, "stop", w.remove(t, "hub-a", "/services/lab/1"), 200, `{"logs":[]}`)
			want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 404, itemNotFound)
			if pods := w.Spawner.Pods(); len(pods) > 0 {
				t.Errorf("ended %v, restarted %v: pods are left: %v", ends, restarts, pods)
			}
		}
	}
}

// A start, a stop and a database that hang hold up neither polls nor other requests that do not need them.
func TestNothingWaitsForWhatHangs(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	w.start(t, "kept", "1", "")
	w.start(t, "stopping", "1", "")
	release := make(chan struct{})
	w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error { <-release; return nil }
	w.Spawner.OnStop = func(context.Context, outpost.Key) error { <-release; return nil }
	var hanging sync.WaitGroup
	hanging.Go(func() { w.start(t, "starting", "1", "") })
	hanging.Go(func() { w.remove(t, "hub-a", "/services/stopping/1") })
	waiting := make(chan struct{})
	hanging.Go(func() {
		w.Store.Fail(func(op string) error {
			if op == "List" {
				close(waiting)
				<-release
			}
			return nil
		})
		w.get(t, "hub-a", "/services/")
	})
	<-waiting
	for range 20 {
		want(t, "poll", w.get(t, "hub-a", "/services/kept/1"), 200, stillRunning)
		want(t, "ping", w.get(t, "hub-a", "/ping"), 200, `{"ping":"pong!"}`)
	}
	close(release)
	hanging.Wait()
}

// The default server, whose name is empty, can be polled and stopped (protocol 1.3).
func TestTheDefaultServerWorks(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	k := keyFor("hub-a", "", "0f3c")
	want(t, "start", w.start(t, "", "0f3c", ""), 200, started(k))
	want(t, "poll", w.get(t, "hub-a", "/services//0f3c"), 200, stillRunning)
	want(t, "poll without an id", w.get(t, "hub-a", "/services//"), 404, itemNotFound)
	want(t, "stop", w.remove(t, "hub-a", "/services//0f3c"), 200, `{"logs":[]}`)
	want(t, "poll", w.get(t, "hub-a", "/services//0f3c"), 404, itemNotFound)
}

// A name that no path can hold, so that it could not be asked for later, is refused at the start (protocol 2.1).
func TestNamesThatNoPathCanHoldAreRefused(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	for _, name := range []string{`a/b`, `..`, `.`, `a\\b`, `a\nb`, `\u0000`, strings.Repeat("x", 300)} {
		if got := w.start(t, name, "1", ""); got.status != 419 || !strings.Contains(got.body, "server name") {
			t.Errorf("%q: %d %s", name, got.status, got.body)
		}
		if got := w.start(t, "lab", name, ""); got.status != 419 || !strings.Contains(got.body, "start id") {
			t.Errorf("start id %q: %d %s", name, got.status, got.body)
		}
	}
	want(t, "nothing is left", w.get(t, "hub-a", "/services/"), 200, `[]`)
	const odd = "nä me+1;x=%41"
	want(t, "an odd name", w.start(t, odd, "1", ""), 200, started(keyFor("hub-a", odd, "1")))
	want(t, "poll", w.get(t, "hub-a", "/services/n%C3%A4%20me+1;x=%2541/1"), 200, stillRunning)
}

// A second start of the same hub, name and start ID is refused, and the first one goes on (protocol 2.4).
func TestADuplicateStartIsRefused(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	k := keyFor("hub-a", "lab", "1")
	want(t, "first", w.start(t, "lab", "1", ""), 200, started(k))
	if got := w.start(t, "lab", "1", ""); got.status != 419 ||
		!strings.HasPrefix(got.body, `{"module":"","class":"Conflict",`) {
		t.Errorf("second: %d %s", got.status, got.body)
	}
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
	if n := w.Spawner.Starts(k); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// A stop cancels the start that is under way; both are answered (protocol 2.9).
func TestAStopDuringAStart(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	begun := make(chan struct{})
	w.Spawner.OnStart = func(ctx context.Context, _ outpost.Key, _ func(outpost.Event)) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}
	var group sync.WaitGroup
	group.Go(func() {
		if got := w.start(t, "lab", "1", ""); got.status != 419 {
			t.Errorf("the start answers %d %s", got.status, got.body)
		}
	})
	<-begun
	want(t, "poll during the start", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1"), 200, `{"logs":[]}`)
	group.Wait()
	want(t, "poll", w.get(t, "hub-a", "/services/lab/1"), 404, itemNotFound)
	if pods := w.Spawner.Pods(); len(pods) > 0 {
		t.Errorf("pods are left: %v", pods)
	}
}

// 20 and 200 synchronous stops at once are all answered, and polls go on meanwhile.
func TestManyStopsAtOnce(t *testing.T) {
	for _, n := range []int{20, 200} {
		w := newWorld(t, lifecycle.Options{}, Options{})
		w.start(t, "kept", "1", "")
		for i := range n {
			if got := w.start(t, fmt.Sprintf("lab-%d", i), "1", ""); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
		}
		release := make(chan struct{})
		w.Spawner.OnStop = func(context.Context, outpost.Key) error { <-release; return nil }
		var stops sync.WaitGroup
		for i := range n {
			stops.Go(func() {
				want(t, "stop", w.remove(t, "hub-a", fmt.Sprintf("/services/lab-%d/1", i)), 200, `{"logs":[]}`)
			})
		}
		for range 50 {
			want(t, "poll meanwhile", w.get(t, "hub-a", "/services/kept/1"), 200, stillRunning)
		}
		close(release)
		stops.Wait()
		if rows := w.list(t, "hub-a"); len(rows) != 1 {
			t.Errorf("%d rows are left", len(rows))
		}
	}
}

// A database that is away is never a 404: the hub would stop its servers.
func TestADatabaseThatIsAwayIsNotA404(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	w.start(t, "lab", "1", "")
	w.Store.Fail(func(string) error { return errors.New("planted: connection refused") })
	want(t, "poll of a known one", w.get(t, "hub-a", "/services/lab/1"), 200, stillRunning)
	for what, got := range map[string]reply{
		"poll of an unknown one": w.get(t, "hub-a", "/services/other/1"),
		"stop of an unknown one": w.remove(t, "hub-a", "/services/other/1"),
		"list":                   w.get(t, "hub-a", "/services/"),
	} {
		if got.status != 503 || strings.Contains(got.body, "planted") {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	w.Store.Fail(nil)
	want(t, "poll of an unknown one", w.get(t, "hub-a", "/services/other/1"), 404, itemNotFound)
}
