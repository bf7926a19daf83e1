package kube

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/outpost"
)

// manyPods is a cluster with n running servers, and their keys and states.
func manyPods(b *testing.B, n int) (*cluster, []outpost.Key, []outpost.State) {
	b.Helper()
	cl := newCluster()
	planner := testSpawner(b, "jhub", Options{})
	var keys []outpost.Key
	var states []outpost.State
	for i := range n {
		k := outpost.Key{Hub: "hub", Name: fmt.Sprintf("lab%d", i), StartID: fmt.Sprintf("start%d", i)}
		p, err := planner.Plan(b.Context(), outpost.Hub{Name: "hub"}, kubespawnertest.Request(k), nil)
		if err != nil {
			b.Fatal(err)
		}
		pod := p.Objects.(*kubespawner.Objects).Pod
		pod.UID = types.UID(strconv.Itoa(i))
		pod.ManagedFields = []metav1.ManagedFieldsEntry{
			{Manager: "kubelet", FieldsV1: &metav1.FieldsV1{Raw: make([]byte, 3000)}},
		}
		becomeReady(pod)
		if err := cl.Tracker().Add(pod); err != nil {
			b.Fatal(err)
		}
		keys, states = append(keys, k), append(states, p.State)
	}
	return cl, keys, states
}

func BenchmarkPoll(b *testing.B) {
	cl, keys, states := manyPods(b, 1000)
	s := cl.run(b, Options{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		got, err := s.Poll(b.Context(), keys[i%len(keys)], states[i%len(keys)])
		if err != nil || got.Ended {
			b.Fatal(got, err)
		}
		i++
	}
}

// BenchmarkCache reports what the cache keeps of each pod.
func BenchmarkCache(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			cl, _, _ := manyPods(b, n)
			for b.Loop() {
				before := heap()
				began := time.Now()
				s, err := New(cl, "jhub", Options{})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan struct{})
				go func() { defer close(done); _ = s.Run(ctx, ownInstallation, nil) }()
				found, _, err := s.Found(ctx)
				if err != nil || len(found) != n {
					b.Fatal(len(found), err)
				}
				filled := time.Since(began)
				found = nil
				b.ReportMetric(float64(heap()-before)/float64(n), "B/pod")
				b.ReportMetric(filled.Seconds()*1000, "ms-to-fill")
				cancel()
				<-done
				_ = found
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkTrim(b *testing.B) {
	p, err := testSpawner(
		b,
		"jhub",
		Options{},
	).Plan(
		b.Context(),
		outpost.Hub{Name: "hub"},
		kubespawnertest.Request(outpost.Key{Hub: "hub", StartID: "s"}),
		nil,
	)
	if err != nil {
		b.Fatal(err)
	}
	pod := p.Objects.(*kubespawner.Objects).Pod
	b.ReportAllocs()
	for b.Loop() {
		trim(pod.DeepCopy())
	}
}
