package hub

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/outposts-dev/outposts/infra/schema"
)

// Profile is what a form shows of an entry of KubeSpawner's profile_list, by the names there, of a Python outpost,
// which does not say it itself. What a profile and its choices set is known to the outpost alone.
type Profile struct {
	Slug        string                   `json:"slug"`
	DisplayName string                   `json:"display_name,omitempty"` // empty: Slug
	Description string                   `json:"description,omitempty"`
	Default     bool                     `json:"default,omitempty"` // chosen beforehand; else the first is
	Options     map[string]ProfileOption `json:"profile_options,omitempty"`
}

// ProfileOption is a question that a profile asks, by the name under which a start answers it.
type ProfileOption struct {
	DisplayName    string                   `json:"display_name,omitempty"` // empty: the name
	Choices        map[string]ProfileChoice `json:"choices,omitempty"`
	UnlistedChoice *UnlistedChoice          `json:"unlisted_choice,omitempty"`
}

// ProfileChoice is one answer to choose.
type ProfileChoice struct {
	DisplayName string `json:"display_name,omitempty"` // empty: the name
	Default     bool   `json:"default,omitempty"`
}

// UnlistedChoice lets users write a value of their own, which the outpost checks.
type UnlistedChoice struct {
	Enabled     bool   `json:"enabled"` // as KubeSpawner wants it
	DisplayName string `json:"display_name,omitempty"`
	Message     string `json:"validation_message,omitempty"` // what such a value must be like
}

// profileName is a slug, an option or a choice, as the hub's side accepts it in the options of a start.
var profileName = regexp.MustCompile(`^[!-~]([ -~]{0,254}[!-~])?$`)

const profileNameWords = "want printable ASCII characters, at most 256"

// reservedOptions are options of every start, whatever its profile.
var reservedOptions = []string{"system", "flavor", "profile", "start_id", "registry_username", "registry_password"}

// unlistedSuffix ends the name by which a start gives a value of the user's own for an option.
const unlistedSuffix = "--unlisted-choice"

// CheckProfiles finds what is wrong with the profiles of a system, each fault by its place in their list.
func CheckProfiles(profiles []Profile) (faults []schema.Fault) {
	seen := map[string]int{}
	for i, p := range profiles {
		at := strconv.Itoa(i)
		add := func(text string, path ...string) {
			faults = append(faults, schema.Fault{Path: path, Text: text}.Below(at))
		}
		before, twice := seen[p.Slug]
		seen[p.Slug] = i
		switch {
		case !profileName.MatchString(p.Slug):
			add(profileNameWords, "slug")
		case twice:
			add(fmt.Sprintf("%q is also the slug of profiles[%d]", p.Slug, before), "slug")
		}
		for _, name := range slices.Sorted(maps.Keys(p.Options)) {
			p.Options[name].check(name, add)
			other, ok := strings.CutSuffix(name, unlistedSuffix)
			if _, has := p.Options[other]; ok && has {
				words := "is what a start calls a value of the user's own for %s; rename one of them at the outpost"
				add(fmt.Sprintf(words, other), "profile_options", name)
			}
		}
	}
	return faults
}

// check adds what is wrong with an option of a profile.
func (o ProfileOption) check(name string, add func(text string, path ...string)) {
	const options = "profile_options"
	switch {
	case !profileName.MatchString(name):
		add(fmt.Sprintf("%q is not the name of an option; %s", name, profileNameWords), options)
	case slices.Contains(reservedOptions, name):
		add("is an option of every start; give it another name at the outpost", options, name)
	case len(o.Choices) == 0 && o.UnlistedChoice == nil:
		add("has neither choices nor an unlisted_choice", options, name)
	case o.UnlistedChoice != nil && !o.UnlistedChoice.Enabled:
		add("must be true; leave unlisted_choice out where there is none", options, name, "unlisted_choice", "enabled")
	}
	for _, choice := range slices.Sorted(maps.Keys(o.Choices)) {
		if !profileName.MatchString(choice) {
			add(fmt.Sprintf("%q is not the name of a choice; %s", choice, profileNameWords), options, name, "choices")
		}
	}
}
