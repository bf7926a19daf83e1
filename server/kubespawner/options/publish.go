package options

import (
	"cmp"
	"slices"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
)

// Publish returns the profiles of a checked list (see [Check]) as a form shows them to a user of these groups: those
// that are open to them, and those that are not and have words for it. What they set is left out.
func Publish(list any, groups access.Groups) []catalog.Profile {
	all := readProfiles(list, &Problems{})
	open := openTo(all, func(r access.Rule) bool { return r.Allows(groups) })
	published := []catalog.Profile{}
	for _, pr := range all {
		i := slices.IndexFunc(open, func(one profile) bool { return one.path == pr.path })
		shown := pr.publish()
		switch {
		case i >= 0:
			shown.Default = open[i].initial
		case pr.access.DeniedText != "":
			shown.Denied = &pr.access.DeniedText
		default:
			continue
		}
		published = append(published, shown)
	}
	return published
}

// ProfileAccess is who may choose a profile.
type ProfileAccess struct {
	Slug string
	access.Rule
}

// Access returns who may choose each profile of a checked list.
func Access(list any) []ProfileAccess {
	var all []ProfileAccess
	for _, pr := range readProfiles(list, &Problems{}) {
		all = append(all, ProfileAccess{pr.slug, pr.access})
	}
	return all
}

// publish returns what a form shows of a profile.
func (pr profile) publish() catalog.Profile {
	shown := catalog.Profile{
		Slug: pr.slug, DisplayName: cmp.Or(pr.text("display_name"), pr.slug), Description: pr.text("description"),
		Options: map[string]catalog.ProfileOption{},
	}
	for _, o := range pr.options {
		shown.Options[o.name] = o.publish()
	}
	return shown
}

// publish returns what a form shows of a profile's option.
func (o profileOption) publish() catalog.ProfileOption {
	shown := catalog.ProfileOption{
		DisplayName: cmp.Or(o.text("display_name"), o.name), Choices: map[string]catalog.Choice{},
	}
	choices, _ := o.form["choices"].(map[string]any)
	for key := range o.choices {
		choice, _ := choices[key].(map[string]any)
		shown.Choices[key] = catalog.Choice{
			DisplayName: cmp.Or(form(choice).text("display_name"), key), Default: key == o.initial,
		}
	}
	if o.unlisted != nil {
		shown.UnlistedChoice = &catalog.UnlistedChoice{
			DisplayName: cmp.Or(o.unlisted.text("display_name"), o.unlisted.text("display_name_in_choices"), "Other"),
			Message:     o.unlisted.message,
		}
		if expression := o.unlisted.text("validation_regex"); expression != "" {
			shown.UnlistedChoice.Regex = &expression
		}
	}
	return shown
}
