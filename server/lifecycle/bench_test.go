package lifecycle_test

import (
	"fmt"
	"testing"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// services starts n services on a Manager that runs.
func services(b *testing.B, n int) (*outposttest.World, []outpost.Key) {
	w := outposttest.NewWorld(b, lifecycle.Options{}).Up(b)
	keys := make([]outpost.Key, n)
	for i := range keys {
		r := outposttest.Request(fmt.Sprint("lab-", i))
		keys[i] = r.Key
		if _, err := w.Start(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	return w, keys
}

func BenchmarkPoll(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			w, keys := services(b, n)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := w.Poll(b.Context(), keys[i%n], false); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

func BenchmarkPermitOpen(b *testing.B) {
	w, keys := services(b, 10000)
	hosts := make([]string, len(keys))
	for i, k := range keys {
		hosts[i] = outposttest.Host(k)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := w.PermitOpen(b.Context(), "hub-a", hosts[i%len(hosts)], 41234); !ok {
			b.Fatal("not permitted")
		}
		i++
	}
}

func BenchmarkStartAndStop(b *testing.B) {
	w, _ := services(b, 1000)
	r := outposttest.Request("one")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Start(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Stop(b.Context(), r.Key, outpost.StopOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
