package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/cluster"
)

// ClusterConfig says how the cluster of a stack is reached: by a kubeconfig, by the output of another stack that has
// one, or, with neither, as kubectl does.
type ClusterConfig struct {
	Kubeconfig string `json:"kubeconfig"` // path, relative to the project's folder, or content
	Context    string `json:"context"`    // default: the only one
	Stack      string `json:"stack"`      // organization/project/stack
	Output     string `json:"output"`     // of Stack; default kubeconfig
	// Adopt is the uid of another cluster than that of the state, which the stack is to go to.
	Adopt string `json:"adopt"`
}

// String names the cluster in messages.
func (c ClusterConfig) String() string {
	switch {
	case c.Context != "":
		return "context " + c.Context
	case c.Stack != "":
		return "the cluster of stack " + c.Stack
	}
	return "the current context"
}

// hasContent reports whether the kubeconfig itself is in the config.
func (c ClusterConfig) hasContent() bool { return strings.ContainsAny(c.Kubeconfig, "\n{") }

func (c ClusterConfig) validate(f *faults) {
	if c.Stack != "" && c.Kubeconfig != "" {
		f.add("cluster: want either kubeconfig or stack")
	}
	f.addNoEffect("cluster.output", c.Output != "" && c.Stack == "", "it is of the stack that is missing")
}

// access is how the cluster is reached. An error begins with the key.
func (c ClusterConfig) access(ctx *pulumi.Context) (cluster.Access, error) {
	access := cluster.Access{Context: c.Context}
	var err error
	switch {
	case c.Stack != "":
		access.Content, err = kubeconfigOf(ctx, c.Stack, c.Output)
	case c.hasContent():
		access.Content = c.Kubeconfig
	case c.Kubeconfig != "":
		access.Path, err = fromHere(ctx.RootDirectory(), c.Kubeconfig)
	}
	return access, err
}

// fromHere is a path of config as it is seen from the folder in which Pulumi runs the program, and its providers. One
// that is relative to the project's folder stays so: the project may be elsewhere for another operator.
func fromHere(root, path string) (string, error) {
	if filepath.IsAbs(path) || strings.HasPrefix(path, "~/") {
		return path, nil
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for _, folder := range []*string{&here, &root} {
		if resolved, err := filepath.EvalSymlinks(*folder); err == nil {
			*folder = resolved
		}
	}
	up, err := filepath.Rel(here, root)
	return filepath.Join(up, path), err
}

// kubeconfigOf returns the output of another stack that has a kubeconfig, as text.
func kubeconfigOf(ctx *pulumi.Context, stack, output string) (string, error) {
	if output == "" {
		output = "kubeconfig"
	}
	at := fmt.Sprintf("stack: %s", stack)
	outputs, err := stackOutputs(ctx, stack)
	if err != nil {
		return "", fmt.Errorf("%s cannot be read; run `pulumi up` on it first: %w", at, err)
	}
	switch v := outputs[output].(type) {
	case nil:
		return "", fmt.Errorf("%s has no output %q; it has: %s", at, output,
			strings.Join(slices.Sorted(maps.Keys(outputs)), ", "))
	case string:
		return v, nil
	case map[string]any:
		if len(v) == 0 {
			return "", fmt.Errorf("%s %w", at, errElided)
		}
		text, err := json.Marshal(v)
		return string(text), err
	default:
		return "", fmt.Errorf("%s: output %q is not a kubeconfig", at, output)
	}
}
