package pyformat

import "testing"

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"{username}", "{{", "}", "{userid:+05d}", "{username!r:^20.3}", "{username:é<9}", "{:}", "{userid:x}",
		"{username.__class__}", "{a{b}}",
	} {
		f.Add(seed)
	}
	fields := map[string]any{"username": "alice", "userid": 7}
	f.Fuzz(func(t *testing.T, template string) {
		out, err := Format(template, fields)
		if err == nil && len(out) > len(template)*(4*MaxWidth+100) {
			t.Errorf("%q yields %d bytes", template, len(out))
		}
	})
}
