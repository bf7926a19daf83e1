// Package kube runs single-user servers as pods: the outpost.Spawner of the real server.
//
// What a start makes comes from package kubespawner. A start goes through the files in this order: spawner.go, start.go
// and apply.go (made in the cluster), watch.go (seen there), package diagnosis (judged), progress.go (told).
//
// Where KubeSpawner's behaviour is a defect this package differs; each place says so with the word "differs".
package kube
