// Package outposttest has Store, Spawner, HubAPI and Clock in memory, for tests of the Manager and of what calls it.
package outposttest
