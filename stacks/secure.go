package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// secretMark is a place of the config that is encrypted in the stack's file, and the values at it and below.
type secretMark struct {
	at     []string // path of the place: "outpost", "cryptKeys", "0"
	leaves [][]string
}

// secretMarks finds what of the config is secret. Pulumi tells the program which keys have something secret in them,
// by secretKeys, and the text of the stack's file has the places; unplaced are the keys of which it has not, because
// the config comes from elsewhere (--config-file, an environment).
func secretMarks(raw map[string]string, secretKeys []string, stackFile []byte) (marks []secretMark, unplaced []string) {
	written, _ := configIn(stackFile) // Pulumi has read it before; another file has no marks for our keys
	document := documentOf(raw)
	for _, key := range slices.Sorted(slices.Values(secretKeys)) {
		name, ours := strings.CutPrefix(key, project+":")
		if !ours {
			continue
		}
		found, ok := marksIn(written[key], document[name], []string{name})
		if !ok || len(found) == 0 {
			unplaced = append(unplaced, name)
			continue
		}
		marks = append(marks, found...)
	}
	return marks, unplaced
}

// configIn is the config in the text of a stack's file, by full key.
func configIn(stackFile []byte) (map[string]any, error) {
	var file struct {
		Config map[string]any `json:"config"`
	}
	err := yaml.Unmarshal(stackFile, &file)
	return file.Config, err
}

// encrypted reports whether a part of a stack's file stands for a secret value.
func encrypted(part map[string]any) bool {
	_, secure := part["secure"].(string)
	return secure && len(part) == 1
}

// marksIn finds the marks in a part of the stack's file. It is false if the file is not that of the value.
func marksIn(marked, value any, at []string) (marks []secretMark, ok bool) {
	below := func(marked, value any, key string) {
		found, same := marksIn(marked, value, append(slices.Clip(at), key))
		marks, ok = append(marks, found...), ok && same
	}
	ok = true
	switch m := marked.(type) {
	case map[string]any:
		if encrypted(m) {
			return []secretMark{{at, values.Leaves(value, at...)}}, true
		}
		v, isMap := value.(map[string]any)
		if !isMap || len(v) != len(m) {
			return nil, false
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			below(m[key], v[key], key)
		}
	case []any:
		v, isList := value.([]any)
		if !isList || len(v) != len(m) {
			return nil, false
		}
		for i := range m {
			below(m[i], v[i], strconv.Itoa(i))
		}
	}
	return marks, ok
}

// takesSecrets reports whether the value of a key reaches nothing but Secrets.
func takesSecrets(path []string) bool {
	if len(path) > 2 && path[0] == "hub" && path[1] == "values" {
		return hub.TakesSecret(path[2:])
	}
	return slices.ContainsFunc([]string{
		"cluster.kubeconfig", "outposts.*.password", "hubs.*.password", "hubs.*.system", "hubs.*.system.**",
		"outpost.cryptKeys.*",
	}, func(pattern string) bool { return values.Match(pattern, path) })
}

// endsInClear are all other keys, with where a secret would be in clear text and which key takes it instead. The first
// that matches holds.
var endsInClear = []struct{ pattern, text string }{
	{
		"outpost.config.**", "is in clear text in a ConfigMap; put it into a Secret in the outpost's namespace and " +
			"refer to that: a variable of servers by valueFrom.secretKeyRef, a hub's token by tokenFile and " +
			"values.hubTokensSecret",
	},
	{
		"outpost.flavors.**", "is in clear text in a ConfigMap; put it into a Secret in the outpost's namespace and " +
			"refer to that by valueFrom.secretKeyRef",
	},
	{"outpost.credits.**", "is in clear text in a ConfigMap, and no key takes secret credits"},
	{
		"outpost.values.**", "is in clear text in the chart's objects; put it into a Secret in the outpost's " +
			"namespace and name that in outpost.values.extraEnvVarsSecrets, or in valueFrom.secretKeyRef of a variable",
	},
	{
		"hub.bootstrap.env.**", "is in clear text in the hub's Deployment; put it into a Secret in the hub's " +
			"namespace and refer to that by valueFrom.secretKeyRef",
	},
	{
		"hub.tunnels.**", "is in clear text in the tunnels' Deployment; put it into a Secret in the hub's namespace " +
			"and refer to that by valueFrom.secretKeyRef of a variable",
	},
	{
		"hub.values.**", "is in clear text in the chart's objects; hub.values.hub.config, hub.extraFiles and custom " +
			"take secrets, and a variable of hub.extraEnv takes one by valueFrom.secretKeyRef",
	},
	{
		"**", "is in clear text in the state and the cluster; secrets are taken by outposts[].password, " +
			"hubs[].password, outpost.cryptKeys and hub.values.hub.config",
	},
}

// clearPlace says where a secret value of the config would be in clear text, and what to do; empty for a key that takes
// secrets.
func clearPlace(path []string) string {
	if takesSecrets(path) {
		return ""
	}
	for _, place := range endsInClear {
		if values.Match(place.pattern, path) {
			return place.text
		}
	}
	return ""
}

// refuseMarks returns an error for each mark with a value that would end in clear text.
func refuseMarks(marks []secretMark) error {
	var errs []error
	for _, mark := range marks {
		for _, leaf := range mark.leaves {
			text := clearPlace(leaf)
			if text == "" {
				continue
			}
			if len(leaf) > len(mark.at) {
				text = fmt.Sprintf("is secret as a whole, but %s %s; use `pulumi config set --secret --path` for what "+
					"is secret in it", schema.Fault{Path: leaf}.Key(), text)
			} else {
				text = "is set as secret, but " + text
			}
			errs = append(errs, errors.New(project+":"+schema.Fault{Path: mark.at, Text: text}.Error()))
			break
		}
	}
	return errors.Join(errs...)
}

// warnUnplaced warns of keys with secret values that could not be looked at.
func warnUnplaced(names []string, stack string) (all []string) {
	for _, name := range names {
		all = append(all, fmt.Sprintf("%s:%s holds secret values, but Pulumi.%s.yaml in the project's folder does not "+
			"show which, so they are not checked: what does not go into a Secret is in clear text in state and cluster",
			project, name, stack))
	}
	return all
}
