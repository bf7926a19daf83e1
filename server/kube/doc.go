// Package kube makes single-user servers as pods: the outpost.Spawner of the real server.
//
// Names, pods and polls are those of KubeSpawner 7, so that hubs, operators and rows of the Python peer find
// what they know. A start goes through the files in this order: options.go (what was configured and asked for),
// profiles.go, names.go and template.go (what things are called), pod.go and objects.go (what is made; pure),
// spawner.go and apply.go (made in the cluster), watch.go (seen there), status.go and reasons.go (judged), progress.go (told).
//
// Where the peer's behaviour is a defect this package differs; each place says so with the word "differs".
package kube
