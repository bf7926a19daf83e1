package options

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOpenEnded(t *testing.T) {
	const key = "profile_list[0].profile_options.image.unlisted_choice.validation_regex"
	for expression, open := range map[string]bool{
		`^quay\.io`: true, `^quay\.io/`: true, `[a-z]+`: true, `^a$|^b`: true, `(a$)(b)`: true, `(?m)^a$`: true,
		`a.?`:          true,
		`^quay\.io/.*`: false, `^.+:.+$`: false, `a\z`: false, `^(a|b)$`: false, `^a$|^b$`: false, `(a$|b.+)`: false,
		`(?s)^a.*`: false,
	} {
		list := []any{map[string]any{"display_name": "P", "profile_options": map[string]any{"image": map[string]any{
			"unlisted_choice": map[string]any{"enabled": true, "validation_regex": expression},
		}}}}
		var want []string
		if open {
			want = []string{key}
		}
		if diff := cmp.Diff(want, OpenEnded(list)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expression, diff)
		}
	}
}
