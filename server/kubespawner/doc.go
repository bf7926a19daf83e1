// Package kubespawner builds the objects that KubeSpawner 7 would make for a single-user server, without asking
// Kubernetes.
//
// Names, pods and states are those of KubeSpawner, so that hubs, operators and the rows of a Python outpost find what
// they know. A start goes through package options (what was configured and asked for), names.go and template.go (what
// things are called), environment.go, pod.go and objects.go; builder.go puts it together.
//
// Where KubeSpawner's behaviour is a defect this package differs; each place says so with the word "differs".
package kubespawner
