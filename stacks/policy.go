package main

import (
	"context"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// skipAwait is the annotation that tells Pulumi's Kubernetes provider not to wait for an object.
const skipAwait = "pulumi.com/skipAwait"

// policy is the transform of everything that charts make. Volume claims are protected unless config lets their data
// go: neither `destroy` nor a replacement takes them. Services are not waited for: the provider would wait ten seconds
// for endpoints, which the Deployments wait for anyway.
func policy(c Config) pulumi.ResourceTransform {
	return func(_ context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		switch args.Type {
		case "kubernetes:core/v1:Service":
			return &pulumi.ResourceTransformResult{Props: annotated(args.Props, skipAwait, "true"), Opts: args.Opts}
		case "kubernetes:core/v1:PersistentVolumeClaim":
			opts := args.Opts
			opts.Protect = !c.mayLose(objectOf(args.Props))
			return &pulumi.ResourceTransformResult{Props: args.Props, Opts: opts}
		}
		return nil
	}
}
