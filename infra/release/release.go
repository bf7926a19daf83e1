// Package release installs a chart together with the Secrets that it refers to by name.
package release

import (
	"context"
	"fmt"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	helmv4 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"
)

// SealedBy is the output of a component that names the word of the key its data is sealed with.
const SealedBy = "sealedBy"

// Args are a chart and what it needs.
type Args struct {
	// Chart is all but the values.
	Chart *helmv4.ChartArgs
	// Values are the values of the chart, as values.Plain makes them. They reach it as a values file, in which null
	// takes away a default of the chart; as arguments of Pulumi they would lose their nulls.
	Values map[string]any
	// SecretValues says that something in Values is secret.
	SecretValues bool
	// Secrets are made in the chart's namespace.
	Secrets []Secret
	// DependsOn are further objects that must be there before those of all charts.
	DependsOn []pulumi.Resource
	// Beside are charts in the same namespace that are installed with this one.
	Beside []Chart
	// SealsWith is the word of the key that the installed program seals its data with.
	SealsWith string
	// Deployments are those that SealedBy waits for: of all charts.
	Deployments []string
	Ready       Ready
}

// Chart is a chart beside another one.
type Chart struct {
	Role   string                // in the name of the resource, after the name of the component
	Chart  *helmv4.ChartArgs     // all but the values
	Values map[string]any        // as in Args
	Made   func(pulumi.Resource) // is told of it before the other one is registered
}

// Ready waits until the pods of Deployments are those that the run which waits has asked for, and ready; its error says
// why they are not. The provider waits for the Deployments of a chart too, but where old pods end before new ones begin
// (strategy Recreate), it takes the ReplicaSet that is being emptied for the one that it waits for. Nil waits no longer
// than the provider.
type Ready func(ctx context.Context, namespace string, deployments []string) error

// Secret is a Secret that the chart refers to by name. Its data is marked as secret.
type Secret struct {
	Name        string // in the cluster
	Role        string // in the name of the resource, after the name of the component
	Type        pulumi.StringPtrInput
	Annotations pulumi.StringMapInput
	Data        pulumi.StringMap
}

// Install registers the Secrets and the charts below a component that is called name, then the component's output
// SealedBy, which it returns: SealsWith, known once the chart's objects are ready.
func Install(ctx *pulumi.Context, name string, component pulumi.Resource, args Args) (pulumi.StringOutput, error) {
	needs := args.DependsOn
	for _, s := range args.Secrets {
		made, err := corev1.NewSecret(ctx, name+"-"+s.Role, &corev1.SecretArgs{
			Metadata: &metav1.ObjectMetaArgs{
				Name: pulumi.String(s.Name), Namespace: args.Chart.Namespace, Annotations: s.Annotations,
			},
			Type:       s.Type,
			StringData: pulumi.ToSecret(s.Data).(pulumi.StringMapOutput),
		}, pulumi.Parent(component))
		if err != nil {
			return pulumi.StringOutput{}, fmt.Errorf("secret %s: %w", s.Name, err)
		}
		needs = append(needs, made)
	}
	for _, c := range args.Beside {
		made, err := newChart(ctx, name+"-"+c.Role, component, c.Chart, c.Values, false, needs)
		if err != nil {
			return pulumi.StringOutput{}, fmt.Errorf("chart %s: %w", c.Role, err)
		}
		c.Made(made)
	}
	chart, err := newChart(ctx, name, component, args.Chart, args.Values, args.SecretValues, needs)
	if err != nil {
		return pulumi.StringOutput{}, fmt.Errorf("chart: %w", err)
	}
	// A chart is registered when all of its objects are ready, as far as the provider waits for that.
	sealedBy := pulumi.All(chart.URN(), args.Chart.Namespace).ApplyT(func(all []any) (string, error) {
		if args.Ready == nil || ctx.DryRun() {
			return args.SealsWith, nil
		}
		namespace, _ := all[1].(string)
		return args.SealsWith, args.Ready(ctx.Context(), namespace, args.Deployments)
	}).(pulumi.StringOutput)
	return sealedBy, ctx.RegisterResourceOutputs(component, pulumi.Map{SealedBy: sealedBy})
}

// newChart registers a chart below a component.
func newChart(
	ctx *pulumi.Context, name string, component pulumi.Resource, args *helmv4.ChartArgs, values map[string]any,
	secret bool, needs []pulumi.Resource,
) (*helmv4.Chart, error) {
	file, err := yaml.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	var files pulumi.AssetOrArchiveArrayInput = pulumi.AssetOrArchiveArray{pulumi.NewStringAsset(string(file))}
	if secret {
		files = pulumi.ToSecret(files).(pulumi.AssetOrArchiveArrayOutput)
	}
	args.ValueYamlFiles = files
	return helmv4.NewChart(ctx, name, args, pulumi.Parent(component), pulumi.DependsOn(needs))
}
