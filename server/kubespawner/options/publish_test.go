package options

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/access"
)

// groupList is a list of which two profiles are for groups: one with words for all others, one without.
const groupList = `
- display_name: GPU <b>
  allowed_groups: ["urn:*:gpu"]
  denied_text: Ask Bob.
  default: true
  kubespawner_override: {image: planted/gpu, environment: {TOKEN: planted}}
- slug: staff
  display_name: Staff
  description: For <i>staff</i>
  allowed_groups: [staff]
  kubespawner_override: {image: planted/staff}
- slug: base
  kubespawner_override: {image: planted/base}
  profile_options:
    image:
      display_name: Image
      choices:
        a: {display_name: A, kubespawner_override: {image: planted/a}}
        b: {default: true, kubespawner_override: {image: planted/b}}
      unlisted_choice:
        enabled: true
        display_name: Your own
        validation_regex: ^quay\.io/
        validation_message: Must be of quay.io.
        kubespawner_override: {image: "planted/{value}"}
    size:
      unlisted_choice: {enabled: true, kubespawner_override: {mem_limit: "{value}"}}
    other:
      choices: {s: {}}
      unlisted_choice: {enabled: false}
`

func profilesOf(t *testing.T, text string) any {
	t.Helper()
	var list any
	if err := yaml.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	var p Problems
	checked := Check(map[string]any{"profile_list": list}, &p)
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return checked["profile_list"]
}

// See protocol 1.14.
func TestPublish(t *testing.T) {
	const gpu = `{"slug":"gpu-b","display_name":"GPU <b>","description":"","default":%v,"denied":%s,` +
		`"profile_options":{}}`
	const staff = `{"slug":"staff","display_name":"Staff","description":"For <i>staff</i>","default":true,` +
		`"denied":null,"profile_options":{}}`
	const base = `{"slug":"base","display_name":"base","description":"","default":%v,"denied":null,` +
		`"profile_options":{` +
		`"image":{"display_name":"Image","choices":{"a":{"display_name":"A","default":false},` +
		`"b":{"display_name":"b","default":true}},"unlisted_choice":{"display_name":"Your own",` +
		`"validation_regex":"^quay\\.io/","validation_message":"Must be of quay.io."}},` +
		`"other":{"display_name":"other","choices":{"s":{"display_name":"s","default":true}},"unlisted_choice":null},` +
		`"size":{"display_name":"size","choices":{},"unlisted_choice":{"display_name":"Other",` +
		`"validation_regex":null,"validation_message":""}}}}`
	filled := func(text string, values ...string) string {
		for _, value := range values {
			text = text[:strings.IndexByte(text, '%')] + value + text[strings.IndexByte(text, '%')+2:]
		}
		return text
	}
	list := profilesOf(t, groupList)
	for name, c := range map[string]struct {
		groups access.Groups
		want   []string
	}{
		"of no group": {nil, []string{filled(gpu, "false", `"Ask Bob."`), filled(base, "true")}},
		"of the first": {
			access.Groups{"a", "urn:x:gpu"}, []string{filled(gpu, "true", "null"), filled(base, "false")},
		},
		"of the second": {
			access.Groups{"staff"}, []string{filled(gpu, "false", `"Ask Bob."`), staff, filled(base, "false")},
		},
		"with markup": {
			access.Groups{"<script>", "urn::gpu:x"}, []string{filled(gpu, "false", `"Ask Bob."`), filled(base, "true")},
		},
	} {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(Publish(list, c.groups)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("["+strings.Join(c.want, ",")+"]", strings.TrimSpace(b.String())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if strings.Contains(b.String(), "planted") {
			t.Errorf("%s: what a profile sets is published: %s", name, b.String())
		}
	}
	if got := Publish(nil, nil); got == nil || len(got) > 0 {
		t.Errorf("without a list: %v", got)
	}
}

// userOf is a user of these groups.
func userOf(groups access.Groups) func(access.Rule) bool {
	return func(r access.Rule) bool { return r.Allows(groups) }
}

// What a form does not show, a start does not take: by its slug, or by none.
func TestProfilesOfGroups(t *testing.T) {
	const unknown = `profile: unknown profile "staff"; the profiles are `
	for name, c := range map[string]struct {
		slug   string
		groups access.Groups
		image  string
		want   string
	}{
		"the default of a group":        {"", access.Groups{"urn:x:gpu"}, "planted/gpu", ""},
		"the first that is open":        {"", access.Groups{"staff"}, "planted/staff", ""},
		"the one that is open":          {"", nil, "planted/b", ""},
		"by its slug":                   {"gpu-b", access.Groups{"urn:x:gpu"}, "planted/gpu", ""},
		"denied with words":             {"gpu-b", nil, "", "profile: You may not use the profile gpu-b. Ask Bob."},
		"denied without words":          {"staff", nil, "", unknown + "base"},
		"denied without words, another": {"staff", access.Groups{"urn:x:gpu", "<b>"}, "", unknown + "gpu-b, base"},
	} {
		var p Problems
		merged := map[string]any{"profile_list": profilesOf(t, groupList)}
		chosen := map[string]any{"profile": c.slug, "size--unlisted-choice": "1G"}
		ApplyProfile(merged, nil, func(string) any { return nil }, chosen, userOf(c.groups), &p)
		got := ""
		if err := p.Err(); err != nil {
			got = err.Error()
		}
		image, _ := merged["image"].(string)
		if got != c.want || image != c.image {
			t.Errorf("%s: %q, image %q; want %q, %q", name, got, image, c.want, c.image)
		}
	}
	var p Problems
	closed := map[string]any{"profile_list": profilesOf(t, `[{slug: a, allowed_groups: [staff]}]`)}
	ApplyProfile(closed, nil, func(string) any { return nil }, nil, userOf(access.Groups{"other"}), &p)
	if err := p.Err(); err == nil || err.Error() != "profile: You may not use any profile of this system." {
		t.Errorf("a list that is closed: %v", err)
	}
}
