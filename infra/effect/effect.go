// Package effect finds which of an operator's values of a chart have no effect the way that this program installs it:
// each of them reaches the chart as it was written, or is refused with the key that does it.
package effect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// Table declares what has no effect. Places are patterns of [values.Match].
type Table struct {
	// Refusals are places without any effect; the first that matches holds, and one without text excepts its place.
	Refusals []Refusal
	// Conditions are places that have an effect only with some values at another place.
	Conditions []Condition
	// Conflicts say, for places that the program has to set itself, which key is theirs; the first that matches holds.
	Conflicts []Refusal
	// Defaults are the chart's own values, which hold where nothing else is said. One that repeats them is not a fault
	// where it has no effect.
	Defaults map[string]any
}

// Refusal is a place, and why a value there is refused, with what to do instead. Make it with [Refuse].
type Refusal struct{ Pattern, Text string }

// Refuse returns the refusal of a place.
func Refuse(pattern, text string) Refusal { return Refusal{pattern, text} }

// Condition is a place that has an effect only while the value at another one is one of several. Make it with [While].
type Condition struct {
	Pattern string
	At      string // the other place, its parts with dots between them
	Of      []any
}

// While returns the condition of a place.
func While(pattern, at string, of ...any) Condition { return Condition{pattern, at, of} }

// Faults returns what is wrong with the operator's own values: those without an effect in the values as they are made
// of them, and those that take the place of what is needed. One that says what holds anyway is not a fault. Paths begin
// at the values themselves.
func (t Table) Faults(written, needed, made map[string]any) []schema.Fault {
	var faults []schema.Fault
	own := t.Meant(written, needed)
	different := values.Lost(needed, own)
	for _, path := range values.Leaves(own) {
		holds := !slices.ContainsFunc(different, func(at []string) bool { return Within(path, at) })
		holds = holds || values.At(needed, path...) == nil && t.isDefault(written, path)
		if text := t.Unused(path, made); text != "" && !holds {
			faults = append(faults, schema.Fault{Path: wholeList(own, path), Text: text})
		}
	}
	for _, path := range values.Lost(made, needed) {
		path = presentPart(own, path)
		if t.Unused(path, made) == "" { // else it has been said
			faults = append(faults, schema.Fault{Path: path, Text: t.conflict(path, own, needed)})
		}
	}
	slices.SortStableFunc(faults, func(a, b schema.Fault) int { return strings.Compare(a.Key(), b.Key()) })
	return slices.CompactFunc(faults, func(a, b schema.Fault) bool { return slices.Equal(a.Path, b.Path) })
}

// Unused returns why a place has no effect, with values as they are made; empty if it has one.
func (t Table) Unused(path []string, made map[string]any) string {
	if text, refused := first(t.Refusals, path); refused {
		return text
	}
	for _, c := range t.Conditions {
		at := strings.Split(c.At, ".")
		if !values.Match(c.Pattern, path) || slices.Equal(at, path) {
			continue
		}
		is := values.At(made, at...)
		if is == nil {
			is = values.At(t.Defaults, at...)
		}
		if !slices.Contains(c.Of, is) {
			return fmt.Sprintf("has no effect while values.%s is %v; set that to %s, or leave this out",
				c.At, is, alternatives(c.Of))
		}
	}
	return ""
}

func (t Table) conflict(path []string, own, needed map[string]any) string {
	if text, declared := first(t.Conflicts, path); declared {
		return text
	}
	theirs, ours := values.At(own, path...), values.At(needed, path...)
	_, isMap := theirs.(map[string]any)
	_, isList := theirs.([]any)
	switch ours.(type) {
	case map[string]any:
		if theirs != nil && !isMap {
			return "must be a map: systems need entries of their own there"
		}
	case []any:
		if theirs != nil && !isList {
			return "must be a list: systems need entries of their own there"
		}
	}
	return "is what systems need, and cannot be changed; leave it out"
}

// first is the text of the first of several refusals that matches a path.
func first(all []Refusal, path []string) (string, bool) {
	for _, r := range all {
		if values.Match(r.Pattern, path) {
			return r.Text, true
		}
	}
	return "", false
}

// alternatives are values as they are typed, in words.
func alternatives(of []any) string {
	words := make([]string, len(of))
	for i, value := range of {
		words[i] = cmp.Or(fmt.Sprint(value), `""`)
	}
	return strings.Join(words, " or ")
}

// Within reports whether a path is another one, or below it.
func Within(path, at []string) bool { return len(path) >= len(at) && slices.Equal(path[:len(at)], at) }

// wholeList is the part of a path that leads to the first list in a document, if there is one on the way.
func wholeList(document map[string]any, path []string) []string {
	for i := range path {
		if _, isList := values.At(document, path[:i]...).([]any); isList {
			return path[:i]
		}
	}
	return path
}

// presentPart is the part of a path that is in a document.
func presentPart(document map[string]any, path []string) []string {
	var here any = document
	for i, key := range path {
		inner, _ := here.(map[string]any)
		below, there := inner[key]
		if !there {
			return path[:i]
		}
		here = below
	}
	return path
}
