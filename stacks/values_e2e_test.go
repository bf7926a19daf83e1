//go:build e2e

package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/values"
)

// TestE2EValuesReachTheCharts holds that null takes a default of a chart away, and that a value which the operator has
// encrypted is in the chart's Secret and nowhere in clear: not in the state, and not in what Pulumi shows.
func TestE2EValuesReachTheCharts(t *testing.T) {
	e := newEngine(t)
	e.set(t, "local", "hub.values.hub.podSecurityContext", "{fsGroup: null}")
	e.set(t, "local", "outpost.values.podSecurityContext", "{runAsUser: null, fsGroup: null}")
	e.run(t, "local", "config", "set", "--secret", "--path",
		"outposts:hub.values.hub.config.GenericOAuthenticator.client_secret", planted)
	shown := e.run(t, "local", "up", "--yes", "--diff") + e.run(t, "local", "preview", "--diff", "--show-sames") +
		e.run(t, "local", "stack", "export")
	for _, text := range []string{planted, base64.StdEncoding.EncodeToString([]byte(planted))} {
		if strings.Contains(shown, text) {
			t.Errorf("Pulumi shows %s", text)
		}
	}
	secret := e.object(t, "local", "Secret jupyter/hub")
	text, _ := values.At(secret, "data", "values.yaml").(string)
	decoded, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var given map[string]any
	if err := yaml.Unmarshal(decoded, &given); err != nil {
		t.Fatal(err)
	}
	if got := values.At(given, "hub", "config", "GenericOAuthenticator", "client_secret"); got != planted {
		t.Errorf("the hub is given %v", got)
	}
	if strings.Contains(string(decoded), "@cookieSecret@") || strings.Contains(string(decoded), "@proxyToken@") {
		t.Errorf("a placeholder is left:\n%s", decoded)
	}
	type deployment struct {
		name string
		want map[string]any
	}
	for _, d := range []deployment{
		{"Deployment jupyter/hub", map[string]any{
			"runAsNonRoot": true, "seccompProfile": map[string]any{"type": "RuntimeDefault"},
		}},
		{"Deployment outpost/outpost", map[string]any{
			"runAsNonRoot": true, "runAsGroup": 1000.0, "fsGroupChangePolicy": "OnRootMismatch",
			"seccompProfile": map[string]any{"type": "RuntimeDefault"},
		}},
	} {
		got := values.At(e.object(t, "local", d.name), "spec", "template", "spec", "securityContext")
		if diff := cmp.Diff(d.want, got); diff != "" {
			t.Errorf("%s: security context (-want +got):\n%s", d.name, diff)
		}
	}
}
