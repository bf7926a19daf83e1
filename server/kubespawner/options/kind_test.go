package options

import (
	"testing"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
)

func TestMemoryIsReadAsByKubeSpawner(t *testing.T) {
	var v struct {
		Memory []struct {
			Value any    `json:"value"`
			Bytes *int64 `json:"bytes"`
			Error string `json:"error"`
		} `json:"memory_parsing"`
	}
	kubespawnertest.Load(t, "pod-vectors", &v)
	differs := map[any]any{
		"1Gi": int64(1 << 30),               // a Kubernetes quantity
		"1 G": nil, "-1G": nil, "1e3M": nil, // accidents of Python's float
	}
	for _, c := range v.Memory {
		value := numbers(mustCanonical(t, c.Value))
		got, err := nullable(memory)(value)
		if want, ok := differs[c.Value]; ok {
			if got != want || (err != nil) != (want == nil) {
				t.Errorf("%v = %v, %v; want %v", c.Value, got, err, want)
			}
			continue
		}
		switch {
		case c.Error != "":
			if err == nil {
				t.Errorf("%v = %v, want an error", c.Value, got)
			}
		case err != nil:
			t.Errorf("%v: %v", c.Value, err)
		case c.Bytes == nil && got != nil, c.Bytes != nil && got != *c.Bytes:
			t.Errorf("%v = %v, want %v", c.Value, got, c.Bytes)
		}
	}
}

func mustCanonical(t *testing.T, v any) any {
	t.Helper()
	m, err := canonical(map[string]any{"v": v})
	if err != nil {
		t.Fatal(err)
	}
	return m["v"]
}

func FuzzMemory(f *testing.F) {
	for _, s := range []string{"1G", "1.5G", "2Gi", "512", "1k", "", "G", "999999999999999999T", "0.0000001K"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := memory(s); err == nil && v.(int64) < 0 {
			t.Errorf("%q = %d", s, v)
		}
		if v, err := cpu(s); err == nil && v.(float64) < 0 {
			t.Errorf("%q = %f cores", s, v)
		}
	})
}
