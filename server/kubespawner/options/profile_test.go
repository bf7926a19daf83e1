package options

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
)

// profileVectors are those of lifecycle-vectors.json.
type profileVectors struct {
	Profiles struct {
		Base  map[string]any `json:"base_options"`
		List  []any          `json:"profile_list"`
		Cases []struct {
			ID          string         `json:"id"`
			UserOptions map[string]any `json:"user_options"`
			After       map[string]any `json:"options_after"`
			Error       string         `json:"error"`
		} `json:"cases"`
		Slugs []struct {
			Display string `json:"display_name"`
			Slug    string `json:"slug"`
		} `json:"generated_slugs"`
	} `json:"profiles"`
}

// everybody is a user to whom every profile is open.
func everybody(access.Rule) bool { return true }

func TestProfilesAreKubeSpawners(t *testing.T) {
	var v profileVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	lists := map[string]any{
		"profile-without-list": []any{},
		"dict-form": map[string]any{
			"b": map[string]any{"display_name": "Second", "kubespawner_override": map[string]any{"image": "img:b"}},
			"a": map[string]any{"display_name": "First"},
		},
		"option-without-choices": []any{
			map[string]any{"display_name": "P", "slug": "p", "profile_options": map[string]any{
				"image": map[string]any{
					"unlisted_choice": map[string]any{
						"enabled":              true,
						"kubespawner_override": map[string]any{"image": "{value}"},
					},
				},
			}},
		},
	}
	fine := map[string]bool{"profile-without-list": true} // nobody offers profiles, so none is missing
	if len(v.Profiles.Cases) < 14 {
		t.Fatalf("only %d vectors", len(v.Profiles.Cases))
	}
	for _, c := range v.Profiles.Cases {
		t.Run(c.ID, func(t *testing.T) {
			values := map[string]any{"profile_list": v.Profiles.List}
			for name, value := range v.Profiles.Base {
				values[name] = value
			}
			if list, ok := lists[c.ID]; ok {
				values["profile_list"] = list
			}
			var p Problems
			merged := CheckLayer(values, &p)
			below := Defaults("jhub", 0)
			ApplyProfile(
				merged,
				nil,
				func(name string) any { return below[name] },
				numbers(mustCanonical(t, c.UserOptions)).(map[string]any),
				everybody,
				&p,
			)
			err := p.Err()
			if (err != nil) != (c.Error != "" && !fine[c.ID]) {
				t.Fatalf("error %v, KubeSpawner's is %q", err, c.Error)
			}
			if err != nil || c.Error != "" {
				return
			}
			s, err := NewSettings(merged, below)
			if err != nil {
				t.Fatal(err)
			}
			got := settingsAsOptions(t, s)
			for name, want := range c.After {
				if diff := cmp.Diff(
					want,
					got[name],
					kubespawnertest.SameObject,
				); diff != "" &&
					!bothEmpty(want, got[name]) {
					t.Errorf("%s (-want +got)\n%s", name, diff)
				}
			}
		})
	}
}

func settingsAsOptions(t *testing.T, s Settings) map[string]any {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// bothEmpty reports whether neither of two options is set.
func bothEmpty(a, b any) bool {
	empty := func(v any) bool {
		switch v := v.(type) {
		case nil:
			return true
		case []any:
			return len(v) == 0
		case map[string]any:
			return len(v) == 0
		}
		return false
	}
	return empty(a) && empty(b)
}

// Each fault is named by its key below the layer. What KubeSpawner fails with at every start is refused, and so are
// keys that nothing reads.
func TestCheckFindsWrongProfiles(t *testing.T) {
	const mustBeMap = "must be a map, not null"
	deep := strings.Repeat("(", 999) + strings.Repeat(")", 999) // one more is refused by itself
	//nolint:lll // a case a line
	for name, c := range map[string]struct {
		profile string // beside a display_name P
		want    string // by key below the profile; empty for none
	}{
		"wrong option":                   {`kubespawner_override: {mem_limit: lots}`, `.kubespawner_override.mem_limit: must be a number of bytes or a string such as "512M", "1.5G" or "2Gi"`},
		"unknown option":                 {`kubespawner_override: {mem_limt: 1G}`, ".kubespawner_override.mem_limt: unknown option; did you mean mem_limit?"},
		"null override":                  {`kubespawner_override: null`, ".kubespawner_override: " + mustBeMap},
		"null options":                   {`profile_options: null`, ".profile_options: " + mustBeMap},
		"null option":                    {`profile_options: {image: null}`, ".profile_options.image: must be an object"},
		"null choice":                    {`profile_options: {image: {choices: {a: null}}}`, ".profile_options.image.choices.a: must be an object"},
		"two options of one name":        {`profile_options: {b: {unlisted_choice: {enabled: true}}, b--unlisted-choice: {choices: {a: {}}}}`, ".profile_options.b--unlisted-choice: is what a start calls a value of the user's own for b; rename one of them"},
		"no value of one's own":          {`profile_options: {b: {choices: {a: {}}}, b--unlisted-choice: {choices: {a: {}}}}`, ".profile_options.b--unlisted-choice: is what a start calls a value of the user's own for b; rename one of them"},
		"an option that only ends so":    {`profile_options: {b--unlisted-choice: {choices: {a: {}}}}`, ""},
		"null unlisted":                  {`profile_options: {image: {choices: {a: {}}, unlisted_choice: null}}`, ".profile_options.image.unlisted_choice: " + mustBeMap},
		"null choices":                   {`profile_options: {image: {choices: null}}`, ".profile_options.image: has neither choices nor an unlisted_choice that is enabled, so the profile cannot be started"},
		"no choice":                      {`profile_options: {image: {unlisted_choice: {enabled: false}}}`, ".profile_options.image: has neither choices nor an unlisted_choice that is enabled, so the profile cannot be started"},
		"wrong choice":                   {`profile_options: {image: {choices: {a: {kubespawner_override: {image: 5}}}}}`, ".profile_options.image.choices.a.kubespawner_override.image: must be a string, not an integer"},
		"wrong regex":                    {`profile_options: {image: {unlisted_choice: {enabled: true, validation_regex: "("}}}`, ".profile_options.image.unlisted_choice.validation_regex: error parsing regexp: missing closing ): `(`"},
		"regex that leaves its place":    {`profile_options: {image: {unlisted_choice: {enabled: true, validation_regex: "a)|(?:b"}}}`, ".profile_options.image.unlisted_choice.validation_regex: error parsing regexp: unexpected ): `a)|(?:b`"},
		"regex at the limit of depth":    {`profile_options: {image: {unlisted_choice: {enabled: true, validation_regex: "` + deep + `"}}}`, ".profile_options.image.unlisted_choice.validation_regex: " + excerpt.Of("error parsing regexp: expression nests too deeply: `^(?:"+deep, excerpt.Sentence)},
		"empty regex":                    {`profile_options: {image: {unlisted_choice: {enabled: true, validation_regex: }}}`, ".profile_options.image.unlisted_choice.validation_regex: is empty; leave the key out, or write its value"},
		"regex, no string":               {`profile_options: {image: {unlisted_choice: {enabled: true, validation_regex: [a]}}}`, ".profile_options.image.unlisted_choice.validation_regex: must be a string, not a list"},
		"fixed part":                     {`profile_options: {image: {unlisted_choice: {enabled: true, kubespawner_override: {image: "{value}", cpu_limit: two}}}}`, `.profile_options.image.unlisted_choice.kubespawner_override.cpu_limit: must be a number of cores such as 1.5 or "500m"`},
		"option of a value of one's own": {`profile_options: {image: {unlisted_choice: {enabled: true, kubespawner_override: {imgae: "{value}", image_spec: "{value}"}}}}`, `.profile_options.image.unlisted_choice.kubespawner_override.imgae: unknown option; did you mean image?`},
		"users":                          {`users: [alice]`, ".users: restricts nobody; say in the profile's allowed_groups who may choose it"},
		"groups":                         {`groups: [staff]`, ".groups: restricts nobody; say in the profile's allowed_groups who may choose it"},
		"allowed groups":                 {`allowed_groups: [staff, "urn:*"], denied_text: Ask Bob.`, ""},
		"allowed groups, none":           {`allowed_groups: []`, ".allowed_groups: must be a list of names of groups, at least one"},
		"allowed groups, null":           {`allowed_groups: null`, ".allowed_groups: must be a list of names of groups, at least one"},
		"words for nobody":               {`denied_text: Ask Bob.`, ".denied_text: has no effect without allowed_groups"},
		"no words":                       {`allowed_groups: [staff], denied_text: ""`, ".denied_text: must be a sentence"},
		"users of choice":                {`profile_options: {image: {choices: {a: {users: [a]}}}}`, ".profile_options.image.choices.a.users: restricts nobody; say in the profile's allowed_groups who may choose it"},
		"misplaced option":               {`mem_limit: 1G`, ".mem_limit: unknown key; spawner options are set below kubespawner_override"},
		"mistyped key":                   {`kubespawner_overide: {}`, ".kubespawner_overide: unknown key; did you mean kubespawner_override?"},
		"mistyped default":               {`defautl: true`, ".defautl: unknown key; did you mean default?"},
		"unknown of option":              {`profile_options: {image: {choices: {a: {}}, choise: 1}}`, ".profile_options.image.choise: unknown key; did you mean choices?"},
		"default, string":                {`default: "true"`, ""},
		"default, 1":                     {`default: 1`, ""},
		"default, null":                  {`default: null`, ""},
		"default, empty":                 {`default: ""`, ""},
		"default, no":                    {`default: "No"`, ".default: is a string, and every string counts as true; write false without quotes"},
		"default, list":                  {`default: [true]`, ".default: must be true or false, not a list"},
		"empty slug":                     {`slug: ""`, ".slug: must not be empty; leave it out to have it made from display_name"},
		"null slug":                      {`slug: null`, ".slug: must not be empty; leave it out to have it made from display_name"},
		"number as slug":                 {`slug: 5`, ".slug: must be a string, not an integer"},
		"keys of forms":                  {`description: null, icon: x, x-anything: {a: 1}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			profile := map[string]any{}
			if err := yaml.Unmarshal([]byte("{"+c.profile+"}"), &profile); err != nil {
				t.Fatal(err)
			}
			profile["display_name"] = "P"
			got := checkAll(map[string]any{"profile_list": []any{profile}})
			want := c.want
			if want != "" {
				want = "profile_list[0]" + want
			}
			if name == "number as slug" { // it is then missing too
				if got == nil || !strings.Contains(got.Error(), want) {
					t.Errorf("got %v\nwant %s", got, want)
				}
				return
			}
			if want == "" && got == nil {
				return
			}
			if got == nil || got.Error() != want {
				t.Errorf("got  %v\nwant %s", got, want)
			}
		})
	}
}

func TestCheckFindsProfilesThatCannotBeChosen(t *testing.T) {
	err := checkAll(map[string]any{"profile_list": map[string]any{
		"a": map[string]any{"display_name": "Large"},
		"b": map[string]any{"display_name": "large!"},
		"c": map[string]any{"display_name": "🚀"},
		"d": map[string]any{"description": "without a name"},
		"e": map[string]any{"display_name": 7, "slug": "seven"},
	}})
	const want = `profile_list.b: has the slug "large" like profile_list.a; set another slug or display_name; ` +
		`profile_list.c.slug: is missing, and cannot be made from the display_name "🚀"; ` +
		"profile_list.d.display_name: is missing; it is what users read, and the slug is made from it; " +
		"profile_list.e.display_name: must be a string, not an integer"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// What is false in Python is no choice: the initial one counts.
func TestFalseChoicesAreTheInitialOnes(t *testing.T) {
	list := []any{
		map[string]any{"display_name": "First"},
		map[string]any{"display_name": "Second", "default": "true", "profile_options": map[string]any{
			"image": map[string]any{
				"choices": map[string]any{
					"a": map[string]any{"kubespawner_override": map[string]any{"image": "a"}},
					"b": map[string]any{"default": "yes", "kubespawner_override": map[string]any{"image": "b"}},
					"c": map[string]any{"default": true, "kubespawner_override": map[string]any{"image": "c"}},
				},
				"unlisted_choice": map[string]any{
					"enabled": "true", "kubespawner_override": map[string]any{"image": "own/{value}"},
				},
			},
		}},
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		userOptions map[string]any
		image       any
		problem     string
	}{
		{nil, "b", ""},
		{map[string]any{"profile": "", "image": ""}, "b", ""},
		{map[string]any{"profile": false, "image": int64(0)}, "b", ""},
		{map[string]any{"profile": []any{}, "image": map[string]any{}}, "b", ""},
		{map[string]any{"profile": "first"}, nil, ""},
		{map[string]any{"image": "c"}, "c", ""},
		{map[string]any{"image": "c", "image--unlisted-choice": ""}, "c", ""},
		{map[string]any{"image--unlisted-choice": "x:1"}, "own/x:1", ""},
		{map[string]any{"image": true}, nil, "image: must be a string, not true or false"},
		{map[string]any{"image--unlisted-choice": int64(5)}, nil, "image--unlisted-choice: must be a string, not an integer"},
		{map[string]any{"profile": int64(1)}, nil, "profile: must be a string, not an integer"},
		{map[string]any{"image": "d"}, nil, `image: unknown choice "d"; the choices are a, b, c`},
	} {
		var p Problems
		merged := CheckLayer(map[string]any{"profile_list": list}, &p)
		ApplyProfile(merged, nil, func(string) any { return nil }, c.userOptions, everybody, &p)
		problem := ""
		if err := p.Err(); err != nil {
			problem = err.Error()
		}
		if problem != c.problem || problem == "" && merged["image"] != c.image {
			t.Errorf("%v: image %v, %q; want %v, %q", c.userOptions, merged["image"], problem, c.image, c.problem)
		}
	}
}

// Every way to start is offered once, with the layers that it adds.
func TestSelections(t *testing.T) {
	override := func(image string) map[string]any {
		return map[string]any{"kubespawner_override": map[string]any{"image": image}}
	}
	list := []any{
		map[string]any{"slug": "one", "kubespawner_override": map[string]any{"cpu_limit": 1}},
		map[string]any{"slug": "two", "allowed_groups": []any{"urn:*", "b"}, "profile_options": map[string]any{
			"image": map[string]any{
				"choices": map[string]any{"a": override("a"), "b": override("b")},
				"unlisted_choice": map[string]any{
					"enabled": true, "validation_regex": "^quay.io/",
					"kubespawner_override": map[string]any{"image": "{value}"},
				},
			},
			"size": map[string]any{"choices": map[string]any{"s": map[string]any{}}},
		}},
		map[string]any{"slug": "three", "profile_options": map[string]any{"x": map[string]any{
			"unlisted_choice": map[string]any{"enabled": true, "validation_regex": "^nobody knows$"},
		}}},
	}
	image := func(key, value string) Layer {
		return Layer{
			"profile_list[1].profile_options.image." + key + ".kubespawner_override", map[string]any{"image": value},
		}
	}
	two := Layer{Key: "profile_list[1].kubespawner_override"}
	size := Layer{Key: "profile_list[1].profile_options.size.choices.s.kubespawner_override"}
	const sample = "quay.io/jupyter/base-notebook:latest"
	want := []Selection{
		{
			map[string]any{"profile": "one"},
			nil,
			[]Layer{{"profile_list[0].kubespawner_override", map[string]any{"cpu_limit": 1}}},
		},
		{map[string]any{"profile": "two"}, access.Groups{"urn:x"}, []Layer{two, image("choices.a", "a"), size}},
		{
			map[string]any{"profile": "two", "image": "b"},
			access.Groups{"urn:x"},
			[]Layer{two, image("choices.b", "b"), size},
		},
		{
			map[string]any{"profile": "two", "image--unlisted-choice": sample},
			access.Groups{"urn:x"},
			[]Layer{two, image("unlisted_choice", sample), size},
		},
	}
	if diff := cmp.Diff(want, Selections(list), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Selections(nil); got != nil {
		t.Errorf("got %v of no list", got)
	}
}
