package kubespawner

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Keys of a state. The first five are KubeSpawner's, which ignores the others.
const (
	stateVersion = "kubespawner_version"
	statePod     = "pod_name"
	stateNS      = "namespace"
	stateDNS     = "dns_name"
	statePVC     = "pvc_name"
	StateSecret  = "secret_name"         // set with internal TLS
	StatePull    = "pull_secret_name"    // set with a login to a registry
	stateGrace   = "delete_grace_period" // seconds; absent leaves it to the pod
	stateKeep    = "keep_stopped_pod"    // delete_stopped_pods was false
	stateImage   = "image"               // for records of who started what; read by nobody here
	stateOwn     = "outpost"             // true: not a state of KubeSpawner
	stateUser    = "username"            // set by Restore, as stateServer is: the pod must say that it is of this user
	stateServer  = "servername"
	stateEarlier = "earlier_pod_names" // set by Restore: by other slug schemes; never stored
)

// State is what must be known to find and remove a start's objects.
func (o *Objects) State() outpost.State {
	st := outpost.State{
		stateVersion: kubespawnerVersion,
		statePod:     o.names.Pod,
		stateNS:      o.names.Namespace,
		stateDNS:     o.names.DNS,
		stateOwn:     true,
		stateImage:   o.Settings.Image,
	}
	if o.Claim != nil {
		st[statePVC] = o.names.PVC
	}
	for key, secret := range map[string]*corev1.Secret{StateSecret: o.Secret, StatePull: o.Pull} {
		if secret != nil {
			st[key] = secret.Name
		}
	}
	if grace := o.gracePeriod(); grace != nil {
		st[stateGrace] = *grace
	}
	if !o.Settings.DeleteStoppedPods {
		st[stateKeep] = true
	}
	return st
}

// gracePeriod is how many seconds the pod has to end when it is deleted; nil leaves it to the pod. It differs from
// KubeSpawner's where delete_grace_period is not set: a period of the pod itself counts, and where a container has a
// preStop hook, which one second would kill, Kubernetes' default; wherever in the options they come from.
func (o *Objects) gracePeriod() *int64 {
	hook := func(c corev1.Container) bool { return c.Lifecycle != nil && c.Lifecycle.PreStop != nil }
	spec := o.Pod.Spec
	switch {
	case o.Settings.DeleteGracePeriod != nil:
		return o.Settings.DeleteGracePeriod
	case spec.TerminationGracePeriodSeconds != nil,
		slices.ContainsFunc(spec.Containers, hook), slices.ContainsFunc(spec.InitContainers, hook):
		return nil
	}
	return new(int64(options.DefaultGracePeriod))
}

// StateOf reads the state that a pod carries; what it must hold at least comes from the pod itself.
func StateOf(pod *corev1.Pod) outpost.State {
	var st outpost.State
	if err := json.Unmarshal([]byte(pod.Annotations[StateKey]), &st); err != nil || st == nil {
		st = outpost.State{stateVersion: kubespawnerVersion, stateOwn: true}
	}
	st[statePod], st[stateNS] = pod.Name, pod.Namespace
	return st
}

// ParsedState is a state of an outpost or of KubeSpawner; whatever it lacks, or has with another type, is empty.
type ParsedState struct {
	Pod, Namespace string

	all outpost.State
}

// ParseState reads a state; namespace is where its objects are unless it says otherwise. Each poll calls it: what the
// poll of a running server does not need has methods.
func ParseState(st outpost.State, namespace string) ParsedState {
	pod, _ := st[statePod].(string)
	ns, _ := st[stateNS].(string)
	return ParsedState{Pod: pod, Namespace: cmp.Or(ns, namespace), all: st}
}

// Secret returns the name of a Secret that the start has made, by its key in the state; empty for none.
func (s ParsedState) Secret(key string) string {
	name, _ := s.all[key].(string)
	return name
}

// Keep reports whether an ended pod stays.
func (s ParsedState) Keep() bool {
	keep, _ := s.all[stateKeep].(bool)
	return keep
}

// Own reports whether the state is of an outpost, whose pods say which start they belong to.
func (s ParsedState) Own() bool {
	own, _ := s.all[stateOwn].(bool)
	return own
}

// Grace returns how many seconds the pod has to end; nil leaves it to the pod.
func (s ParsedState) Grace() *int64 {
	switch n := s.all[stateGrace].(type) {
	case int64:
		return &n
	case float64: // as it comes back from the database
		return new(int64(n))
	case json.Number:
		if seconds, err := n.Int64(); err == nil {
			return &seconds
		}
	default:
		if !s.Own() {
			return new(int64(options.DefaultGracePeriod))
		}
	}
	return nil
}

// Matches reports whether a pod of the state's name can be the state's. One that Restore has worked out says whose the
// pod must be: the name may be taken by another user's.
func (s ParsedState) Matches(pod *corev1.Pod) bool {
	user, restored := s.all[stateUser]
	return !restored || pod.Annotations[UsernameKey] == user && pod.Annotations[ServernameKey] == s.all[stateServer]
}

// Alternatives returns the state itself and, of one that Restore has worked out, the same with the names that other
// versions of KubeSpawner give the pod. The pod is that of the first one that matches.
func (s ParsedState) Alternatives() []ParsedState {
	all := []ParsedState{s}
	earlier, _ := s.all[stateEarlier].([]string)
	for _, name := range earlier {
		one := s
		one.Pod = name
		all = append(all, one)
	}
	return all
}

// Restore returns the state of a stored service. KubeSpawner stores an empty one until a start has finished; it is then
// worked out from the request, with the names that KubeSpawner gives. What [Builder.Build] would refuse does not
// matter: wrong options are left out, as KubeSpawner does.
func (b *Builder) Restore(hub outpost.Hub, svc outpost.Service) outpost.State {
	sub := b.subjectOf(svc.Key, svc.Body)
	if ParseState(svc.State, b.namespace).Pod != "" || sub.User == "" {
		return svc.State
	}
	hub.AllowedOptions = []string{"*"}
	r := outpost.StartRequest{Key: svc.Key, Flavor: svc.Flavor, Body: svc.Body}
	var ignored options.Problems
	operator, _ := b.operatorOptions(hub, r.Flavor, nil, &ignored)
	merged, _ := b.mergeOptions(operator, nil, hub, r, &ignored)
	st, err := options.NewSettings(merged, b.defaults)
	if err != nil {
		return svc.State
	}
	t := templatesOf(st)
	t.KeepLong = true
	var p options.Problems
	n, _ := t.resolve(sub, &p)
	if p.Err() != nil {
		return svc.State
	}
	state := outpost.State{statePod: n.Pod, stateNS: n.Namespace, stateUser: sub.User, stateServer: sub.Server}
	if earlier := t.earlierNames(sub, n, names.pod); len(earlier) > 0 {
		state[stateEarlier] = earlier
	}
	maps.Copy(state, svc.State)
	return state
}
