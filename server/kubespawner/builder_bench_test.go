package kubespawner

import (
	"testing"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/outpost"
)

func BenchmarkBuild(b *testing.B) {
	s := testBuilder(b, "outpost", map[string]any{
		"image":         "quay.io/jupyter/scipy-notebook:2026",
		"cpu_limit":     2,
		"mem_limit":     "4G",
		"common_labels": map[string]any{"app": "x"},
		"volumes": []any{
			map[string]any{"name": "home", "persistentVolumeClaim": map[string]any{"claimName": "{pvc_name}"}},
		},
		"volume_mounts": []any{map[string]any{"name": "home", "mountPath": "/home/jovyan"}},
	})
	r := kubespawnertest.Request(outpost.Key{Hub: "hub", Name: "lab", StartID: "s"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Build(installation, outpost.Hub{Name: "hub"}, r, nil); err != nil {
			b.Fatal(err)
		}
	}
}
