package httpapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/watch"
)

// stream is an open answer of GET /watch.
type stream struct {
	*http.Response
	lines *bufio.Reader
}

// watch opens a watch as a hub.
func (a *api) watch(t *testing.T, user string) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.address+a.base+"/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(user, testUsers[user].Reveal())
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return &stream{answer, bufio.NewReaderSize(answer.Body, 2*maxLine)}
}

// next returns the next line that is no heartbeat, held against docs/openapi.yaml.
func (s *stream) next(t *testing.T) string {
	t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, line)
		}
		checkLine(t, line)
		if line != "{\"heartbeat\":{}}\n" {
			return line
		}
	}
}

// wantNext compares the next lines.
func (s *stream) wantNext(t *testing.T, want ...string) {
	t.Helper()
	for _, one := range want {
		if diff := cmp.Diff(one+"\n", s.next(t)); diff != "" {
			t.Fatalf("line (-want +got):\n%s", diff)
		}
	}
}

// wantEnd waits for the end of the answer.
func (s *stream) wantEnd(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(s.lines); err != nil || len(rest) > 0 {
		t.Errorf("%v after %q, want a clean end", err, rest)
	}
}

func checkLine(t *testing.T, line string) {
	t.Helper()
	document, err := loadOpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal([]byte(line), &value); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if err := document.Components.Schemas["WatchLine"].Value.VisitJSON(value); err != nil {
		t.Errorf("docs/openapi.yaml does not allow %q: %v", line, err)
	}
	if len(line) > maxLine {
		t.Errorf("a line of %d bytes", len(line))
	}
}

const emptySnapshot = `{"synced":{"services":0,"heartbeat":10}}`

func TestWatchOnTheWire(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{BasePath: "/outpost"})
	k := keyFor("hub-a", "lab", "1")
	want(t, "start", w.start(t, "lab", "1", ""), 200, started(k))
	s := w.watch(t, "hub-a")
	s.Header.Del("Date")
	if diff := cmp.Diff(http.Header{
		"Content-Type": {"application/x-ndjson"}, "Cache-Control": {"no-store"}, "X-Accel-Buffering": {"no"},
	}, s.Header); diff != "" || s.StatusCode != 200 || !s.Close || s.ContentLength != -1 {
		t.Errorf("%d, close %v, length %d; headers (-want +got):\n%s", s.StatusCode, s.Close, s.ContentLength, diff)
	}
	other := w.watch(t, "hub-b")
	other.wantNext(t, emptySnapshot)
	s.wantNext(t, `{"service":{"name":"lab","start_id":"1","status":null}}`,
		`{"synced":{"services":1,"heartbeat":10}}`)
	w.Spawner.Log(k, "<b>", "é")
	w.Spawner.End(k, 3, "")
	s.wantNext(t, `{"service":{"name":"lab","start_id":"1","status":3,"logs":["<b>","é"]}}`)
	want(t, "stop", w.remove(t, "hub-a", "/services/lab/1"), 200, `{"logs":[]}`)
	for s.next(t) != `{"gone":{"name":"lab","start_id":"1"}}`+"\n" {
	}
	want(t, "start by the other", w.startAs(t, "hub-b", "mine", "2", ""), 200, started(keyFor("hub-b", "mine", "2")))
	other.wantNext(t, `{"service":{"name":"mine","start_id":"2","status":null}}`)
}

func TestLines(t *testing.T) {
	k := keyFor("hub-a", "lab", "1")
	ended := func(r outpost.PollResult) watch.Event {
		r.Ended = true
		return watch.Event{Key: k, Result: r}
	}
	for want, e := range map[string]watch.Event{
		`{"service":{"name":"lab","start_id":"1","status":null}}`:        {Key: k},
		`{"service":{"name":"lab","start_id":"1","status":0,"logs":[]}}`: ended(outpost.PollResult{}),
		`{"service":{"name":"lab","start_id":"1","status":1}}`: ended(
			outpost.PollResult{ExitCode: 1, LogsDue: true}),
		`{"service":{"name":"lab","start_id":"1","status":137,"logs":[],"reason":"OOMKilled"}}`: ended(
			outpost.PollResult{ExitCode: 137, KubeReason: "OOMKilled"}),
		`{"gone":{"name":"lab","start_id":"1"}}`:    {Kind: watch.KindGone, Key: k},
		`{"unknown":{"name":"lab","start_id":"1"}}`: {Kind: watch.KindUnknown, Key: k},
		`{"synced":{"services":7,"heartbeat":10}}`:  {Kind: watch.KindSynced, Services: 7},
		`{"maintenance":null}`:                      {Kind: watch.KindMaintenance},
		`{"maintenance":{"from":"2026-05-04T18:00:00Z","until":null,"text":"<b>","evict":true,"active":false}}`: {
			Kind: watch.KindMaintenance, Maintenance: &catalog.Maintenance{
				From: time.Date(2026, 5, 4, 18, 0, 0, 0, time.UTC), Text: "<b>", Evict: true,
			},
		},
		`{"resync":{}}`:    {Kind: watch.KindResync},
		`{"heartbeat":{}}`: {Kind: watch.KindHeartbeat},
	} {
		got := string(lineOf(e))
		checkLine(t, got)
		if diff := cmp.Diff(want+"\n", got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// A log of any size fits: its end is kept, and a line that is too long by itself is cut.
func TestLongLogsFitTheLine(t *testing.T) {
	k := outpost.Key{Hub: "hub-a", Name: strings.Repeat("\x01", 255), StartID: strings.Repeat("\"", 255)}
	for name, logs := range map[string][]string{
		"many":         manyLines(1000, "x"),
		"escaped":      manyLines(1000, "\x00\u2028\xff"),
		"one long":     {"first", strings.Repeat("\x00", 1<<20)},
		"just fitting": {strings.Repeat("y", maxLine/2), strings.Repeat("z", maxLine/2), "last"},
	} {
		line := lineOf(watch.Event{Key: k, Result: outpost.PollResult{Ended: true, ExitCode: 1, Logs: logs}})
		checkLine(t, string(line))
		var got watchLine
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		last := got.Service.Logs[len(got.Service.Logs)-1]
		if wanted := logs[len(logs)-1]; name != "one long" && name != "escaped" && last != wanted {
			t.Errorf("%s: the last line is %.20q", name, last)
		}
		if len(line) < maxLine/8 {
			t.Errorf("%s: only %d bytes", name, len(line))
		}
	}
}

func manyLines(n int, text string) (lines []string) {
	for i := range n {
		lines = append(lines, strings.Repeat(text, 100)+fmt.Sprint(i))
	}
	return lines
}

// A watch ends when its hub may no longer log in as it did; those of others go on.
func TestWatchEndsWithItsLogin(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	a, b := w.watch(t, "hub-a"), w.watch(t, "hub-b")
	a.wantNext(t, emptySnapshot)
	b.wantNext(t, emptySnapshot)
	w.SetUsers(map[string]outpost.Secret{"hub-a": "another", "hub-b": testUsers["hub-b"]})
	a.wantEnd(t)
	want(t, "start", w.startAs(t, "hub-b", "lab", "1", ""), 200, started(keyFor("hub-b", "lab", "1")))
	b.wantNext(t, `{"service":{"name":"lab","start_id":"1","status":null}}`)
	w.SetUsers(nil)
	b.wantEnd(t)
	if n := w.Watches(); len(n) > 0 {
		t.Errorf("open watches: %v", n)
	}
}

func TestWatchEndsWithTheServer(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	a := w.watch(t, "hub-a")
	a.wantNext(t, emptySnapshot)
	w.EndWatches()
	a.wantEnd(t)
	want(t, "one that comes too late", w.do(t, request{method: "GET", path: "/watch", user: "hub-a"}), 503,
		failureBody("Unavailable", "The outpost is restarting; try again."))
}

// A hub that goes away gives its place back; one that has too many is asked to wait.
func TestWatchesOfAHubAreBounded(t *testing.T) {
	w := newWorld(t, lifecycle.Options{}, Options{})
	var all []*stream
	for range watch.PerHub {
		all = append(all, w.watch(t, "hub-a"))
		all[len(all)-1].wantNext(t, emptySnapshot)
	}
	got := w.do(t, request{method: "GET", path: "/watch", user: "hub-a"})
	want(t, "one more", got, 503,
		failureBody("Unavailable", "The hub has 4 watches open, which is the limit; try again later."))
	if after := got.header.Get("Retry-After"); after != "10" {
		t.Errorf("Retry-After %q", after)
	}
	_ = all[0].Body.Close()
	waitFor(t, func() bool { return w.Watches()["hub-a"] < watch.PerHub })
	w.watch(t, "hub-a").wantNext(t, emptySnapshot)
}

func TestWatchNeedsALoginAndAManager(t *testing.T) {
	a := newAPI(t, &fake{err: outpost.Starting(nil)}, Options{})
	want(t, "no login", a.do(t, request{method: "GET", path: "/watch"}), 401, `{"detail":"Not authenticated"}`)
	want(t, "not loaded", a.do(t, request{method: "GET", path: "/watch", user: "hub-a"}), 503,
		failureBody("Unavailable", "The outpost is starting; try again."))
	want(t, "wrong method", a.do(t, request{method: "POST", path: "/watch"}), 405, wrongMethod)
	want(t, "wrong path", a.do(t, request{method: "GET", path: "/watch/"}), 404, notFound)
	want(t, "known without login", a.do(t, request{method: "POST", path: "/watch/known", body: "{}"}), 401,
		`{"detail":"Not authenticated"}`)
}

func TestKnown(t *testing.T) {
	problem := func(kind, where, message string) string {
		return `{"detail":[{"type":"` + kind + `","loc":["body"` + where + `],"msg":"` + message + `"}]}`
	}
	const tuple = "Input should be a valid tuple"
	for body, wanted := range map[string]string{
		``:                          problem("missing", ``, "Field required"),
		`{`:                         problem("json_invalid", `,0`, "JSON decode error"),
		`[]`:                        problem("model_attributes_type", ``, problemTexts["model_attributes_type"]),
		`{}`:                        problem("missing", `,"services"`, "Field required"),
		`{"services":{}}`:           problem("list_type", `,"services"`, "Input should be a valid list"),
		`{"services":[["a"]]}`:      problem("tuple_type", `,"services",0`, tuple),
		`{"services":[["a",null]]}`: problem("tuple_type", `,"services",0`, tuple),
		`{"services":[["a",1]]}`:    problem("tuple_type", `,"services",0`, tuple),
		`{"services":["ab"]}`:       problem("tuple_type", `,"services",0`, tuple),
		`{"services":[` + strings.Repeat(`["a","1"],`, 1000) + `["a","1"]]}`: problem("too_long", `,"services"`,
			"List should have at most 1000 items after validation"),
	} {
		f := &fake{}
		a := newAPI(t, f, Options{})
		got := a.do(t, request{method: "POST", path: "/watch/known", user: "hub-a", body: body})
		want(t, body[:min(30, len(body))], got, 422, wanted)
		if f.known != nil {
			t.Errorf("the manager was told %v", f.known)
		}
	}
	f := &fake{}
	a := newAPI(t, f, Options{})
	body := `{"services":[["lab","a1"],["","a2"]],"hub":"hub-b"}`
	want(t, "known", a.do(t, request{method: "POST", path: "/watch/known", user: "hub-a", body: body}), 204, "")
	if diff := cmp.Diff([]outpost.Key{keyFor("hub-a", "lab", "a1"), keyFor("hub-a", "", "a2")}, f.known); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f.err = errors.New("a defect")
	if got := a.do(t, request{method: "POST", path: "/watch/known", user: "hub-a", body: body}); got.status != 419 {
		t.Errorf("%d", got.status)
	}
}
