package maintenance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/suggest"
)

// maxText bounds the words of a maintenance, which every form and every refusal has.
const maxText = 1024

var keys = []string{"from", "until", "text", "evict"}

// Parse reads the setting maintenance of the configuration file, which is decoded JSON: from, and if known until, text
// and evict.
func Parse(v any) (*outpost.Maintenance, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("must be a mapping with from, until, text and evict")
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(keys, key) {
			return nil, fmt.Errorf("has the unknown key %s%s", key,
				suggest.Or(key, keys, "; known keys: "+strings.Join(keys, ", ")))
		}
	}
	planned := &outpost.Maintenance{}
	var errs []error
	if m["from"] == nil {
		errs = append(errs, errors.New("needs from, a time such as "+example))
	}
	for key, to := range map[string]*time.Time{"from": &planned.From, "until": &planned.Until} {
		if m[key] == nil {
			continue
		}
		text, _ := m[key].(string)
		at, err := Time(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
		*to = at
	}
	if m["text"] != nil {
		if planned.Text, ok = m["text"].(string); !ok {
			errs = append(errs, errors.New("text: must be a sentence"))
		}
	}
	if m["evict"] != nil {
		if planned.Evict, ok = m["evict"].(bool); !ok {
			errs = append(errs, errors.New("evict: must be true or false"))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, Check(*planned))
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return planned, errors.Join(errs...)
}

// Check returns what is wrong with a maintenance, whoever has announced it.
func Check(m outpost.Maintenance) error {
	switch {
	case !m.Until.IsZero() && !m.From.Before(m.Until):
		return errors.New("until: is not after the beginning")
	case len(m.Text) > maxText:
		return fmt.Errorf("text: has %d bytes; at most %d are allowed", len(m.Text), maxText)
	}
	return nil
}

const example = "2026-05-04T18:00:00Z"

// Time reads a time of RFC 3339 as UTC. There it may have another year, which no catalog could say.
func Time(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	at = at.UTC()
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%q is not a time such as %s", text, example)
	}
	return at, nil
}
