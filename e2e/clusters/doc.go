// Package clusters holds the tests of dev/clusters on real clusters (build tag e2e, root needed): what a cluster must
// have, what `up` and `down` must survive, and what must be refused. They use clusters of their own, t1 and t2, on a
// network of their own, and never touch others.
package clusters
