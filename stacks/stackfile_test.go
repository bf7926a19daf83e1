package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/schema"
)

// stackFileSchema is the schema of a whole stack file, for editors: that of the config with the names that keys have in
// a file, what Pulumi itself keeps there, and encrypted text where a key takes secrets.
func stackFileSchema(t *testing.T) []byte {
	t.Helper()
	var config map[string]any
	if err := json.Unmarshal([]byte(schemaText), &config); err != nil {
		t.Fatal(err)
	}
	encrypted := map[string]any{
		"description": "Text that `pulumi config set --secret` has encrypted.",
		"type":        "object", "additionalProperties": false, "required": []any{"secure"},
		"properties": map[string]any{"secure": map[string]any{"type": "string"}},
	}
	keys := map[string]any{}
	for name, at := range config["properties"].(map[string]any) {
		keys[project+":"+name] = takingSecrets(at, []string{name})
	}
	definitions := config["$defs"].(map[string]any)
	definitions["encrypted"] = encrypted
	names := strings.Join(slices.Sorted(maps.Keys(config["properties"].(map[string]any))), "|")
	ours := "^" + project + ":|^([Oo]utposts?|OUTPOSTS):(" + names + ")$"
	notOurs := map[string]any{"not": map[string]any{"pattern": ours}}
	text, err := json.MarshalIndent(map[string]any{
		"$schema": config["$schema"],
		"title":   "Stack file of project " + project + ": Pulumi.<stack>.yaml",
		"type":    "object", "additionalProperties": false,
		"properties": map[string]any{
			"config": map[string]any{
				"type": "object", "required": []any{project + ":cluster"}, "properties": keys,
				"propertyNames": map[string]any{
					"anyOf": []any{map[string]any{"enum": slices.Sorted(maps.Keys(keys))}, notOurs},
				},
			},
			"encryptionsalt":  map[string]any{"type": "string"},
			"encryptedkey":    map[string]any{"type": "string"},
			"secretsprovider": map[string]any{"type": "string"},
			"environment":     map[string]any{"type": []any{"array", "object"}},
		},
		"$defs": definitions,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// takingSecrets is a part of the schema at a path, with encrypted text as another form of each value that takes
// secrets.
func takingSecrets(part any, path []string) any {
	at, isMap := part.(map[string]any)
	if !isMap {
		return part
	}
	at = maps.Clone(at)
	if properties, has := at["properties"].(map[string]any); has {
		made := map[string]any{}
		for name, inner := range properties {
			made[name] = takingSecrets(inner, append(slices.Clip(path), name))
		}
		at["properties"] = made
	}
	if items, has := at["items"]; has {
		at["items"] = takingSecrets(items, append(slices.Clip(path), "0"))
	}
	if takesSecrets(path) {
		return map[string]any{
			"if":   map[string]any{"type": "object"},
			"then": map[string]any{"$ref": "#/$defs/encrypted"},
			"else": at,
		}
	}
	return at
}

// TestStackFileSchema holds the schema that editors are given for a whole stack file: it is that of the config, it
// accepts every committed file, and it finds what the program would refuse.
func TestStackFileSchema(t *testing.T) {
	text := stackFileSchema(t)
	infratest.Golden(t, filepath.Join("..", "stack.schema.json"), text)
	s := schema.Parse(string(text), formats...)
	files, err := filepath.Glob(filepath.Join(projectRoot(t), "docs", "examples", "*", "Pulumi.*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("examples: %v, %v", files, err)
	}
	for _, stack := range []string{"local", "remote"} {
		files = append(files, filepath.Join(projectRoot(t), "Pulumi."+stack+".yaml"))
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if faults := s.Check(parsed(t, string(content))); len(faults) > 0 {
			t.Errorf("%s is refused: %v", file, faults)
		}
	}
	const config = "config: {'outposts:cluster': {kubeconfig: a, context: b}, "
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"secrets", config + `'outposts:hubs': [{name: a, password: {secure: v1:x}}],
			'outposts:outpost': {cryptKeys: [{secure: v1:x}]}, 'outposts:hub': {url: 'https://a',
			exposure: {type: clusterIP}, values: {hub: {config: {A: {secret: {secure: v1:x}}}}}}}`, nil},
		{"a number for a word", config + "'outposts:outpost': {rotation: {cryptKey: 2}}}", nil},
		{"a service for keys", config + "}\nsecretsprovider: awskms://a\nencryptedkey: x\n", nil},
		{"a key of a mistyped project", config + "'outpost:hubs': []}", []string{
			`"outpost:hubs" is not an accepted name of a key`,
		}},
		{"a key that is not ours", config + "'aws:region': north}", nil},
		{"a mistyped key", config + "'outposts:outpost': {colour: a}}", []string{
			"config.outposts:outpost.colour: unknown key",
		}},
		{"a mistyped part", "confg: {}", []string{"confg: unknown key"}},
		{"a secret where none is taken", config + "'outposts:outpost': {name: {secure: v1:x}}}", []string{
			"config.outposts:outpost.name: got object, want string",
		}},
		{"no cluster", "config: {}", []string{"config.outposts:cluster is missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, fault := range s.Check(parsed(t, tt.text)) {
				said, _, _ := strings.Cut(fault.Error(), "; known keys")
				got = append(got, said)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

func parsed(t *testing.T, text string) any {
	t.Helper()
	var document any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(text, "\t", " ")), &document); err != nil {
		t.Fatal(err)
	}
	return document
}
