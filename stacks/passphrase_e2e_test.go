//go:build e2e

package main

import (
	"strings"
	"testing"
)

// TestE2EAnotherPassphrase holds what a remote's stack says when it cannot decrypt what its hub's stack tells.
func TestE2EAnotherPassphrase(t *testing.T) {
	e := newEngine(t)
	e.adopt(t, "local")
	e.env = append(e.env, "PULUMI_CONFIG_PASSPHRASE=another")
	const want = "outposts:hubs[0].stack: organization/outposts/local cannot be decrypted"
	if _, err := e.try(t, "remote", "preview"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}
