package options

import (
	"maps"
	"slices"

	"github.com/outposts-dev/outposts/server/access"
)

// Layer is where some options come from: the key below which they are, and they themselves.
type Layer struct {
	Key    string
	Values map[string]any
}

// Selection is what a user may choose of a profile list, and the layers of options that the choice adds, each over the
// one before.
type Selection struct {
	UserOptions map[string]any
	Groups      access.Groups // of a user to whom the profile is open
	Layers      []Layer
}

// sampleValues are values that a user may write where a profile accepts one of their own.
var sampleValues = []string{"1", "latest", "main", "1G", "quay.io/jupyter/base-notebook:latest", "user/repository"}

// Selections returns every profile of a list that is checked (see [Check]) with its initial choices, then once with
// each other choice of each of its options. Where a user's own value is needed and none of a few samples is accepted,
// the choice is left out.
func Selections(list any) []Selection {
	var out []Selection
	for _, pr := range readProfiles(list, &Problems{}) {
		if pr.slug == "" && !pr.initial {
			continue
		}
		initial, complete := pr.selection()
		if !complete {
			continue
		}
		out = append(out, initial)
		for i, o := range pr.options {
			for _, key := range slices.Sorted(maps.Keys(o.choices)) {
				if key != o.initial {
					out = append(out, initial.with(i, o.name, key, Layer{o.choicePath(key), o.choices[key]}))
				}
			}
			if value, ok := o.sample(); ok && o.initial != "" {
				out = append(out, initial.with(i, o.name+unlistedSuffix, value, o.unlistedLayer(value)))
			}
		}
	}
	return out
}

// selection is the profile with the initial choice of each option; false if one has none and accepts no sample.
func (pr profile) selection() (Selection, bool) {
	s := Selection{
		UserOptions: map[string]any{}, Groups: pr.access.Member(),
		Layers: []Layer{{pr.path + "." + overrideKey, pr.override}},
	}
	if pr.slug != "" {
		s.UserOptions["profile"] = pr.slug
	}
	for _, o := range pr.options {
		if o.initial != "" {
			s.Layers = append(s.Layers, Layer{o.choicePath(o.initial), o.choices[o.initial]})
			continue
		}
		value, ok := o.sample()
		if !ok {
			return Selection{}, false
		}
		s.UserOptions[o.name+unlistedSuffix] = value
		s.Layers = append(s.Layers, o.unlistedLayer(value))
	}
	return s, true
}

// with returns the selection with another choice of the option at a place.
func (s Selection) with(place int, name, choice string, layer Layer) Selection {
	other := Selection{UserOptions: maps.Clone(s.UserOptions), Groups: s.Groups, Layers: slices.Clone(s.Layers)}
	other.UserOptions[name] = choice
	other.Layers[place+1] = layer // the first is the profile's own
	return other
}

// sample is a value of the user's own that the option accepts.
func (o profileOption) sample() (string, bool) {
	if o.unlisted == nil {
		return "", false
	}
	i := slices.IndexFunc(sampleValues, func(value string) bool {
		return o.unlisted.pattern == nil || o.unlisted.pattern.MatchString(value)
	})
	if i < 0 {
		return "", false
	}
	return sampleValues[i], true
}

func (o profileOption) unlistedLayer(value string) Layer {
	override, _ := substitute(o.unlisted.override, value).(map[string]any)
	return Layer{o.unlistedPath(), override}
}
