package credentials

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWordsReads(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       Words
		ok         bool
	}{
		{"a list", `["2", "1"]`, Words{"2", "1"}, true},
		{"the word by itself", `"2"`, Words{"2"}, true},
		{"nothing", `null`, nil, true},
		{"a number", `2`, Words{"2"}, true},
		{"a list of both", `[2, "1"]`, Words{"2", "1"}, true},
		{"a word as both", `[2, "2"]`, Words{"2"}, false},
		{"neither", `true`, nil, false},
		{"a list of neither", `[true]`, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got Words
			err := json.Unmarshal([]byte(tt.text), &got)
			if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != tt.ok {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}
