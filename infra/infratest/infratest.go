// Package infratest runs Pulumi programs without an engine and records what they register, for the tests of infra and
// stacks.
package infratest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite golden files")

// Registered is one resource that a program registered.
type Registered struct {
	Type, Name string
	Parent     string // name of the parent; empty for a child of the stack
	Provider   string // name of the explicit provider; empty for the default or none
	Protected  bool
	DependsOn  []string // names, sorted
	Inputs     resource.PropertyMap
}

// Recorder is a monitor that accepts everything and remembers it. Random bytes are a function of the resource's name,
// so that a run is repeatable. The zero value is ready for use.
type Recorder struct {
	// Stacks has the outputs of other stacks by full name, all of them secret; a stack that is not here is unknown.
	Stacks map[string]map[string]any
	// Made has the resources that the stack itself has from before: URN to a map with type and outputs.
	Made map[string]any
	// Fails is a type of resource that cannot be made.
	Fails string

	mu        sync.Mutex
	resources []Registered
}

// NewResource implements pulumi.MockResourceMonitor.
func (r *Recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	if args.TypeToken == r.Fails {
		return "", nil, fmt.Errorf("%s cannot be made", args.TypeToken)
	}
	state := args.Inputs.Copy()
	if args.TypeToken == "random:index/randomBytes:RandomBytes" {
		seed := make([]byte, 32)
		copy(seed, "seed of "+args.Name)
		state["base64"] = resource.MakeSecret(resource.NewProperty(base64.StdEncoding.EncodeToString(seed)))
		state["hex"] = resource.MakeSecret(resource.NewProperty(fmt.Sprintf("%x", seed)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	made := Registered{Type: args.TypeToken, Name: args.Name, Provider: nameOf(args.Provider), Inputs: args.Inputs}
	if args.RegisterRPC != nil {
		made.Parent = nameOf(args.RegisterRPC.GetParent())
		made.Protected = args.RegisterRPC.GetProtect()
		for _, urn := range args.RegisterRPC.GetDependencies() {
			made.DependsOn = append(made.DependsOn, nameOf(urn))
		}
		slices.Sort(made.DependsOn)
	}
	r.resources = append(r.resources, made)
	return args.Name + "-id", state, nil
}

// Call implements pulumi.MockResourceMonitor: it answers what a stack has made so far, and what another one tells.
func (r *Recorder) Call(args pulumi.MockCallArgs) (resource.PropertyMap, error) {
	outputs := resource.PropertyMap{}
	switch args.Token {
	case "pulumi:pulumi:readStackResourceOutputs":
		outputs = resource.NewPropertyMapFromMap(r.Made)
	case "pulumi:pulumi:readStackOutputs":
		name := args.Args["name"].StringValue()
		stack, known := r.Stacks[name]
		if !known {
			return nil, fmt.Errorf("unknown stack %q", name)
		}
		for key, value := range stack {
			outputs[resource.PropertyKey(key)] = resource.MakeSecret(resource.NewPropertyValue(value))
		}
	default:
		return nil, fmt.Errorf("unexpected call of %s", args.Token)
	}
	return resource.PropertyMap{"outputs": resource.NewProperty(outputs)}, nil
}

// Resources returns what was registered, by type and name.
func (r *Recorder) Resources() []Registered {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(slices.Values(r.resources), func(a, b Registered) int {
		return strings.Compare(a.Type+" "+a.Name, b.Type+" "+b.Name)
	})
}

// List is the resources one a line: type, name, and what is special about it.
func (r *Recorder) List() string {
	var b strings.Builder
	for _, made := range r.Resources() {
		fmt.Fprintf(&b, "%s %s", made.Type, made.Name)
		if made.Parent != "" {
			fmt.Fprintf(&b, " in %s", made.Parent)
		}
		if made.Provider != "" {
			fmt.Fprintf(&b, " by %s", made.Provider)
		}
		if made.Protected {
			b.WriteString(" protected")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Await returns what an output is in the end.
func Await(ctx *pulumi.Context, output pulumi.Output) (any, error) {
	result, err := internals.UnsafeAwaitOutput(ctx.Context(), output)
	return result.Value, err
}

// Find returns the resource of this type and name.
func (r *Recorder) Find(t *testing.T, typeToken, name string) Registered {
	t.Helper()
	for _, made := range r.Resources() {
		if made.Type == typeToken && made.Name == name {
			return made
		}
	}
	t.Fatalf("no resource %s %s; there are:\n%s", typeToken, name, r.List())
	return Registered{}
}

// Secrets returns what is in the Secrets that were registered: every string of 16 characters or more.
func (r *Recorder) Secrets() []string {
	var found []string
	for _, made := range r.Resources() {
		if made.Type != "kubernetes:core/v1:Secret" {
			continue
		}
		eachText(made.Inputs["stringData"], true, func(text string) {
			if len(text) >= 16 {
				found = append(found, text)
			}
		})
	}
	return found
}

// ClearTexts returns all strings of a value that are not marked secret.
func ClearTexts(v resource.PropertyValue) []string {
	var found []string
	eachText(v, false, func(text string) { found = append(found, text) })
	return found
}

func eachText(v resource.PropertyValue, secrets bool, see func(string)) {
	switch {
	case v.IsSecret():
		if secrets {
			eachText(v.SecretValue().Element, secrets, see)
		}
	case v.IsOutput():
		eachText(v.OutputValue().Element, secrets, see)
	case v.IsString():
		see(v.StringValue())
	case v.IsAsset():
		see(v.AssetValue().Text)
	case v.IsObject():
		for _, value := range v.ObjectValue() {
			eachText(value, secrets, see)
		}
	case v.IsArray():
		for _, value := range v.ArrayValue() {
			eachText(value, secrets, see)
		}
	}
}

// Run runs a program on the recorder, in project outposts.
func (r *Recorder) Run(stack string, program pulumi.RunFunc, opts ...pulumi.RunOption) error {
	return pulumi.RunErr(program, append([]pulumi.RunOption{pulumi.WithMocks("outposts", stack, r)}, opts...)...)
}

// nameOf is the last part of a URN, or of a provider reference ("urn::id").
func nameOf(reference string) string {
	if reference == "" || strings.Contains(reference, "pulumi:pulumi:Stack::") {
		return ""
	}
	parts := strings.Split(reference, "::")
	if len(parts) < 4 {
		return reference
	}
	return parts[3]
}

// Values returns the values that a chart is given, as plain values of YAML; what is marked secret is shown.
func Values(t *testing.T, chart Registered) map[string]any {
	t.Helper()
	files := chart.Inputs["valueYamlFiles"]
	if files.IsSecret() {
		files = files.SecretValue().Element
	}
	if !files.IsArray() || len(files.ArrayValue()) != 1 {
		t.Fatalf("values of chart %s: %v", chart.Name, files)
	}
	made, _ := plain(files.ArrayValue()[0]).(map[string]any)
	return made
}

// JSON writes inputs for a golden file: secrets are marked and shown, since every seed here is known.
func JSON(t *testing.T, inputs resource.PropertyMap) []byte {
	t.Helper()
	text, err := json.MarshalIndent(plain(resource.NewProperty(inputs)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func plain(v resource.PropertyValue) any {
	switch {
	case v.IsSecret():
		return map[string]any{"secret": plain(v.SecretValue().Element)}
	case v.IsOutput():
		return plain(v.OutputValue().Element)
	case v.IsAsset():
		var made any
		if err := yaml.Unmarshal([]byte(v.AssetValue().Text), &made); err != nil {
			return v.AssetValue().Text
		}
		return made
	case v.IsObject():
		made := map[string]any{}
		for key, value := range v.ObjectValue() {
			made[string(key)] = plain(value)
		}
		return made
	case v.IsArray():
		made := []any{}
		for _, value := range v.ArrayValue() {
			made = append(made, plain(value))
		}
		return made
	default:
		return v.V
	}
}

// Golden compares a text with testdata/<name>; with -update it writes it.
func Golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}
