// Package isolation holds the test (build tag e2e) that one hub reaches nothing of another on the outpost that both
// use, and a user's server nothing of the clusters. Each try is a row of a table that says what must be answered.
//
// It installs the chart with two hubs in a namespace of its own, on the cluster local of the file E2E_KUBECONFIG
// (default .state/kubeconfig of the checkout), with the image E2E_OUTPOST_IMAGE (default the one that `make images`
// has loaded). The cluster remote is tried from there.
package isolation
