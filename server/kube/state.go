package kube

import (
	"encoding/json"

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
)

// stateFor is what must be known to find and remove a start's objects.
func stateFor(o *objects) outpost.State {
	if o == nil {
		return nil
	}
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
