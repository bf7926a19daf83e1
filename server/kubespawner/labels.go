package kubespawner

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Versions that KubeSpawner writes into annotations and states; this package does what these do.
const (
	kubespawnerVersion = "7.1.0"
	jupyterhubVersion  = "5.4.4"
)

// Keys of labels and annotations. The labels hold slugs, the annotations the raw values. Those of an outpost say which
// start an object belongs to, so that it is found again without a database.
const (
	UsernameKey    = "hub.jupyter.org/username"
	ServernameKey  = "hub.jupyter.org/servername"
	kubespawnerKey = "hub.jupyter.org/kubespawner-version"
	jupyterhubKey  = "hub.jupyter.org/jupyterhub-version"

	InstallationKey = "outposts.dev/installation" // the id of the database that has the start's row
	HubKey          = "outposts.dev/hub"
	NameKey         = "outposts.dev/name"
	StartIDKey      = "outposts.dev/start-id"
	DateKey         = "outposts.dev/start-date" // RFC 3339; of two starts of a server the later one stays
	StateKey        = "outposts.dev/state"      // JSON; restores a service whose row is lost
	FlavorKey       = "outposts.dev/flavor"     // absent for none; restores what a row counts for
)

// Origin is the start that an object belongs to. The key of a service is not enough: two outposts in a namespace may
// both have a hub "jupyterhub".
type Origin struct {
	Installation string // id of the outpost's database
	outpost.Key
}

// metadata are the labels and annotations of one start's objects.
type metadata struct {
	podLabels, labels, pvcLabels map[string]string
	annotations, pvcAnnotations  map[string]string
}

// buildMetadata layers labels and annotations; later layers win, so a hub cannot take the component label away.
func buildMetadata(origin Origin, sub subject, s options.Settings, f *expander, p *options.Problems) metadata {
	own := map[string]string{
		InstallationKey: origin.Installation, HubKey: labelSlug(origin.Hub), StartIDKey: labelSlug(origin.StartID),
	}
	layers := func(list ...map[string]string) map[string]string {
		out := map[string]string{}
		for _, m := range list {
			maps.Copy(out, m)
		}
		return out
	}
	expand := func(option string, m map[string]any) map[string]string {
		out := make(map[string]string, len(m))
		for key, value := range f.expandMap(option, m, p) {
			out[key], _ = value.(string) // the option's kind accepts strings only
		}
		return out
	}
	user := map[string]string{UsernameKey: labelSlug(sub.User)}
	m := metadata{
		labels:    layers(user, expand("extra_labels", s.ExtraLabels), s.CommonLabels, own),
		pvcLabels: layers(user, expand("storage_extra_labels", s.StorageExtraLabels), s.CommonLabels),
	}
	component := map[string]string{"app.kubernetes.io/component": s.ComponentLabel, "component": s.ComponentLabel}
	m.podLabels = layers(m.labels, component, map[string]string{ServernameKey: labelSlug(sub.Server)}, own)
	maps.Copy(m.pvcLabels, map[string]string{
		"app.kubernetes.io/component": s.ComponentLabel, "component": "singleuser-storage",
		HubKey: labelSlug(origin.Hub),
	})
	base := map[string]string{
		UsernameKey: sub.User, kubespawnerKey: kubespawnerVersion, jupyterhubKey: jupyterhubVersion,
	}
	if sub.Server != "" {
		base[ServernameKey] = sub.Server
	}
	m.annotations = layers(base, expand("extra_annotations", s.ExtraAnnotations),
		map[string]string{
			InstallationKey: origin.Installation, HubKey: origin.Hub, NameKey: origin.Name, StartIDKey: origin.StartID,
		})
	m.pvcAnnotations = layers(base, expand("storage_extra_annotations", s.StorageExtraAnnotations),
		map[string]string{HubKey: origin.Hub, InstallationKey: origin.Installation})
	return m
}

// facts are the annotations that say whose an object is, and which start's. They are not a hub's to set.
var facts = []string{UsernameKey, ServernameKey, InstallationKey, HubKey, NameKey, StartIDKey, DateKey, FlavorKey}

// selecting are the labels by which the Services, policies and monitors of charts select: the outpost's, those of what
// else runs in the namespace, and those by which JupyterHub's chart lets hub and proxy reach each other and servers.
var selecting = []string{
	"app", "component", "release",
	"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component",
	"hub.jupyter.org/network-access-proxy-api", "hub.jupyter.org/network-access-proxy-http",
	"hub.jupyter.org/network-access-singleuser",
}

// withoutReserved takes out of what a hub sends the selecting labels, so that its objects pass for none of another
// component, and the facts, so that they pass for no other user's. Both are the operator's to set, and the outpost's.
func withoutReserved(misc map[string]any) {
	overlay, _ := misc["pod_overlay"].(map[string]any)
	metadata, _ := overlay["metadata"].(map[string]any)
	without := func(reserved []string, sent ...any) {
		for _, one := range sent {
			values, _ := one.(map[string]any)
			for _, key := range reserved {
				delete(values, key)
			}
		}
	}
	without(selecting, misc["extra_labels"], misc["common_labels"], metadata["labels"])
	without(facts, misc["extra_annotations"], misc["storage_extra_annotations"], misc["user_namespace_annotations"],
		metadata["annotations"])
}

// OriginOf reads an object's annotations; false if no outpost made it.
func OriginOf(object metav1.Object) (Origin, bool) {
	annotations := object.GetAnnotations()
	installation, ok1 := annotations[InstallationKey]
	hub, ok2 := annotations[HubKey]
	startID, ok3 := annotations[StartIDKey]
	key := outpost.Key{Hub: hub, Name: annotations[NameKey], StartID: startID}
	return Origin{installation, key}, ok1 && ok2 && ok3
}
