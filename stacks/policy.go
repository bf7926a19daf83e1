package main

import (
	"context"
	"maps"
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

// objectOf is the namespace and name of an object about to be registered, as far as they are plain strings.
func objectOf(props pulumi.Map) cluster.Object {
	meta := plainMap(props["metadata"])
	return cluster.Object{Namespace: plainString(meta["namespace"]), Name: plainString(meta["name"])}
}

// annotated adds an annotation to an object about to be registered.
func annotated(props pulumi.Map, key, value string) pulumi.Map {
	meta := plainMap(props["metadata"])
	annotations := with(plainMap(meta["annotations"]), key, pulumi.String(value))
	return with(props, "metadata", with(meta, "annotations", annotations))
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
