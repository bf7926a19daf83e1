package httpapi

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	notAuthenticated = `{"detail":"Not authenticated"}`
	wrongLogin       = `{"detail":"Incorrect username or password"}`
	tooMany          = `{"detail":"Too many wrong passwords; try again later"}`
)

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// Nothing in an answer tells a name that exists from one that does not, and passwords are compared as digests, whatever
// their length.
func TestUnknownNamesAndWrongPasswordsLookTheSame(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	password := testUsers["hub-a"].Reveal()
	known := a.do(t, request{method: "GET", path: "/services/", header: []string{basic("hub-a", "wrong")}})
	want(t, "wrong password", known, 401, wrongLogin)
	for _, header := range []string{
		basic("hub-c", "wrong"), basic("hub-c", password),
		basic("hub-a", password[:len(password)-1]), basic("hub-a", password+password),
	} {
		if diff := cmp.Diff(known, a.do(t, request{method: "GET", path: "/services/", header: []string{header}}),
			cmp.AllowUnexported(reply{})); diff != "" {
			t.Errorf("(-known +this)\n%s", diff)
		}
	}
	for _, name := range []string{"hub-a", "hub-c"} {
		for _, typed := range []string{"", "wrong", password[:3], strings.Repeat("x", 10_000)} {
			if l, right := a.check([]byte(name), []byte(typed)); right || (l == nil) != (name == "hub-c") {
				t.Errorf("%s with %d bytes: %v, %v", name, len(typed), l, right)
			}
		}
	}
}

func TestLoginsAreRefused(t *testing.T) {
	password := testUsers["hub-a"].Reveal()
	tests := []struct {
		name   string
		header []string
		body   string
	}{
		{"no header", nil, notAuthenticated},
		{"another scheme", []string{"Authorization: Bearer " + encoded("hub-a:"+password)}, notAuthenticated},
		{"no scheme", []string{"Authorization: " + encoded("hub-a:"+password)}, notAuthenticated},
		{"scheme alone", []string{"Authorization: Basic"}, notAuthenticated},
		{"scheme and a blank", []string{"Authorization: Basic "}, notAuthenticated},
		{"bad Base64", []string{"Authorization: Basic %%%"}, notAuthenticated},
		{
			"Base64 without padding",
			[]string{"Authorization: Basic " + strings.TrimRight(encoded("hub-a:x"), "=")},
			notAuthenticated,
		},
		{"no colon", []string{"Authorization: Basic " + encoded("hub-a")}, notAuthenticated},
		{"not ASCII", []string{"Authorization: Basic " + encoded("hub-ä:"+password)}, notAuthenticated},
		{"two headers", []string{basic("hub-a", password), basic("hub-b", "passwd2")}, notAuthenticated},
		{"wrong password", []string{basic("hub-a", "wrong")}, wrongLogin},
		{"no password", []string{basic("hub-a", "")}, wrongLogin},
		{"a part of the password", []string{basic("hub-a", password[:3])}, wrongLogin},
		{"more than the password", []string{basic("hub-a", password+"x")}, wrongLogin},
		{"another hub's password", []string{basic("hub-b", password)}, wrongLogin},
		{"an unknown user", []string{basic("hub-c", password)}, wrongLogin},
		{"no user", []string{basic("", password)}, wrongLogin},
		{"neither", []string{basic("", "")}, wrongLogin},
		{"the name in another case", []string{basic("HUB-A", password)}, wrongLogin},
		{"a very long one", []string{basic("hub-a", strings.Repeat("x", 10_000))}, wrongLogin},
	}
	f := &fake{}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, f, Options{})
			for _, r := range []request{
				{method: "GET", path: "/services/"},
				{method: "POST", path: "/services", body: `{"name":"lab"}`},
				{method: "POST", path: "/services/", body: "no JSON"},
				{method: "GET", path: "/services/lab/1"},
				{method: "DELETE", path: "/services/lab/1"},
				{method: "GET", path: "/services/lab"},
				{method: "GET", path: "/flavors/"},
				{method: "POST", path: "/userflavors", body: "{}"},
				{method: "GET", path: "/credits/"},
				{method: "POST", path: "/usercredits", body: "{}"},
			} {
				r.header = test.header
				got := a.do(t, r)
				want(t, r.method+" "+r.path, got, 401, test.body)
				if challenge := got.header.Get("WWW-Authenticate"); challenge != "Basic" {
					t.Errorf("%s %s: WWW-Authenticate: %q", r.method, r.path, challenge)
				}
			}
		})
	}
	if len(f.starts)+len(f.polls)+len(f.asked) > 0 {
		t.Error("the manager was asked without a login")
	}
}

func TestLoginsAreTaken(t *testing.T) {
	password := testUsers["hub-a"].Reveal()
	for _, header := range []string{
		basic("hub-a", password),
		"authorization: basic " + encoded("hub-a:"+password),
		"AUTHORIZATION: BASIC   " + encoded("hub-a:"+password) + "  ",
	} {
		f := &fake{}
		a := newAPI(t, f, Options{})
		want(t, header, a.do(t, request{method: "GET", path: "/services/lab/1", header: []string{header}}), 200,
			`{"status":null,"logs":[]}`)
		if f.polls[0].Hub != "hub-a" {
			t.Errorf("%s: polled as %q", header, f.polls[0].Hub)
		}
	}
}

func TestAHubWithoutAPasswordCannotLogIn(t *testing.T) {
	a := newAPI(t, &fake{}, Options{Users: map[string]outpost.Secret{"hub-a": "", "": "x"}})
	for _, header := range []string{basic("hub-a", ""), basic("", "x"), basic("", "")} {
		want(t, header, a.do(t, request{method: "GET", path: "/services/", header: []string{header}}), 401, wrongLogin)
	}
}

func TestUsersAreReplaced(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	poll := func(user, password string) reply {
		return a.do(t, request{method: "GET", path: "/services/lab/1", header: []string{basic(user, password)}})
	}
	if got := poll("hub-b", "passwd2"); got.status != 200 {
		t.Fatalf("before: %d", got.status)
	}
	a.SetUsers(map[string]outpost.Secret{"hub-b": "changed", "hub-c": "new"})
	want(t, "old password", poll("hub-b", "passwd2"), 401, wrongLogin)
	want(t, "a hub that is gone", poll("hub-a", testUsers["hub-a"].Reveal()), 401, wrongLogin)
	for user, password := range map[string]string{"hub-b": "changed", "hub-c": "new"} {
		if got := poll(user, password); got.status != 200 {
			t.Errorf("%s: %d", user, got.status)
		}
	}
}

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestWrongPasswordsAreLimited(t *testing.T) {
	c := &clock{now: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)}
	a := newAPI(t, &fake{}, Options{Now: c.Now})
	poll := func(user, password string) reply {
		return a.do(t, request{method: "GET", path: "/services/lab/1", header: []string{basic(user, password)}})
	}
	if got := poll("hub-b", "passwd2"); got.status != 200 {
		t.Fatalf("hub-b: %d", got.status)
	}
	for i := range wrongPasswords {
		want(t, fmt.Sprintf("guess %d", i), poll("hub-a", fmt.Sprint(i)), 401, wrongLogin)
	}
	got := poll("hub-a", "once more")
	want(t, "one too many", got, 429, tooMany)
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// The right password is not told from a wrong one, except for a hub that has logged in from here before.
	want(t, "the right password", poll("hub-a", testUsers["hub-a"].Reveal()), 429, tooMany)
	if got := poll("hub-b", "passwd2"); got.status != 200 {
		t.Errorf("a hub that was known is shut out: %d", got.status)
	}
	want(t, "a wrong password of the known hub", poll("hub-b", "x"), 429, tooMany)
	c.add(wrongPasswordInterval)
	want(t, "one interval later", poll("hub-a", "x"), 401, wrongLogin)
	want(t, "and one more", poll("hub-a", "x"), 429, tooMany)
	c.add(wrongPasswords * wrongPasswordInterval)
	if got := poll("hub-a", testUsers["hub-a"].Reveal()); got.status != 200 {
		t.Errorf("after recovery: %d", got.status)
	}
	// Missing or unreadable credentials guess nothing.
	for range 2 * wrongPasswords {
		a.send(t, request{method: "GET", path: "/services/lab/1", header: []string{"Authorization: Basic %%%"}})
	}
	want(t, "after unreadable ones", poll("hub-a", "x"), 401, wrongLogin)
}

func TestSourcesAreCountedTogether(t *testing.T) {
	for _, test := range []struct{ remote, want string }{
		{"10.0.0.7:1234", "10.0.0.7/32"},
		{"[2001:db8:1:2:3:4:5:6]:1234", "2001:db8:1:2::/64"},
		{"[2001:db8:1:2::9]:1", "2001:db8:1:2::/64"},
		{"[::ffff:10.0.0.7]:1234", "10.0.0.7/32"},
		{"[fe80::1%eth0]:1234", "fe80::/64"},
		{"pipe", "invalid Prefix"},
	} {
		if got := group(sourceOf(test.remote)); got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.remote, got, test.want)
		}
	}
}

func TestTheLimitForgetsAndStaysSmall(t *testing.T) {
	c := &clock{now: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)}
	f := failedLogins{now: c.Now}
	for i := range 3 * maxFailedSources {
		f.add(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		if len(f.bySrc) > maxFailedSources {
			t.Fatalf("%d sources", len(f.bySrc))
		}
	}
	var known knownSources
	for i := range 10 * maxSources {
		known.add(fmt.Sprint(i))
	}
	if n := len(*known.list.Load()); n != maxSources || !known.has(fmt.Sprint(10*maxSources-1)) {
		t.Errorf("%d sources are known", n)
	}
}

// A refused login is in the log with its source and, if it named one, the hub: nothing else that was typed.
func TestRefusedLoginsAreLoggedWithoutWhatWasTyped(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	a.do(t, request{method: "GET", path: "/services/", header: []string{basic("hub-a", "planted-password")}})
	a.do(t, request{method: "GET", path: "/services/", header: []string{basic("planted-name", "planted-password")}})
	a.do(t, request{method: "GET", path: "/services/", user: "hub-a"})
	log := a.log.String()
	if strings.Contains(log, "planted") || strings.Contains(log, encoded("hub-a")[:6]) ||
		strings.Contains(log, testUsers["hub-a"].Reveal()) {
		t.Errorf("the log holds what was typed:\n%s", log)
	}
	if strings.Count(log, `msg="login refused" remote=127.0.0.1 hub=hub-a`) != 1 ||
		strings.Count(log, "login refused") != 2 {
		t.Errorf("log:\n%s", log)
	}
}

func FuzzBasic(f *testing.F) {
	for _, seed := range []string{
		"", "Basic", "Basic ", "basic aHViLWE6eA==", "BASIC  aHViLWE6eA== ", "Basic OjA=",
		"Basic %%%", "Bearer x", "Basic aHViLcOkOng=",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		var buffer [64]byte
		name, password, ok := parseBasic([]string{value}, buffer[:0])
		if !ok {
			return
		}
		// Whatever is taken must be what a client could have sent for it.
		scheme, rest, _ := strings.Cut(value, " ")
		sent, err := base64.StdEncoding.DecodeString(strings.Trim(rest, " "))
		if err != nil || !strings.EqualFold(scheme, "basic") || string(sent) != string(name)+":"+string(password) ||
			strings.Contains(string(name), ":") {
			t.Errorf("%q gives %q and %q", value, name, password)
		}
	})
}
