package httpapi

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// generated is a password as a program makes it.
const generated = "hT3rY8wLq2Zp6Vn0Ks5Jd9Xc1Gb7Mf4A"

// attack is a Server on a clock that the test moves, and one address that everybody shares.
type attack struct {
	*clock
	*Server
}

func newAttack(t *testing.T) *attack {
	t.Helper()
	c := &clock{now: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)}
	s, err := New(&fake{}, Options{
		Now: c.Now, Users: map[string]outpost.Secret{"hub-a": "tea4two", "hub-b": generated},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &attack{c, s}
}

// try sends a login on a new connection, or on one that ctx belongs to, and returns the status.
func (a *attack) try(ctx context.Context, hub, password string) int {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/services/lab/1", nil)
	r.SetBasicAuth(hub, password)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Code
}

// guess sends wrong passwords for a second.
func (a *attack) guess(t *testing.T, hub string, n int) (compared int) {
	t.Helper()
	for i := range n {
		switch status := a.try(t.Context(), hub, fmt.Sprint("guess ", i)); status {
		case http.StatusUnauthorized:
			compared++
		case http.StatusTooManyRequests:
		default:
			t.Fatalf("guess %d: %d", i, status)
		}
		a.add(time.Second / time.Duration(n))
	}
	return compared
}

// flood guesses until no more is answered.
func (a *attack) flood(t *testing.T, hub string) {
	t.Helper()
	for range 2 * wrongPasswords {
		if a.try(t.Context(), hub, "guess") == http.StatusTooManyRequests {
			return
		}
	}
	t.Fatal("there is no limit")
}

// Somebody guesses from the address that the hub has, too. The process is new, as after a restart or in another
// replica, and knows nobody.
func TestGuessesOfOthersDoNotKeepAHubOut(t *testing.T) {
	for _, test := range []struct {
		hub, password string
		perSecond     int
	}{{"hub-a", "tea4two", 50}, {"hub-b", generated, 50}, {"hub-b", generated, 1000}} {
		a := newAttack(t)
		poll := func(when string) {
			if status := a.try(t.Context(), test.hub, test.password); status != http.StatusOK {
				t.Errorf("%s, %d guesses a second: poll %s: %d", test.hub, test.perSecond, when, status)
			}
		}
		for range 60 {
			a.guess(t, test.hub, test.perSecond)
			poll("after a start")
		}
		changed := outpost.Secret("another" + test.password)
		a.SetUsers(map[string]outpost.Secret{test.hub: changed})
		test.password = changed.Reveal()
		a.guess(t, test.hub, test.perSecond)
		poll("after a rotation")
	}
}

func TestTypedPasswordCannotBeGuessedFromTheHubsOwnSource(t *testing.T) {
	a := newAttack(t)
	if status := a.try(t.Context(), "hub-a", "tea4two"); status != http.StatusOK {
		t.Fatalf("the hub: %d", status)
	}
	if compared := a.guess(t, "hub-a", 5000); compared < wrongPasswords || compared > wrongPasswords+64 {
		t.Errorf("%d of 5000 guesses in a second were answered, want %d and 64 more", compared, wrongPasswords)
	}
	a.flood(t, "hub-a")
	want := map[string]int{"tea4two": http.StatusTooManyRequests, "coffee": http.StatusTooManyRequests}
	got := map[string]int{}
	for password := range want {
		got[password] = a.try(t.Context(), "hub-a", password)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the right password is told from a wrong one (-want +got):\n%s", diff)
	}
	// Guesses for one name cost another one nothing, whether that exists or not, and the time heals.
	for _, name := range []string{"hub-b", "hub-c"} {
		if status := a.try(t.Context(), name, "guess"); status != http.StatusUnauthorized {
			t.Errorf("%s: %d", name, status)
		}
	}
	a.add(wrongPasswordInterval)
	if status := a.try(t.Context(), "hub-a", "tea4two"); status != http.StatusOK {
		t.Errorf("one interval later: %d", status)
	}
}

// A name that exists is limited like one that does not.
func TestLimitDoesNotTellWhichNamesExist(t *testing.T) {
	for _, hub := range []string{"hub-a", "hub-b", "hub-c"} {
		if compared := newAttack(t).guess(t, hub, 1000); compared < wrongPasswords || compared > wrongPasswords+64 {
			t.Errorf("%s: %d guesses in a second", hub, compared)
		}
	}
}

// hubConnection is a connection that hubs may have or not.
type hubConnection struct {
	full bool
	hubs []string
}

func (c *hubConnection) LoggedIn(hub string) bool {
	c.hubs = append(c.hubs, hub)
	return !c.full
}

func TestHubStaysOnItsConnectionDuringAFlood(t *testing.T) {
	a, conn := newAttack(t), &hubConnection{}
	ctx := a.ConnContext(t.Context(), conn)
	poll := func(want int) {
		t.Helper()
		if status := a.try(ctx, "hub-a", "tea4two"); status != want {
			t.Errorf("poll: %d, want %d", status, want)
		}
	}
	poll(http.StatusOK)
	a.flood(t, "hub-a")
	poll(http.StatusOK)
	if diff := cmp.Diff([]string{"hub-a", "hub-a"}, conn.hubs); diff != "" {
		t.Errorf("logins on the connection (-want +got):\n%s", diff)
	}
	// Behind an Ingress others send their guesses on the same connection.
	if status := a.try(ctx, "hub-a", "guess"); status != http.StatusTooManyRequests {
		t.Errorf("a guess on the hub's connection: %d", status)
	}
	poll(http.StatusTooManyRequests)
	a.SetUsers(map[string]outpost.Secret{"hub-a": "tea4two"})
	a.add(time.Minute)
	poll(http.StatusOK)
}

func TestHubWithTooManyBusyConnectionsIsAskedToWait(t *testing.T) {
	a := newAttack(t)
	ctx := a.ConnContext(t.Context(), &hubConnection{full: true})
	if status := a.try(ctx, "hub-b", generated); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
}

func TestGuessablePasswords(t *testing.T) {
	for password, want := range map[string]bool{
		"tea4two": true, generated[:31]: true, strings.Repeat("ab", 40): true,
		generated: false, "0f3c9a7be21d485f60c2ad93b7e81f54": false,
	} {
		if got := guessable(password); got != want {
			t.Errorf("%s: %t, want %t", password, got, want)
		}
	}
}

func TestTooManyWrongPasswordsAreAnswered429(t *testing.T) {
	c := &clock{now: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)}
	a := newAPI(t, &fake{}, Options{Now: c.Now})
	guess := request{method: "GET", path: "/services/lab/1", header: []string{basic("hub-a", "guess")}}
	for i := range wrongPasswords {
		want(t, fmt.Sprintf("guess %d", i), a.do(t, guess), 401, wrongLogin)
	}
	got := a.do(t, guess)
	want(t, "one too many", got, 429, tooMany)
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// Credentials that are missing or unreadable guess nothing.
func TestUnreadableCredentialsAreNoGuesses(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	for range 2 * wrongPasswords {
		a.send(t, request{method: "GET", path: "/services/lab/1", header: []string{"Authorization: Basic %%%"}})
	}
	if n := len(a.guesses.full); n != 0 {
		t.Errorf("%d guesses were counted", n)
	}
}

// The table stays small, and so does the log.
func TestGuessesInManyNamesStaySmall(t *testing.T) {
	c := &clock{now: time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)}
	g := newGuesses(c.Now)
	logged := 0
	for i := range 3 * maxGuesses {
		_, log := g.add(g.key(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), []byte(fmt.Sprint(i))))
		if log {
			logged++
		}
		if len(g.full) > maxGuesses {
			t.Fatalf("%d entries", len(g.full))
		}
	}
	if logged != loggedGuesses {
		t.Errorf("%d lines in the log, want %d", logged, loggedGuesses)
	}
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
