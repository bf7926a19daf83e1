package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// recorder is an outpost.Observer that writes lines.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) ServiceStarted(s outpost.Subject, d time.Duration, reason string) {
	r.add("started %s %v %q", subject(s), d, reason)
}

func (r *recorder) StartRefused(s outpost.Subject, reason string) {
	r.add("refused %s %q", subject(s), reason)
}

func (r *recorder) ServiceEnded(s outpost.Subject, code int, reason string) {
	r.add("ended %s %d %q", subject(s), code, reason)
}

func (r *recorder) ServiceStopped(s outpost.Subject, d time.Duration, why string) {
	r.add("stopped %s %v %q", subject(s), d, why)
}
func (r *recorder) StopRetried(hub string) { r.add("retried %s", hub) }
func (r *recorder) HubCalled(hub, call string, err error) {
	if call != "event" {
		r.add("called %s %s %v", hub, call, err)
	}
}

func subject(s outpost.Subject) string {
	return fmt.Sprintf("%s %s of %s (%d) in pod %v", s.Hub, s.Name, s.User, s.UserID, s.State["pod_name"])
}

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := &recorder{}
		w := outposttest.NewWorld(t, lifecycle.Options{Observer: got, Hubs: []outpost.Hub{eventHub()}})
		w.Spawner.OnStart = func(_ context.Context, k outpost.Key, _ func(outpost.Event)) error {
			time.Sleep(3 * time.Second)
			if k.Name == "bad" {
				return &outpost.Error{Kind: outpost.KindFailed, Reason: "image", Message: "No image."}
			}
			return nil
		}
		w.Up(t)
		good := outposttest.Request("good")
		mustStart(t, w, good)
		_, _ = w.Start(t.Context(), good)
		_, _ = w.Start(t.Context(), outposttest.Request("bad"))
		w.Spawner.Down(errDown)
		_, _ = w.Stop(t.Context(), good.Key, outpost.StopOptions{})
		w.Spawner.Down(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		want := []string{
			`started hub-a good of maria (42) in pod jupyter-hub-a-good-0f3c 3s ""`,
			`refused hub-a good of maria (42) in pod <nil> "duplicate"`,
			`started hub-a bad of maria (42) in pod jupyter-hub-a-bad-0f3c 3s "image"`,
			`stopped hub-a bad of maria (42) in pod jupyter-hub-a-bad-0f3c 0s "failed"`, `retried hub-a`,
		}
		if diff := cmp.Diff(want, got.lines[:len(want)]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if last := got.lines[len(got.lines)-1]; !strings.HasPrefix(last, "stopped hub-a") ||
			!strings.HasSuffix(last, `"asked"`) {
			t.Errorf("last line %s", last)
		}
	})
}

// Whatever happens to a service, no log line holds a token, its environment or its attributes.
func TestLogsHoldNoSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const planted = "planted-secret"
		var log bytes.Buffer
		h := eventHub()
		h.FlavorsToken = planted + "-flavors"
		h.TunnelRestart = &outpost.HubCall{URL: hubURL + "/recreateforward/north", Token: planted + "-restart"}
		h.Servers = &outpost.HubCall{URL: hubURL + "/servers", Token: planted + "-servers"}
		w := outposttest.NewWorld(t, lifecycle.Options{
			Hubs: []outpost.Hub{
				h,
			}, Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Flavors: mustFlavors(t, "flavors: {tiny: {maxPerUser: 1}}"),
		})
		w.HubAPI.OnCall(func(context.Context, outposttest.Call) error { return errDown })
		w.Spawner.OnStart = func(_ context.Context, k outpost.Key, _ func(outpost.Event)) error {
			if k.Name == "bad" {
				return errDown
			}
			return nil
		}
		w.Up(t)
		request := func(name string) outpost.StartRequest {
			r := eventRequest(name)
			r.Flavor, r.UserID = "tiny", len(name)
			r.Body.Env["JUPYTERHUB_API_TOKEN"] = planted + "-api"
			r.Body.Env["JUPYTER_SECRET"] = planted + "-env"
			r.Certs = map[string]string{"keyfile": planted + "-key"}
			r.AuthState = map[string]string{"access_token": planted + "-state"}
			r.Authentication = map[string]any{"access_token": planted + "-authentication"}
			return r
		}
		good := request("good")
		mustStart(t, w, good)
		_, _ = w.Start(t.Context(), good)
		for _, name := range []string{"bad", "xxxx"} {
			_, _ = w.Start(t.Context(), request(name))
		}
		refused := request("refused")
		refused.Body.Env["JUPYTERHUB_EVENTS_URL"] = "https://evil.org/?token=" + planted
		_, _ = w.Start(t.Context(), refused)
		w.Spawner.End(good.Key, 1, "")
		_, _ = w.Poll(t.Context(), good.Key, true)
		w.Store.Fail(func(string) error { return errDown })
		_, _ = w.Stop(t.Context(), good.Key, outpost.StopOptions{})
		w.Store.Fail(nil)
		time.Sleep(time.Hour)
		w.Down()
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, planted) {
				t.Errorf("secret in %s", line)
			}
		}
		if n := strings.Count(log.String(), "\n"); n < 10 {
			t.Errorf("only %d lines", n)
		}
	})
}

// See protocol 3.3.
func TestAsynchronousStopSendsOneUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{
			Hubs: []outpost.Hub{eventHub()}, Flavors: mustFlavors(t, "flavors: {tiny: {}}"),
		}).Up(t)
		r := eventRequest("lab-one")
		r.Flavor = "tiny"
		mustStart(t, w, r)
		synctest.Wait()
		w.Spawner.Down(errDown)
		if _, err := w.Stop(t.Context(), r.Key, outpost.StopOptions{Async: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.Spawner.Down(nil)
		time.Sleep(time.Minute)
		wantNothing(t, w)
		var counts []any
		for _, c := range w.HubAPI.Calls("flavors") {
			counts = append(counts, c.Flavors["tiny"]["current"])
		}
		if diff := cmp.Diff([]any{1, 0}, counts); diff != "" {
			t.Errorf("counts sent (-want +got):\n%s", diff)
		}
	})
}

// Many changes while a hub takes its time are one more call, with the last counts (protocol 3.3).
func TestFlavorUpdatesAreCollected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(
			t,
			lifecycle.Options{Hubs: []outpost.Hub{eventHub()}, Flavors: mustFlavors(t, "flavors: {tiny: {}}")},
		)
		w.HubAPI.OnCall(func(context.Context, outposttest.Call) error { time.Sleep(time.Second); return nil })
		w.Up(t)
		for i := range 64 {
			r := eventRequest(fmt.Sprint("lab-", i))
			r.Flavor = "tiny"
			mustStart(t, w, r)
		}
		time.Sleep(time.Minute)
		got := w.HubAPI.Calls("flavors")
		if len(got) != 2 || got[1].Flavors["tiny"]["current"] != 64 {
			t.Errorf("%d updates, the last %v", len(got), got[len(got)-1].Flavors)
		}
	})
}

func TestNewNamesEveryWrongHub(t *testing.T) {
	_, err := lifecycle.New(
		outposttest.NewStore(),
		outposttest.NewSpawner(),
		outposttest.NewHubAPI(),
		lifecycle.Options{Hubs: []outpost.Hub{
			{Name: "a", CallbackURLs: []string{"hub:8081", "http://hub/hub/api"}},
			{Name: "a", AllowedImages: []string{"[z-a]"}},
			{Name: "b", Servers: &outpost.HubCall{URL: "ftp://hub"}},
		}},
	)
	if err == nil {
		t.Fatal("no error")
	}
	const noURL = " is not a URL such as https://hub.example.org/hub/api: " +
		"http or https, without user, query, fragment and dot segments"
	want := []string{
		`hub "a": callbackUrls[0]` + noURL,
		`hub "a": the name is empty or given twice`,
		`hub "a": allowedImages[0] "[z-a]" is not a glob`,
		`hub "b": servers.url` + noURL,
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSetHubs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{}).Up(t)
		r := outposttest.Request("lab-one")
		mustStart(t, w, r)
		if err := w.SetHubs([]outpost.Hub{{Name: ""}}); err == nil {
			t.Error("a wrong hub was taken")
		}
		if err := w.SetHubs([]outpost.Hub{{Name: "hub-c"}}); err != nil {
			t.Fatal(err)
		}
		c := outposttest.Request("lab-two")
		c.Hub = "hub-c"
		mustStart(t, w, c)
		_, err := w.Start(t.Context(), outposttest.Request("lab-three"))
		wantKind(t, err, outpost.KindUnauthorized)
		if n := len(w.Spawner.Pods()); n != 2 {
			t.Errorf("%d pods", n)
		}
	})
}

// The address of a pod that has ended may belong to another one by now (protocol 5.4).
func TestAnEndedServerIsNotOpened(t *testing.T) {
	for name, end := range map[string]func(*outposttest.Spawner, outpost.Key){
		"ended": func(s *outposttest.Spawner, k outpost.Key) { s.End(k, 0, "") },
		"gone":  func(s *outposttest.Spawner, k outpost.Key) { s.Lose(k) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{})
				var away atomic.Bool
				w.Spawner.OnPoll = func(outpost.Key) error {
					if away.Load() {
						return errors.New("Kubernetes is away")
					}
					return nil
				}
				w.Up(t)
				r := outposttest.Request("lab-one")
				if _, err := w.Start(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				open := func() bool {
					_, ok := w.PermitOpen(t.Context(), "hub-a", outposttest.Host(r.Key), 41234)
					return ok
				}
				if !open() {
					t.Error("a running server cannot be opened")
				}
				away.Store(true)
				if !open() {
					t.Error("a server cannot be opened while Kubernetes is away")
				}
				away.Store(false)
				end(w.Spawner, r.Key)
				if open() {
					t.Error("a server that has ended can be opened")
				}
			})
		})
	}
}
