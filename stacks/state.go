package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// state is what a stack has made so far, as far as a run must know it before it changes anything. It comes from the
// stack's own resources, not from its outputs, so that it is there after a first `up` that was killed halfway.
type state struct {
	identities []string // of the clusters it was made in: one, or none yet
	namespaces []string
	volumes    []volume
	systems    []string // names of the hub's systems
	outpost    madeOutpost
	// The keys that the databases are sealed with.
	hubSealing, outpostSealing sealing
}

// madeOutpost is an outpost as it is: where, and the names of the hubs that may ask it.
type madeOutpost struct {
	namespace string
	hubs      []string
}

// sealing is how far the keys of a database are. All are words.
type sealing struct {
	seeds []string // of the keys there are
	with  string   // of the key that is to seal, from the moment it was made; empty if there is none yet
	by    string   // of the key that seals since a run has come through; empty if none has
}

// What is before the word in the URNs of the keys' bytes.
const (
	authStateKeys = "outposts:credentials:Hub$random:index/randomBytes:RandomBytes::hub" + credentials.AuthStateKeySeeds + "-"
	cryptKeys     = "outposts:credentials:Store$random:index/randomBytes:RandomBytes::outpost" + credentials.CryptKeySeeds + "-"
)

// readState reads what this stack has made so far; nothing for a stack that has not been applied yet.
func readState(ctx *pulumi.Context) (state, error) {
	self := fmt.Sprintf("%s/%s/%s", ctx.Organization(), ctx.Project(), ctx.Stack())
	answer, err := await(ctx, "pulumi:pulumi:readStackResourceOutputs", map[string]any{"stackName": self})
	if err != nil {
		return state{}, fmt.Errorf("read what stack %s has made so far: %w", self, err)
	}
	resources, _ := answer["outputs"].(map[string]any)
	return stateOf(resources), nil
}

// await makes a call of Pulumi's own, the ones that its SDKs read stacks with, and waits for the answer. The answer may
// hold secrets: what is kept of it must be marked again.
func await(ctx *pulumi.Context, token string, args map[string]any) (map[string]any, error) {
	answer := ctx.InvokeOutput(token, args, pulumi.MapOutput{}, pulumi.InvokeOutputOptions{})
	result, err := internals.UnsafeAwaitOutput(ctx.Context(), answer)
	if err != nil {
		return nil, err
	}
	made, _ := result.Value.(map[string]any)
	return made, nil
}

// stateOf picks what a run must know from the resources of a stack, by URN.
func stateOf(resources map[string]any) state {
	var s state
	for _, urn := range slices.Sorted(maps.Keys(resources)) {
		made, _ := resources[urn].(map[string]any)
		outputs, _ := made["outputs"].(map[string]any)
		switch made["type"] {
		case "pulumi:providers:kubernetes":
			if identity, _ := outputs["clusterIdentifier"].(string); identity != "" && !slices.Contains(s.identities, identity) {
				s.identities = append(s.identities, identity)
			}
		case "kubernetes:core/v1:Namespace":
			if name, _ := at(outputs, "metadata", "name").(string); name != "" {
				s.namespaces = append(s.namespaces, name)
			}
		case "kubernetes:core/v1:PersistentVolumeClaim":
			v := volume{}
			v.Namespace, _ = at(outputs, "metadata", "namespace").(string)
			v.Name, _ = at(outputs, "metadata", "name").(string)
			// The class is there in any case; only what the provider was asked for tells who chose it. One that the cluster
			// chose is replaced when config asks for it by name: for the provider that is a change.
			if _, asked := at(outputs, "__inputs", "spec", "storageClassName").(string); asked {
				class, _ := at(outputs, "spec", "storageClassName").(string)
				v.storageClass = &class
			}
			v.accessModes = texts(at(outputs, "spec", "accessModes"))
			v.selector, _ = at(outputs, "spec", "selector").(map[string]any)
			v.size, _ = at(outputs, "spec", "resources", "requests", "storage").(string)
			s.volumes = append(s.volumes, v)
		case "kubernetes:core/v1:Secret":
			if hubs, _ := at(outputs, "metadata", "annotations", outpost.HubsAnnotation).(string); hubs != "" {
				s.outpost.namespace, _ = at(outputs, "metadata", "namespace").(string)
				s.outpost.hubs = strings.Split(hubs, ";")
			}
		case "outposts:credentials:Pair":
			s.systems = append(s.systems, nameOf(urn))
		case "outposts:credentials:Hub":
			s.hubSealing.with, _ = outputs[credentials.SealsWith].(string)
		case "outposts:credentials:Store":
			s.outpostSealing.with, _ = outputs[credentials.SealsWith].(string)
		case "outposts:hub:Hub":
			s.hubSealing.by, _ = outputs[hub.SealedBy].(string)
		case "outposts:outpost:Outpost":
			s.outpostSealing.by, _ = outputs[outpost.SealedBy].(string)
		case "random:index/randomBytes:RandomBytes":
			if _, word, is := strings.Cut(urn, authStateKeys); is {
				s.hubSealing.seeds = append(s.hubSealing.seeds, word)
			}
			if _, word, is := strings.Cut(urn, cryptKeys); is {
				s.outpostSealing.seeds = append(s.outpostSealing.seeds, word)
			}
		}
	}
	return s
}

// nameOf is the name at the end of a URN.
func nameOf(urn string) string {
	for i := len(urn) - 1; i > 0; i-- {
		if urn[i] == ':' && urn[i-1] == ':' {
			return urn[i+1:]
		}
	}
	return urn
}

// smaller tells whether a size is asked for that is below what is there; sizes that cannot be read are not.
func smaller(asked, there string) bool {
	a, err := resource.ParseQuantity(asked)
	if err != nil {
		return false
	}
	b, err := resource.ParseQuantity(there)
	return err == nil && a.Cmp(b) < 0
}

// objectOf is the namespace and name of an object about to be registered, as far as they are plain texts.
func objectOf(props pulumi.Map) cluster.Object {
	meta := plainMap(props["metadata"])
	namespace, _ := plainText(meta["namespace"])
	name, _ := plainText(meta["name"])
	return cluster.Object{Namespace: namespace, Name: name}
}

// annotated adds an annotation to an object about to be registered.
func annotated(props pulumi.Map, key, value string) pulumi.Map {
	made := maps.Clone(props)
	meta := maps.Clone(plainMap(props["metadata"]))
	if meta == nil {
		meta = pulumi.Map{}
	}
	annotations := maps.Clone(plainMap(meta["annotations"]))
	if annotations == nil {
		annotations = pulumi.Map{}
	}
	annotations[key] = pulumi.String(value)
	meta["annotations"] = annotations
	made["metadata"] = meta
	return made
}

// plainMap is a map about to be registered whose keys are known; the callback of a transform hands those over as Map.
func plainMap(v pulumi.Input) pulumi.Map {
	m, _ := v.(pulumi.Map)
	return m
}

func plainText(v pulumi.Input) (string, bool) {
	text, ok := v.(pulumi.String)
	return string(text), ok
}
