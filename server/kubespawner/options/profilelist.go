package options

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/suggest"
)

// A profile is one entry of profile_list, as KubeSpawner reads it.
type profile struct {
	form
	path     string // "profile_list[0]"
	slug     string
	override map[string]any
	options  []profileOption // in the order of their names: JSON objects have no other
	marked   bool            // as the default
	initial  bool            // chosen when the request names none
	access   access.Rule
}

// form is a part of a profile list as it is written, for what only a form shows.
type form map[string]any

// text returns a string; without one it is "".
func (f form) text(key string) string {
	text, _ := f[key].(string)
	return text
}

// profileOption is one question that a profile asks.
type profileOption struct {
	form
	path     string // "profile_list[0].profile_options.image"
	name     string
	choices  map[string]map[string]any // overrides, by the name of the choice
	initial  string                    // chosen when the request names none; empty without choices
	unlisted *unlistedChoice
}

// unlistedChoice lets a user write a value of their own.
type unlistedChoice struct {
	form
	pattern  *regexp.Regexp // nil accepts any value
	message  string
	override map[string]any
}

// unlistedSuffix ends the name of a user option that carries a value of the user's own.
const unlistedSuffix = "--unlisted-choice"

// overrideKey is the key of the options that a profile or a choice sets.
const overrideKey = "kubespawner_override"

// formKeys are keys of profiles, options and choices that only forms read: that of KubeSpawner, and others. So are
// those that begin with formPrefix.
var formKeys = []string{"display_name", "description", "icon", "tags", "order", "dynamic_image_building"}

const formPrefix = "x-"

// profileKeys, optionKeys, choiceKeys and unlistedKeys are the keys that KubeSpawner reads beside those of forms.
var (
	profileKeys  = []string{"slug", "default", overrideKey, "profile_options", groupsKey, deniedKey}
	optionKeys   = []string{"choices", "unlisted_choice"}
	choiceKeys   = []string{"default", overrideKey}
	unlistedKeys = []string{
		"enabled", "display_name_in_choices", "validation_regex", "validation_message", overrideKey,
	}
)

// groupsKey and deniedKey are the keys of an [access.Rule]; the first is that of jupyterhub-fancy-profiles and others.
const groupsKey, deniedKey = "allowed_groups", "denied_text"

// restrictingKeys are keys that forms and hooks of some hubs read, to show a profile to some users only.
var restrictingKeys = []string{
	"user", "users", "group", "allowed_users", "groups", "allowed_groups", "allowed_teams", "teams", "roles", "access",
	"admin_only",
}

// checkKeys notes the keys of a profile or a part of one that nothing reads.
func checkKeys(m map[string]any, path string, keys []string, p *Problems) {
	var unread []string
	for key := range m { // at every start and catalog, so nothing is made for what is right
		if !slices.Contains(keys, key) && !slices.Contains(formKeys, key) && !strings.HasPrefix(key, formPrefix) {
			unread = append(unread, key)
		}
	}
	slices.Sort(unread)
	for _, key := range unread {
		_, isOption := byName[key]
		at := path + "." + key
		switch {
		case slices.Contains(restrictingKeys, key):
			p.Addf(at, "restricts nobody; say in the profile's %s who may choose it", groupsKey)
		case isOption && slices.Contains(keys, overrideKey):
			p.Addf(at, "unknown key; spawner options are set below %s", overrideKey)
		default:
			known := slices.Concat(formKeys, keys)
			p.Addf(at, "unknown key%s", suggest.Or(key, known, "; known keys: "+strings.Join(known, ", ")))
		}
	}
}

// checkProfiles notes everything that is wrong in a profile list, overrides included.
func checkProfiles(list any, p *Problems) {
	for _, pr := range readProfiles(list, p) {
		for _, layer := range pr.overrides() {
			p.below(layer.Key, func() {
				fixed := fixedPart(layer.Values)
				checkOverride(fixed, p.Source, p)
				for name := range layer.Values {
					if _, done := fixed[name]; !done {
						CheckName(name, p)
					}
				}
			})
		}
	}
}

// Overrides returns the options that the profiles of a list and all their choices set, by their keys in the list. In
// those of an unlisted choice "{value}" stands for what a user writes.
func Overrides(list any) []Layer {
	var all []Layer
	for _, pr := range readProfiles(list, &Problems{}) {
		all = append(all, pr.overrides()...)
	}
	return all
}

// LiftsLimits reports whether a profile of a list, or a choice of one, sets a limit to null.
func LiftsLimits(list any) bool {
	return slices.ContainsFunc(Overrides(list), func(l Layer) bool {
		return slices.ContainsFunc(limits, func(name string) bool {
			value, set := l.Values[name]
			return set && value == nil
		})
	})
}

// overrides are the options that a profile and its choices set.
func (pr profile) overrides() []Layer {
	all := []Layer{{pr.path + "." + overrideKey, pr.override}}
	for _, o := range pr.options {
		for _, key := range slices.Sorted(maps.Keys(o.choices)) {
			all = append(all, Layer{o.choicePath(key), o.choices[key]})
		}
		if o.unlisted != nil {
			all = append(all, Layer{o.unlistedPath(), o.unlisted.override})
		}
	}
	return all
}

func (o profileOption) choicePath(key string) string {
	return o.path + ".choices." + key + "." + overrideKey
}
func (o profileOption) unlistedPath() string { return o.path + ".unlisted_choice." + overrideKey }

// readProfiles reads profile_list, a list or a map whose values count in the order of the keys.
func readProfiles(list any, p *Problems) []profile {
	var out []profile
	seen := map[string]string{} // paths by slug
	read := func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return // noted by the kind of the option
		}
		pr := readProfile(m, path, p)
		if other, twice := seen[pr.slug]; twice && pr.slug != "" {
			p.Addf(path, "has the slug %q like %s; set another slug or display_name", pr.slug, other)
		}
		seen[pr.slug] = path
		out = append(out, pr)
	}
	switch list := list.(type) {
	case []any:
		for i, e := range list {
			read(fmt.Sprintf("profile_list[%d]", i), e)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(list)) {
			read("profile_list."+key, list[key])
		}
	}
	markInitial(out)
	return out
}

// markInitial marks the profile of a list that is chosen when a request names none: the first that is marked as the
// default, else the first.
func markInitial(list []profile) {
	first := max(slices.IndexFunc(list, func(pr profile) bool { return pr.marked }), 0)
	for i := range list {
		list[i].initial = i == first
	}
}

// readProfile reads one entry of profile_list.
func readProfile(m map[string]any, path string, p *Problems) profile {
	checkKeys(m, path, profileKeys, p)
	pr := profile{
		form: m, path: path, slug: stringOf(m, "slug", path, p), override: objectOf(m, overrideKey, path, p),
		marked: markOf(m, "default", path, p),
	}
	display := stringOf(m, "display_name", path, p)
	_, given := m["slug"]
	switch {
	case given && pr.slug == "":
		p.Addf(path+".slug", "must not be empty; leave it out to have it made from display_name")
	case !given && display == "":
		p.Addf(path+".display_name", "is missing; it is what users read, and the slug is made from it")
	case !given:
		if pr.slug = profileSlug(display); pr.slug == "" {
			p.Addf(path+".slug", "is missing, and cannot be made from the display_name %q", display)
		}
	}
	pr.access = readAccess(m, path, p)
	offered := objectOf(m, "profile_options", path, p)
	for _, name := range slices.Sorted(maps.Keys(offered)) {
		at := path + ".profile_options." + name
		if o, ok := offered[name].(map[string]any); ok {
			pr.options = append(pr.options, readOption(name, o, at, p))
		} else {
			p.Addf(at, "must be an object")
		}
	}
	checkOptionNames(pr.options, p)
	return pr
}

// checkOptionNames finds options whose user option would also carry a value of the user's own for another one.
func checkOptionNames(offered []profileOption, p *Problems) {
	for _, o := range offered {
		for _, other := range offered {
			if other.name == o.name+unlistedSuffix {
				p.Addf(other.path, "is what a start calls a value of the user's own for %s; rename one of them", o.name)
			}
		}
	}
}

// readAccess reads who may choose a profile.
func readAccess(m map[string]any, path string, p *Problems) (r access.Rule) {
	var err error
	groups, restricted := m[groupsKey]
	if restricted {
		if r.AllowedGroups, err = access.ParseGroups(groups); err != nil {
			p.Addf(path+"."+groupsKey, "%v", err)
		}
	}
	if text, given := m[deniedKey]; given {
		if r.DeniedText, err = access.ParseText(text); err != nil {
			p.Addf(path+"."+deniedKey, "%v", err)
		} else if !restricted {
			p.Addf(path+"."+deniedKey, "has no effect without %s", groupsKey)
		}
	}
	return r
}

// readOption reads one entry of profile_options.
func readOption(name string, m map[string]any, path string, p *Problems) profileOption {
	checkKeys(m, path, optionKeys, p)
	stringOf(m, "display_name", path, p)
	o := profileOption{form: m, name: name, path: path, choices: map[string]map[string]any{}}
	choices := map[string]any{}
	if m["choices"] != nil { // null is none, as in KubeSpawner
		choices = objectOf(m, "choices", path, p)
	}
	marked := false
	for _, key := range slices.Sorted(maps.Keys(choices)) {
		at := path + ".choices." + key
		c, ok := choices[key].(map[string]any)
		if !ok {
			p.Addf(at, "must be an object")
			continue
		}
		checkKeys(c, at, choiceKeys, p)
		stringOf(c, "display_name", at, p)
		o.choices[key] = objectOf(c, overrideKey, at, p)
		if isDefault := markOf(c, "default", at, p); isDefault && !marked || o.initial == "" {
			o.initial, marked = key, isDefault
		}
	}
	o.unlisted = readUnlisted(m, path, p)
	if len(choices) == 0 && o.unlisted == nil {
		p.Addf(path, "has neither choices nor an unlisted_choice that is enabled, so the profile cannot be started")
	}
	return o
}

// readUnlisted reads unlisted_choice of an option; nil unless it is enabled.
func readUnlisted(m map[string]any, path string, p *Problems) *unlistedChoice {
	unlisted, path := objectOf(m, "unlisted_choice", path, p), path+".unlisted_choice"
	checkKeys(unlisted, path, unlistedKeys, p)
	u := &unlistedChoice{
		form:     unlisted,
		override: objectOf(unlisted, overrideKey, path, p),
		message:  stringOf(unlisted, "validation_message", path, p),
	}
	if expression := stringOf(unlisted, "validation_regex", path, p); expression != "" {
		_, err := syntax.Parse(expression, syntax.Perl) // by itself: one such as "a)|(?:b" would end the group
		if err == nil {
			u.pattern, err = regexp.Compile(`^(?:` + expression + `)`) // at the start only, as in KubeSpawner
		}
		if err != nil {
			p.Addf(path+".validation_regex", "%v", err)
		}
	} else if value, set := unlisted["validation_regex"]; set && (value == nil || value == "") {
		p.Addf(path+".validation_regex", "is empty; leave the key out, or write its value")
	}
	if !markOf(unlisted, "enabled", path, p) {
		return nil
	}
	return u
}

// objectOf returns m[name] as a map; absent is empty. Null is refused: KubeSpawner fails with it at every start, and it
// is what remains of a key whose lines are commented out or indented wrongly.
func objectOf(m map[string]any, name, path string, p *Problems) map[string]any {
	v, given := m[name]
	if !given {
		return nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		p.Addf(path+"."+name, "must be a map, not %s", typeName(v))
	}
	return object
}

// stringOf returns m[name] as a string; absent and null are "".
func stringOf(m map[string]any, name, path string, p *Problems) string {
	text, ok := m[name].(string)
	if !ok && m[name] != nil {
		p.Addf(path+"."+name, "must be a string, not %s", typeName(m[name]))
	}
	return text
}

// markOf returns whether m[name] is true in Python, as KubeSpawner asks of default and enabled.
func markOf(m map[string]any, name, path string, p *Problems) bool {
	is, err := truth(m[name])
	if err != nil {
		p.Addf(path+"."+name, "%v", err)
	}
	return is
}

// truth is Python's truth of a value. Strings that mean false to people are refused: in Python they are true.
func truth(v any) (bool, error) {
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case float64:
		return v != 0, nil
	case string:
		if slices.Contains([]string{"false", "no", "off", "n", "0"}, strings.ToLower(v)) {
			return false, errors.New("is a string, and every string counts as true; write false without quotes")
		}
		return v != "", nil
	}
	return false, mustBe("true or false", v)
}
