// Package component registers the components of this project with Pulumi.
package component

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// Register registers a component of a type. One that an earlier version made with the type former becomes it, and what
// is below that follows.
func Register(
	ctx *pulumi.Context, kind, former, name string, made pulumi.ComponentResource, opts ...pulumi.ResourceOption,
) error {
	was := pulumi.Aliases([]pulumi.Alias{{Type: pulumi.String(former)}})
	return ctx.RegisterComponentResource(kind, name, made, append([]pulumi.ResourceOption{was}, opts...)...)
}
