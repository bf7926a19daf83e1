package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
		p, err := planner.Plan(b.Context(), outpost.Hub{Name: "hub"}, bigRequest(k), nil)
		if err != nil {
			b.Fatal(err)
		}
		pod := p.Objects.(*objects).pod
		pod.UID = types.UID(strconv.Itoa(i))
		pod.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubelet", FieldsV1: &metav1.FieldsV1{Raw: make([]byte, 3000)}}}
		becomeReady(pod)
		if err := cl.Tracker().Add(pod); err != nil {
			b.Fatal(err)
		}
		keys, states = append(keys, k), append(states, p.State)
	}
	return cl, keys, states
}

// bigRequest has as many variables as a hub sends.
func bigRequest(k outpost.Key) outpost.StartRequest {
	env := map[string]string{"JUPYTERHUB_USER": "alice@example.org", "JUPYTERHUB_USER_ID": "17"}
	for i := range 25 {
		env[fmt.Sprintf("JUPYTERHUB_VARIABLE_%d", i)] = "https://hub.example.org/hub/api/users/alice@example.org/servers/progress"
	}
	misc := map[string]json.RawMessage{
		"dns_name_template": json.RawMessage(`"{name}.{namespace}.svc.cluster.local"`), "pod_name_template": json.RawMessage(`"jupyter-{username}--{servername}"`),
		"internal_ssl": json.RawMessage(`false`), "port": json.RawMessage(`45123`), "ip": json.RawMessage(`"0.0.0.0"`),
		"services_enabled": json.RawMessage(`true`), "extra_labels": json.RawMessage(`{}`),
	}
	return outpost.StartRequest{Key: k, Body: outpost.Body{Env: env, Misc: misc}}
}

func BenchmarkPlan(b *testing.B) {
	s := testSpawner(b, "outpost", Options{Spawner: map[string]any{
		"image": "quay.io/jupyter/scipy-notebook:2026", "cpu_limit": 2, "mem_limit": "4G", "common_labels": map[string]any{"app": "x"},
		"volumes":       []any{map[string]any{"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"}}},
		"volume_mounts": []any{map[string]any{"name": "home", "mountPath": "/home/jovyan"}},
	}})
	r := bigRequest(outpost.Key{Hub: "hub", Name: "lab", StartID: "s"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Plan(b.Context(), outpost.Hub{Name: "hub"}, r, nil); err != nil {
			b.Fatal(err)
		}
	}
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
				go func() { defer close(done); _ = s.Run(ctx, ownInstallation) }()
				found, err := s.Found(ctx)
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
	p, err := testSpawner(b, "jhub", Options{}).Plan(b.Context(), outpost.Hub{Name: "hub"}, bigRequest(outpost.Key{Hub: "hub", StartID: "s"}), nil)
	if err != nil {
		b.Fatal(err)
	}
	pod := p.Objects.(*objects).pod
	b.ReportAllocs()
	for b.Loop() {
		trim(pod.DeepCopy())
	}
}
