// Package outpost is the domain of the server: what an outpost does for its hubs, not with what.
//
// A hub asks for a single-user server (a [Service]); the Manager checks flavor and quota, stores the service and
// lets a [Spawner] make it. Everything outside (database, Kubernetes, hubs) is behind the interfaces of ports.go.
package outpost
