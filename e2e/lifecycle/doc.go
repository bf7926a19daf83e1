// Package lifecycle holds the tests of the outpost on a real cluster (build tag e2e): as a process that is killed
// in the middle of starts and stops, gets many of both at once, waits for room, is given broken files, and runs
// twice on one PostgreSQL; and as its chart installs it, with replicas that are replaced one after the other and
// whose leader crashes, or without its database, which a backup gives back. Afterwards rows and pods are counted.
//
// They use the context of E2E_CONTEXT (default "local") in the file of E2E_KUBECONFIG (default .state/kubeconfig
// of the checkout), a namespace of their own, and the image of E2E_IMAGE, whose program must run until it is
// stopped. Those that measure have the machine first. Then the others run beside one another; the one that keeps
// pods off its node is on the cluster of E2E_OTHER_CONTEXT (default "remote"). E2E_STOPS and E2E_STARTS say how
// many servers are stopped and started at once; with 200 and 64 of them the node must take 270 pods.
package lifecycle
