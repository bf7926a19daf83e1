//go:build e2e

package sshd

// churnShare of 1 runs the long tests in full.
const churnShare = 1
