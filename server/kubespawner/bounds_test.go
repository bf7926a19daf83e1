package kubespawner

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// A request costs a small multiple of its own size, whatever it asks for, and so does the answer that refuses it.
func TestRequestsCostWhatTheyWeigh(t *testing.T) {
	const kiB = 1 << 10
	wide := strings.Repeat("{userid:1000}", 20*kiB)
	deep := func() any {
		var v any = "{"
		for range 2000 {
			v = map[string]any{strings.Repeat("k", 100): v}
		}
		return v
	}
	many := func(value string) map[string]any {
		out := map[string]any{}
		for i := range 20 * kiB {
			out[fmt.Sprintf("key%d", i)] = value
		}
		return out
	}
	//nolint:lll // a case a line
	for name, tc := range map[string]struct {
		user string
		misc map[string]any
	}{
		"a wide name":             {misc: map[string]any{"pod_name_template": wide}},
		"a wide host":             {misc: map[string]any{"dns_name_template": strings.Repeat("{name:1000}", 20*kiB)}},
		"a wide label":            {misc: map[string]any{"extra_labels": map[string]any{"a": wide}}},
		"many wide labels":        {misc: map[string]any{"extra_labels": many("{userid:1000}")}},
		"many wide variables":     {misc: map[string]any{"environment": map[string]any{"A": many("{userid:1000}")}}},
		"many wrong templates":    {misc: map[string]any{"extra_annotations": many("{")}},
		"many cut values":         {misc: map[string]any{"extra_annotations": many("{unescaped_username!r:.0}"), "port": "x"}},
		"a deep value":            {misc: map[string]any{"extra_pod_config": deep()}},
		"a long unknown field":    {misc: map[string]any{"pod_name_template": "{" + strings.Repeat("x", 256*kiB) + "}"}},
		"a long name":             {misc: map[string]any{"pvc_name_template": strings.Repeat("x", 256*kiB), "storage_pvc_ensure": true}},
		"a long key":              {misc: map[string]any{"extra_labels": map[string]any{strings.Repeat("x", 256*kiB): "{"}}},
		"a long name of the user": {user: strings.Repeat("é", 128*kiB)},
	} {
		t.Run(name, func(t *testing.T) {
			weight := len(tc.user)
			raw := map[string]json.RawMessage{}
			for option, value := range tc.misc {
				data, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				raw[option], weight = data, weight+len(data)
			}
			env := map[string]string{"JUPYTERHUB_USER": "alice"}
			if tc.user != "" {
				env["JUPYTERHUB_USER"] = tc.user
			}
			b := testBuilder(t, "outpost", nil)
			r := outpost.StartRequest{
				Key:  outpost.Key{Hub: "h", Name: "lab", StartID: "s1"},
				Body: outpost.Body{Env: env, Misc: raw},
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := b.Build(installation, outpost.Hub{Name: "h", AllowedOptions: []string{"*"}}, r, nil)
			runtime.ReadMemStats(&after)
			if outpost.KindOf(err) != outpost.KindInvalid {
				t.Errorf("error %.200v", err)
			} else if n := len(err.Error()); n > 17*kiB {
				t.Errorf("the message has %d bytes", n)
			}
			if used, limit := after.TotalAlloc-before.TotalAlloc, uint64(16<<20+60*weight); used > limit {
				t.Errorf("a request of %d KiB allocates %d KiB, more than %d", weight/kiB, used/kiB, limit/kiB)
			}
		})
	}
}

// TestUnknownNamesCostLittle holds that no name is looked for beside a very long one, nor for what is not listed.
func TestUnknownNamesCostLittle(t *testing.T) {
	many := map[string]json.RawMessage{}
	for i := range 20_000 {
		many[fmt.Sprintf("mem_lim%d", i)] = json.RawMessage("1")
	}
	for name, misc := range map[string]map[string]json.RawMessage{
		"a long name": {strings.Repeat("x", 256<<10): json.RawMessage("1")}, "many names": many,
	} {
		r := outpost.StartRequest{
			Key:  outpost.Key{Hub: "h", StartID: "s1"},
			Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: misc},
		}
		b := testBuilder(t, "outpost", nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := b.Build(installation, outpost.Hub{Name: "h", AllowedOptions: []string{"*"}}, r, nil)
		runtime.ReadMemStats(&after)
		if outpost.KindOf(err) != outpost.KindInvalid || !strings.Contains(err.Error(), "unknown option") {
			t.Errorf("%s: error %.200v", name, err)
		}
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 256 {
			t.Errorf("%s: the start allocates %d MiB", name, used)
		}
	}
}

// TestMetadataIsBounded holds that labels and annotations are counted before each of them is looked at.
func TestMetadataIsBounded(t *testing.T) {
	for _, option := range []string{"extra_labels", "extra_annotations"} {
		for _, tc := range []struct {
			entries int
			want    string // in the error; empty for none
		}{{900, ""}, {2000, "entries; at most 1000 are possible"}} {
			metadata := map[string]any{}
			for i := range tc.entries {
				metadata[fmt.Sprintf("a%d", i)] = "b"
			}
			b := testBuilder(t, "outpost", map[string]any{option: metadata})
			_, err := request(t, b, outpost.Hub{Name: "h"}, nil, nil)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%d %s: error %v, want %q", tc.entries, option, err, tc.want)
			}
		}
	}
}

// Templates that yield nothing out of bounds keep working at their bounds.
func TestTemplatesAtTheirBounds(t *testing.T) {
	b := testBuilder(t, "outpost", map[string]any{
		"environment": map[string]any{"A": strings.Repeat("x", 300<<10), "B": strings.Repeat("{userid:1000}", 120)},
	})
	o, err := request(t, b, outpost.Hub{Name: "h"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range notebookOf(o.Pod).Env {
		if v.Name == "A" && len(v.Value) != 300<<10 || v.Name == "B" && len(v.Value) != 120_000 {
			t.Errorf("%s has %d bytes", v.Name, len(v.Value))
		}
	}
}

func TestNumberOfVariables(t *testing.T) {
	for _, n := range []int{maxVariables, maxVariables + 1} {
		env := map[string]string{"JUPYTERHUB_USER": "alice"}
		for i := 1; i < n; i++ {
			env[fmt.Sprint("V", i)] = ""
		}
		_, err := testBuilder(t, "outpost", nil).Build(installation, outpost.Hub{Name: "h"}, outpost.StartRequest{
			Key: outpost.Key{Hub: "h", StartID: "s1"}, Body: outpost.Body{Env: env},
		}, nil)
		want := ""
		if n > maxVariables {
			want = "environment: has 10001 variables with those of the hub; at most 10000 are allowed"
		}
		if got := fmt.Sprint(err); err != nil && got != want || err == nil && want != "" {
			t.Errorf("%d variables: error %v, want %q", n, err, want)
		}
	}
}

// slowOrder is the order of variables as it is defined: round by round.
func slowOrder(env map[string]any) (out []string) {
	left := slices.Sorted(maps.Keys(env))
	for len(left) > 0 {
		var round, later []string
		for _, key := range left {
			text, _ := env[key].(string)
			waits := func(other string) bool { return other != key && !slices.Contains(out, other) }
			if slices.ContainsFunc(references(text), waits) {
				later = append(later, key)
			} else {
				round = append(round, key)
			}
		}
		if len(round) == 0 {
			return append(out, later...)
		}
		out, left = append(out, round...), later
	}
	return out
}

func TestOrderOfVariables(t *testing.T) {
	chain := map[string]any{}
	for i := range 200 {
		chain[fmt.Sprintf("V%03d", i)] = fmt.Sprintf("$(V%03d)", i+1)
	}
	for name, env := range map[string]map[string]any{
		"none":             {},
		"by name":          {"B": "1", "A": "2"},
		"a chain":          chain,
		"a fan":            {"A": "$(Z)$(Y)", "B": "$(Z)", "Y": "$(Z)", "Z": ""},
		"used twice":       {"A": "$(B)$(B)", "B": "$(C) $(C)", "C": "x"},
		"itself":           {"A": "$(A):$(B)", "B": "x"},
		"a cycle":          {"A": "$(B)", "B": "$(A)", "C": "$(A)", "D": "x"},
		"an unknown name":  {"A": "$(NONE)", "B": "$(A)", "C": "x"},
		"escaped and open": {"A": "$$(B)", "B": "$(C", "C": "$()"},
		"an object":        {"A": "$(B)", "B": map[string]any{"value": "$(C)"}, "C": nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := []string{}
			for _, v := range orderEnvironment(env, &options.Problems{}) {
				got = append(got, v.Name)
			}
			if want := append([]string{}, slowOrder(env)...); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// Whatever refers to what, each variable and each reference is looked at once.
func TestOrderOfVariablesIsNotQuadratic(t *testing.T) {
	chain, star, clique := map[string]any{}, map[string]any{}, map[string]any{}
	var all strings.Builder
	for i := range 100_000 {
		chain[fmt.Sprintf("V%06d", i)] = fmt.Sprintf("$(V%06d)", i+1)
		star[fmt.Sprintf("V%06d", i)] = "$(Z)"
		fmt.Fprintf(&all, "$(V%06d)", i)
	}
	chain["V100000"], star["Z"] = "", ""
	clique["A"], clique["B"] = all.String(), all.String()
	maps.Copy(clique, map[string]any{"V000000": "$(A)"})
	for name, env := range map[string]map[string]any{"chain": chain, "star": star, "long": clique} {
		began := processorTime(t)
		if got := orderEnvironment(env, &options.Problems{}); len(got) != len(env) {
			t.Errorf("%s: %d of %d variables", name, len(got), len(env))
		}
		// A hundred thousand rounds over a hundred thousand variables take minutes.
		if took := processorTime(t) - began; took > 20*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}

// processorTime is what this process has used, which does not depend on what others leave to it.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
