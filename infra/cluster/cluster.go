// Package cluster makes an existing Kubernetes cluster a target: an explicit provider for it, and the namespaces that a
// stack puts its objects into. It also looks at the cluster before anything is written to it (API).
package cluster

import (
	"errors"
	"fmt"

	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes"
	"github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/apiextensions"
	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/component"
)

// Type is the type of the component Cluster, FormerType that of one that an earlier version made.
const (
	Type       = "outposts:index:Cluster"
	FormerType = "outposts:cluster:Cluster"
)

// Args say which cluster is meant.
type Args struct {
	// Access is how the cluster is reached.
	Access Access
	// Identity is what stays the same while the cluster is the same: the uid of its namespace kube-system. The provider
	// carries it, so that another address of the same cluster changes nothing.
	Identity string
	// Namespaces are made in the cluster, one after the other: a run that was killed has made the first ones.
	Namespaces []Namespace
	// Found are the namespaces that the stack uses and somebody else has made, with their uids. Its state keeps them.
	Found map[string]string
	// Marked are those of Found that get a mark: see Mark.
	Marked []string
	// Owner is the full name of the stack, which marks its namespaces: see OwnerAnnotation.
	Owner string
}

// Outputs of the component.
const (
	// Found has Args.Found.
	Found = "found"
	// Marks has the names of Args.Marked, each with Args.Owner.
	Marks = "marks"
)

// OwnerAnnotation of a namespace, or of the Role Mark in it, holds the full name of the stack that has the namespace,
// organization/project/stack.
const OwnerAnnotation = "outposts.dev/stack"

// Mark is the name of a Role without rules, which gives nobody anything: it marks a namespace that the stack did not
// make, and which it may have no right to annotate. In each of its namespaces a stack has the right to make Roles.
const Mark = "outposts-stack"

// Namespace is a namespace and how careful to be with it.
type Namespace struct {
	Name                string
	Labels, Annotations map[string]string
	// Keep protects it: a namespace that is deleted takes everything in it along, also what others made there.
	Keep bool
}

// Cluster is an existing cluster as a target.
type Cluster struct {
	pulumi.ResourceState

	// Provider is what every object in the cluster is made through.
	Provider *kubernetes.Provider
	// Namespaces are what must be there before anything else in a namespace of Args, by name: the namespace itself, or
	// its mark.
	Namespaces map[string]pulumi.Resource
}

// New makes a cluster a target. It writes the namespaces and the marks, and nothing else.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Cluster, error) {
	if err := args.validate(); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	c := &Cluster{Namespaces: map[string]pulumi.Resource{}}
	if err := component.Register(ctx, Type, FormerType, name, c, opts...); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	access, err := args.Access.given()
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	// Without a kubeconfig the SDK would give the provider the value of KUBECONFIG, and so the state a list of files of
	// this machine; with an empty one the provider looks there by itself.
	kubeconfig := pulumi.StringInput(pulumi.String(access.kubeconfig))
	if access.secret {
		kubeconfig = pulumi.ToSecret(kubeconfig).(pulumi.StringOutput)
	}
	var context pulumi.StringPtrInput
	if access.context != "" {
		context = pulumi.String(access.context)
	}
	c.Provider, err = kubernetes.NewProvider(ctx, name+"-kubernetes", &kubernetes.ProviderArgs{
		Kubeconfig:        kubeconfig,
		Context:           context,
		ClusterIdentifier: pulumi.String(args.Identity),
		// Without these a changed Secret is a new Secret with another name, which nobody mounts.
		EnableConfigMapMutable: pulumi.Bool(true),
		EnableSecretMutable:    pulumi.Bool(true),
	}, pulumi.Parent(c))
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	var previous []pulumi.Resource
	for _, ns := range args.Namespaces {
		annotations := pulumi.ToStringMap(ns.Annotations)
		annotations[OwnerAnnotation] = pulumi.String(args.Owner)
		made, err := corev1.NewNamespace(ctx, name+"-"+ns.Name, &corev1.NamespaceArgs{
			Metadata: &metav1.ObjectMetaArgs{
				Name:        pulumi.String(ns.Name),
				Labels:      labels(ns.Labels),
				Annotations: annotations,
			},
		}, pulumi.Parent(c), pulumi.Provider(c.Provider), pulumi.Protect(ns.Keep), pulumi.DependsOn(previous))
		if err != nil {
			return nil, fmt.Errorf("cluster %s: namespace %s: %w", name, ns.Name, err)
		}
		c.Namespaces[ns.Name], previous = made, []pulumi.Resource{made}
	}
	outputs, marks := pulumi.Map{}, pulumi.StringMap{}
	for _, namespace := range args.Marked {
		mark, err := args.mark(ctx, name+"-mark-"+namespace, namespace, pulumi.Parent(c), pulumi.Provider(c.Provider))
		if err != nil {
			return nil, fmt.Errorf("cluster %s: mark of namespace %s: %w", name, namespace, err)
		}
		c.Namespaces[namespace], marks[namespace] = mark, pulumi.String(args.Owner)
	}
	if len(marks) > 0 {
		outputs[Marks] = marks
	}
	if len(args.Found) > 0 {
		outputs[Found] = pulumi.ToStringMap(args.Found)
	}
	return c, ctx.RegisterResourceOutputs(c, outputs)
}

// mark marks a namespace with the stack. The Role is registered without its type in Go, whose package would be compiled
// for it alone. It has no list of rules: the API server leaves an empty one out, which would be a change in each run.
func (a Args) mark(
	ctx *pulumi.Context, name, namespace string, opts ...pulumi.ResourceOption,
) (pulumi.Resource, error) {
	return apiextensions.NewCustomResource(ctx, name, &apiextensions.CustomResourceArgs{
		ApiVersion: pulumi.String("rbac.authorization.k8s.io/v1"),
		Kind:       pulumi.String("Role"),
		Metadata: &metav1.ObjectMetaArgs{
			Name: pulumi.String(Mark), Namespace: pulumi.String(namespace),
			Annotations: pulumi.StringMap{OwnerAnnotation: pulumi.String(a.Owner)},
		},
	}, opts...)
}

// labels are those of an object; without any the field is left out.
func labels(of map[string]string) pulumi.StringMapInput {
	if len(of) == 0 {
		return nil
	}
	return pulumi.ToStringMap(of)
}

func (a Args) validate() error {
	var errs []error
	for _, arg := range [][2]string{{"Identity", a.Identity}, {"Owner", a.Owner}} {
		if arg[1] == "" {
			errs = append(errs, errors.New(arg[0]+" is missing"))
		}
	}
	return errors.Join(errs...)
}
