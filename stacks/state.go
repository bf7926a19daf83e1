package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/release"
	"github.com/outposts-dev/outposts/infra/values"
)

// state is what a stack has made so far, as far as a run must know it before it changes anything. It comes from the
// stack's own resources, not from its outputs, so that it is there after a first `up` that was killed halfway.
type state struct {
	self       string            // full name of the stack: organization/project/stack
	manager    string            // of the fields of the objects that it has made; empty if there are none yet
	clusters   []string          // uids of those that its objects are in: one, or none yet
	exported   string            // uid of the cluster by its outputs
	hub        string            // name of its hub by its outputs; empty without one
	homes      bool              // whether its servers had homes, by its outputs
	namespaces map[string]string // that it has made, by name: full name of the stack that each was marked with
	marks      map[string]string // likewise of those that somebody else has made; none from before there were marks
	uids       map[string]string // of the namespaces that it has made or used, by name
	volumes    []volume
	systems    []madeSystem
	outpost    madeOutpost
	// The keys that the databases are sealed with.
	hubSealing, outpostSealing sealing
}

// madeOutpost is an outpost as it is: where, and the names of the hubs that may use it.
type madeOutpost struct {
	namespace string
	hubs      []string
}

// madeSystem is a system of the hub as it is; with the name ownPair, what an outpost shows that no hub's stack made.
type madeSystem struct {
	name     string
	former   []string
	issuedTo string // see credentials.PairArgs.System; empty if that was not recorded
}

// system returns a system of the hub by the name that it has, or had when the stack was last applied.
func (s state) system(named ...string) madeSystem {
	for _, name := range named {
		for _, made := range s.systems {
			if made.name == name {
				return made
			}
		}
	}
	return madeSystem{}
}

// systemNames are the names under which servers of the hub may be running.
func (s state) systemNames() []string {
	var names []string
	for _, made := range s.systems {
		names = append(append(names, made.name), made.former...)
	}
	return names
}

// sealing is how far the keys of a database are. All are words.
type sealing struct {
	seeds []string // of the keys there are
	with  string   // of the key that is to seal, from the moment it was made; empty if it was not made yet
	by    string   // of the key that seals since a run has finished; empty if none has

	madeAt string // when the first key was made, RFC 3339; empty if that was not recorded
}

// firstMade returns when the first key was made: now, if there is none yet.
func (s sealing) firstMade(now time.Time) string {
	if s.with == "" {
		return now.UTC().Format(time.RFC3339)
	}
	return s.madeAt
}

// Names of components, by which the next run finds the keys of databases again: a key's bytes are a resource whose URN
// has the types of component and bytes, the component's name, and the word.
const (
	hubName     = "hub"
	outpostName = "outpost"

	randomBytes   = "random:index/randomBytes:RandomBytes"
	authStateKeys = credentials.HubType + "$" + randomBytes + "::" + hubName + credentials.AuthStateKeySeeds + "-"
	cryptKeys     = credentials.StoreType + "$" + randomBytes + "::" + outpostName + credentials.CryptKeySeeds + "-"
)

// ofToday puts today's types of components in the place of those of earlier versions.
var ofToday = strings.NewReplacer(
	cluster.FormerType, cluster.Type,
	credentials.FormerHubType, credentials.HubType,
	credentials.FormerPairType, credentials.PairType,
	credentials.FormerStoreType, credentials.StoreType,
	hub.FormerType, hub.Type,
	outpost.FormerType, outpost.Type,
)

// readState reads what this stack has made so far; nothing for a stack that has not been applied yet.
func readState(ctx *pulumi.Context) (state, error) {
	self := fmt.Sprintf("%s/%s/%s", ctx.Organization(), ctx.Project(), ctx.Stack())
	resources, err := call(ctx, readStackResourceOutputs, map[string]any{"stackName": self})
	if err != nil {
		return state{}, fmt.Errorf("read what stack %s has made so far: %w", self, err)
	}
	s := stateOf(resources)
	s.self = self
	return s, nil
}

// stateOf picks what a run must know from the resources of a stack, by URN.
func stateOf(resources map[string]any) state {
	s := state{namespaces: map[string]string{}, marks: map[string]string{}, uids: map[string]string{}}
	for _, urn := range slices.Sorted(maps.Keys(resources)) {
		made, _ := resources[urn].(map[string]any)
		kind, _ := made["type"].(string)
		urn, kind = ofToday.Replace(urn), ofToday.Replace(kind)
		outputs, _ := made["outputs"].(map[string]any)
		if name, _ := outputs[managerOutput].(string); s.manager == "" && strings.HasPrefix(name, project) {
			s.manager = name
		}
		switch kind {
		case "pulumi:pulumi:Stack":
			s.exported, _ = outputs[outputCluster].(string)
			s.hub, _ = outputs[outputHubName].(string)
			s.homes, _ = outputs[outputHomes].(bool)
		case "pulumi:providers:kubernetes":
			if uid, _ := outputs["clusterIdentifier"].(string); uid != "" && !slices.Contains(s.clusters, uid) {
				s.clusters = append(s.clusters, uid)
			}
		case cluster.Type:
			maps.Copy(s.uids, textsOf(outputs[cluster.Found]))
			maps.Copy(s.marks, textsOf(outputs[cluster.Marks]))
		case "kubernetes:core/v1:Namespace":
			s.addNamespace(outputs)
		case "kubernetes:core/v1:PersistentVolumeClaim":
			s.volumes = append(s.volumes, volumeOf(outputs))
		case "kubernetes:core/v1:Secret":
			if hubs, _ := values.At(outputs, "metadata", "annotations", outpost.HubsAnnotation).(string); hubs != "" {
				s.outpost.namespace, _ = values.At(outputs, "metadata", "namespace").(string)
				s.outpost.hubs = strings.Split(hubs, ";")
			}
		case credentials.PairType:
			s.systems = append(s.systems, madeSystem{
				name:   urn[strings.LastIndex(urn, "::")+len("::"):],
				former: stringsOf(outputs[credentials.FormerNames]), issuedTo: credentials.SystemOf(outputs),
			})
		case credentials.HubType:
			s.hubSealing.with, _ = outputs[credentials.SealsWith].(string)
			s.hubSealing.madeAt, _ = outputs[credentials.MadeAt].(string)
		case credentials.StoreType:
			s.outpostSealing.with, _ = outputs[credentials.SealsWith].(string)
			s.outpostSealing.madeAt, _ = outputs[credentials.MadeAt].(string)
		case hub.Type:
			s.hubSealing.by, _ = outputs[release.SealedBy].(string)
		case outpost.Type:
			s.outpostSealing.by, _ = outputs[release.SealedBy].(string)
		case randomBytes:
			s.hubSealing.addSeed(urn, authStateKeys)
			s.outpostSealing.addSeed(urn, cryptKeys)
		}
	}
	return s
}

// addNamespace adds a namespace that the stack has made, as the provider has it.
func (s *state) addNamespace(outputs map[string]any) {
	name, _ := values.At(outputs, "metadata", "name").(string)
	if name == "" {
		return
	}
	if uid, _ := values.At(outputs, "metadata", "uid").(string); uid != "" {
		s.uids[name] = uid
	}
	s.namespaces[name], _ = values.At(outputs, "metadata", "annotations", cluster.OwnerAnnotation).(string)
}

// addSeed adds the word of a seed if the URN is that of one of these keys.
func (s *sealing) addSeed(urn, keys string) {
	if _, word, is := strings.Cut(urn, keys); is {
		s.seeds = append(s.seeds, word)
	}
}

// managerOutput is where the provider keeps the owner of an object's fields.
const managerOutput = "__fieldManager"

// fieldManager returns the owner of the fields of a stack's objects: the one that they have, else one of its own. A
// stack that was made when all stacks had the same one keeps that.
func (s state) fieldManager() string {
	return cmp.Or(s.manager, project+"-"+s.self[strings.LastIndex(s.self, "/")+1:])
}

// cluster returns the uid of the cluster that a stack was made in: that of its objects or, where only its keys are
// left, the one that its outputs name; empty for a stack that was not made yet.
func (s state) cluster() string {
	if len(s.clusters) > 0 {
		return s.clusters[0]
	}
	return s.exported
}

// serverNamespaces are those in which the outpost's servers may be: all of the stack's, if it has an outpost.
func (s state) serverNamespaces() []string {
	if s.outpost.namespace == "" {
		return nil
	}
	all := slices.AppendSeq(slices.Collect(maps.Keys(s.namespaces)), maps.Keys(s.uids))
	all = append(all, s.outpost.namespace)
	slices.Sort(all)
	return slices.Compact(all)
}

// volumeOf is a claim as the provider tells it.
func volumeOf(outputs map[string]any) volume {
	v := volume{}
	v.Namespace, _ = values.At(outputs, "metadata", "namespace").(string)
	v.Name, _ = values.At(outputs, "metadata", "name").(string)
	// The class is there in any case; only what the provider was asked for tells who chose it. One that the cluster
	// chose is replaced when config asks for it by name: for the provider that is a change.
	if _, asked := values.At(outputs, "__inputs", "spec", "storageClassName").(string); asked {
		class, _ := values.At(outputs, "spec", "storageClassName").(string)
		v.storageClass = &class
	}
	v.accessModes = stringsOf(values.At(outputs, "spec", "accessModes"))
	v.selector, _ = values.At(outputs, "spec", "selector").(map[string]any)
	v.size, _ = values.At(outputs, "spec", "resources", "requests", "storage").(string)
	return v
}
