package hub

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/internals"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestSecretsAreFilled holds that every placeholder of a Secret is replaced, in both forms of its data, that the result
// is secret, and that nothing else changes.
func TestSecretsAreFilled(t *testing.T) {
	c := soundArgs().Credentials
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	var given []string
	for placeholder := range c.byPlaceholder() {
		given = append(given, placeholder)
	}
	if len(given) != 5 {
		t.Fatalf("placeholders %v", given)
	}
	all := strings.Join([]string{
		cookieSecretPlaceholder, proxyTokenPlaceholder, loginPasswordPlaceholder, verifyTokenPlaceholder,
		authStateKeyPlaceholder(0),
	}, ";")
	const filled = "the cookie secret;the proxy token;the login password;the verify token;an auth state key"
	for _, tt := range []struct {
		name  string
		kind  string
		props pulumi.Map
		want  map[string]any // nil: unchanged
	}{
		{"data", "kubernetes:core/v1:Secret", pulumi.Map{
			"data": pulumi.ToSecret(pulumi.Map{
				"values.yaml": pulumi.String(encoded(all)), "other": pulumi.String(encoded("text")),
			}),
			"type": pulumi.String("Opaque"),
		}, map[string]any{
			"data": map[string]any{"values.yaml": encoded(filled), "other": encoded("text")}, "type": "Opaque",
		}},
		{"stringData", "kubernetes:core/v1:Secret", pulumi.Map{
			"stringData": pulumi.Map{"a": pulumi.String("x: " + all), "b": pulumi.String("text")},
		}, map[string]any{"stringData": map[string]any{"a": "x: " + filled, "b": "text"}}},
		{"not base64", "kubernetes:core/v1:Secret", pulumi.Map{
			"data": pulumi.Map{"a": pulumi.String("@")},
		}, map[string]any{"data": map[string]any{"a": "@"}}},
		{"another kind", "kubernetes:core/v1:ConfigMap", pulumi.Map{"data": pulumi.Map{"a": pulumi.String(all)}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &infratest.Recorder{}
			err := r.Run("test", func(ctx *pulumi.Context) error {
				result := c.fill(t.Context(), &pulumi.ResourceTransformArgs{Type: tt.kind, Props: tt.props})
				if (result == nil) != (tt.want == nil) {
					t.Fatalf("result %v", result)
				}
				if result == nil {
					return nil
				}
				got, err := internals.UnsafeAwaitOutput(ctx.Context(), result.Props.ToMapOutput())
				if err != nil {
					return err
				}
				if diff := cmp.Diff(tt.want, got.Value); diff != "" || !got.Secret {
					t.Errorf("secret: %v (-want +got):\n%s", got.Secret, diff)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestNoHubStartsWithPlaceholders holds what makes a Secret that was not filled harmless: JupyterHub takes 64 hex
// digits for its cookie secret, and a key of 32 bytes, 44 of base64 or 64 of hex.
func TestNoHubStartsWithPlaceholders(t *testing.T) {
	for _, placeholder := range []string{cookieSecretPlaceholder, authStateKeyPlaceholder(0)} {
		if !strings.HasPrefix(placeholder, "@") || len(placeholder) >= 32 {
			t.Errorf("%s could be a secret", placeholder)
		}
	}
}
