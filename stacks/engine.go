package main

import (
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
)

// Calls of the engine that its SDKs make, and that nothing documents. The tests with the build tag e2e make each of
// them on the real engine: without an answer, what they read would be missing there.
const (
	// readStackOutputs is behind pulumi.StackReference.
	readStackOutputs = "pulumi:pulumi:readStackOutputs"
	// readStackResourceOutputs answers with the type and the outputs of each resource of a stack, by URN.
	readStackResourceOutputs = "pulumi:pulumi:readStackResourceOutputs"
)

// call makes a call of the engine, and waits for the outputs in the answer. They may hold secrets: what is kept of them
// must be marked again.
func call(ctx *pulumi.Context, token string, args map[string]any) (map[string]any, error) {
	result, err := await(ctx, ctx.InvokeOutput(token, args, pulumi.MapOutput{}, pulumi.InvokeOutputOptions{}))
	if err != nil {
		return nil, err
	}
	answer, _ := result.(map[string]any)
	outputs, _ := answer["outputs"].(map[string]any)
	return outputs, nil
}

// await waits for a value that is not known yet; nil for one that a preview cannot know.
func await(ctx *pulumi.Context, of pulumi.Output) (any, error) {
	result, err := internals.UnsafeAwaitOutput(ctx.Context(), of)
	return result.Value, err
}
