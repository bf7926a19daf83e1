package pattern_test

import (
	"testing"

	"github.com/outposts-dev/outposts/server/pattern"
)

// See protocol 4.2.
func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, text string
		want          bool
	}{
		{"us..1", "user1", true},
		{"us..1", "user12", false},
		{"(?i)user1", "USER1", true},
		{"*@example.org", "a/b@example.org", true},
		{"hub-al*", "hub-alpha", true},
		{"a+b", "a+b", true},
		{"hub-[!a]", "hub-b", true},
		{"a?c", "a\nc", true},
		{"hub-[", "hub-[", true},
		{"hub-a)|(.*", "hub-b", false},
	} {
		p, err := pattern.Parse(tc.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(tc.text); got != tc.want {
			t.Errorf("%q matches %q: %v", tc.pattern, tc.text, got)
		}
	}
}

// Look-around and back references would match nobody as globs.
func TestParseRefusesWhatOnlyPythonHas(t *testing.T) {
	for _, text := range []string{"(?!x)a", `(a)\1`, "(?<=a)b"} {
		if _, err := pattern.Parse(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestGlob(t *testing.T) {
	for glob, want := range map[string]map[string]bool{
		"quay.io/*": {"quay.io/a/b:1": true, "docker.io/a": false},
		"a[]b]c":    {"a]c": true, "abc": true, "axc": false},
		"a[!]b]c":   {"axc": true, "a]c": false},
		"a[^b]c":    {"a^c": true, "axc": false},
		`a[\]c`:     {`a\c`: true},
		"a.b":       {"axb": false, "a.b": true},
		"[ab":       {"[ab": true, "a": false},
	} {
		re, err := pattern.Glob(glob)
		if err != nil {
			t.Fatal(err)
		}
		for text, match := range want {
			if got := re.MatchString(text); got != match {
				t.Errorf("%q matches %q: %v", glob, text, got)
			}
		}
	}
}
