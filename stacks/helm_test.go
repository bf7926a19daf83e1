package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHelmHasToLetGo holds what an up says before it takes over a hub or an outpost that Helm has installed.
func TestHelmHasToLetGo(t *testing.T) {
	b64 := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	keys := map[string]string{
		"hub.config.JupyterHub.cookie_secret":         b64("theirs"),
		"hub.config.ConfigurableHTTPProxy.auth_token": b64("token"),
		"hub.config.CryptKeeper.keys":                 b64("one;two"),
		"values.yaml":                                 b64("x"),
	}
	const given = "{hub: {cookieSecret: theirs, config: {CryptKeeper: {keys: [two, one]}}}, " +
		"proxy: {secretToken: token}}"
	take := func(loss, key, split, value string) string {
		name, _, _ := strings.Cut(value, "[")
		return "outposts:hub.values." + name + ": is not what the hub in namespace jupyter has in Secret hub: " + loss +
			"; nothing was changed. Take it over, each one if there are several: kubectl -n jupyter get secret hub " +
			`-o jsonpath='{.data.hub\.config\.` + key + `}' | base64 -d` + split +
			" | pulumi config set --secret --path 'outposts:hub.values." + value + "'"
	}
	cookie := take("everybody would be logged out", `JupyterHub\.cookie_secret`, "", "hub.cookieSecret")
	token := take("what else has the token, such as a proxy outside, would lose the hub",
		`ConfigurableHTTPProxy\.auth_token`, "", "proxy.secretToken")
	crypt := take("users' auth state could not be read", `CryptKeeper\.keys`, " | cut -d';' -f1",
		"hub.config.CryptKeeper.keys[0]")
	for _, tt := range []struct {
		name    string
		changes map[string]string
		helm    map[string]helmInstalled
		made    string // a namespace of the state
		want    []string
	}{
		{"not of Helm", nil, nil, "", nil},
		{
			"everything is left to do", nil,
			map[string]helmInstalled{"jupyter": {"jhub", true, keys}},
			"",
			[]string{
				"outposts:adopt: Helm has a record of release jhub in namespace jupyter, and " +
					"`helm uninstall` would delete what this stack takes over, data included; nothing was changed. " +
					"Keep its values (helm -n jupyter get values jhub), then delete the record, which stops nothing: " +
					"kubectl -n jupyter delete secret,configmap -l owner=helm,name=jhub",
				"outposts:hub.release: the hub in namespace jupyter is of Helm's release jhub, by which its " +
					"Deployments select their pods, and not jupyterhub; nothing was changed. Set it to that",
				cookie, token, crypt,
			},
		},
		{
			"done",
			map[string]string{"hub.release": "jhub", "hub.values": given},
			map[string]helmInstalled{"jupyter": {"jhub", false, keys}},
			"", nil,
		},
		{
			"one key of two",
			map[string]string{"hub.values": strings.Replace(given, "[two, one]", "[one]", 1)},
			map[string]helmInstalled{"jupyter": {"jupyterhub", false, keys}},
			"",
			[]string{crypt},
		},
		{
			"no auth state",
			map[string]string{"hub.values": "{hub: {cookieSecret: theirs}}"},
			map[string]helmInstalled{"jupyter": {"jupyterhub", false, map[string]string{
				"hub.config.JupyterHub.cookie_secret": b64("theirs"),
			}}},
			"", nil,
		},
		{
			"an entry of adopt that is left", nil,
			map[string]helmInstalled{"jupyter": {"jhub", false, keys}},
			"jupyter", nil,
		},
		{
			"an outpost",
			map[string]string{"adopt": "[outpost]"},
			map[string]helmInstalled{"outpost": {"outpost", true, nil}, "jupyter": {"jhub", true, keys}},
			"",
			[]string{
				"outposts:adopt: Helm has a record of release outpost in namespace outpost, and " +
					"`helm uninstall` would delete what this stack takes over, data included; nothing was changed. " +
					"Keep its values (helm -n outpost get values outpost), then delete the record, which stops " +
					"nothing: kubectl -n outpost delete secret,configmap -l owner=helm,name=outpost",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes := map[string]string{"adopt": "[jupyter]"}
			for key, value := range tt.changes {
				changes[key] = value
			}
			before := state{namespaces: map[string]string{tt.made: thisStack}}
			var got []string
			c := loaded(t, localConfig, changes)
			for _, err := range c.helmFaults(t.Context(), fakeCluster{helm: tt.helm}, before) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}
