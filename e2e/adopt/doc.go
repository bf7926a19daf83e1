// Package adopt holds the tests (build tag e2e) of what a stack takes over from others on a real cluster: a hub that
// Helm has installed, with its users, its servers and a kernel that runs through it; and what a Python outpost has
// left, with servers that run on. They take three minutes.
//
// They use the context of E2E_CONTEXT (default "local") in the file of OUTPOSTS_KUBECONFIG (default .state/kubeconfig
// of the checkout), namespaces of their own, and the images of `make images`.
package adopt
