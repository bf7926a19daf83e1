package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/nettest"
	"github.com/outposts-dev/outposts/server/outpost"
)

// sentByClient is a request as the hub's client sends it (protocol 1.6).
const sentByClient = `{
  "name": "lab-one",
  "env": {"JUPYTERHUB_API_TOKEN": "5d0c", "JUPYTERHUB_HOST": "", "JUPYTERHUB_USER": "zo\u00eb",
    "JUPYTERHUB_USER_ID": "42",
    "JUPYTERHUB_OAUTH_SCOPES": "[\"access:servers!server=maria/lab-one\"]", "A": true, "B": null, "C": 1.50, "D": 17},
  "user_options": {"flavor": "tiny", "system": ["north"], "start_id": "0f3c9a"},
  "misc": {"port": 41234, "internal_ssl": false, "extra_labels": {"team": "blue"}},
  "certs": {"keyfile": "KEY", "certfile": "CERT", "cafile": "CA"},
  "internal_trust_bundles": {"hub-ca": "PEM"},
  "authentication": {"access_token": "t", "name": "maria", "groups": ["staff"]}
}`

func TestStartDecodesWhatTheClientSends(t *testing.T) {
	f := &fake{address: "http://jupyter-maria.outpost.svc.cluster.local:41234"}
	a := newAPI(t, f, Options{})
	for _, path := range []string{"/services", "/services/"} {
		got := a.do(t, request{method: "POST", path: path, body: sentByClient, user: "hub-a", header: []string{
			"Content-Type: application/json", "Auth-State-access_token: secret", "auth-state-ID: a", "AUTH-STATE-id: b",
			"auth-state-: x", "X-Auth-State-z: y",
		}})
		want(t, "start", got, 200, `{"service":"http://jupyter-maria.outpost.svc.cluster.local:41234"}`)
	}
	wanted := outpost.StartRequest{
		Key: outpost.Key{Hub: "hub-a", Name: "lab-one", StartID: "0f3c9a"}, UserID: 42, Flavor: "tiny",
		Body: outpost.Body{
			Env: map[string]string{
				"JUPYTERHUB_API_TOKEN": "5d0c", "JUPYTERHUB_HOST": "", "JUPYTERHUB_USER": "zoë",
				"JUPYTERHUB_USER_ID":      "42",
				"JUPYTERHUB_OAUTH_SCOPES": `["access:servers!server=maria/lab-one"]`, "A": "True", "B": "None",
				"C": "1.5", "D": "17",
			},
			UserOptions: map[string]json.RawMessage{
				"flavor": json.RawMessage(`"tiny"`),
				"system": json.RawMessage(`["north"]`),
			},
			Misc: map[string]json.RawMessage{
				"port": json.RawMessage("41234"), "internal_ssl": json.RawMessage("false"),
				"extra_labels": json.RawMessage(`{"team": "blue"}`),
			},
		},
		Certs:          map[string]string{"keyfile": "KEY", "certfile": "CERT", "cafile": "CA"},
		TrustBundles:   map[string]string{"hub-ca": "PEM"},
		Authentication: map[string]any{"access_token": "t", "name": "maria", "groups": []any{"staff"}},
		AuthState:      map[string]string{"access_token": "secret", "id": "b"},
	}
	for _, start := range f.starts {
		if diff := cmp.Diff(wanted, start); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

func TestStartFillsInWhatIsMissing(t *testing.T) {
	tests := []struct {
		name, body string
		change     func(*outpost.StartRequest)
	}{
		{"only a name", `{"name":""}`, func(*outpost.StartRequest) {}},
		{"blanks around", " \r\n\t{\"name\":\"\"} \n", func(*outpost.StartRequest) {}},
		{"no authentication", `{"name":"","authentication":null}`, func(*outpost.StartRequest) {}},
		{"an empty authentication", `{"name":"","authentication":{}}`, func(*outpost.StartRequest) {}},
		{"a flavor at the top", `{"name":"","flavor":"big"}`, func(r *outpost.StartRequest) { r.Flavor = "big" }},
		{"two flavors", `{"name":"","flavor":"big","user_options":{"flavor":"tiny"}}`, func(r *outpost.StartRequest) {
			r.Flavor = "tiny"
			r.Body.UserOptions["flavor"] = json.RawMessage(`"tiny"`)
		}},
		{
			"an empty flavor option", `{"name":"","flavor":"big","user_options":{"flavor":""}}`,
			func(r *outpost.StartRequest) {
				r.Flavor = "big"
				r.Body.UserOptions["flavor"] = json.RawMessage(`""`)
			},
		},
		{"no flavor option", `{"name":"","flavor":null,"user_options":{"flavor":null}}`, func(r *outpost.StartRequest) {
			r.Body.UserOptions["flavor"] = json.RawMessage(`null`)
		}},
		{"a user id as a number", `{"name":"","env":{"JUPYTERHUB_USER_ID":17}}`, func(r *outpost.StartRequest) {
			r.UserID = 17
			r.Body.Env["JUPYTERHUB_USER_ID"] = "17"
		}},
		{"columns that hubs do not set", `{"name":"","end_date":"2020","state_stored":true,"start_pending":false,
			"stop_pending":true,"state":{"pod_name":"x"},"start_id":"9","jupyterhub_user_id":7,"start_response":"x",
			"Name":"y","ENV":{"A":"b"}}`, func(*outpost.StartRequest) {}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{address: "http://p:1"}
			a := newAPI(t, f, Options{})
			want(t, test.body, a.do(t, request{method: "POST", path: "/services", body: test.body, user: "hub-a"}), 200,
				`{"service":"http://p:1"}`)
			wanted := outpost.StartRequest{
				Key: outpost.Key{Hub: "hub-a", StartID: "0"},
				Body: outpost.Body{
					Env: map[string]string{}, UserOptions: map[string]json.RawMessage{},
					Misc: map[string]json.RawMessage{},
				},
				Certs: map[string]string{}, TrustBundles: map[string]string{},
			}
			test.change(&wanted)
			if diff := cmp.Diff(wanted, f.starts[0]); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// See protocol 1.10.
func TestBadBodiesAreRefusedWithoutRepeatingThem(t *testing.T) {
	one := func(kind, where, message string) string {
		return `{"detail":[{"type":"` + kind + `","loc":[` + where + `],"msg":"` + message + `"}]}`
	}
	const text, dict = "Input should be a valid string", "Input should be a valid dictionary"
	const shape = "Input should be a valid dictionary or object to extract fields from"
	const number = "Value error, JUPYTERHUB_USER_ID must be an integer"
	tests := []struct{ name, body, want string }{
		{"nothing", "", one("missing", `"body"`, "Field required")},
		{"null", "null", one("missing", `"body"`, "Field required")},
		{"no JSON", "planted{", one("json_invalid", `"body",0`, "JSON decode error")},
		{"cut off", `{"name":"planted"`, one("json_invalid", `"body",0`, "JSON decode error")},
		{"two values", `{"name":"planted"}{}`, one("json_invalid", `"body",0`, "JSON decode error")},
		{"an array", `["planted"]`, one("model_attributes_type", `"body"`, shape)},
		{"a string", `"planted"`, one("model_attributes_type", `"body"`, shape)},
		{"no name", `{"env":{"X":"planted"}}`, one("missing", `"body","name"`, "Field required")},
		{"a number as name", `{"name":1}`, one("string_type", `"body","name"`, text)},
		{"null as name", `{"name":null}`, one("string_type", `"body","name"`, text)},
		{"a list as flavor", `{"name":"","flavor":["planted"]}`, one("string_type", `"body","flavor"`, text)},
		{
			"a list as flavor option", `{"name":"","user_options":{"flavor":["planted"]}}`,
			one("string_type", `"body","user_options","flavor"`, text),
		},
		{
			"a number as start id", `{"name":"","user_options":{"start_id":1}}`,
			one("string_type", `"body","start_id"`, text),
		},
		{
			"an empty start id", `{"name":"","user_options":{"start_id":""}}`,
			one("string_too_short", `"body","start_id"`, "String should have at least 1 character"),
		},
		{"user options null", `{"name":"","user_options":null}`, one("dict_type", `"body","user_options"`, dict)},
		{"misc null", `{"name":"","misc":null}`, one("dict_type", `"body","misc"`, dict)},
		{"env a list", `{"name":"","env":["planted"]}`, one("dict_type", `"body","env"`, dict)},
		{"certs is a string", `{"name":"","certs":"planted"}`, one("dict_type", `"body","certs"`, dict)},
		{
			"a certificate that is none", `{"name":"","certs":{"keyfile":{"planted":1}}}`,
			one("string_type", `"body","certs","keyfile"`, text),
		},
		{
			"authentication a list", `{"name":"","authentication":["planted"]}`,
			one("dict_type", `"body","authentication"`, dict),
		},
		{
			"user id is not a number", `{"name":"","env":{"JUPYTERHUB_USER_ID":"planted"}}`,
			one("value_error", `"body"`, number),
		},
		{"user id empty", `{"name":"","env":{"JUPYTERHUB_USER_ID":""}}`, one("value_error", `"body"`, number)},
		{"user id null", `{"name":"","env":{"JUPYTERHUB_USER_ID":null}}`, one("value_error", `"body"`, number)},
		{"user id a fraction", `{"name":"","env":{"JUPYTERHUB_USER_ID":1.5}}`, one("value_error", `"body"`, number)},
		{
			"user id too large for the database", `{"name":"","env":{"JUPYTERHUB_USER_ID":"2147483648"}}`,
			one("value_error", `"body"`, number),
		},
		{
			"several", `{"env":1,"misc":[],"flavor":2}`,
			`{"detail":[{"type":"dict_type","loc":["body","env"],"msg":"` + dict + `"},` +
				`{"type":"string_type","loc":["body","flavor"],"msg":"` + text + `"},` +
				`{"type":"dict_type","loc":["body","misc"],"msg":"` + dict + `"},` +
				`{"type":"missing","loc":["body","name"],"msg":"Field required"}]}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{}
			a := newAPI(t, f, Options{})
			got := a.do(t, request{method: "POST", path: "/services", body: test.body, user: "hub-a"})
			want(t, test.body, got, 422, test.want)
			if strings.Contains(got.body+a.log.String(), "planted") {
				t.Errorf("what was sent is repeated: %s\n%s", got.body, a.log)
			}
			if len(f.starts) > 0 {
				t.Error("the manager was asked")
			}
		})
	}
}

// See protocol 1.5.
func TestContentTypesOfAStart(t *testing.T) {
	for value, status := range map[string]int{
		"": 200, "application/json": 200, "Application/JSON; charset=utf-8": 200, "application/problem+json": 200,
		"text/plain": 422, "application/x-www-form-urlencoded": 422, "text/json": 422, ";": 422,
	} {
		a := newAPI(t, &fake{address: "http://p:1"}, Options{})
		r := request{method: "POST", path: "/services", body: `{"name":"lab"}`, user: "hub-a"}
		if value != "" {
			r.header = []string{"Content-Type: " + value}
		}
		if got := a.do(t, r); got.status != status {
			t.Errorf("%q: %d %s", value, got.status, got.body)
		}
	}
}

// See protocol 1.5.
func TestExecutionTypeIsExact(t *testing.T) {
	for header, async := range map[string]bool{
		"execution-type: async": true, "Execution-Type: async": true, "execution-type: ASYNC": false,
		"execution-type: sync": false, "execution-type: async,": false, "X: y": false,
	} {
		f := &fake{address: "http://p:1", logs: []string{}}
		a := newAPI(t, f, Options{})
		started := a.do(t, request{
			method: "POST", path: "/services", body: `{"name":"lab"}`, user: "hub-a",
			header: []string{header},
		})
		stopped := a.do(t, request{method: "DELETE", path: "/services/lab/1", user: "hub-a", header: []string{header}})
		if async {
			want(t, header, started, 202, `{"service":""}`)
			want(t, header, stopped, 202, `{}`)
		} else {
			want(t, header, started, 200, `{"service":"http://p:1"}`)
			want(t, header, stopped, 200, `{"logs":[]}`)
		}
		if f.starts[0].Async != async || f.stops[0].Async != async {
			t.Errorf("%s: asked for %v and %v", header, f.starts[0].Async, f.stops[0].Async)
		}
	}
}

// See protocol 1.7.
func TestPollAnswers(t *testing.T) {
	tests := []struct {
		name   string
		result outpost.PollResult
		want   string
	}{
		{"running", outpost.PollResult{}, `{"status":null,"logs":[]}`},
		{"running with logs", outpost.PollResult{Logs: []string{"a", "b"}}, `{"status":null,"logs":["a","b"]}`},
		{"ended well", outpost.PollResult{Ended: true}, `{"status":0,"logs":[]}`},
		{"ended with an error", outpost.PollResult{Ended: true, ExitCode: 137}, `{"status":137,"logs":[]}`},
		{"killed", outpost.PollResult{Ended: true, ExitCode: -9, Logs: []string{}}, `{"status":-9,"logs":[]}`},
		{
			"logs are a list",
			outpost.PollResult{Ended: true, ExitCode: 1, Logs: []string{`<b>&"ä`, ""}},
			`{"status":1,"logs":["<b>&\"ä",""]}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, &fake{polled: test.result}, Options{})
			want(t, test.name, a.do(t, request{method: "GET", path: "/services/lab/1", user: "hub-a"}), 200, test.want)
		})
	}
}

func TestCollectLogs(t *testing.T) {
	f := &fake{logs: []string{"last line"}}
	a := newAPI(t, f, Options{})
	queries := map[string]bool{
		"": false, "?collect_logs=true": true, "?collect_logs=TRUE": true,
		"?collect_logs=1": false, "?a=b&collect_logs=True&c": true, "?collect_logs": false,
	}
	for query, collect := range queries {
		a.do(t, request{method: "GET", path: "/services/lab/1" + query, user: "hub-a"})
		want(t, query, a.do(t, request{method: "DELETE", path: "/services/lab/1" + query, user: "hub-a"}), 200,
			`{"logs":["last line"]}`)
		if n := len(f.collect) - 1; f.collect[n] != collect || f.stops[n].CollectLogs != collect {
			t.Errorf("%q: poll %v, stop %v", query, f.collect[n], f.stops[n].CollectLogs)
		}
	}
}

// See protocol 1.7.
func TestAJoinedStopHasNullLogs(t *testing.T) {
	a := newAPI(t, &fake{}, Options{})
	want(t, "stop", a.do(t, request{method: "DELETE", path: "/services/lab/1", user: "hub-a"}), 200, `{"logs":null}`)
}

// Times end in Z. Year 9999 does not break them in any zone.
func TestListShowsTimesInUTC(t *testing.T) {
	f := &fake{}
	a := newAPI(t, f, Options{})
	want(t, "nothing", a.do(t, request{method: "GET", path: "/services/", user: "hub-a"}), 200, `[]`)
	east := time.FixedZone("east", 9*3600)
	f.services = []outpost.Summary{
		{
			Key: outpost.Key{Hub: "hub-a", Name: "lab-<ä>", StartID: "0f3c"}, UserID: 42, Flavor: "tiny",
			StartDate:  time.Date(2026, 5, 4, 18, 12, 33, 104500000, east),
			LastUpdate: time.Date(2026, 5, 4, 9, 20, 1, 0, time.UTC),
			EndDate:    outpost.NoEnd.In(east), StateStored: true,
		},
		{
			Key: outpost.Key{Hub: "hub-a", StartID: "0"}, StartDate: outpost.NoEnd, LastUpdate: outpost.NoEnd,
			EndDate: outpost.NoEnd, StartPending: true, StopPending: true,
		},
	}
	want(t, "two", a.do(t, request{method: "GET", path: "/services/", user: "hub-a"}), 200,
		`[{"name":"lab-<ä>","start_id":"0f3c","start_date":"2026-05-04T09:12:33.104500Z",`+
			`"end_date":"9999-12-31T23:59:59.999999Z",`+
			`"jupyterhub":"hub-a","jupyterhub_userid":"42","last_update":"2026-05-04T09:20:01.000000Z",`+
			`"state_stored":true,"start_pending":false,"stop_pending":false},`+
			`{"name":"","start_id":"0","start_date":"9999-12-31T23:59:59.999999Z",`+
			`"end_date":"9999-12-31T23:59:59.999999Z",`+
			`"jupyterhub":"hub-a","jupyterhub_userid":"0","last_update":"9999-12-31T23:59:59.999999Z",`+
			`"state_stored":false,"start_pending":true,"stop_pending":true}]`)
}

// Every error of every route has one place that turns it into an answer, and nothing internal passes it (protocol 1.8).
func TestErrorsBecomeAnswers(t *testing.T) {
	secret := errors.New("planted cause")
	tests := []struct {
		name   string
		err    error
		status int
		body   string
	}{
		{
			"invalid", outpost.Wrap(secret, outpost.KindInvalid, "lab - wrong"), 419,
			failureBody("Exception", "lab - wrong"),
		},
		{
			"quota", outpost.Wrap(secret, outpost.KindQuota, "full: ['a', 'b'] <5>"), 419,
			failureBody("Exception", "full: ['a', 'b'] <5>"),
		},
		{"conflict", outpost.Wrap(secret, outpost.KindConflict, "twice"), 419, failureBody("Conflict", "twice")},
		{"failed", outpost.Wrap(secret, outpost.KindFailed, "no image"), 419, failureBody("Failed", "no image")},
		{
			"wrapped", fmt.Errorf("planted context: %w", outpost.Errorf(outpost.KindFailed, "no image")), 419,
			failureBody("Failed", "no image"),
		},
		{"not found", outpost.Wrap(secret, outpost.KindNotFound, "x"), 404, itemNotFound},
		{"unauthorized", outpost.Wrap(secret, outpost.KindUnauthorized, "x"), 401, wrongLogin},
		{
			"unavailable", outpost.Wrap(secret, outpost.KindUnavailable, "Try again."), 503,
			failureBody("Unavailable", "Try again."),
		},
		{
			"internal", outpost.Wrap(secret, outpost.KindInternal, "planted"), 419,
			failureBody("InternalError", internalSentence),
		},
		{"without a kind", secret, 419, failureBody("InternalError", internalSentence)},
	}
	requests := []request{
		{method: "GET", path: "/services/"},
		{method: "POST", path: "/services", body: `{"name":"lab"}`},
		{method: "GET", path: "/services/lab/1"},
		{method: "DELETE", path: "/services/lab/1"},
		{method: "GET", path: "/services/lab"},
		{method: "GET", path: "/flavors/"},
		{method: "POST", path: "/userflavors", body: "{}"},
		{method: "POST", path: "/usercredits", body: "{}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := newAPI(t, &fake{err: test.err}, Options{})
			for _, r := range requests {
				r.user = "hub-a"
				got := a.send(t, r)
				if test.status != 404 || strings.HasPrefix(r.path, "/services/lab") {
					got = a.do(t, r)
				}
				want(t, r.method+" "+r.path, got, test.status, test.body)
				if test.status == 503 && got.header.Get("Retry-After") == "" {
					t.Errorf("%s %s: no Retry-After", r.method, r.path)
				}
			}
			if logged := strings.Contains(a.log.String(), "planted cause"); logged != (test.status == 503 ||
				strings.HasPrefix(test.body, `{"module":"","class":"Internal`)) {
				t.Errorf("log:\n%s", a.log)
			}
		})
	}
}

// The status line and the headers of a 419 as they are on the wire, with TLS and without.
func TestA419HasNoReasonPhrase(t *testing.T) {
	a := newAPI(t, &fake{err: outpost.Errorf(outpost.KindFailed, "no image")}, Options{})
	encrypted := httptest.NewTLSServer(a.Server)
	t.Cleanup(encrypted.Close)
	for _, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) { return net.Dial("tcp", a.address) },
		func() (net.Conn, error) {
			roots := x509.NewCertPool()
			roots.AddCert(encrypted.Certificate())
			return tls.Dial("tcp", encrypted.Listener.Addr().String(),
				&tls.Config{RootCAs: roots, ServerName: "example.com"})
		},
	} {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		const body = `{"name":"lab"}`
		sent := "POST /services HTTP/1.1\r\nHost: outpost\r\n" + basic("hub-a", testUsers["hub-a"].Reveal()) +
			"\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn) // to its end: the connection is closed
		if err != nil {
			t.Fatal(err)
		}
		got = regexp.MustCompile(`Date: [^\r]* GMT`).ReplaceAll(got, []byte("Date: D"))
		failed := failureBody("Failed", "no image")
		want := "HTTP/1.1 419 \r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(failed)) +
			"\r\nContent-Type: application/json\r\nDate: D\r\n\r\n" + failed
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestAPanicIsAnswered(t *testing.T) {
	a := newAPI(t, &panicking{}, Options{})
	got := a.send(t, request{method: "GET", path: "/services/lab/1", user: "hub-a"})
	want(t, "poll", got, 500, "Internal Server Error")
	if log := a.log.String(); strings.Contains(log, "planted") || !strings.Contains(log, "panic in a request") {
		t.Errorf("log:\n%s", log)
	}
}

type panicking struct{ fake }

func (*panicking) Poll(context.Context, outpost.Key, bool) (outpost.PollResult, error) {
	panic("planted")
}

// See protocol 1.11.
func TestABodyHasASize(t *testing.T) {
	f := &fake{address: "http://p:1"}
	a := newAPI(t, f, Options{MaxBody: 5 << 20})
	large := func(n int) string {
		return `{"name":"lab","user_options":{"X":"` + strings.Repeat("x", n) + `"}}`
	}
	got := a.do(t, request{method: "POST", path: "/services", body: large(4 << 20), user: "hub-a"})
	if got.status != 200 {
		t.Errorf("4 MiB: %d", got.status)
	}
	for _, path := range []string{"/services", "/userflavors", "/usercredits"} {
		want(t, path, a.do(t, request{method: "POST", path: path, body: large(5 << 20), user: "hub-a"}), 413,
			`{"detail":"The request is too large"}`)
	}
	if len(f.starts) != 1 {
		t.Errorf("%d starts", len(f.starts))
	}
}

// A client that sends its body too slowly does not hold a connection for ever, while a start may take its time
// (protocol 1.11).
func TestABodyHasATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{address: "http://p:1", block: make(chan struct{})}
		api, err := New(f, Options{Users: testUsers})
		if err != nil {
			t.Fatal(err)
		}
		l, server := nettest.Listen(), &http.Server{Handler: api}
		go server.Serve(l)
		defer server.Close()
		ask := func(length, body string) string {
			conn, err := l.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "POST /services HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
				basic("hub-a", testUsers["hub-a"].Reveal())+"\r\nContent-Length: "+length+"\r\n\r\n"+body); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn) // until the server closes
			if err != nil {
				t.Fatal(err)
			}
			return string(answer)
		}
		begin := time.Now()
		answer := ask("100", "{")
		if took := time.Since(begin); took < 30*time.Second || took > 35*time.Second ||
			!strings.HasPrefix(answer, "HTTP/1.1 408 ") ||
			!strings.HasSuffix(answer, `{"detail":"The request did not arrive in time"}`) {
			t.Errorf("got %s after %v", answer, took)
		}
		// The whole body is there at once; the start takes longer than the limit.
		time.AfterFunc(10*time.Minute, func() { close(f.block) })
		answer = ask("14", `{"name":"lab"}`)
		if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.HasSuffix(answer, `{"service":"http://p:1"}`) {
			t.Errorf("a slow start: got %s", answer)
		}
	})
}

// See protocol 1.1.
func TestConstantAnswersHaveTheirLength(t *testing.T) {
	for _, a := range []answer{
		answerPong, answerRunning, answerAccepted, answerStopping, answerUnknownPath,
		answerUnknownService, answerWrongMethod,
	} {
		if fmt.Sprint(len(a.body)) != a.length[0] || !json.Valid(a.body) || http.StatusText(a.status) == "" {
			t.Errorf("%d %s %s", a.status, a.length, a.body)
		}
	}
}

func FuzzStart(f *testing.F) {
	f.Add([]byte(sentByClient))
	for _, seed := range []string{
		"", "null", "[]", `{"name":""}`, `{"name":1,"env":[]}`,
		`{"name":"x","user_options":{"start_id":"","flavor":[]}}`,
		`{"name":"x","env":{"JUPYTERHUB_USER_ID":1e3}}`, `{"name":"x","certs":{"a":null},"authentication":0}`,
		`{"name":"\ud800"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, wrong := decodeStart(body)
		if len(wrong) > 0 {
			for _, p := range wrong {
				if problemTexts[p.kind] == "" || p.where[0] != "body" {
					t.Errorf("problem %v", p)
				}
			}
			return
		}
		if !json.Valid(body) || r.StartID == "" || r.Hub != "" || r.Body.Env == nil || r.Body.Misc == nil ||
			r.Body.UserOptions == nil || r.Async {
			t.Errorf("%q becomes %+v", body, r)
		}
		if _, left := r.Body.UserOptions["start_id"]; left {
			t.Error("the start id is left among the options")
		}
		if _, err := json.Marshal(r.Body); err != nil {
			t.Errorf("%q cannot be stored: %v", body, err)
		}
	})
}
