package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// madeKeysOnly is a state of which its keys alone are left.
func madeKeysOnly(cluster string) map[string]any {
	return map[string]any{"urn:pulumi:local::outposts::pulumi:pulumi:Stack::outposts-local": map[string]any{
		"type": "pulumi:pulumi:Stack", "outputs": map[string]any{"clusterId": cluster},
	}}
}

// TestKeys holds what is left of an exported stack, and that a secret in clear is refused.
func TestKeys(t *testing.T) {
	const stack = `{"urn": "s", "type": "pulumi:pulumi:Stack", "outputs": {"clusterId": "a"}}`
	const seed = `{"urn": "b", "type": "random:index/randomBytes:RandomBytes", ` +
		`"outputs": {"base64": {"ciphertext": "x"}}}`
	of := func(resources ...string) string {
		return `{"version": 3, "deployment": {"secrets_providers": {"type": "passphrase"}, "resources": [` +
			strings.Join(resources, ", ") + `]}}`
	}
	for _, tt := range []struct{ name, exported, want, fault string }{
		{
			"what belongs to keys stays, in its order",
			strings.Replace(of(stack, `{"type": "pulumi:providers:random"}`, `{"type": "pulumi:providers:kubernetes"}`,
				`{"type": "outposts:credentials:Pair"}`, seed, `{"type": "kubernetes:core/v1:Secret"}`,
				`{"type": "outposts:hub:Hub"}`), `"resources"`, `"pending_operations": [{}], "resources"`, 1),
			of(stack, `{"type": "pulumi:providers:random"}`, `{"type": "outposts:credentials:Pair"}`, seed), "",
		},
		{"nothing yet", of(stack), "", "keys: the stack has none yet; run `pulumi up` on it first"},
		{
			"in clear", of(strings.ReplaceAll(seed, "ciphertext", "plaintext")), "",
			"keys: the secrets are in clear; export the stack without --show-secrets",
		},
		{
			"something else", "x", "", "keys: standard input is not what `pulumi stack export` prints: " +
				"invalid character 'x' looking for beginning of value",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := writeKeys(strings.NewReader(tt.exported), &out)
			if tt.fault != "" {
				if err == nil || err.Error() != tt.fault || out.Len() > 0 {
					t.Errorf("error %v, wrote %d bytes; want %s", err, out.Len(), tt.fault)
				}
				return
			}
			var got, want any
			if err != nil || json.Unmarshal([]byte(out.String()), &got) != nil {
				t.Fatalf("%v: %s", err, &out)
			}
			_ = json.Unmarshal([]byte(tt.want), &want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}
