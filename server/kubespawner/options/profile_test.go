package options

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

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
				func(name string) any { return below[name] },
				numbers(mustCanonical(t, c.UserOptions)).(map[string]any),
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

func TestProfileSlugsAreKubeSpawners(t *testing.T) {
	var v profileVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	for _, c := range v.Profiles.Slugs {
		if got := profileSlug(c.Display); got != c.Slug {
			t.Errorf("%q = %q, want %q", c.Display, got, c.Slug)
		}
	}
}

func TestCheckFindsWrongProfiles(t *testing.T) {
	err := Check(map[string]any{"profile_list": []any{
		map[string]any{"display_name": "Small", "kubespawner_override": map[string]any{"mem_limit": "lots", "nope": 1}},
		map[string]any{"display_name": "Big", "profile_options": map[string]any{"image": map[string]any{
			"choices": map[string]any{"a": map[string]any{"kubespawner_override": map[string]any{"image": 5}}},
			"unlisted_choice": map[string]any{
				"enabled":              true,
				"validation_regex":     "(",
				"kubespawner_override": map[string]any{"mem_limit": "{value}"},
			},
		}}},
	}})
	const want = `image (profile big): must be a string, not an integer; ` +
		`mem_limit (profile small): must be a number of bytes or a string such as "512M", "1.5G" or "2Gi"; ` +
		"nope (profile small): unknown option; profile_list[1].image.unlisted_choice.validation_regex: " +
		"error parsing regexp: missing closing ): `^(?:()`"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
