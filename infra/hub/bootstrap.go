package hub

import (
	_ "embed"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// Bootstrap is what brings the client into the chart's own image, or a mirror's copy of it, at each start of the hub.
type Bootstrap struct {
	// Enabled says whether it runs. Without it, it runs in images whose name has the last part of StockImage, k8s-hub.
	Enabled *bool `json:"enabled,omitempty"`
	// Env are its variables by name, such as https_proxy or PIP_INDEX_URL. A value is a string, or a map with
	// valueFrom, as Kubernetes has it; nothing secret is a string, which anybody can read in the Deployment.
	Env map[string]any `json:"env,omitempty"`
}

// bootstrap makes the client available to the stock image.
//
//go:embed bootstrap.sh
var bootstrap string

// runtimeDir is where the bootstrap puts what the stock image lacks.
const runtimeDir = "/opt/outpost"

// bootstrapPackages is what the bootstrap installs unless the image has it: the client for the JupyterHub 5.5 of
// ChartVersion, and every package that it needs and JupyterHub does not, at the versions and with the hashes of
// images/hub/jupyterhub-5.5.txt. TestBootstrapPackages with -update copies both from there.
//
//go:embed bootstrap.txt
var bootstrapPackages string

// stockLacks are the lines of bootstrapPackages, one for each package: a version, and the hash of each of its files.
func stockLacks() []string {
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(bootstrapPackages, " \\\n   ", "")), "\n")
}

// bootstraps reports whether the hub's image is the chart's own, which does not have the client, or is said to lack
// it.
func (a Args) bootstraps() bool {
	if a.Bootstrap.Enabled != nil {
		return *a.Bootstrap.Enabled
	}
	return path.Base(a.image().Name) == path.Base(StockImage)
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// checkBootstrap finds variables without effect, and passwords that would be in clear text.
func (a Args) checkBootstrap() (faults []schema.Fault) {
	add := func(text string, path ...string) {
		faults = append(faults, schema.Fault{Path: append([]string{"bootstrap", "env"}, path...), Text: text})
	}
	if len(a.Bootstrap.Env) > 0 && !a.bootstraps() {
		add(fmt.Sprintf("has no effect: nothing is installed into image %s; remove it, or set bootstrap.enabled: true",
			a.image().Name))
		return faults
	}
	for _, name := range slices.Sorted(maps.Keys(a.Bootstrap.Env)) {
		text, _ := a.Bootstrap.Env[name].(string)
		if !variableName.MatchString(name) {
			add("is not the name of a variable; want letters, digits and '_'", name)
		} else if hasPassword(text) {
			add("has a password in it, which would be in clear text in the Deployment; put the URL into a Secret in "+
				"the hub's namespace and write {valueFrom: {secretKeyRef: {name: ..., key: ...}}}", name)
		}
	}
	return faults
}

// hasPassword reports whether a text has a URL with a password in it.
func hasPassword(text string) bool {
	return slices.ContainsFunc(strings.Fields(text), func(word string) bool {
		at, err := url.Parse(word)
		if err != nil || at.User == nil {
			return false
		}
		_, has := at.User.Password()
		return has
	})
}

// stockImageValues bring the client into the chart's own hub image by an init container of the same image, so that no
// other registry is needed. It downloads it at each start of the hub; an image of the recipe in images/hub does not.
func stockImageValues(a Args) map[string]any {
	image := a.image()
	container := map[string]any{
		"name":            "outpost-runtime",
		"image":           image.Name + ":" + image.Tag,
		"command":         bootstrapCommand(),
		"securityContext": restricted(map[string]any{"runAsUser": 1000, "runAsGroup": 1000}),
		"volumeMounts":    []any{map[string]any{"name": "outpost-runtime", "mountPath": runtimeDir}},
	}
	if policy := values.At(a.own(), "hub", "image", "pullPolicy"); policy != nil {
		container["imagePullPolicy"] = policy
	}
	if env := a.Bootstrap.env(); len(env) > 0 {
		container["env"] = env
	}
	return map[string]any{"initContainers": []any{container}, "extraEnv": stockImageEnv(a)}
}

// env are the variables as a container has them, in the order of their names.
func (b Bootstrap) env() []any {
	var made []any
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		variable := map[string]any{"name": name}
		if from, isMap := b.Env[name].(map[string]any); isMap {
			maps.Copy(variable, from)
		} else {
			variable["value"] = b.Env[name]
		}
		made = append(made, variable)
	}
	return made
}

// stockImageEnv are the variables of the bootstrap: a map or a list, as the operator's own are, which join them.
func stockImageEnv(a Args) any {
	if _, isList := values.At(a.own(), "hub", "extraEnv").([]any); isList {
		return []any{map[string]any{"name": "PYTHONUSERBASE", "value": runtimeDir}}
	}
	return map[string]any{"PYTHONUSERBASE": runtimeDir}
}

func bootstrapCommand() []any {
	command := []any{"sh", "-c", bootstrap, "bootstrap", runtimeDir}
	for _, requirement := range stockLacks() {
		command = append(command, requirement)
	}
	return command
}
