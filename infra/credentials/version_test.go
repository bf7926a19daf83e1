package credentials

import "testing"

func TestVersion(t *testing.T) {
	words := func(a, b Words) map[string]Words { return map[string]Words{"b": b, "a": a} }
	for _, tt := range []struct {
		name, madeAt string
		words        map[string]Words
		want         string
	}{
		{"the first words", "", words(nil, nil), "a=1 b=1"},
		{"the first word, named", "", words(Words{"1"}, nil), "a=1 b=1"},
		{"several words", "", words(nil, Words{"2", "1"}), "a=1 b=2,1"},
		{"with its beginning", "2026-05-01T12:00:00Z", words(nil, nil), "made=2026-05-01T12:00:00Z a=1 b=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := version(tt.madeAt, tt.words); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
