package kube

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

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
func (o *objects) state() outpost.State {
	st := outpost.State{
		stateVersion: kubespawnerVersion,
		statePod:     o.names.Pod,
		stateNS:      o.names.Namespace,
		stateDNS:     o.names.DNS,
		stateOwn:     true,
	}
	if o.claim != nil {
		st[statePVC] = o.names.PVC
	}
	if o.secret != nil {
		st[stateSecret] = o.names.Secret
	}
	if grace := o.settings.gracePeriod(); grace != nil {
		st[stateGrace] = *grace
	}
	if !o.settings.DeleteStoppedPods {
		st[stateKeep] = true
	}
	return st
}

// stateOf reads the state that a pod carries; what it must hold at least comes from the pod itself.
func stateOf(pod *corev1.Pod) outpost.State {
	var st outpost.State
	if err := json.Unmarshal([]byte(pod.Annotations[stateKey]), &st); err != nil || st == nil {
		st = outpost.State{stateVersion: kubespawnerVersion, stateOwn: true}
	}
	st[statePod], st[stateNS] = pod.Name, pod.Namespace
	return st
}

// known is a state as this package reads it.
type known struct {
	pod, namespace, secret string
	grace                  *int64
	keep                   bool
}

// readState reads a state of either server; whatever is missing or of another type is left empty. An empty
// namespace means the default one.
func readState(st outpost.State, namespace string) known {
	text := func(key string) string {
		s, _ := st[key].(string)
		return s
	}
	k := known{pod: text(statePod), namespace: text(stateNS), secret: text(stateSecret)}
	if k.namespace == "" {
		k.namespace = namespace
	}
	k.keep, _ = st[stateKeep].(bool)
	switch n := st[stateGrace].(type) {
	case int64:
		k.grace = &n
	case float64: // as it comes back from the database
		seconds := int64(n)
		k.grace = &seconds
	case json.Number:
		if seconds, err := n.Int64(); err == nil {
			k.grace = &seconds
		}
	default:
		if own, _ := st[stateOwn].(bool); !own {
			seconds := int64(defaultGracePeriod)
			k.grace = &seconds
		}
	}
	return k
}

// restore returns the state of a stored service. The names are those that the peer has made of the request. What Plan would refuse in it
// does not matter: wrong options are left out, as the peer did.
func (b *builder) restore(hub outpost.Hub, svc outpost.Service) outpost.State {
	sub := b.subjectOf(svc.Name, svc.Body)
	if readState(svc.State, b.namespace).pod != "" || sub.User == "" {
		return svc.State
	}
	hub.AllowedOptions = []string{"*"}
	merged, _ := b.mergeOptions(hub, outpost.StartRequest{Key: svc.Key, Flavor: svc.Flavor, Body: svc.Body}, nil, &problems{})
	st, err := newSettings(merged, b.defaults)
	if err != nil {
		return svc.State
	}
	t := templatesOf(st)
	t.Exact = true
	var p problems
	n, _ := t.resolve(sub, &p)
	if len(p.list) > 0 {
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
func fits(pod *corev1.Pod, st outpost.State) bool {
	user, restored := st[stateUser]
	return !restored || pod.Annotations[usernameKey] == user && pod.Annotations[servernameKey] == st[stateServer]
}
