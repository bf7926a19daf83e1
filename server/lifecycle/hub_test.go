package lifecycle_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

const hubURL = "https://hub.example.org/hub/api"

// eventHub is hub-a with everything that calls back allowed.
func eventHub() outpost.Hub {
	return outpost.Hub{
		Name:         "hub-a",
		CallbackURLs: []string{hubURL},
		SendEvents:   true,
		FlavorsToken: "hub-flavors-token",
	}
}

// eventRequest is a request whose environment names all callbacks below hubURL.
func eventRequest(name string) outpost.StartRequest {
	r := outposttest.Request(name)
	r.Body.Env["JUPYTERHUB_EVENTS_URL"] = hubURL + "/users/progress/events/maria/" + name
	r.Body.Env["JUPYTERHUB_SETUPTUNNEL_URL"] = hubURL + "/users/setuptunnel/maria/" + name
	r.Body.Env["JUPYTERHUB_FLAVORS_UPDATE_URL"] = hubURL + "/outpostflavors/north"
	return r
}

func events(w *outposttest.World) []outpost.Event {
	var list []outpost.Event
	for _, c := range w.HubAPI.Calls("event") {
		list = append(list, c.Event)
	}
	return list
}

func TestEventsOfAGoodStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}}).Up(t)
		mustStart(t, w, eventRequest("lab-one"))
		synctest.Wait()
		want := []outposttest.Call{
			{
				What:  "event",
				URL:   hubURL + "/users/progress/events/maria/lab-one",
				Token: "token-lab-one",
				Event: outpost.Event{Progress: 30, Message: "Pulling image"},
			},
		}
		if diff := cmp.Diff(want, w.HubAPI.Calls("event")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// See protocol 3.2.
func TestFailedAsynchronousStartSendsEscapedEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
		w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
			return outpost.Errorf(outpost.KindFailed, "The image <script>alert(1)</script> cannot be pulled.")
		}
		w.Up(t)
		r := eventRequest("lab-one")
		r.Async = true
		mustStart(t, w, r)
		synctest.Wait()
		got := events(w)
		want := outpost.Event{Progress: 100, Failed: true, HTMLMessage: "<details><summary>2000-01-01 00:00:00.000: " +
			"The image &lt;script&gt;alert(1)&lt;/script&gt; cannot be pulled.</summary>" +
			"Server requested<br>Pulling image</details>"}
		if diff := cmp.Diff(want, got[len(got)-1]); diff != "" {
			t.Errorf("last event (-want +got):\n%s", diff)
		}
		wantNothing(t, w)
	})
}

// See protocol 1.8.
func TestInternalErrorsAreNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
		w.Spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
			return fmt.Errorf("secret at /var/lib/outpost: %w", errDown)
		}
		w.Up(t)
		r := eventRequest("lab-one")
		r.Async = true
		mustStart(t, w, r)
		synctest.Wait()
		for _, e := range events(w) {
			if strings.Contains(e.HTMLMessage, "secret") || strings.Contains(e.HTMLMessage, "refused") {
				t.Errorf("event %+v", e)
			}
		}
	})
}

// A hub that cannot be reached, or refuses events, neither fails nor delays a start, and a failed start is
// cleaned up although its event cannot be delivered (protocol 3.2).
func TestEventsNeverDecideAboutTheStart(t *testing.T) {
	for name, answer := range map[string]func(context.Context, outposttest.Call) error{
		"unreachable": func(ctx context.Context, _ outposttest.Call) error {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
			}
			return errDown
		},
		"refuses": func(context.Context, outposttest.Call) error {
			return outpost.Errorf(outpost.KindFailed, "status 400")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
				w.HubAPI.OnCall(answer)
				fails := false
				w.Spawner.OnStart = func(_ context.Context, _ outpost.Key, progress func(outpost.Event)) error {
					for i := range 200 {
						progress(outpost.Event{Progress: 40, Message: fmt.Sprint("step ", i)})
					}
					if fails {
						return outpost.Errorf(outpost.KindFailed, "It cannot start.")
					}
					return nil
				}
				w.Up(t)
				begin := time.Now()
				mustStart(t, w, eventRequest("lab-one"))
				if took := time.Since(begin); took != 0 {
					t.Errorf("the start took %v", took)
				}
				wantPoll(t, w, outposttest.Key("lab-one"), outpost.PollResult{})
				fails = true
				r := eventRequest("lab-two")
				r.Async = true
				mustStart(t, w, r)
				time.Sleep(time.Minute)
				if diff := cmp.Diff([]outpost.Key{outposttest.Key("lab-one")}, w.Store.Rows()); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
				got := events(w)
				if !slices.ContainsFunc(got, func(e outpost.Event) bool { return e.Failed }) {
					t.Error("no failed event")
				}
				if name == "unreachable" && len(got) > 2*70 {
					t.Errorf("%d events", len(got))
				}
			})
		})
	}
}

// A hub that takes events slowly gets the latest, and the queue stays short (protocol 3.2).
func TestEventQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}})
		taken := make(chan struct{})
		w.HubAPI.OnCall(func(context.Context, outposttest.Call) error { <-taken; return nil })
		w.Spawner.OnStart = func(_ context.Context, _ outpost.Key, progress func(outpost.Event)) error {
			synctest.Wait() // the first event is on its way
			for i := range 200 {
				progress(outpost.Event{Progress: 40, Message: fmt.Sprint("step ", i)})
			}
			return nil
		}
		w.Up(t)
		mustStart(t, w, eventRequest("lab-one"))
		close(taken)
		synctest.Wait()
		got := events(w)
		if len(got) != 65 || got[64].Message != "step 199" {
			t.Errorf("%d events, the last %+v", len(got), got[len(got)-1])
		}
	})
}

// See protocol 2.8.
func TestFailureIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}}).Up(t)
		r := eventRequest("lab-one")
		mustStart(t, w, r)
		synctest.Wait()
		before := len(events(w))
		w.Spawner.Log(r.Key, "<b>boom</b>")
		w.Spawner.End(r.Key, 1, "")
		for range 3 {
			wantPoll(t, w, r.Key, outpost.PollResult{Ended: true, ExitCode: 1, Logs: []string{"<b>boom</b>"}})
			synctest.Wait()
		}
		want := []outpost.Event{
			{Progress: 99, HTMLMessage: `<details open><summary style="color: red">Could not start service. ` +
				`(click here to see logs)</summary>&lt;b&gt;boom&lt;/b&gt;</details>`},
		}
		if diff := cmp.Diff(want, events(w)[before:]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// See protocol 3.1.
func TestCallbacksAreCheckedAgainstTheHub(t *testing.T) {
	for url, want := range map[string]bool{
		"https://hub.example.org/hub/api/users/a":          true,
		"https://HUB.example.org:443/hub/api":              true,
		"https://hub.example.org/hub/apix":                 false,
		"https://hub.example.org/hub/api/../../evil":       false,
		"https://hub.example.org/hub/api/%2e%2e/evil":      false,
		"https://hub.example.org/hub/api/a%2f..%2f..%2fx":  false,
		"http://hub.example.org/hub/api/users/a":           false,
		"https://hub.example.org:8443/hub/api/users/a":     false,
		"https://hub.example.org@evil.org/hub/api":         false,
		"https://user:pw@hub.example.org/hub/api":          false,
		"https://evil.org/hub/api":                         false,
		"https://hub.example.org.evil.org/hub/api":         false,
		"https://hub.example.org/hub/api\\..\\x":           false,
		"//hub.example.org/hub/api":                        false,
		"file:///hub/api":                                  false,
		"http://169.254.169.254/latest/meta-data":          false,
		"https://hub.example.org/hub/api/users/zo%C3%AB/x": true,
		"": false,
	} {
		t.Run(url, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}}).Up(t)
				r := outposttest.Request("lab-one")
				r.Body.Env["JUPYTERHUB_EVENTS_URL"] = url
				mustStart(t, w, r)
				synctest.Wait()
				if got := len(w.HubAPI.Calls("")) > 0; got != want {
					t.Errorf("called: %v, want %v", got, want)
				}
			})
		})
	}
}

func TestEventsAreOffWithoutTheirSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := eventHub()
		h.SendEvents = false
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{h}}).Up(t)
		mustStart(t, w, eventRequest("lab-one"))
		synctest.Wait()
		if got := events(w); len(got) > 0 {
			t.Errorf("events %v", got)
		}
	})
}

// See protocol 3.4.
func TestEachTunnelIsAskedWithItsOwnToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := eventHub(), eventHub()
		a.RecreateTunnels, b.RecreateTunnels = true, true
		b.Name = "hub-b"
		first := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{a, b}}).Up(t)
		one, two, three := eventRequest("one"), eventRequest("two"), eventRequest("three")
		two.Hub = "hub-b"
		delete(three.Body.Env, "JUPYTERHUB_SETUPTUNNEL_URL")
		for _, r := range []outpost.StartRequest{one, two, three} {
			mustStart(t, first, r)
		}
		first.Down()
		w := outposttest.NewWorldOn(t, first.Store, first.Spawner, outposttest.NewHubAPI(), lifecycle.Options{
			Hubs: []outpost.Hub{a, b},
		}).Up(t)
		synctest.Wait()
		want := map[string]outposttest.Call{}
		for _, r := range []outpost.StartRequest{one, two} {
			want[r.Name] = outposttest.Call{
				What: "tunnel", URL: hubURL + "/users/setuptunnel/maria/" + r.Name, Token: "token-" + r.Name,
				Address: "http://" + outposttest.Host(r.Key) + ":41234",
			}
		}
		got := map[string]outposttest.Call{}
		for _, c := range w.HubAPI.Calls("tunnel") {
			got[c.URL[strings.LastIndex(c.URL, "/")+1:]] = c
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// See protocol 3.4.
func TestTunnelsAreRetriedButNotAfterARefusal(t *testing.T) {
	for name, tc := range map[string]struct {
		answer error
		want   int
	}{
		"refused": {outpost.Errorf(outpost.KindFailed, "status 400"), 1},
		"down":    {errDown, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := eventHub()
				h.TunnelRestart = &outpost.HubCall{URL: hubURL + "/recreateforward/north", Token: "service-token"}
				w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{h}})
				w.HubAPI.OnCall(func(context.Context, outposttest.Call) error { return tc.answer })
				w.Up(t)
				time.Sleep(time.Minute)
				calls := w.HubAPI.Calls("")
				if len(calls) != tc.want {
					t.Fatalf("%d calls, want %d", len(calls), tc.want)
				}
				want := outposttest.Call{
					What:  "restart",
					URL:   hubURL + "/recreateforward/north",
					Token: "service-token",
				}
				if diff := cmp.Diff(want, calls[0]); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// See protocol 3.4.
func TestTunnelsWaitUntilThisOutpostIsReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := eventHub()
		h.TunnelRestart = &outpost.HubCall{URL: hubURL + "/recreateforward/north", Token: "service-token"}
		reachable := make(chan struct{})
		w := outposttest.NewWorld(
			t,
			lifecycle.Options{Hubs: []outpost.Hub{h}, Reachable: func(ctx context.Context) error {
				select {
				case <-reachable:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}},
		).Up(t)
		time.Sleep(time.Minute)
		if calls := w.HubAPI.Calls(""); len(calls) > 0 {
			t.Errorf("calls before: %v", calls)
		}
		close(reachable)
		synctest.Wait()
		if calls := w.HubAPI.Calls("restart"); len(calls) != 1 {
			t.Errorf("calls after: %v", calls)
		}
	})
}

// See protocol 2.11.
func TestHubCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := outpost.Hub{Name: "hub-a", Servers: &outpost.HubCall{URL: "https://a.org/hub/api/servers", Token: "a"}}
		b := outpost.Hub{Name: "hub-b", Servers: &outpost.HubCall{URL: "https://b.org/hub/api/servers", Token: "b"}}
		down := outpost.Hub{Name: "hub-c", Servers: &outpost.HubCall{URL: "https://c.org/hub/api/servers", Token: "c"}}
		w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{a, b, down}})
		w.HubAPI.OnCall(func(_ context.Context, c outposttest.Call) error {
			if c.Token == "c" {
				return errDown
			}
			return nil
		})
		w.HubAPI.SetServers(a.Servers.URL, "42_known_0f3c")
		w.HubAPI.SetServers(b.Servers.URL, "42_of-b_0f3c")
		w.Up(t)
		start := func(hub, name string) outpost.Key {
			r := outposttest.Request(name)
			r.Hub = hub
			mustStart(t, w, r)
			return r.Key
		}
		known, polled := start("hub-a", "known"), start("hub-a", "polled")
		start("hub-a", "unknown")
		ofB, ofC := start("hub-b", "of-b"), start("hub-c", "of-c")
		time.Sleep(20 * time.Minute)
		young := start("hub-a", "young")
		time.Sleep(9 * time.Minute)
		wantPoll(t, w, polled, outpost.PollResult{})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want := []outpost.Key{known, polled, young, ofB, ofC}
		if diff := cmp.Diff(want, w.Store.Rows()); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, w.Spawner.Pods()); diff != "" {
			t.Errorf("pods (-want +got):\n%s", diff)
		}
	})
}
