package main

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/credentials"
)

// Labels by which running servers are counted: the hub's module sets systemLabel on what it makes for a server, the
// outpost hubLabel on its pods, which is an annotation too.
const (
	systemLabel = "outposts.dev/system"
	hubLabel    = "outposts.dev/hub"
)

// mayLose reports whether config lets the data of a volume go.
func (c Config) mayLose(claim cluster.Object) bool {
	return slices.Contains(c.AllowDataLoss, claim.String()) || c.mayLoseAll(claim.Namespace)
}

// mayLoseAll reports whether config lets everything in a namespace go. That is more than this stack has made: users'
// homes and servers are made by the outpost, and an operator may have brought a volume of their own.
func (c Config) mayLoseAll(namespace string) bool {
	return slices.Contains(c.AllowDataLoss, everythingIn(namespace))
}

// everythingIn is the entry of allowDataLoss for a whole namespace.
func everythingIn(namespace string) string { return namespace + "/*" }

// warnOfLoss warns of each entry of allowDataLoss: one that stays protects nothing any more, and one that names nothing
// may be mistyped.
func (c Config) warnOfLoss(before state) (all []string) {
	namespaces := slices.AppendSeq(c.namespaces(), maps.Keys(before.namespaces))
	var claims []string
	for _, v := range slices.Concat(c.volumes(), before.volumes) {
		claims = append(claims, v.String())
	}
	if c.Hub != nil { // its keys are protected wherever the data are
		claims = append(claims, c.Hub.database().String())
	}
	if c.Outpost != nil {
		claims = append(claims, c.Outpost.database().String())
	}
	for i, entry := range c.AllowDataLoss {
		namespace, everything := strings.CutSuffix(entry, "/*")
		text := "names no volume and no namespace of this stack, so it allows nothing; correct or remove it"
		switch {
		case everything && slices.Contains(namespaces, namespace):
			text = "lets the namespace go with everything in it; remove the entry when that is done"
		case !everything && slices.Contains(claims, entry):
			text = "lets this volume go; remove the entry when that is done"
		}
		all = append(all, fmt.Sprintf("%s:allowDataLoss[%d]: %q %s", project, i, entry, text))
	}
	return all
}

// mayLoseServers reports whether config lets the running servers of a system or of a hub go.
func (c Config) mayLoseServers(name string) bool { return slices.Contains(c.AllowServerLoss, name) }

// lostNamespaces finds namespaces of the stack as it is that this config does not have. It cannot look for volumes in
// them: users' homes are not in the state.
func (c Config) lostNamespaces(before state) []error {
	var errs []error
	for _, p := range c.places() {
		if _, made := before.namespaces[p.namespace]; made && !c.options(p.key).isMade() {
			errs = append(errs, fmt.Errorf("%s:%s.create is false, but this stack has made namespace %s, which "+
				"would be deleted with everything in it; nothing was changed. Leave it out",
				project, p.key, p.namespace))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before.namespaces)) {
		if !slices.Contains(c.namespaces(), name) && !c.mayLoseAll(name) {
			errs = append(errs, fmt.Errorf(
				"namespace %s would be deleted with everything in it, including users' homes "+
					"and running servers: nothing in this config uses it; nothing was changed. To delete it, first "+
					"run `pulumi up` with %q in %s:allowDataLoss and without this change",
				name, everythingIn(name), project))
		}
	}
	return errs
}

// lostVolumes finds volumes of the stack as it is that this config would delete or replace. Those of lost namespaces
// are reported by lostNamespaces.
func (c Config) lostVolumes(before state) []error {
	var errs []error
	next := map[cluster.Object]volume{}
	for _, v := range c.volumes() {
		next[v.Object] = v
	}
	for _, old := range before.volumes {
		if c.mayLose(old.Object) || !slices.Contains(c.namespaces(), old.Namespace) {
			continue
		}
		reasons := []string{"deleted: nothing in this config uses it"}
		if v, stays := next[old.Object]; stays {
			reasons = v.replaces(old)
		}
		for _, reason := range reasons {
			errs = append(errs, fmt.Errorf(
				"volume %s holds data and would be %s; nothing was changed. To let the data go, "+
					"first run `pulumi up` with %q in %s:allowDataLoss and without this change",
				old.Object, reason, old.String(), project))
		}
	}
	return errs
}

// replaces returns the reasons for which a claim would take the place of the one that there is.
func (v volume) replaces(old volume) []string {
	var reasons []string
	add := func(key, wanted, has string) {
		reasons = append(reasons, fmt.Sprintf("replaced: %s:%s asks for %s, but it has %s", project, key, wanted, has))
	}
	if wanted, has := className(v.storageClass), className(old.storageClass); wanted != has {
		add(v.keys.storageClass, wanted, has)
	}
	if !slices.Equal(v.accessModes, old.accessModes) {
		add(v.keys.accessModes, "access modes "+strings.Join(v.accessModes, ", "), strings.Join(old.accessModes, ", "))
	}
	if (len(v.selector) > 0 || len(old.selector) > 0) && !reflect.DeepEqual(v.selector, old.selector) {
		add(v.keys.selector, "another selector", "its own")
	}
	if smaller(v.size, old.size) {
		add(v.keys.size, v.size, old.size)
	}
	return reasons
}

// className says which storage class was asked for.
func className(class *string) string {
	switch {
	case class == nil:
		return "the cluster's default storage class"
	case *class == "":
		return "no storage class"
	}
	return "storage class " + *class
}

// smaller reports whether a size is below another one. A size that cannot be read is not.
func smaller(size, than string) bool {
	a, err := resource.ParseQuantity(size)
	if err != nil {
		return false
	}
	b, err := resource.ParseQuantity(than)
	return err == nil && a.Cmp(b) < 0
}

// lostKeys finds keys that seal data, or may, and that this config does not list any more.
func (c Config) lostKeys(before state) []error {
	var errs []error
	if c.Hub != nil && !c.mayLose(c.Hub.database()) {
		errs = before.hubSealing.lost("hub.rotation.authStateKey", c.Hub.Rotation.AuthStateKey, c.Hub.database())
	}
	if o := c.Outpost; o != nil && !c.mayLose(o.database()) {
		lost := before.outpostSealing.lost("outpost.rotation.cryptKey", o.Rotation.CryptKey, o.database())
		errs = append(errs, lost...)
	}
	return errs
}

// lost finds what is wrong with words that replace those from before. After a run that was killed or that failed, a
// part of the data may be sealed with the key before and another part with the new one. Then both must stay, and no
// other key may come first until the new one has sealed everything: otherwise nobody would know which ones are needed.
func (s sealing) lost(key string, words credentials.Words, data cluster.Object) []error {
	words = words.OrFirst()
	needed := s.seeds
	if s.by != "" {
		needed = slices.Compact([]string{s.by, s.with})
	}
	var errs []error
	for _, word := range needed {
		switch {
		case slices.Contains(words, word):
		case s.by == s.with:
			errs = append(errs, fmt.Errorf(
				"%s:%s: %q is missing: %s is sealed with it; nothing was changed. Add a new word "+
					"in front of it, and remove it after the `pulumi up` that introduced the new one",
				project, key, word, data))
		default:
			errs = append(errs, fmt.Errorf(
				"%s:%s: %q is missing: the `pulumi up` that introduced %q did not finish, so %s "+
					"may be sealed with either; nothing was changed. Put it back, and remove it after a "+
					"`pulumi up` that finishes",
				project, key, word, s.with, data))
		}
	}
	if s.by != "" && s.by != s.with && slices.Contains(words, s.with) && words[0] != s.with {
		errs = append(errs, fmt.Errorf(
			"%s:%s: %q must be first: the `pulumi up` that introduced it did not finish, so %s "+
				"may be sealed with it in part; nothing was changed. Keep it first until a `pulumi up` finishes",
			project, key, s.with, data))
	}
	return errs
}

// lostServers finds running servers that nobody would know any more: those of systems that the hub would not have, and
// those of hubs that the outpost would not have.
func (c Config) lostServers(ctx context.Context, api clusterAPI, before state) []error {
	return slices.Concat(
		c.lostSystems(ctx, api, before), c.renamedHub(ctx, api, before), c.lostHubs(ctx, api, before))
}

func (c Config) lostSystems(ctx context.Context, api clusterAPI, before state) []error {
	if c.Hub == nil {
		return nil
	}
	errs := c.mergedSystems(before)
	for _, name := range before.systemNames() {
		stays := slices.ContainsFunc(c.Outposts, func(s SystemConfig) bool { return slices.Contains(s.names(), name) })
		if stays || c.mayLoseServers(name) {
			continue
		}
		ofSystem := systemLabel + "=" + name
		running, err := api.CountServices(ctx, c.Hub.Namespace, ofSystem+","+anyServer)
		// Where its pods are, if it was the one in this cluster.
		for _, in := range before.serverNamespaces() {
			if err == nil && running == 0 {
				running, err = api.CountPods(ctx, in, ofSystem+","+hubLabel)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("count the servers of system %s: %w", name, err))
		} else if running > 0 {
			errs = append(errs, fmt.Errorf("system %s is no longer in %s:outposts, but %d of its servers are running; "+
				"nothing was changed. Stop them, or add %q to %s:allowServerLoss; if the system has another name now, "+
				"add %q to its formerNames", name, project, running, name, project, name))
		}
	}
	return errs
}

// mergedSystems finds systems that would take the place of another one: its secrets would go, and its servers run where
// no outpost knows them.
func (c Config) mergedSystems(before state) []error {
	var errs []error
	for i, s := range c.Outposts {
		if before.system(s.Name).name == "" {
			continue
		}
		for j, former := range s.FormerNames {
			if before.system(former).name != "" {
				errs = append(errs, fmt.Errorf("%s:outposts[%d].formerNames[%d]: %s and %s are two systems of this "+
					"stack; nothing was changed. A system can get the name of another one only after that is gone",
					project, i, j, former, s.Name))
			}
		}
	}
	return errs
}

// lostHubs counts the servers of all hubs at once, and only if a hub goes: a hub that is renamed is another hub, which
// sees none of the servers of the first.
func (c Config) lostHubs(ctx context.Context, api clusterAPI, before state) []error {
	gone := slices.DeleteFunc(slices.Clone(before.outpost.hubs), func(name string) bool {
		return c.hasHub(name) || c.mayLoseServers(name)
	})
	if len(gone) == 0 || c.mayLoseAll(before.outpost.namespace) {
		return nil
	}
	running := map[string]int{}
	for _, namespace := range before.serverNamespaces() {
		counts, err := api.CountPodsBy(ctx, namespace, hubLabel)
		if err != nil {
			return []error{fmt.Errorf("count the servers in namespace %s: %w", namespace, err)}
		}
		for name, count := range counts {
			running[name] += count
		}
	}
	absent := fmt.Sprintf("it is not in %s:hubs", project)
	if c.Hub != nil {
		absent = fmt.Sprintf("it is neither %s:hub.name nor in %s:hubs", project, project)
	}
	var errs []error
	for _, name := range gone {
		if running[name] > 0 {
			errs = append(errs, fmt.Errorf(
				"hub %s may no longer use the outpost in namespace %s (%s), but %d of its servers "+
					"are running there; nothing was changed. Stop them, or add %q to %s:allowServerLoss",
				name, before.outpost.namespace, absent, running[name], name, project))
		}
	}
	return errs
}

// renamedHub finds servers on systems in other clusters that a hub with another name would not know: to outposts, it is
// another hub. Those in this cluster are found by lostHubs. An outpost that knows the hub by a user of its own sees no
// other name.
func (c Config) renamedHub(ctx context.Context, api clusterAPI, before state) []error {
	if c.Hub == nil || before.hub == "" || before.hub == c.Hub.Name || c.mayLoseServers(before.hub) {
		return nil
	}
	running := 0
	for _, s := range c.Outposts {
		if s.InCluster() || s.User != "" {
			continue
		}
		for _, name := range s.names() {
			count, err := api.CountServices(ctx, c.Hub.Namespace, systemLabel+"="+name+","+anyServer)
			if err != nil {
				return []error{fmt.Errorf("count the servers of system %s: %w", name, err)}
			}
			running += count
		}
	}
	if running == 0 {
		return nil
	}
	return []error{fmt.Errorf("%s:hub.name: hub %s gets another name, but %d of its servers are running on systems in "+
		"other clusters, whose outposts know them by that name; nothing was changed. Stop them, or add %q to "+
		"%s:allowServerLoss", project, before.hub, running, before.hub, project)}
}

// hasHub reports whether a hub may use the outpost of this stack. The stack's own hub may even if the outpost goes: its
// servers are then those of a system that goes, which lostSystems counts.
func (c Config) hasHub(name string) bool {
	return c.Hub != nil && c.Hub.Name == name ||
		slices.ContainsFunc(c.Hubs, func(h OtherHubConfig) bool { return h.Name == name })
}
