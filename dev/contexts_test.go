package dev

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// contextsCase is a run of dev/contexts.
type contextsCase struct {
	name    string
	args    []string
	stack   string   // in place of the committed one
	kubectl string   // lines of the program, in place of one that knows the addresses of all clusters
	image   string   // repository and tag, as the stacks have them
	loaded  []string // commands that make and load the image
	refused string   // in the output
}

var contextsCases = []contextsCase{
	{
		name: "kind", args: []string{"kind-a", "kind-b"}, image: `localhost/outposts/outpost, tag: "dev"`,
		loaded: []string{
			"make image",
			"kind load image-archive .state/images/outpost.tar --name a",
			"kind load image-archive .state/images/outpost.tar --name b",
		},
	},
	{
		name: "k3d", args: []string{"k3d-a", "k3d-b"}, image: `localhost/outposts/outpost, tag: "dev"`,
		loaded: []string{
			"make image",
			"k3d image import .state/images/outpost.tar --cluster a",
			"k3d image import .state/images/outpost.tar --cluster b",
		},
	},
	{
		name: "image", args: []string{"arn:aws:eks:x/a&b", "b", "r.example.org:5000/outposts/outpost:0.1"},
		image: `r.example.org:5000/outposts/outpost, tag: "0.1"`,
	},
	{name: "one", args: []string{"a"}, refused: "dev/contexts LOCAL REMOTE [IMAGE]: "},
	{name: "twice", args: []string{"kind-a", "kind-a"}, refused: "contexts: kind-a is given twice; "},
	{
		name: "neither", args: []string{"kind-a", "b"},
		refused: "contexts: context b is of neither kind nor k3d: push an image with make image-push",
	},
	{name: "no tag", args: []string{"a", "b", "r:5000/o"}, refused: "contexts: IMAGE=r:5000/o has no tag"},
	{name: "quote", args: []string{`a"`, "b", "r/o:1"}, refused: `contexts: context a": quotes and backslashes are`},
	{
		name: "stacks of others", args: []string{"kind-a", "kind-b"}, stack: "config: {}\n",
		refused: "contexts: Pulumi.local.yaml is of other clusters already; git checkout Pulumi.local.yaml",
	},
	{
		name: "no address", args: []string{"kind-a", "kind-b"}, kubectl: "echo fd00::1",
		refused: "contexts: context kind-a: its nodes have no InternalIP of IPv4",
	},
	{
		name: "no context", args: []string{"kind-a", "kind-b"}, kubectl: `echo "no context $2" >&2; exit 1`,
		refused: "no context kind-a",
	},
}

// TestContexts holds what the stacks of two given contexts are, what is loaded into their clusters, and that a refused
// run changes neither.
func TestContexts(t *testing.T) {
	for _, c := range contextsCases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, "dirname", "mkdir", "awk", "grep", "mv")
			top := t.TempDir()
			m.program(t, "kubectl", or(c.kubectl,
				`echo fd00::1; case $2 in *a*) echo 10.9.0.1 ;; *) echo 10.9.0.2 ;; esac; echo 10.9.0.3`))
			for _, name := range []string{"make", "kind", "k3d"} {
				m.program(t, name, "echo "+name+` "$@" >>`+top+"/loaded")
			}
			for _, name := range []string{
				"dev/contexts", "dev/stack", "docs/examples/nodeport/Pulumi.local.yaml",
				"docs/examples/nodeport/Pulumi.remote.yaml",
			} {
				write(t, filepath.Join(top, name), read(t, filepath.Join("..", name)))
			}
			want := map[string]string{}
			for _, stack := range []string{"local", "remote"} {
				file := "Pulumi." + stack + ".yaml"
				want[file] = or(c.stack, read(t, filepath.Join("..", file)))
				write(t, filepath.Join(top, file), want[file])
			}
			out, code := m.run(t, append([]string{filepath.Join(top, "dev/contexts")}, c.args...)...)
			if !strings.Contains(out, c.refused) || (code != 0) != (c.refused != "") {
				t.Errorf("exit %d, got %q, want %q", code, out, c.refused)
			}
			if c.refused == "" {
				want = c.stacks(t)
			}
			for file, text := range want {
				if diff := cmp.Diff(text, read(t, filepath.Join(top, file))); diff != "" {
					t.Errorf("%s (-want +got)\n%s", file, diff)
				}
			}
			var loaded []string
			if there(filepath.Join(top, "loaded")) {
				loaded = strings.Split(strings.TrimSpace(read(t, filepath.Join(top, "loaded"))), "\n")
			}
			if diff := cmp.Diff(c.loaded, loaded); diff != "" {
				t.Errorf("loaded (-want +got)\n%s", diff)
			}
		})
	}
}

// stacks are the example's, of the contexts of the case.
func (c contextsCase) stacks(t *testing.T) map[string]string {
	t.Helper()
	image := "  outposts:outpost:\n    image: {repository: " + c.image + "}\n"
	given := strings.NewReplacer(
		"    kubeconfig: ~/.kube/config\n", "", "192.0.2.5", "10.9.0.1", "198.51.100.7", "10.9.0.2",
		"context: myjupyterhub", `context: "`+c.args[0]+`"`, "context: myremoteoutpost", `context: "`+c.args[1]+`"`,
		"  outposts:outpost:\n", image)
	return map[string]string{
		"Pulumi.local.yaml":  given.Replace(read(t, "../docs/examples/nodeport/Pulumi.local.yaml")) + image,
		"Pulumi.remote.yaml": given.Replace(read(t, "../docs/examples/nodeport/Pulumi.remote.yaml")),
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
