package main

import (
	"context"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Annotations that Pulumi's Kubernetes provider reads.
const (
	// skipAwait tells it not to wait for an object.
	skipAwait = "pulumi.com/skipAwait"
	// fieldManager names the owner of an object's fields. Without it the provider draws a name at random when it makes an
	// object: when it is killed before the name is kept, the next run is refused by the API server as somebody else.
	fieldManager = "pulumi.com/patchFieldManager"
)

// policy is the transform of every Kubernetes object, those that charts make included. Volume claims are protected
// unless config lets their data go: neither `destroy` nor a replacement takes them. Services are not waited for: the
// provider would wait ten seconds for endpoints, which the Deployments wait for anyway.
func policy(c Config) pulumi.ResourceTransform {
	return func(_ context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		if !args.Custom || !strings.HasPrefix(args.Type, "kubernetes:") {
			return nil
		}
		result := &pulumi.ResourceTransformResult{Props: annotated(args.Props, fieldManager, project), Opts: args.Opts}
		switch args.Type {
		case "kubernetes:core/v1:Service":
			result.Props = annotated(result.Props, skipAwait, "true")
		case "kubernetes:core/v1:PersistentVolumeClaim":
			result.Opts.Protect = !c.mayLose(objectOf(args.Props))
		}
		return result
	}
}
