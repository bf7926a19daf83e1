package excerpt_test

import (
	"strings"
	"testing"

	"github.com/outposts-dev/outposts/server/excerpt"
)

func TestOf(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"at the limit", "zoë1", "zoë1"},
		{"over the limit", "abcdef", "abcde..."},
		{"a character across the limit is left out", "abcdë", "abcd..."},
		{"long", strings.Repeat("x", 1000), "xxxxx..."},
	} {
		if got := excerpt.Of(tc.text, 5); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}
