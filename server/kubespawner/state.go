package kubespawner

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Keys of a state. The first five are KubeSpawner's; the others are ours and are ignored there.
const (
	stateVersion = "kubespawner_version"
	statePod     = "pod_name"
	stateNS      = "namespace"
	stateDNS     = "dns_name"
	statePVC     = "pvc_name"
	stateSecret  = "secret_name"         // set with internal TLS
	stateGrace   = "delete_grace_period" // seconds; absent leaves it to the pod, and 1 in a state of the peer
	stateKeep    = "keep_stopped_pod"    // delete_stopped_pods was false
	stateOwn     = "outpost"             // true: this server wrote the state
	stateUser    = "username"            // set by Restore, with stateServer: the pod must say that it is of this user
	stateServer  = "servername"
)

// state is what must be known to find and remove a start's objects.
func (o *Objects) State() outpost.State {
	st := outpost.State{
		stateVersion: kubespawnerVersion,
		statePod:     o.names.Pod,
		stateNS:      o.names.Namespace,
		stateDNS:     o.names.DNS,
		stateOwn:     true,
	}
	if o.Claim != nil {
		st[statePVC] = o.names.PVC
	}
	if o.Secret != nil {
		st[stateSecret] = o.names.Secret
	}
	if grace := o.Settings.GracePeriod(); grace != nil {
		st[stateGrace] = *grace
	}
	if !o.Settings.DeleteStoppedPods {
		st[stateKeep] = true
	}
	return st
}

// stateOf reads the state that a pod carries; what it must hold at least comes from the pod itself.
func StateOf(pod *corev1.Pod) outpost.State {
	var st outpost.State
	if err := json.Unmarshal([]byte(pod.Annotations[StateKey]), &st); err != nil || st == nil {
		st = outpost.State{stateVersion: kubespawnerVersion, stateOwn: true}
	}
	st[statePod], st[stateNS] = pod.Name, pod.Namespace
	return st
}

// known is a state as this package reads it.
type ParsedState struct {
	Pod, Namespace, Secret string
	Grace                  *int64
	Keep                   bool
}

// readState reads a state of either server; whatever is missing or of another type is left empty. An empty
// namespace means the default one.
func ParseState(st outpost.State, namespace string) ParsedState {
	text := func(key string) string {
		s, _ := st[key].(string)
		return s
	}
	k := ParsedState{Pod: text(statePod), Namespace: text(stateNS), Secret: text(stateSecret)}
	if k.Namespace == "" {
		k.Namespace = namespace
	}
	k.Keep, _ = st[stateKeep].(bool)
	switch n := st[stateGrace].(type) {
	case int64:
		k.Grace = &n
	case float64: // as it comes back from the database
		seconds := int64(n)
		k.Grace = &seconds
	case json.Number:
		if seconds, err := n.Int64(); err == nil {
			k.Grace = &seconds
		}
	default:
		if own, _ := st[stateOwn].(bool); !own {
			seconds := int64(options.DefaultGracePeriod)
			k.Grace = &seconds
		}
	}
	return k
}

// restore returns the state of a stored service. The names are those that the peer has made of the request. What Plan would refuse in it
// does not matter: wrong options are left out, as the peer did.
func (b *Builder) Restore(hub outpost.Hub, svc outpost.Service) outpost.State {
	sub := b.subjectOf(svc.Name, svc.Body)
	if ParseState(svc.State, b.outpostNamespace).Pod != "" || sub.User == "" {
		return svc.State
	}
	hub.AllowedOptions = []string{"*"}
	merged, _ := b.mergeOptions(hub, outpost.StartRequest{Key: svc.Key, Flavor: svc.Flavor, Body: svc.Body}, nil, &options.Problems{})
	st, err := options.NewSettings(merged, b.defaults)
	if err != nil {
		return svc.State
	}
	t := templatesOf(st)
	t.Exact = true
	var p options.Problems
	n, _ := t.resolve(sub, &p)
	if len(p.List) > 0 {
		return svc.State
	}
	state := outpost.State{statePod: n.Pod, stateNS: n.Namespace, stateUser: sub.User, stateServer: sub.Server}
	for key, value := range svc.State {
		state[key] = value
	}
	return state
}

// fits tells whether a pod may be that of a state. One that Restore has worked out says whose the pod must be; the pod of that name may
// be another's.
func Fits(pod *corev1.Pod, st outpost.State) bool {
	user, restored := st[stateUser]
	return !restored || pod.Annotations[UsernameKey] == user && pod.Annotations[ServernameKey] == st[stateServer]
}
