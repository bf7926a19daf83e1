package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestRolloutIsAwaited holds how long a run waits for pods, and that it says what they wait for.
func TestRolloutIsAwaited(t *testing.T) {
	const text = "0 of 1 pods are new, 0 are available"
	const failed = "deployment jupyter/hub is not ready: " + text + "; see kubectl -n jupyter describe deployment " +
		"hub, and its log: kubectl -n jupyter logs deployment/hub"
	for _, tt := range []struct {
		name  string
		says  func(after time.Duration) cluster.Rollout
		want  string
		takes time.Duration
	}{
		{"at once", func(time.Duration) cluster.Rollout { return cluster.Rollout{Done: true} }, "", 0},
		{"late", func(after time.Duration) cluster.Rollout {
			return cluster.Rollout{Done: after >= 9*time.Minute, Text: text}
		}, "", 9 * time.Minute},
		{
			"never", func(time.Duration) cluster.Rollout { return cluster.Rollout{Text: text} },
			failed, 10*time.Minute - time.Second,
		},
		{"given up", func(after time.Duration) cluster.Rollout {
			return cluster.Rollout{Failed: after >= 5*time.Second, Text: text}
		}, failed, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, asked := time.Now(), map[string]bool{}
				api := fakeCluster{rollouts: func(name cluster.Object) cluster.Rollout {
					asked[name.String()] = true
					return tt.says(time.Since(began))
				}}
				got := ""
				if err := rolledOut(api, usualPatience)(t.Context(), "jupyter", []string{"hub", "proxy"}); err != nil {
					got = err.Error()
				}
				if got != tt.want || time.Since(began) != tt.takes {
					t.Errorf("after %s: %q, want %q after %s", time.Since(began), got, tt.want, tt.takes)
				}
				want := map[string]bool{"jupyter/hub": true, "jupyter/proxy": true}
				if diff := cmp.Diff(want, asked); tt.want == "" && diff != "" {
					t.Errorf("waited for (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestUnreadyPodsEndTheRun holds that a run does not succeed, and does not record that data are sealed with a new key,
// while the pods that would do so are not there.
func TestUnreadyPodsEndTheRun(t *testing.T) {
	for _, stuck := range []string{"jupyter/hub", "jupyter/proxy", "outpost/outpost"} {
		w := testWorld(committedConfig(t, "local"))
		w.open = func(cluster.Access) (clusterAPI, error) {
			return fakeCluster{identity: "a", rollouts: func(name cluster.Object) cluster.Rollout {
				return cluster.Rollout{Done: name.String() != stuck, Text: "none is there"}
			}}, nil
		}
		err := runStack(t, &infratest.Recorder{}, "local", w)
		if want := "deployment " + stuck + " is not ready: none is there"; err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want ... %s", err, want)
		}
	}
}
