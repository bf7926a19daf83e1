//go:build e2e

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/cluster"
)

// renderVariable names the folder that the program's Kubernetes provider writes objects to, in place of a cluster.
const renderVariable = "OUTPOSTS_TEST_RENDER"

// clusterVariable is the uid of the cluster that the program is told of; empty for that of testWorld.
const clusterVariable = "OUTPOSTS_TEST_CLUSTER"

// slowVariable says that the tunnels of the hub come late: when something of the hub's chart that must wait for them is
// there already, or it has had the time to be.
const slowVariable = "OUTPOSTS_TEST_SLOW"

// waiting are the files of what waits for the tunnels.
const waiting = `-(secret|networkpolicy|deployment)-jupyter-(hub|proxy|singleuser)\.yaml$`

// TestMain is the program of these tests, when Pulumi runs this binary, and the tests otherwise.
func TestMain(m *testing.M) {
	if os.Getenv(pulumi.EnvMonitor) != "" {
		pulumi.Run(rendered)
		return
	}
	os.Exit(m.Run())
}

// rendered is the program, in a world whose cluster is a folder: charts are rendered, and what would be written to the
// cluster is written there.
func rendered(ctx *pulumi.Context) error {
	err := ctx.RegisterResourceTransform(
		func(_ context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
			if args.Type != "pulumi:providers:kubernetes" {
				return nil
			}
			props := with(args.Props, "renderYamlToDirectory",
				pulumi.String(filepath.Join(os.Getenv(renderVariable), ctx.Stack())))
			delete(props, "kubeconfig")
			delete(props, "context")
			return &pulumi.ResourceTransformResult{Props: props, Opts: args.Opts}
		})
	if err != nil {
		return err
	}
	if os.Getenv(slowVariable) != "" {
		folder := filepath.Join(os.Getenv(renderVariable), ctx.Stack())
		if err := ctx.RegisterResourceTransform(slow(folder)); err != nil {
			return err
		}
	}
	w := realWorld()
	w.open = testWorld(nil).open
	if uid := os.Getenv(clusterVariable); uid != "" {
		w.open = func(cluster.Access) (clusterAPI, error) { return fakeCluster{identity: uid}, nil }
	}
	return run(w)(ctx)
}

// slow is the transform of the tunnels that slowVariable asks for; folder is where objects are written.
func slow(folder string) pulumi.ResourceTransform {
	early := regexp.MustCompile(waiting)
	return func(ctx context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		if args.Type != "kubernetes:apps/v1:Deployment" || !strings.HasSuffix(args.Name, "/outposts-hub-tunnels") {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		for ctx.Err() == nil {
			files, _ := filepath.Glob(filepath.Join(folder, "1-manifest", "*")) // the pattern is one
			if slices.ContainsFunc(files, early.MatchString) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	}
}

// engine is a project whose stacks the real engine and its providers apply to a folder.
type engine struct {
	dir     string
	pulumi  string // the program that runs Pulumi
	env     []string
	configs map[string]map[string]string // by stack, as the program gets them; saved by set and save
}

// newEngine makes a project of the committed stacks.
func newEngine(t *testing.T) *engine {
	t.Helper()
	root := projectRoot(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{
		dir: t.TempDir(), pulumi: filepath.Join(root, "dev", "run"),
		configs: map[string]map[string]string{
			"local": committedConfig(t, "local"), "remote": committedConfig(t, "remote"),
		},
	}
	backend := filepath.Join(e.dir, "state")
	e.env = append(os.Environ(), renderVariable+"="+filepath.Join(e.dir, "cluster"),
		"PULUMI_BACKEND_URL=file://"+backend, "PULUMI_CONFIG_PASSPHRASE=", "OUTPOSTS_STATE="+e.dir)
	for _, chart := range []string{"charts/outpost", "charts/outposts-hub", "e2e/charts/hub"} {
		copyChart(t, filepath.Join(root, chart), filepath.Join(e.dir, chart))
	}
	const module = "infra/hub/outpost_hub" // to which charts/outposts-hub has a link
	if err := os.CopyFS(filepath.Join(e.dir, module), os.DirFS(filepath.Join(root, module))); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(backend, 0o755); err != nil {
		t.Fatal(err)
	}
	e.write(t, "Pulumi.yaml", map[string]any{
		"name": project, "runtime": map[string]any{"name": "go", "options": map[string]any{"binary": program}},
	})
	for _, stack := range []string{"local", "remote"} {
		e.run(t, stack, "stack", "init")
		e.set(t, stack, "cluster.kubeconfig", filepath.Join(e.dir, "kubeconfig"))
	}
	return e
}

// versionOfCluster is the line by which a chart asks for a version of Kubernetes; without a cluster there is none.
var versionOfCluster = regexp.MustCompile(`(?m)^kubeVersion:.*$`)

func copyChart(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(to, "Chart.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, versionOfCluster.ReplaceAll(text, nil), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (e *engine) write(t *testing.T, name string, document any) {
	t.Helper()
	text, err := yaml.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.dir, name), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// set changes a key of a stack's config, as change does.
func (e *engine) set(t *testing.T, stack, key, value string) {
	t.Helper()
	change(t, e.configs[stack], key, value)
	e.save(t, stack)
}

// save writes the file of a stack.
func (e *engine) save(t *testing.T, stack string) {
	t.Helper()
	file := map[string]any{}
	for key, text := range e.configs[stack] {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			value = text
		}
		file[key] = value
	}
	e.write(t, "Pulumi."+stack+".yaml", map[string]any{"config": file})
}

// run runs Pulumi on a stack and returns what it prints.
func (e *engine) run(t *testing.T, stack string, args ...string) string {
	t.Helper()
	out, err := e.try(t, stack, args...)
	if err != nil {
		t.Fatalf("pulumi %s on %s: %v", strings.Join(args, " "), stack, err)
	}
	return out
}

// try runs Pulumi on a stack; its error has all that it prints.
func (e *engine) try(t *testing.T, stack string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), e.pulumi,
		slices.Concat([]string{"pulumi"}, args, []string{"--non-interactive", "-s", stack})...)
	cmd.Dir, cmd.Env = e.dir, e.env
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w\n%s%s", err, out, &complaint)
	}
	return string(out), nil
}

// object is what the program has written of an object: "Deployment jupyter/hub".
func (e *engine) object(t *testing.T, stack, name string) map[string]any {
	t.Helper()
	kind, rest, _ := strings.Cut(name, " ")
	namespace, object, _ := strings.Cut(rest, "/")
	pattern := filepath.Join(e.dir, "cluster", stack, "1-manifest",
		fmt.Sprintf("*-%s-%s-%s.yaml", strings.ToLower(kind), namespace, object))
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var made map[string]any
	if err := yaml.Unmarshal(text, &made); err != nil {
		t.Fatal(err)
	}
	return made
}

// preview is what an `up` of a stack would do, a step a line, and what Pulumi complains about.
func (e *engine) preview(t *testing.T, stack string) string {
	t.Helper()
	var planned struct {
		Steps       []struct{ Op, URN string }
		Diagnostics []struct{ Severity, Message string }
	}
	out := e.run(t, stack, "preview", "--json")
	if err := json.Unmarshal([]byte(out), &planned); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := []string{}
	for _, step := range planned.Steps {
		parts := strings.SplitN(step.URN, "::", 4)
		types := strings.Split(parts[2], "$")
		if step.Op != "same" {
			lines = append(lines, fmt.Sprintf("%s %s %s\n", step.Op, types[len(types)-1], parts[3]))
		}
	}
	for _, said := range planned.Diagnostics {
		if !expected.MatchString(said.Message) {
			lines = append(lines, said.Message)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// expected are what the program itself warns about, and that a folder is no place for secrets.
var expected = regexp.MustCompile(`^warning: (outposts:|rendered (YAML|file) )`)

// up applies a stack, with its preview as people do.
func (e *engine) up(t *testing.T, stack string) {
	t.Helper()
	e.run(t, stack, "up", "--yes")
}
