package flavor

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/outposts-dev/outposts/server/access"
)

// A keyCheck returns what is wrong with the value of a key, such as "must be a number".
type keyCheck func(v any) error

// flavorKeys are the keys of a flavor. Those that only a form reads are passed on to the hub; so are those that begin
// with formPrefix.
var flavorKeys = map[string]keyCheck{
	"display_name": isText, "description": isText, "name": isText, "icon": isText, "tags": isAnything,
	"order": isNumber, "weight": isNumber,
	"max": isLimit, "maxPerUser": isLimit, "runtime": isRuntime, "resources": isMapping,
	groupsKey: isGroups, deniedKey: isDeniedText,
}

// groupsKey and deniedKey are the keys of an [access.Rule].
const groupsKey, deniedKey = "allowedGroups", "deniedText"

// creditKeys are the keys of a credit, which hubs count.
var creditKeys = map[string]keyCheck{
	"display_name": isText, "description": isText, "name": isText, "icon": isText, "tags": isAnything,
	"order": isNumber, "weight": isNumber,
	"cap": isNumber, "grant_value": isNumber, "grant_interval": isNumber, "project": isAnything,
	"user_options": isAnything,
}

const formPrefix = "x-"

// restrictingKeys are keys by which people may try to say who may start a flavor.
var restrictingKeys = []string{
	"user", "users", "group", "allowed_users", "groups", "allowed_groups", "hubs", "authentication", "forbidden",
	"jupyterhub_name",
}

// checkFlavor checks the keys of a flavor or a credit, or of an override of one. Null is no value: absent would mean no
// limit.
func (p *parser) checkFlavor(n *yaml.Node, where string, f Flavor) {
	keys := flavorKeys
	if p.f.credits {
		keys = creditKeys
	}
	for _, key := range slices.Sorted(maps.Keys(f)) {
		at, value := where+"."+key, valueNode(n, key)
		check, known := keys[key]
		switch {
		case known && f[key] == nil:
			p.fault(value, at, "is empty; leave the key out, or write its value")
		case known:
			if err := check(f[key]); err != nil {
				p.fault(value, at, "%v", err)
			}
		case slices.Contains(restrictingKeys, key):
			p.fault(value, at,
				"restricts nobody; write allowedGroups, or say under hubs and users of this file who is offered what")
		case !strings.HasPrefix(key, formPrefix):
			p.unknown(value, at, key, slices.Sorted(maps.Keys(keys)))
		}
	}
	if f["maxPerUser"] == 0 {
		p.warn(valueNode(n, "maxPerUser"), where+".maxPerUser",
			"0 refuses every start; use -1 or leave it out for no limit")
	}
}

// checkOverride checks the resources of an override, which are put over the flavor's one by one. Null would lift a
// limit.
func (p *parser) checkOverride(n *yaml.Node, where string, values map[string]any) {
	resources, _ := values["resources"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(resources)) {
		if resources[key] == nil {
			p.fault(valueNode(valueNode(n, "resources"), key), where+".resources."+key,
				"is null; leave the key out to keep what the flavor has, or write 0 to lift a limit")
		}
	}
}

// valueNode is the value of a key in a mapping; the mapping itself if the key comes from another by a merge key.
func valueNode(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return n
}

func isAnything(any) error { return nil }

func isText(v any) error {
	if _, ok := v.(string); !ok {
		return errors.New("must be a string")
	}
	return nil
}

func isNumber(v any) error {
	switch v.(type) {
	case int, float64:
		return nil
	}
	return errors.New("must be a number")
}

func isMapping(v any) error {
	if _, ok := v.(map[string]any); !ok {
		return errors.New("must be a mapping")
	}
	return nil
}

func isLimit(v any) error {
	n, ok := v.(int)
	switch {
	case !ok:
		return errors.New("must be a whole number")
	case n < -1:
		return errors.New("must be at least 0, or -1 for no limit")
	}
	return nil
}

func isGroups(v any) error {
	_, err := access.ParseGroups(v)
	return err
}

func isDeniedText(v any) error {
	_, err := access.ParseText(v)
	return err
}

func isRuntime(v any) error {
	_, err := Flavor{"runtime": v}.lifetime()
	return err
}
