package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/values"
)

// helmFaults finds what must be done before this stack takes over what Helm has installed: nothing is lost then, and
// Helm cannot delete it any more.
func (c Config) helmFaults(ctx context.Context, api clusterAPI, before state) []error {
	var errs []error
	for _, p := range c.places() {
		if _, known := before.namespaces[p.namespace]; known || !slices.Contains(c.Adopt, p.namespace) {
			continue
		}
		release, recorded, err := api.HelmRelease(ctx, p.namespace, p.parts)
		if err != nil {
			errs = append(errs, err)
		}
		if recorded {
			errs = append(errs, fmt.Errorf("%s:adopt: Helm has a record of release %s in namespace %s, and "+
				"`helm uninstall` would delete what this stack takes over, data included; nothing was changed. "+
				"Keep its values (helm -n %s get values %s), then delete the record, which stops nothing: "+
				"kubectl -n %s delete secret,configmap -l owner=helm,name=%s",
				project, release, p.namespace, p.namespace, release, p.namespace, release))
		}
		if release == "" || c.Hub == nil || p.namespace != c.Hub.Namespace {
			continue
		}
		if release != c.Hub.Release {
			errs = append(errs, fmt.Errorf("%s:hub.release: the hub in namespace %s is of Helm's release %s, by "+
				"which its Deployments select their pods, and not %s; nothing was changed. Set it to that",
				project, p.namespace, release, c.Hub.Release))
		}
		errs = append(errs, c.keysLeft(ctx, api)...)
	}
	return errs
}

// hubKeys are the keys that a hub of Helm has, and where config has them.
var hubKeys = []struct {
	key   string // in Secret hub
	value string // of hub.values
	loss  string // with another one
	list  bool   // of several keys, separated by ";" in the Secret
}{
	{hub.CookieSecretKey, "hub.cookieSecret", "everybody would be logged out", false},
	{
		hub.ProxyTokenKey, "proxy.secretToken",
		"what else has the token, such as a proxy outside, would lose the hub", false,
	},
	{hub.CryptKeysKey, "hub.config.CryptKeeper.keys", "users' auth state could not be read", true},
}

// keysLeft finds keys of a hub that Helm has installed and that config does not have.
func (c Config) keysLeft(ctx context.Context, api clusterAPI) []error {
	at := cluster.Object{Namespace: c.Hub.Namespace, Name: hub.KeysSecret}
	data, err := api.SecretData(ctx, at)
	if err != nil {
		return []error{err}
	}
	var errs []error
	for _, k := range hubKeys {
		text, err := base64.StdEncoding.DecodeString(data[k.key])
		if err != nil || len(text) == 0 {
			continue // the chart has made none
		}
		has := values.At(c.Hub.Values, strings.Split(k.value, ".")...)
		wanted, path, split := []string{string(text)}, k.value, ""
		if k.list {
			wanted, path, split = strings.Split(string(text), ";"), k.value+"[0]", " | cut -d';' -f1"
		}
		given := append(stringsOf(has), plain(has))
		if slices.ContainsFunc(wanted, func(key string) bool { return !slices.Contains(given, key) }) {
			errs = append(errs, fmt.Errorf("%s:hub.values.%s: is not what the hub in namespace %s has in Secret %s: "+
				"%s; nothing was changed. Take it over, each one if there are several: kubectl -n %s get secret %s "+
				`-o jsonpath='{.data.%s}' | base64 -d%s | pulumi config set --secret --path '%s:hub.values.%s'`,
				project, k.value, at.Namespace, at.Name, k.loss, at.Namespace, at.Name,
				strings.ReplaceAll(k.key, ".", `\.`), split, project, path))
		}
	}
	return errs
}

// plain is a value that is a string; empty for any other.
func plain(v any) string {
	text, _ := v.(string)
	return text
}
