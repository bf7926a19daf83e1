package access_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/access"
)

func TestOpens(t *testing.T) {
	const helmholtz = "urn:*:group:helmholtz:*"
	many := make(access.Groups, 300)
	for i := range many {
		many[i] = strings.Repeat("x", i)
	}
	for _, c := range []struct {
		name    string
		allowed []string
		groups  access.Groups
		by      string
		ok      bool
	}{
		{"open to everybody", nil, nil, "", true},
		{"nobody's groups", []string{"gpu"}, nil, "", false},
		{"another group", []string{"gpu"}, access.Groups{"gpu2", "GPU", "", " gpu"}, "", false},
		{"the second of both", []string{"a", "gpu"}, access.Groups{"b", "gpu"}, "gpu", true},
		{"a pattern", []string{helmholtz}, access.Groups{"urn:geant:group:helmholtz:fzj"}, helmholtz, true},
		{"nothing for stars", []string{helmholtz}, access.Groups{"urn::group:helmholtz:"}, helmholtz, true},
		{"another beginning", []string{helmholtz}, access.Groups{"xurn:a:group:helmholtz:b"}, "", false},
		{"parts in another order", []string{"*a*b"}, access.Groups{"ba", "b"}, "", false},
		{"the end may not overlap", []string{"ab*ba"}, access.Groups{"aba"}, "", false},
		{"a part twice, the end once more", []string{"*ab*ab"}, access.Groups{"ab", "aab"}, "", false},
		{"the last of several", []string{"*ab"}, access.Groups{"abxab"}, "*ab", true},
		{"any group", []string{"*"}, access.Groups{""}, "*", true},
		{"any group, without one", []string{"*"}, nil, "", false},
		{"signs of other patterns", []string{"a.c", "a?c", "[abc]"}, access.Groups{"abc", "a"}, "", false},
		{"markup", []string{"<b>"}, access.Groups{"<b>"}, "<b>", true},
		{"300 groups", []string{"y", "*xx"}, many, "*xx", true},
	} {
		by, ok := access.Rule{AllowedGroups: c.allowed}.Opens(c.groups)
		if by != c.by || ok != c.ok {
			t.Errorf("%s: %q, %v", c.name, by, ok)
		}
	}
}

func TestMemberIsLetIn(t *testing.T) {
	for _, allowed := range [][]string{nil, {"gpu"}, {"urn:*:group:*"}, {"*"}} {
		r := access.Rule{AllowedGroups: allowed}
		if !r.Allows(r.Member()) {
			t.Errorf("%q does not let %q in", allowed, r.Member())
		}
	}
}

func TestGroupsOf(t *testing.T) {
	for name, c := range map[string]struct {
		authentication any
		want           access.Groups
	}{
		"nothing":    {nil, nil},
		"no object":  {[]any{"gpu"}, nil},
		"no groups":  {map[string]any{"name": "ann"}, nil},
		"a string":   {map[string]any{"groups": "gpu"}, nil},
		"an object":  {map[string]any{"groups": map[string]any{"gpu": true}}, nil},
		"two, and 1": {map[string]any{"groups": []any{"gpu", 1, "<b>", nil}}, access.Groups{"gpu", "<b>"}},
	} {
		if diff := cmp.Diff(c.want, access.GroupsOf(c.authentication)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		want  []string
	}{
		"names":            {[]any{"a", "b*"}, []string{"a", "b*"}},
		"no list":          {"a", nil},
		"nothing":          {[]any{}, nil},
		"null":             {nil, nil},
		"a number":         {[]any{"a", 1}, nil},
		"an empty name":    {[]any{"a", ""}, nil},
		"a list in a list": {[]any{[]any{"a"}}, nil},
	} {
		got, err := access.ParseGroups(c.value)
		if diff := cmp.Diff(c.want, got); diff != "" || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	for _, value := range []any{nil, "", " \n", 7, []any{"a"}} {
		if text, err := access.ParseText(value); err == nil {
			t.Errorf("%v is the text %q", value, text)
		}
	}
	if text, err := access.ParseText("Ask Bob."); text != "Ask Bob." || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
