package lifecycle_test

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// Whatever a request names, only the allowed hub is called, and a refusal leaves nothing.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"lab-one", "0f3c", hubURL + "/users/x"},
		{"..", "a/b", "https://hub.example.org@evil.org/hub/api"},
		{"zo\u00eb", "\x00", "https://hub.example.org/hub/api/%2e%2e/x"},
		{"", "", "//hub.example.org/hub/api"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, name, startID, target string) {
		synctest.Test(t, func(t *testing.T) {
			w := outposttest.NewWorld(t, lifecycle.Options{Hubs: []outpost.Hub{eventHub()}}).Up(t)
			r := outposttest.Request(name)
			r.StartID = startID
			r.Body.Env["JUPYTERHUB_EVENTS_URL"] = target
			_, err := w.Start(t.Context(), r)
			synctest.Wait()
			if err != nil {
				wantKind(t, err, outpost.KindInvalid)
				wantNothing(t, w)
				return
			}
			for _, c := range w.HubAPI.Calls("") {
				u, err := url.Parse(c.URL)
				if err != nil || u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "hub.example.org") ||
					!strings.HasPrefix(path.Clean(u.Path)+"/", "/hub/api/") || u.User != nil {
					t.Errorf("%q was called", c.URL)
				}
			}
		})
	})
}
