//go:build !e2e

package sshd

// churnShare is by how much the long tests are cut when nobody asks for all of them.
const churnShare = 20
