package values

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

func TestPlain(t *testing.T) {
	type name string
	text := "x"
	got, err := Plain(map[string]any{
		"list of maps": []map[string]any{{"a": 1}}, "strings": map[string]string{"a": "b"}, "list": []string{"a"},
		"named": name("a"), "pointer": &text, "nothing": nil, "no map": map[string]any(nil),
		"input":  pulumi.String("a"),
		"inputs": pulumi.Map{"a": pulumi.Int(1)}, "numbers": []any{1, uint8(2), 1.5}, "switch": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"list of maps": []any{map[string]any{"a": int64(1)}}, "strings": map[string]any{"a": "b"}, "list": []any{"a"},
		"named": "a", "pointer": "x", "nothing": nil, "no map": nil, "input": "a",
		"inputs": map[string]any{"a": int64(1)}, "numbers": []any{int64(1), uint64(2), 1.5}, "switch": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plain values (-want +got):\n%s", diff)
	}
	if got, err := Plain(nil); got != nil || err != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
}

func TestPlainRefuses(t *testing.T) {
	output := pulumi.String("x").ToStringOutput()
	for _, tt := range []struct {
		name     string
		document map[string]any
		want     string
	}{
		{
			"an output",
			map[string]any{"hub": map[string]any{"list": []any{"a", output}}},
			"hub.list[1]: a pulumi.StringOutput is not a value of YAML; give a plain value",
		},
		{
			"an output among inputs",
			map[string]any{"a": pulumi.StringMap{"b": output}},
			"a.b: a pulumi.StringOutput is not a value of YAML; give a plain value",
		},
		{"a function", map[string]any{"a": func() {}}, "a: a func() is not a value of YAML; give a plain value"},
		{"number as key", map[string]any{"a": map[int]any{1: 2}}, "a: keys of a map[int]interface {} are not strings"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Plain(tt.document); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
