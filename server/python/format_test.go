package python

import (
	"errors"
	"strings"
	"testing"
)

// maxError is more than any error of a template has, in bytes.
const maxError = 500

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"{username}", "{{", "}", "{userid:+05d}", "{username!r:^20.3}", "{username:é<9}", "{:}", "{userid:x}",
		"{username.__class__}", "{a{b}}",
		strings.Repeat("{username:1000}", 1000), strings.Repeat("{username!r:.0}", 9000),
		strings.Repeat("x", MaxLength) + "{{", "{" + strings.Repeat("x", 2000) + "}",
	} {
		f.Add(seed)
	}
	fields := map[string]any{"username": "alice", "userid": 7}
	f.Fuzz(func(t *testing.T, template string) {
		const budget = MaxLength + 1000
		left := budget
		out, err := FormatWithin(template, fields, &left)
		switch {
		case err != nil && len(err.Error()) > maxError:
			t.Errorf("an error of %d bytes", len(err.Error()))
		case err != nil || !strings.ContainsAny(template, "{}"):
		case len(out) > MaxLength:
			t.Errorf("%.200q yields %d bytes", template, len(out))
		case left < 0 || budget-left < len(out):
			t.Errorf("%.200q yields %d bytes and uses %d", template, len(out), budget-left)
		}
	})
}

func TestLengthIsBounded(t *testing.T) {
	fields := map[string]any{"name": strings.Repeat("x", 1000), "empty": ""}
	for name, tc := range map[string]struct {
		template string
		left     int
		fails    bool
	}{
		"plain":                      {strings.Repeat("x", 2*MaxLength), 0, false},
		"at the limit":               {strings.Repeat("{name}", 130), MaxLength, false},
		"above it":                   {strings.Repeat("{name}", 132), MaxLength, true},
		"above it, with much left":   {strings.Repeat("{name}", 132), 10 * MaxLength, true},
		"little left":                {"{name}", 500, true},
		"a long template of nothing": {strings.Repeat("{empty}", MaxLength/7+1), 10 * MaxLength, true},
		"a value that is cut":        {strings.Repeat("{name:.1}", 132), MaxLength, true},
		"text behind fields":         {"{name}" + strings.Repeat("x", MaxLength-100), MaxLength, true},
	} {
		left := tc.left
		if _, err := FormatWithin(tc.template, fields, &left); errors.Is(err, ErrTooLong) != tc.fails {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
