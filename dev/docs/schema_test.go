package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/charts"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// document is a JSON schema that is written as tables: one for each group of keys, and one for each definition that
// has keys of its own, which several places name.
type document struct {
	top      map[string]any
	defaults map[string]any // as values.yaml has them; nil for none
	prefix   string         // before each key
	named    []string       // definitions that are still to be written, each once
	options  bool           // the keys that are being written are options of a server
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var schema map[string]any
	if err := json.Unmarshal([]byte(text), &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

func stackConfig(t *testing.T) string {
	const file = "stacks/config.schema.json"
	b := page("Stack config",
		"Keys of `Pulumi.<stack>.yaml`. What is not listed is refused, with all other faults at once. Editors "+
			"complete and check a file whose first line is `# yaml-language-server: "+
			"$schema=stacks/stack.schema.json`.",
		file)
	d := document{top: parse(t, read(t, file)), prefix: "outposts:"}
	d.write(b, d.top)
	return b.String()
}

func outpostValues(t *testing.T) string {
	b := page("Values of the chart outpost",
		"What [charts/outpost](../../charts/outpost/README.md) accepts; with Pulumi, what "+
			"`outposts:outpost.values` does. `config`, `flavors` and `credits` have [a page of their "+
			"own](outpost-config.md).",
		"charts/outpost/values.schema.json", "charts/outpost/values.yaml")
	d := document{top: parse(t, charts.OutpostSchema), defaults: values(t, charts.OutpostValues)}
	own := maps.Clone(object(d.top["properties"]))
	for _, file := range files {
		delete(own, file)
	}
	d.write(b, map[string]any{"properties": own})
	return b.String()
}

func hubValues(t *testing.T) string {
	b := page("Values of the chart outposts-hub",
		"What [charts/outposts-hub](../../charts/outposts-hub/README.md) accepts.",
		"charts/outposts-hub/values.schema.json", "charts/outposts-hub/values.yaml")
	d := document{top: parse(t, charts.HubSchema), defaults: values(t, charts.HubValues)}
	d.write(b, d.top)
	return b.String()
}

// files are the values of the outpost's chart that become files of the outpost.
var files = []string{"config", "flavors", "credits"}

func outpostConfig(t *testing.T) string {
	b := page("Configuration of the outpost",
		"Three files of the outpost, which are data in the values of its chart (`config`, `flavors`, `credits`) "+
			"and in the stack config (`outposts:outpost.config`, `.flavors`, `.credits`). `outpost check-config` "+
			"checks them, and so does each `pulumi up` and `helm upgrade` before anything is changed. What the "+
			"options of a server do is said by "+
			"[KubeSpawner](https://jupyterhub-kubespawner.readthedocs.io/en/latest/spawner.html), whose names they "+
			"have, and by [protocol.md](../protocol.md) 2.5, where an outpost differs.",
		"charts/outpost/values.schema.json")
	d := document{top: parse(t, charts.OutpostSchema), defaults: values(t, charts.OutpostValues)}
	own := map[string]any{}
	for _, file := range files {
		own[file] = object(d.top["properties"])[file]
	}
	d.write(b, map[string]any{"properties": own})
	return b.String()
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// write writes the keys of an object, and then the definitions that they name.
func (d *document) write(b *strings.Builder, at map[string]any) {
	properties := object(at["properties"])
	var single [][]string
	var groups []string
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		if d.deeper(object(properties[key])) {
			groups = append(groups, key)
			continue
		}
		single = append(single, d.row(d.prefix+key, object(properties[key]), d.defaults[key]))
	}
	if len(single) > 0 {
		b.WriteString("\n## Keys without a group\n")
		table(b, d.heads(), single)
	}
	for _, key := range groups {
		schema := object(properties[key])
		fmt.Fprintf(b, "\n## %s%s\n\n%s\n", d.prefix, key, d.text(schema))
		d.group(b, schema, d.defaults[key])
	}
	for i := 0; i < len(d.named); i++ { // each may name more
		name := d.named[i]
		schema := d.definition(name)
		fmt.Fprintf(b, "\n## %s\n\n%s\n", name, d.text(schema))
		d.defaults, d.options = nil, name == "spawner"
		d.group(b, schema, nil)
	}
}

// heads are those of the tables, without defaults where none are known.
func (d *document) heads() []string {
	if d.defaults == nil {
		return []string{"key", "what it is", "type"}
	}
	return []string{"key", "what it is", "type", "default"}
}

// group writes the keys below one.
func (d *document) group(b *strings.Builder, at map[string]any, defaults any) {
	var rows [][]string
	d.below(&rows, "", at, defaults)
	table(b, d.heads(), rows)
}

// below adds the keys below a path.
func (d *document) below(rows *[][]string, path string, at map[string]any, defaults any) {
	if named, ok := d.own(at); ok {
		if path != "" {
			return // a table of its own
		}
		at = d.definition(named)
	}
	if then := object(at["then"]); then != nil {
		at = then
	}
	known, _ := defaults.(map[string]any)
	properties := object(at["properties"])
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		schema := object(properties[key])
		full := strings.TrimPrefix(path+"."+key, ".")
		*rows = append(*rows, d.row(full, schema, known[key]))
		if !copied(schema) {
			d.below(rows, full, schema, known[key])
		}
	}
	if item := object(at["items"]); item != nil {
		d.below(rows, path+"[]", item, nil)
	}
	if entry, ok := at["additionalProperties"].(map[string]any); ok {
		d.below(rows, strings.TrimPrefix(path+".NAME", "."), entry, nil)
	}
}

// copied reports whether an object repeats the options of a server without saying anything of them.
func copied(schema map[string]any) bool {
	properties := object(schema["properties"])
	for _, property := range properties {
		if len(object(property)) > 0 {
			return false
		}
	}
	return len(properties) > 20
}

// deeper reports whether there are keys below one.
func (d *document) deeper(schema map[string]any) bool {
	var rows [][]string
	named := len(d.named)
	d.below(&rows, "", schema, nil)
	d.named = d.named[:named]
	return len(rows) > 0
}

// row is the row of a key.
func (d *document) row(key string, schema map[string]any, byDefault any) []string {
	text := d.text(schema)
	last := key[strings.LastIndexAny(key, ".:")+1:]
	if text == "" && d.options && slices.Contains(options.Idle(), last) {
		text = "Accepted, and of no effect in an outpost."
	}
	row := []string{code(key), text, d.kind(schema)}
	if d.defaults != nil {
		row = append(row, code(short(byDefault)))
	}
	return row
}

// short is a default as one would type it; empty for none and for one that the rows below say.
func short(value any) string {
	if entries, ok := value.(map[string]any); ok && len(entries) > 0 || value == nil {
		return ""
	}
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it was read from JSON
	}
	return string(text)
}

// text is what a schema says of itself, with the form that is wanted.
func (d *document) text(schema map[string]any) string {
	description, _ := schema["description"].(string)
	title, _ := schema["title"].(string)
	if ref, ok := schema["$ref"].(string); ok {
		general := d.definition(name(ref))
		if description == "" {
			description, _ = general["description"].(string)
		}
		if title == "" {
			title, _ = general["title"].(string)
		}
	}
	switch {
	case title == "" || strings.Contains(description, title):
		return description
	case description == "":
		return strings.ToUpper(title[:1]) + title[1:] + "."
	}
	return description + " Form: " + title + "."
}

// own returns the name of the definition that a schema refers to, if that has keys and so a table of its own.
func (d *document) own(schema map[string]any) (string, bool) {
	ref, ok := schema["$ref"].(string)
	if !ok || strings.HasPrefix(name(ref), "kubernetes.") {
		return "", false
	}
	definition := d.definition(name(ref))
	if definition["properties"] == nil && definition["then"] == nil {
		return "", false
	}
	return name(ref), true
}

// kind is the type of a value, with a link to the table that describes it.
func (d *document) kind(schema map[string]any) string {
	if ref, ok := schema["$ref"].(string); ok {
		of := name(ref)
		if kubernetes, ok := strings.CutPrefix(of, "kubernetes."); ok {
			return kubernetes + " of Kubernetes"
		}
		if _, own := d.own(schema); own {
			if !slices.Contains(d.named, of) {
				d.named = append(d.named, of)
			}
			return fmt.Sprintf("[%s](#%s)", of, strings.ToLower(of))
		}
		return d.kind(d.definition(of))
	}
	if words, ok := schema["enum"].([]any); ok {
		return strings.Join(each(words, func(word any) string { return code(short(word)) }), ", ")
	}
	for _, choice := range []string{"anyOf", "oneOf"} {
		if some, ok := schema[choice].([]any); ok {
			return strings.Join(each(some, func(one any) string { return d.kind(object(one)) }), " or ")
		}
	}
	if schema["type"] == nil {
		return "any"
	}
	types, several := schema["type"].([]any)
	if !several {
		types = []any{schema["type"]}
	}
	return strings.Join(each(types, func(one any) string { return d.one(one.(string), schema) }), " or ")
}

// one is one of the types of a value.
func (d *document) one(kind string, schema map[string]any) string {
	if item := object(schema["items"]); kind == "array" && item != nil {
		return "list of " + d.kind(item)
	}
	if entry, ok := schema["additionalProperties"].(map[string]any); kind == "object" && ok {
		return "map to " + d.kind(entry)
	}
	if general, ok := map[string]string{"array": "list", "object": "map"}[kind]; ok {
		return general
	}
	return kind
}

func (d *document) definition(name string) map[string]any {
	for _, key := range []string{"$defs", "definitions"} {
		if found := object(object(d.top[key])[name]); found != nil {
			return found
		}
	}
	panic("no definition " + name)
}

func name(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

func object(value any) map[string]any {
	found, _ := value.(map[string]any)
	return found
}

func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, one := range list {
		out[i] = f(one)
	}
	return out
}
