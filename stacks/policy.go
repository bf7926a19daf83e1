package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/cluster"
)

// Annotations that Pulumi's Kubernetes provider reads.
const (
	// skipAwait tells it not to wait for an object.
	skipAwait = "pulumi.com/skipAwait"
	// fieldManager names the owner of an object's fields. Without it the provider draws a name at random when it makes
	// an object: when it is killed before the name is kept, the next run is refused by the API server as another owner.
	fieldManager = "pulumi.com/patchFieldManager"
	// patchForce takes an object's fields from another owner.
	patchForce = "pulumi.com/patchForce"
)

// policy is the transform of every Kubernetes object, those that charts make included; manager is the owner of their
// fields. Volume claims are protected unless config lets their data go: neither `destroy` nor a replacement takes them.
//
// What the provider would wait for in vain is not waited for: Services until they have endpoints, claims until they are
// bound, which a class that binds late does with the pod, Ingresses until a controller has written an address, which
// many never do. The Deployments wait for their volumes and pods anyway.
func policy(c Config, manager string) pulumi.ResourceTransform {
	return func(_ context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		if !args.Custom || !strings.HasPrefix(args.Type, "kubernetes:") {
			return nil
		}
		result := &pulumi.ResourceTransformResult{Props: annotated(args.Props, fieldManager, manager), Opts: args.Opts}
		object := objectOf(args.Props)
		if namespace := cmp.Or(object.Namespace, object.Name); slices.Contains(c.Adopt, namespace) {
			result.Props = annotated(result.Props, patchForce, "true")
		}
		switch args.Type {
		case "kubernetes:core/v1:Service", "kubernetes:networking.k8s.io/v1:Ingress":
			result.Props = annotated(result.Props, skipAwait, "true")
		case "kubernetes:core/v1:PersistentVolumeClaim":
			result.Props = withoutVersion(annotated(result.Props, skipAwait, "true"))
			result.Opts.Protect = !c.mayLose(object)
		}
		return result
	}
}

// versionLabels are those by which charts mark objects with their version.
var versionLabels = []string{"helm.sh/chart", "chart", "app.kubernetes.io/version"}

// withoutVersion takes the chart's version off an object about to be registered: a claim that is the same in every
// version is not changed by one.
func withoutVersion(props pulumi.Map) pulumi.Map {
	meta := plainMap(props["metadata"])
	labels := maps.Clone(plainMap(meta["labels"]))
	if labels == nil {
		return props
	}
	for _, label := range versionLabels {
		delete(labels, label)
	}
	return with(props, "metadata", with(meta, "labels", labels))
}

// objectOf is the namespace and name of an object about to be registered, as far as they are plain strings.
func objectOf(props pulumi.Map) cluster.Object {
	meta := plainMap(props["metadata"])
	return cluster.Object{Namespace: plainString(meta["namespace"]), Name: plainString(meta["name"])}
}

// annotated adds an annotation to an object about to be registered.
func annotated(props pulumi.Map, key, value string) pulumi.Map {
	return with(props, "metadata", changed(props["metadata"], func(meta pulumi.Map) pulumi.Map {
		return with(meta, "annotations", changed(meta["annotations"], func(annotations pulumi.Map) pulumi.Map {
			return with(annotations, key, pulumi.String(value))
		}))
	}))
}

// changed is a map about to be registered with a change; one that is an output is changed when it is known.
func changed(v pulumi.Input, change func(pulumi.Map) pulumi.Map) pulumi.Input {
	output, later := v.(pulumi.Output)
	if !later {
		return change(plainMap(v))
	}
	return output.ApplyT(func(v any) pulumi.MapOutput {
		known, _ := v.(map[string]any)
		return change(pulumi.ToMap(known)).ToMapOutput()
	})
}

// with is a copy of a map with one more entry.
func with(m pulumi.Map, key string, value pulumi.Input) pulumi.Map {
	made := pulumi.Map{}
	maps.Copy(made, m)
	made[key] = value
	return made
}

// plainMap is a map about to be registered whose keys are known; the callback of a transform hands those over as Map.
func plainMap(v pulumi.Input) pulumi.Map {
	m, _ := v.(pulumi.Map)
	return m
}

func plainString(v pulumi.Input) string {
	text, _ := v.(pulumi.String)
	return string(text)
}
