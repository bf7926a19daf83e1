package httpapi

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	notFound     = `{"detail":"Not Found"}`
	wrongMethod  = `{"detail":"Method Not Allowed"}`
	itemNotFound = `{"detail":"Item not found"}`
)

// Which paths and methods exist is decided without a login (protocol 1.2, 1.3).
func TestPathsAndMethodsAreJudgedBeforeTheLogin(t *testing.T) {
	tests := []struct {
		method, path string
		status       int
		body         string
		header, text string // one more header to look at
	}{
		{"GET", "/services", 405, wrongMethod, "Allow", "POST"},
		{"PUT", "/services/", 405, wrongMethod, "Allow", "GET, POST"},
		{"PATCH", "/services/x", 405, wrongMethod, "Allow", "DELETE, GET"},
		{"POST", "/services/x/y", 405, wrongMethod, "Allow", "DELETE, GET"},
		{"HEAD", "/services/x/y", 405, "", "Allow", "DELETE, GET"},
		{"OPTIONS", "/services", 405, wrongMethod, "Allow", "POST"},
		{"HEAD", "/ping", 405, "", "Allow", "GET"},
		{"POST", "/ping", 405, wrongMethod, "Allow", "GET"},
		{"POST", "/flavors/", 405, wrongMethod, "Allow", "GET"},
		{"GET", "/userflavors", 405, wrongMethod, "Allow", "POST"},
		{"GET", "/catalog", 405, wrongMethod, "Allow", "POST"},
		{"POST", "/catalog/", 307, "", "Location", "/catalog"},
		{"GET", "/flavors", 307, "", "Location", "/flavors/"},
		{"GET", "/flavors?a=b%20c&d", 307, "", "Location", "/flavors/?a=b%20c&d"},
		{"POST", "/flavors", 307, "", "Location", "/flavors/"},
		{"GET", "/credits", 307, "", "Location", "/credits/"},
		{"POST", "/userflavors/", 307, "", "Location", "/userflavors"},
		{"POST", "/usercredits/", 307, "", "Location", "/usercredits"},
		{"GET", "/services/x/y/", 307, "", "Location", "/services/x/y"},
		{"DELETE", "/services/a%2Fb/y/?collect_logs=true", 307, "", "Location", "/services/a%2Fb/y?collect_logs=true"},
		{"GET", "/ping/", 307, "", "Location", "/ping"},
		{"GET", "/", 404, notFound, "", ""},
		{"GET", "//", 404, notFound, "", ""},
		{"GET", "/services/x/y/z", 404, notFound, "", ""},
		{"GET", "/services/x//y", 404, notFound, "", ""},
		{"GET", "//services/x/y", 404, notFound, "", ""},
		{"GET", "/Services/x/y", 404, notFound, "", ""},
		{"GET", "/services/../ping", 404, notFound, "", ""},
		{"GET", "/docs", 404, notFound, "", ""},
		{"GET", "/redoc", 404, notFound, "", ""},
		{"GET", "/openapi.json", 404, notFound, "", ""},
		{"GET", "/outpost/ping", 404, notFound, "", ""},
	}
	a := newAPI(t, &fake{}, Options{})
	for _, test := range tests {
		// "/services/../ping" has the shape of a poll and must not be cleaned into another path.
		if test.path == "/services/../ping" {
			want(t, test.path, a.send(t, request{method: test.method, path: test.path}), 401,
				`{"detail":"Not authenticated"}`)
			continue
		}
		got := a.do(t, request{method: test.method, path: test.path})
		want(t, test.method+" "+test.path, got, test.status, test.body)
		if test.header != "" && got.header.Get(test.header) != test.text {
			t.Errorf("%s %s: %s is %q, want %q", test.method, test.path, test.header,
				got.header.Get(test.header), test.text)
		}
	}
}

// The documentation pages that the Python outpost shows without a login do not exist here, with a login neither
// (protocol 1.1).
func TestNoDocumentationPages(t *testing.T) {
	a := newAPI(t, &fake{}, Options{BasePath: "/outpost"})
	for _, path := range []string{"/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"} {
		for _, user := range []string{"", "hub-a"} {
			want(t, path, a.do(t, request{method: "GET", path: path, user: user}), 404, notFound)
			want(t, path, a.send(t, request{method: "GET", path: "/outpost" + path, user: user}), 404, notFound)
		}
	}
}

// docs/openapi.yaml describes exactly the routes that exist.
func TestTheDocumentDescribesEveryRoute(t *testing.T) {
	document, err := loadOpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`\{(\w+):[^}]*\}`)
	var routes, described []string
	for _, p := range paths {
		for method, handle := range p.methods {
			if reflect.ValueOf(handle).Pointer() == reflect.ValueOf(handler(unknown)).Pointer() {
				continue // a path that names no service
			}
			routes = append(routes, method+" "+pattern.ReplaceAllString(p.template, "{$1}"))
		}
	}
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(routes)
	slices.Sort(described)
	if diff := cmp.Diff(routes, described); diff != "" {
		t.Errorf("(-routes +described)\n%s", diff)
	}
}

func TestPingNeedsNoLogin(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	want(t, "ping", a.do(t, request{method: "GET", path: "/ping"}), 200, `{"ping":"pong!"}`)
	want(t, "ping", a.do(t, request{method: "GET", path: "/ping?x=1", header: []string{basic("hub-a", "wrong")}}), 200,
		`{"ping":"pong!"}`)
}

// Names come as they were sent; an empty one is the default server's (protocol 1.3).
func TestPathsNameServices(t *testing.T) {
	tests := []struct {
		path string
		want outpost.Key
	}{
		{"/services/lab-one/0f3c", outpost.Key{Hub: "hub-a", Name: "lab-one", StartID: "0f3c"}},
		{"/services/lab-one", outpost.Key{Hub: "hub-a", Name: "lab-one", StartID: "0"}},
		{"/services//0f3c", outpost.Key{Hub: "hub-a", Name: "", StartID: "0f3c"}},
		{"/services/a%20b/%C3%AB", outpost.Key{Hub: "hub-a", Name: "a b", StartID: "ë"}},
		{"/services/a%2Fb/1", outpost.Key{Hub: "hub-a", Name: "a/b", StartID: "1"}},
		{"/services/%2e%2e/1", outpost.Key{Hub: "hub-a", Name: "..", StartID: "1"}},
		{"/services/a+b/1;x", outpost.Key{Hub: "hub-a", Name: "a+b", StartID: "1;x"}},
		{"/services/%00/1", outpost.Key{Hub: "hub-a", Name: "\x00", StartID: "1"}},
		{"/services/services/services", outpost.Key{Hub: "hub-a", Name: "services", StartID: "services"}},
		{"/services/{name}/1", outpost.Key{Hub: "hub-a", Name: "{name}", StartID: "1"}},
	}
	for _, method := range []string{"GET", "DELETE"} {
		f := &fake{logs: []string{}}
		a := newAPI(t, f, Options{})
		for _, test := range tests {
			if got := a.do(t, request{method: method, path: test.path, user: "hub-a"}); got.status != 200 {
				t.Errorf("%s %s: %d %s", method, test.path, got.status, got.body)
			}
			if diff := cmp.Diff(test.want, f.polls[len(f.polls)-1]); diff != "" {
				t.Errorf("%s %s (-want +got)\n%s", method, test.path, diff)
			}
		}
	}
}

// After a stop the client has forgotten its start id. What it then asks for is nothing, not the service with start id
// "0".
func TestAnEmptyStartIDNeverMatches(t *testing.T) {
	f := &fake{}
	a := newAPI(t, f, Options{})
	for _, path := range []string{"/services/lab/", "/services//", "/services/lab/?collect_logs=true"} {
		for _, method := range []string{"GET", "DELETE"} {
			want(t, method+" "+path, a.do(t, request{method: method, path: path, user: "hub-a"}), 404, itemNotFound)
			want(t, method+" "+path, a.do(t, request{method: method, path: path}), 401,
				`{"detail":"Not authenticated"}`)
		}
	}
	if len(f.polls) > 0 {
		t.Errorf("the manager was asked for %v", f.polls)
	}
}

// OUTPOST_BASE_PATH: every route answers with and without it, once, at a slash (protocol 1.12).
func TestBasePath(t *testing.T) {
	for _, base := range []string{"/outpost", "/a/b.c"} {
		f := &fake{}
		a := newAPI(t, f, Options{BasePath: base})
		for _, prefix := range []string{"", base} {
			want(t, "ping", a.do(t, request{method: "GET", path: prefix + "/ping"}), 200, `{"ping":"pong!"}`)
			want(t, "list", a.do(t, request{method: "GET", path: prefix + "/services/", user: "hub-a"}), 200, `[]`)
			want(t, "poll", a.do(t, request{method: "GET", path: prefix + "/services//1", user: "hub-a"}), 200,
				`{"status":null,"logs":[]}`)
			want(t, "start", a.do(t, request{
				method: "POST", path: prefix + "/services", user: "hub-a",
				header: []string{"execution-type: async"}, body: `{"name":""}`,
			}), 202, `{"service":""}`)
			redirected := a.do(t, request{method: "GET", path: prefix + "/flavors?x"})
			if got := redirected.header.Get("Location"); got != prefix+"/flavors/?x" {
				t.Errorf("redirected to %q", got)
			}
			want(t, "unknown", a.do(t, request{method: "GET", path: prefix + "/nothing"}), 404, notFound)
			want(t, "method", a.do(t, request{method: "GET", path: prefix + "/services"}), 405, wrongMethod)
		}
		for _, path := range []string{base, base + base + "/ping", base + "x/ping", strings.ToUpper(base) + "/ping"} {
			want(t, path, a.do(t, request{method: "GET", path: path}), 404, notFound)
		}
	}
	for _, bad := range []string{"outpost", "/", "/outpost/", "/{x}"} {
		if _, err := New(&fake{}, Options{BasePath: bad}); err == nil {
			t.Errorf("base path %q is taken", bad)
		}
	}
}

// Behind a proxy that ends TLS, a location with a scheme would send clients to clear text.
func TestRedirectsNameNoScheme(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	got := a.do(t, request{method: "GET", path: "/flavors", header: []string{"X-Forwarded-Proto: https"}})
	if location := got.header.Get("Location"); location != "/flavors/" {
		t.Errorf("redirected to %q", location)
	}
}

// See protocol 1.1.
func TestNoAnswerHasCORSHeaders(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	origin := []string{"Origin: https://evil.example.org", "Access-Control-Request-Method: POST", "Cookie: a=b"}
	for _, r := range []request{
		{method: "OPTIONS", path: "/services"},
		{method: "GET", path: "/ping"},
		{method: "GET", path: "/services/", user: "hub-a"},
	} {
		r.header = origin
		got := a.do(t, r) // do refuses the headers
		if got.header.Get("Vary") != "" {
			t.Errorf("%s %s: Vary: %s", r.method, r.path, got.header.Get("Vary"))
		}
	}
}
