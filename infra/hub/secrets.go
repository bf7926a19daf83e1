package hub

import (
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/values"
)

// takesSecrets are the values of the chart that reach nothing but Secrets, as patterns of values.Match. The chart keeps
// all of its values in the Secret "hub", and these nowhere else.
var takesSecrets = []string{
	"custom.**",
	"hub.config.**",
	"hub.cookieSecret",
	"hub.db.password",
	"hub.db.url",
	"hub.extraConfig.*",
	"hub.extraFiles.*.binaryData",
	"hub.extraFiles.*.data.**",
	"hub.extraFiles.*.stringData",
	"hub.services.*.apiToken",
	"hub.services.*.api_token",
	"imagePullSecret.password",
	"proxy.https.manual.key",
	"proxy.secretToken",
}

// TakesSecret reports whether the value of the chart at a path ("hub", "config", ...) reaches nothing but Secrets.
func TakesSecret(path []string) bool {
	return slices.ContainsFunc(takesSecrets, func(pattern string) bool { return values.Match(pattern, path) })
}

// markSecrets marks the operator's values that may be secret in the chart's.
func (a Args) markSecrets(made map[string]any) map[string]any {
	if !a.SecretValues {
		return made
	}
	for _, path := range values.Leaves(a.Values) {
		if TakesSecret(path) {
			made = values.Replace(made, path, marked).(map[string]any)
		}
	}
	return made
}

func marked(value any) any {
	if text, ok := value.(string); ok {
		return pulumi.ToSecret(pulumi.String(text))
	}
	return pulumi.ToSecret(pulumi.Any(value))
}
