package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

var day = time.Date(2026, 5, 4, 9, 12, 33, 104500000, time.UTC)

// counts is an Observer that counts what it is told.
type counts struct {
	outpost.NoObserver

	told []string
}

func (c *counts) ServiceStarted(s outpost.Subject, d time.Duration, reason string) {
	c.told = append(c.told, fmt.Sprint("started ", s.Name, d, reason))
}

func (c *counts) StartRefused(s outpost.Subject, reason string) {
	c.told = append(c.told, "refused "+s.Name+reason)
}

func (c *counts) ServiceEnded(s outpost.Subject, code int, reason string) {
	c.told = append(c.told, fmt.Sprint("ended ", s.Name, code, reason))
}

func (c *counts) ServiceStopped(s outpost.Subject, d time.Duration, why string) {
	c.told = append(c.told, fmt.Sprint("stopped ", s.Name, d, why))
}
func (c *counts) StopRetried(hub string) { c.told = append(c.told, "retried "+hub) }

// story is what a Log is told of one service and of a start that was refused.
func story(l outpost.Observer) {
	s := outpost.Subject{
		Key:  outpost.Key{Hub: "hub-a", Name: "lab\none", StartID: "0f3c"},
		User: "zoë@example.org", UserID: 42, Flavor: "gpu",
		State: outpost.State{
			"image": "quay.io/jupyter/scipy", "namespace": "servers", "pod_name": "jupyter-zoe",
			"secret_name": "planted",
		},
	}
	refused := s
	refused.State, refused.Name = nil, ""
	l.StartRefused(refused, "quota")
	l.ServiceStarted(s, 2500*time.Millisecond, "")
	l.ServiceEnded(s, 137, "OOMKilled")
	l.StopRetried("hub-a")
	l.ServiceStopped(s, time.Second, "asked")
	l.ServiceStarted(s, time.Second, "image")
}

// written runs a Log over the story and returns its lines.
func written(t *testing.T, o Options) string {
	t.Helper()
	var out bytes.Buffer
	o.Now = func() time.Time { return day }
	next := &counts{}
	l := New(&out, next, o)
	story(l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"refused quota", "started lab\none2.5s", "ended lab\none137OOMKilled", "retried hub-a",
		"stopped lab\none1sasked",
		"started lab\none1simage",
	}
	if diff := cmp.Diff(want, next.told); diff != "" {
		t.Errorf("passed on (-want +got)\n%s", diff)
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if strings.Contains(out.String(), "planted") {
		t.Errorf("a secret: %s", out.String())
	}
	return out.String()
}

func TestLines(t *testing.T) {
	const head = `{"audit":"outpost","time":"2026-05-04T09:12:33.1045Z",`
	const who = `"hub":"hub-a","user":"zoë@example.org","user_id":"42","server":"lab\none","start_id":"0f3c",` +
		`"flavor":"gpu","image":"quay.io/jupyter/scipy","namespace":"servers","pod":"jupyter-zoe"`
	want := head + `"event":"start_refused","outcome":"quota","hub":"hub-a","user":"zoë@example.org","user_id":"42",` +
		`"server":"","start_id":"0f3c","flavor":"gpu"}` + "\n" +
		head + `"event":"started","outcome":"running",` + who + `,"seconds":2.5}` + "\n" +
		head + `"event":"ended","outcome":"OOMKilled",` + who + `,"exit_code":137}` + "\n" +
		head + `"event":"stopped","outcome":"asked",` + who + `,"seconds":1}` + "\n" +
		head + `"event":"start_failed","outcome":"image",` + who + `,"seconds":1}` + "\n"
	if diff := cmp.Diff(want, written(t, Options{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNamesAreHashedOrLeftOut(t *testing.T) {
	named := []string{"zo", "example.org", `"42"`, "lab", "jupyter-zoe"}
	for _, names := range []string{HashNames, OmitNames} {
		text := written(t, Options{Names: names, Key: []byte("k")})
		for _, name := range named {
			if strings.Contains(text, name) {
				t.Errorf("%s: %s is there: %s", names, name, text)
			}
		}
		for _, kept := range []string{`"flavor":"gpu"`, `"namespace":"servers"`, `"start_id":"0f3c"`, `"hub":"hub-a"`} {
			if !strings.Contains(text, kept) {
				t.Errorf("%s: %s is missing", names, kept)
			}
		}
	}
	hashed := func(key string) (user string) {
		var r record
		text := written(t, Options{Names: HashNames, Key: []byte(key)})
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r.User
	}
	if a, again, b := hashed("a"), hashed("a"), hashed("b"); a != again || a == b || len(a) != 16 {
		t.Errorf("hashes %s, %s, with another key %s", a, again, b)
	}
	own := written(t, Options{Names: HashNames, Static: func(string) bool { return false }})
	if strings.Contains(own, `"servers"`) {
		t.Errorf("the namespace of a user is there: %s", own)
	}
}

// slow is a reader that takes nothing until it is told.
type slow struct{ taken chan struct{} }

func (s slow) Write(line []byte) (int, error) { <-s.taken; return len(line), nil }

// A stream that nobody reads holds nothing up.
func TestASlowStreamLosesLines(t *testing.T) {
	dropped := 0
	l := New(slow{make(chan struct{})}, outpost.NoObserver{}, Options{Dropped: func() { dropped++ }})
	for range seats + 7 {
		l.StartRefused(outpost.Subject{}, "quota")
	}
	if dropped != 7 {
		t.Errorf("%d lines are lost, want 7", dropped)
	}
}

func TestAFailingStreamIsCounted(t *testing.T) {
	dropped := 0
	l := New(failing{}, outpost.NoObserver{}, Options{Dropped: func() { dropped++ }})
	story(l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil || dropped != 5 {
		t.Errorf("%d lines are lost, error %v", dropped, err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAFileIsMadeAnewWhenItWasMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put("one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	put("two\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	put("three\n")
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{path + ".1": "before\none\n", path: "three\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, error %v; want %q", name, got, err, want)
		}
	}
	if _, err := OpenFile(filepath.Join(path, "x")); err == nil {
		t.Error("a file below a file")
	}
}
