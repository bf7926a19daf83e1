package httpapi

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/flavor"
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

// A flavors file in YAML can hold a number that JSON cannot.
func TestAFlavorWithoutAJSONFormIsAnInternalError(t *testing.T) {
	a := newAPI(t, &fake{flavors: map[string]flavor.Flavor{"tiny": {"weight": math.Inf(1), "current": 0}}}, Options{})
	want(t, "flavors", a.do(t, request{method: "GET", path: "/flavors/", user: "hub-a"}), 419,
		failureBody("InternalError", internalSentence))
}
