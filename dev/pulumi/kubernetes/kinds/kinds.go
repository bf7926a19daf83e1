// Package v2 is what the provider needs of the package yaml/v2 of its own SDK. The SDK's has a type for each kind of
// Kubernetes, which takes a third of the provider's build; what is used of a type is its name. build.sh compiles this
// file in the place of the SDK's, with the SDK's IsListKind behind it.
package v2

import (
	"fmt"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiextensions"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// RegisterResource registers an object of any kind, under the name of the type that the SDK has for it.
func RegisterResource(ctx *pulumi.Context, apiVersion, kind, name string, props pulumi.Input,
	opts ...pulumi.ResourceOption) (pulumi.CustomResource, error) {
	if apiVersion == "v1" {
		apiVersion = "core/v1"
	}
	var object apiextensions.CustomResource
	token := fmt.Sprintf("kubernetes:%s:%s", apiVersion, kind)
	if err := ctx.RegisterResource(token, name, props, &object, opts...); err != nil {
		return nil, err
	}
	return &object, nil
}
