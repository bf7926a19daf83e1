// Package lifecycle holds the tests of the outpost as a process on a real cluster (build tag e2e): it is killed in the middle of
// starts and stops, gets many of both at once, and runs twice on one PostgreSQL. Afterwards rows and pods are counted.
//
// They use the context of E2E_CONTEXT (default "local") in the file of E2E_KUBECONFIG (default .state/kubeconfig of the
// checkout), a namespace of their own, and the image of E2E_IMAGE, whose program must run until it is stopped.
package lifecycle
