package main

import (
	"fmt"
	"maps"
	"slices"
)

// alwaysSent is what a hub tells an outpost of a user in any case.
var alwaysSent = []string{"name", "groups", "admin"}

// groupKeys are the names of settings that say which groups something is for.
var groupKeys = []string{"allowedGroups", "allowed_groups", "groups"}

// validateSent finds keys of the auth state that are sent in any case.
func (s SystemConfig) validateSent(f *faults, at string) {
	for i, key := range s.SendAuthState {
		if slices.Contains(alwaysSent, key) {
			f.add("%s.sendAuthState[%d]: %s is always sent; leave it out", at, i, key)
		}
	}
}

// warnOfUsers warns of what c, which must have a hub, does with users that the hub may never know: of rules for groups
// that its login does not tell, and of auth state that it does not keep.
func warnOfUsers(c Config, warn func(format string, args ...any)) {
	a := c.hubArgs(nil)
	if keys := c.Outpost.groupRules(); len(keys) > 0 && !a.KnowsGroups() {
		warn("%s names groups, of which this hub's login tells none: users are only in those that you give them on "+
			"the admin page or by the API; let the authenticator manage them (manage_groups in "+
			"hub.values.hub.config), or set JupyterHub.load_groups there", keys[0])
	}
	for i, s := range c.Outposts {
		if len(s.SendAuthState) > 0 && !a.KeepsAuthState() {
			warn("outposts[%d].sendAuthState has nothing to send: the hub keeps no auth state; set "+
				"hub.values.hub.config.Authenticator.enable_auth_state", i)
		}
	}
}

// groupRules are the keys of rules for groups in the outpost's configuration and flavors, sorted; nil without an
// outpost.
func (o *OutpostConfig) groupRules() (keys []string) {
	if o == nil {
		return nil
	}
	var collect func(at string, value any)
	collect = func(at string, value any) {
		switch v := value.(type) {
		case []any:
			for i, one := range v {
				collect(fmt.Sprintf("%s[%d]", at, i), one)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				if slices.Contains(groupKeys, key) && v[key] != nil {
					keys = append(keys, at+"."+key)
				}
				collect(at+"."+key, v[key])
			}
		}
	}
	collect("outpost.config", o.Config)
	collect("outpost.flavors", o.Flavors)
	return keys
}
