package hub

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckProfiles(t *testing.T) {
	own, off, long := &UnlistedChoice{Enabled: true}, &UnlistedChoice{}, strings.Repeat("a", 256)
	options := func(name string, o ProfileOption) Profile {
		return Profile{Slug: "lab", Options: map[string]ProfileOption{name: o}}
	}
	choices := func(names ...string) ProfileOption {
		o := ProfileOption{Choices: map[string]ProfileChoice{}}
		for _, name := range names {
			o.Choices[name] = ProfileChoice{}
		}
		return o
	}
	const want256 = "want printable ASCII characters, at most 256"
	for _, tt := range []struct {
		name     string
		profiles []Profile
		want     []string
	}{
		{"none", nil, nil},
		{"sound", []Profile{{Slug: "a b"}, {Slug: long}, options("image", choices("3.12 (full)", long))}, nil},
		{"a value of the user's own alone", []Profile{options("image", ProfileOption{UnlistedChoice: own})}, nil},
		{"slugs", []Profile{{}, {Slug: " a"}, {Slug: "a\n"}, {Slug: "ä"}, {Slug: long + "a"}}, []string{
			"p[0].slug: " + want256, "p[1].slug: " + want256, "p[2].slug: " + want256, "p[3].slug: " + want256,
			"p[4].slug: " + want256,
		}},
		{"a slug twice", []Profile{{Slug: "a"}, {Slug: "b"}, {Slug: "a"}}, []string{
			`p[2].slug: "a" is also the slug of profiles[0]`,
		}},
		{"names of options and choices", []Profile{options("a\tb", choices("c\n", ""))}, []string{
			`p[0].profile_options: "a\tb" is not the name of an option; ` + want256,
			"p[0].profile_options.a\tb.choices: \"\" is not the name of a choice; " + want256,
			"p[0].profile_options.a\tb.choices: \"c\\n\" is not the name of a choice; " + want256,
		}},
		{"an option without answers", []Profile{options("image", choices())}, []string{
			"p[0].profile_options.image: has neither choices nor an unlisted_choice",
		}},
		{"a value of one's own that is off", []Profile{options("image", ProfileOption{UnlistedChoice: off})}, []string{
			"p[0].profile_options.image.unlisted_choice.enabled: must be true; leave unlisted_choice out where there " +
				"is none",
		}},
		{"two options of one name", []Profile{{Slug: "a", Options: map[string]ProfileOption{
			"b": {UnlistedChoice: own}, "b--unlisted-choice": choices("c"),
			"d": choices("c"), "d--unlisted-choice": choices("c"), "e--unlisted-choice": choices("c"),
		}}}, []string{
			"p[0].profile_options.b--unlisted-choice: is what a start calls a value of the user's own for b; rename " +
				"one of them at the outpost",
			"p[0].profile_options.d--unlisted-choice: is what a start calls a value of the user's own for d; rename " +
				"one of them at the outpost",
		}},
		{"an option of every start", []Profile{options("flavor", choices("a"))}, []string{
			"p[0].profile_options.flavor: is an option of every start; give it another name at the outpost",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, fault := range CheckProfiles(tt.profiles) {
				got = append(got, fault.Below("p").Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}
