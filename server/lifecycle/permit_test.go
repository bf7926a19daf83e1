package lifecycle_test

import (
	"testing"
	"testing/synctest"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// While Kubernetes does not say whether a pod runs, its IP address may be another pod's: only names stay open.
func TestPermitOpenWithoutAnAnswerOfKubernetes(t *testing.T) {
	for host, want := range map[string]bool{
		"jupyter-a.outpost.svc.cluster.local": true,
		"jupyter-1":                           true,
		"10.0.0.7":                            false,
		"10.7":                                false, // the same, as some resolvers read it
		"167772167":                           false,
		"0x0a.0.0.0x7":                        false,
	} {
		for name, answer := range map[string]error{
			"does not answer": errDown, "pods not listed": outpost.NotListed(nil), "answers": nil,
		} {
			t.Run(host+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := outposttest.NewWorld(t, lifecycle.Options{})
					w.Spawner.OnPoll = func(outpost.Key) error { return answer }
					w.Store.Put(row("lab-one", func(s *outpost.Service) { s.Address = "http://" + host + ":41234" }))
					w.Spawner.AddPod(outposttest.Key("lab-one"))
					w.Up(t)
					_, ok := w.PermitOpen(t.Context(), "hub-a", host, 41234)
					if want := want || answer == nil; ok != want {
						t.Errorf("open: %v, want %v", ok, want)
					}
				})
			})
		}
	}
}
