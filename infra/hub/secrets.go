package hub

import (
	"slices"

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
