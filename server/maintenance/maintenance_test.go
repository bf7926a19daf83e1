package maintenance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/maintenance"
	"github.com/outposts-dev/outposts/server/outpost"
)

var day = time.Date(2026, 5, 4, 0, 0, 0, 0, time.UTC)

func at(hour int) time.Time { return day.Add(time.Duration(hour) * time.Hour) }

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want outpost.Maintenance
		err  string
	}{
		{`{"from":"2026-05-04T18:00:00Z"}`, outpost.Maintenance{From: at(18)}, ""},
		{
			`{"from":"2026-05-04T20:00:00+02:00","until":"2026-05-04T20:00:00Z","text":"New disks.","evict":true}`,
			outpost.Maintenance{From: at(18), Until: at(20), Text: "New disks.", Evict: true},
			"",
		},
		{
			`{"from":"2026-05-04T18:00:00Z","until":null,"text":null,"evict":null}`,
			outpost.Maintenance{From: at(18)},
			"",
		},
		{`{}`, outpost.Maintenance{}, "needs from, a time such as 2026-05-04T18:00:00Z"},
		{`"soon"`, outpost.Maintenance{}, "must be a mapping with from, until, text and evict"},
		{`{"from":"18:00"}`, outpost.Maintenance{}, `from: "18:00" is not a time such as 2026-05-04T18:00:00Z`},
		{`{"from":18}`, outpost.Maintenance{}, `from: "" is not a time such as 2026-05-04T18:00:00Z`},
		{
			`{"from":"2026-05-04T18:00:00Z","til":"2026-05-04T20:00:00Z"}`,
			outpost.Maintenance{},
			"has the unknown key til; known keys: from, until, text, evict",
		},
		{
			`{"from":"2026-05-04T18:00:00Z","until":"2026-05-04T18:00:00Z"}`,
			outpost.Maintenance{},
			"until: is not after the beginning",
		},
		{
			`{"from":"9999-12-31T23:00:00-01:00","until":1,"text":2,"evict":"yes"}`,
			outpost.Maintenance{},
			"evict: must be true or false\n" +
				`from: "9999-12-31T23:00:00-01:00" is not a time such as 2026-05-04T18:00:00Z` + "\n" +
				"text: must be a sentence\n" + `until: "" is not a time such as 2026-05-04T18:00:00Z`,
		},
		{
			`{"from":"2026-05-04T18:00:00Z","text":"` + strings.Repeat("a", 1025) + `"}`,
			outpost.Maintenance{},
			"text: has 1025 bytes; at most 1024 are allowed",
		},
	} {
		var v any
		if err := json.Unmarshal([]byte(c.text), &v); err != nil {
			t.Fatal(err)
		}
		got, err := maintenance.Parse(v)
		switch {
		case c.err != "" && fmt.Sprint(err) != c.err:
			t.Errorf("%s: error %v, want %s", c.text, err, c.err)
		case c.err == "" && (err != nil || *got != c.want):
			t.Errorf("%s: %v, error %v", c.text, got, err)
		}
	}
}

type store struct {
	planned *outpost.Maintenance
	err     error
}

func (s store) Maintenance(context.Context) (*outpost.Maintenance, error) { return s.planned, s.err }

// of is a maintenance between two hours of the day, without an end if that is 0.
func of(from, until int, text string) *outpost.Maintenance {
	m := &outpost.Maintenance{From: at(from), Text: text}
	if until > 0 {
		m.Until = at(until)
	}
	return m
}

func evicting(m *outpost.Maintenance) *outpost.Maintenance {
	m.Evict = true
	return m
}

// TestNext holds which of two maintenances, that of the file and that of the database, counts at noon: for starts, and
// for servers that run.
func TestNext(t *testing.T) {
	for _, c := range []struct {
		name           string
		file, base     *outpost.Maintenance
		next, eviction *outpost.Maintenance
	}{
		{"none", nil, nil, nil, nil},
		{"one", of(13, 14, "a"), nil, of(13, 14, "a"), nil},
		{"the other", nil, of(13, 14, "b"), of(13, 14, "b"), nil},
		{"both over", of(1, 2, "a"), evicting(of(3, 12, "b")), nil, nil},
		{"one over", of(1, 2, "a"), of(13, 14, "b"), of(13, 14, "b"), nil},
		{"the sooner", of(14, 20, "a"), of(13, 14, "b"), of(13, 14, "b"), nil},
		{"the sooner, the other way", of(13, 20, "a"), of(14, 15, "b"), of(13, 20, "a"), nil},
		{"the present", of(13, 20, "a"), of(11, 15, "b"), of(11, 15, "b"), nil},
		{"of two present the longer", of(11, 20, "a"), of(10, 15, "b"), of(11, 20, "a"), nil},
		{"without an end", of(11, 20, "a"), of(10, 0, "b"), of(10, 0, "b"), nil},
		{
			"of two present, one ends servers", evicting(of(11, 13, "a")), of(10, 15, "b"),
			evicting(of(10, 15, "b")), evicting(of(11, 13, "a")),
		},
		{
			"what comes ends nobody yet", evicting(of(13, 15, "a")), of(10, 12, "b"),
			evicting(of(13, 15, "a")), evicting(of(13, 15, "a")),
		},
		{
			"what comes changes nothing now", evicting(of(13, 15, "a")), of(10, 14, "b"),
			of(10, 14, "b"), evicting(of(13, 15, "a")),
		},
		{
			"the sooner ends nobody", of(13, 14, "a"), evicting(of(14, 15, "b")),
			of(13, 14, "a"), evicting(of(14, 15, "b")),
		},
		{
			"the sooner of two that end servers", evicting(of(14, 15, "a")), evicting(of(13, 14, "b")),
			evicting(of(13, 14, "b")), evicting(of(13, 14, "b")),
		},
	} {
		plan := maintenance.New(store{planned: c.base}, func() time.Time { return at(12) })
		plan.Configure(c.file)
		next, err := plan.Next(t.Context())
		both, eviction, bothErr := plan.Both(t.Context())
		if err := errors.Join(err, bothErr); err != nil {
			t.Fatal(err)
		}
		want := []*outpost.Maintenance{c.next, c.next, c.eviction}
		got := []*outpost.Maintenance{next, both, eviction}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	silent := errors.New("connection refused")
	plan := maintenance.New(store{err: silent}, time.Now)
	if _, err := plan.Next(t.Context()); !errors.Is(err, silent) {
		t.Errorf("error %v", err)
	}
	if _, _, err := plan.Both(t.Context()); !errors.Is(err, silent) {
		t.Errorf("of the next that ends servers: error %v", err)
	}
}

// servers are a maintenance.Servers in memory, by what file and database announce. What happens is written into log.
type servers struct {
	mu            sync.Mutex
	file, planned *outpost.Maintenance
	now           func() time.Time // the wall clock
	live          []string
	away          bool // the hub
	begun         time.Time
	log           []string
}

func (s *servers) plan() *maintenance.Plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	plan := maintenance.New(store{planned: s.planned}, s.now)
	plan.Configure(s.file)
	return plan
}

func (s *servers) Maintenance(ctx context.Context) (*outpost.Maintenance, error) {
	return s.plan().Next(ctx)
}

func (s *servers) Planned(ctx context.Context) (m, eviction *outpost.Maintenance, err error) {
	return s.plan().Both(ctx)
}

func (s *servers) Announce(shown *catalog.Maintenance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if shown == nil {
		s.note("announced: nothing")
	} else {
		s.note("announced: from %s, active %v", shown.From.Format("15:04"), shown.Active)
	}
}

func (s *servers) Live() (keys []outpost.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range s.live {
		keys = append(keys, outpost.Key{Hub: "hub-a", Name: name, StartID: "1"})
	}
	return keys
}

func (s *servers) Tell(_ context.Context, k outpost.Key, sentence string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return errors.New("connection refused")
	}
	s.note("%s: %s", k.Name, sentence)
	return nil
}

func (s *servers) Evict(k outpost.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = slices.DeleteFunc(s.live, func(name string) bool { return name == k.Name })
	s.note("%s: evicted", k.Name)
}

// note writes a line, unless it says what the last one did.
func (s *servers) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if len(s.log) == 0 || !strings.HasSuffix(s.log[len(s.log)-1], " "+line) {
		s.write(line)
	}
}

// write writes a line with the minutes since the beginning of the test.
func (s *servers) write(line string) {
	s.log = append(s.log, fmt.Sprintf("%d %s", int(time.Since(s.begun).Minutes()), line))
}

// seen returns what has happened since the last call, sorted within each minute.
func (s *servers) seen() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	slices.Sort(log)
	return log
}

func (s *servers) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// warnings writes what a Keeper warns of into the log of what has happened.
func warnings(s *servers) slog.Handler {
	return slog.NewTextHandler(written(func(line string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.write(line)
	}), &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

// written is told each line of a log.
type written func(line string)

func (w written) Write(p []byte) (int, error) {
	w(strings.TrimSpace(string(p)))
	return len(p), nil
}

// lead lets a Keeper lead in a bubble of synctest. skew is added to its clock.
func lead(t *testing.T, s *servers, skew func() time.Duration) {
	t.Helper()
	leadLogging(t, s, skew, slog.DiscardHandler)
}

func leadLogging(t *testing.T, s *servers, skew func() time.Duration, log slog.Handler) {
	t.Helper()
	s.begun = time.Now()
	s.now = func() time.Time { return time.Now().Add(skew()) }
	keeper := maintenance.NewKeeper(s, s.now, slog.New(log))
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { keeper.Lead(ctx) })
	t.Cleanup(func() { cancel(); work.Wait() })
}

func noSkew() time.Duration { return 0 }

func (s *servers) want(t *testing.T, what string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, s.seen()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// notice is what a server is told of a maintenance at a time.
func notice(from time.Time) string {
	return "This server is stopped at " + from.UTC().Format("2006-01-02 15:04 MST") +
		", when a maintenance begins: save your work. New disks."
}

// Users are told 60 and 10 minutes before, then their servers are stopped, and those that come late as well.
func TestNoticesAndEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(90 * time.Minute)
		s := &servers{live: []string{"a"}, planned: &outpost.Maintenance{
			From: from, Until: from.Add(time.Hour), Text: "New disks.", Evict: true,
		}}
		lead(t, s, noSkew)
		time.Sleep(29 * time.Minute)
		s.want(t, "more than an hour before")
		time.Sleep(10 * time.Minute)
		s.want(t, "within the hour", "30 a: "+notice(from))
		s.set(func() { s.live = append(s.live, "late") })
		time.Sleep(10 * time.Minute)
		s.want(t, "a server that starts late", "39 late: "+notice(from))
		s.set(func() { s.away = true })
		time.Sleep(33 * time.Minute) // to 82 min
		s.want(t, "the hub is away")
		s.set(func() { s.away = false })
		time.Sleep(2 * time.Minute)
		s.want(t, "the hub is back", "82 a: "+notice(from), "82 late: "+notice(from))
		time.Sleep(7 * time.Minute)
		s.want(t, "the time comes", "90 a: evicted", "90 late: evicted")
		s.set(func() { s.live = append(s.live, "admitted before") })
		time.Sleep(time.Minute)
		s.want(t, "a start that was under way", "91 admitted before: evicted")
		time.Sleep(2 * time.Hour)
		s.set(func() { s.live = append(s.live, "after") })
		time.Sleep(time.Hour)
		s.want(t, "it is over")
	})
}

// A maintenance that is put off, called off, or ends nobody.
func TestCalledOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(30 * time.Minute)
		s := &servers{live: []string{"a"}, planned: &outpost.Maintenance{From: from, Text: "New disks.", Evict: true}}
		lead(t, s, noSkew)
		time.Sleep(time.Minute)
		s.want(t, "announced", "0 a: "+notice(from))
		sooner := from.Add(-5 * time.Minute)
		s.set(func() { s.planned = &outpost.Maintenance{From: sooner, Text: "New disks.", Evict: true} })
		time.Sleep(time.Minute)
		s.want(t, "another time", "1 a: "+notice(sooner))
		tomorrow := from.Add(24 * time.Hour)
		s.set(func() { s.planned = &outpost.Maintenance{From: tomorrow, Text: "New disks.", Evict: true} })
		time.Sleep(time.Minute)
		s.want(t, "put off", "2 a: The maintenance is called off: this server goes on.")
		s.set(func() { s.planned = &outpost.Maintenance{From: from, Text: "New disks.", Evict: true} })
		time.Sleep(time.Minute)
		s.want(t, "sooner after all", "3 a: "+notice(from))
		s.set(func() { s.planned = nil })
		time.Sleep(time.Minute)
		s.want(t, "called off", "4 a: The maintenance is called off: this server goes on.")
		s.set(func() { s.planned = &outpost.Maintenance{From: from} })
		time.Sleep(time.Hour)
		s.want(t, "one that ends nobody")
	})
}

// Users whose hub is away when a maintenance is called off or put off read of it when their hub is back.
func TestCalledOffWhileTheHubIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(30 * time.Minute)
		planned := func(from time.Time) *outpost.Maintenance {
			return &outpost.Maintenance{From: from, Text: "New disks.", Evict: true}
		}
		s := &servers{live: []string{"a"}, planned: planned(from)}
		lead(t, s, noSkew)
		time.Sleep(time.Minute)
		s.want(t, "announced", "0 a: "+notice(from))
		s.set(func() { s.planned, s.away = nil, true })
		time.Sleep(time.Minute)
		s.want(t, "called off, the hub is away")
		s.set(func() { s.away = false })
		time.Sleep(time.Minute)
		s.want(t, "the hub is back", "2 a: The maintenance is called off: this server goes on.")
		s.set(func() { s.planned = planned(from) })
		time.Sleep(time.Minute)
		s.want(t, "after all", "3 a: "+notice(from))
		s.set(func() { s.planned, s.away = planned(from.Add(24*time.Hour)), true })
		time.Sleep(time.Minute)
		s.want(t, "put off, the hub is away")
		s.set(func() { s.away = false })
		time.Sleep(time.Minute)
		s.want(t, "the hub is back again", "5 a: The maintenance is called off: this server goes on.")
	})
}

// Another maintenance that lets servers run, present or sooner, takes nothing from the notices of one that ends them.
func TestNoticesBesideAnotherMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(2 * time.Hour)
		s := &servers{
			live: []string{"a"}, file: &outpost.Maintenance{From: time.Now().Add(-time.Hour)},
			planned: &outpost.Maintenance{From: from, Text: "New disks.", Evict: true},
		}
		lead(t, s, noSkew)
		time.Sleep(59 * time.Minute)
		s.want(t, "more than an hour before")
		time.Sleep(2 * time.Minute)
		s.want(t, "beside a present one", "60 a: "+notice(from))
		time.Sleep(time.Hour)
		s.want(t, "beside it until the time comes", "110 a: "+notice(from), "120 a: evicted")
	})
	synctest.Test(t, func(t *testing.T) {
		from := time.Now().Add(50 * time.Minute)
		s := &servers{live: []string{"a"}, file: &outpost.Maintenance{From: from, Text: "New disks.", Evict: true}}
		lead(t, s, noSkew)
		time.Sleep(time.Minute)
		s.want(t, "announced", "0 a: "+notice(from))
		s.set(func() { s.planned = &outpost.Maintenance{From: from.Add(-30 * time.Minute)} })
		time.Sleep(50 * time.Minute)
		s.want(t, "beside a sooner one", "40 a: "+notice(from), "50 a: evicted")
	})
}

// A drain may be forgotten: while nobody has said when it ends, the log repeats it every hour, from its beginning until
// it is ended. One whose end is known is not repeated.
func TestForgottenDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reminder := func(from time.Time, text string) string {
			return "level=WARN msg=\"no servers are started, until `outpost undrain` or the configuration ends the " +
				"maintenance\" from=" + from.Format("2006-01-02T15:04:05.000Z07:00") + " text=\"" + text + "\""
		}
		from := time.Now().UTC().Add(90 * time.Minute)
		s := &servers{live: []string{"a"}, planned: &outpost.Maintenance{From: from, Text: "New disks."}}
		leadLogging(t, s, noSkew, warnings(s))
		time.Sleep(89 * time.Minute)
		s.want(t, "before it begins")
		time.Sleep(3 * time.Hour)
		said := reminder(from, "New disks.")
		s.want(t, "in it", "150 "+said, "210 "+said, "90 "+said)
		s.set(func() { s.planned = nil })
		time.Sleep(2 * time.Hour)
		s.want(t, "ended")
		now := time.Now().UTC()
		s.set(func() { s.planned = &outpost.Maintenance{From: now, Until: now.Add(5 * time.Hour)} })
		time.Sleep(4 * time.Hour)
		s.want(t, "one with an end")
		s.set(func() { s.planned, s.file = nil, &outpost.Maintenance{From: now, Text: "For the summer."} })
		time.Sleep(50 * time.Minute)
		s.want(t, "one of the file", "629 "+reminder(now, "For the summer."))
	})
}

// A clock that jumps by an hour stops nobody for a minute; one that is right again stops nobody at all.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var skew time.Duration
		jump := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			skew = d
		}
		from := time.Now().Add(45 * time.Minute)
		s := &servers{live: []string{"a"}, planned: &outpost.Maintenance{From: from, Text: "New disks.", Evict: true}}
		lead(t, s, func() time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return skew
		})
		time.Sleep(time.Minute)
		s.want(t, "announced", "0 a: "+notice(from))
		jump(time.Hour)
		time.Sleep(40 * time.Second)
		jump(0)
		time.Sleep(10 * time.Minute)
		s.want(t, "a wrong clock, for less than a minute")
		jump(time.Hour)
		time.Sleep(2 * time.Minute)
		s.want(t, "a clock that stays there", "12 a: evicted")
	})
}

// A process that begins with a clock which is not set yet stops nobody; one that begins within a maintenance does so
// after a minute.
func TestClockIsNotSetYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var skew atomic.Int64
		skew.Store(int64(time.Hour))
		from := time.Now().Add(45 * time.Minute)
		s := &servers{live: []string{"a"}, planned: &outpost.Maintenance{From: from, Text: "New disks.", Evict: true}}
		lead(t, s, func() time.Duration { return time.Duration(skew.Load()) })
		time.Sleep(40 * time.Second)
		s.want(t, "an hour ahead at first")
		skew.Store(0)
		time.Sleep(10 * time.Minute)
		s.want(t, "set", "0 a: "+notice(from))
	})
	synctest.Test(t, func(t *testing.T) {
		s := &servers{live: []string{"a"}, planned: &outpost.Maintenance{From: time.Now(), Evict: true}}
		lead(t, s, noSkew)
		time.Sleep(2 * time.Minute)
		s.want(t, "within a maintenance", "1 a: evicted")
	})
}

// What is announced, and that it has begun or ended, reaches those who watch in each process.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		s := &servers{begun: begun, now: time.Now}
		keeper := maintenance.NewKeeper(s, time.Now, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		work.Go(func() { _ = keeper.Follow(ctx) })
		defer work.Wait()
		defer cancel()
		time.Sleep(time.Minute)
		state := func(want int) {
			t.Helper()
			if got := keeper.State(); got != want {
				t.Errorf("state %d, want %d", got, want)
			}
		}
		state(0)
		from := begun.Add(10 * time.Minute)
		s.set(func() { s.planned = &outpost.Maintenance{From: from, Until: from.Add(10 * time.Minute)} })
		time.Sleep(time.Minute)
		state(1)
		time.Sleep(10 * time.Minute)
		state(2)
		time.Sleep(10 * time.Minute)
		state(0)
		hour := from.UTC().Format("15:04")
		s.want(t, "announcements", "0 announced: nothing", "1 announced: from "+hour+", active false",
			"10 announced: from "+hour+", active true", "20 announced: nothing")
	})
}
