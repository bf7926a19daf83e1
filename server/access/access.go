// Package access decides by a user's groups whether something is open to them, and keeps the words for whoever it is
// not open to.
package access

import (
	"errors"
	"slices"
	"strings"
)

// Rule says to whom something is open. The zero value is open to everybody.
type Rule struct {
	// AllowedGroups are names of groups, one of which a user must be in; "*" stands for any characters, also none:
	// "urn:*:group:helmholtz:*". None is everybody.
	AllowedGroups []string
	// DeniedText is a sentence of the operator's for all others, such as where to ask. Empty is none: what has no
	// words is not shown to them.
	DeniedText string
}

// Groups are those that a user is in, by the hub's word.
type Groups []string

// GroupsOf returns the groups of a user's attributes, decoded JSON; what is not a list of strings is none.
func GroupsOf(authentication any) Groups {
	attributes, _ := authentication.(map[string]any)
	list, _ := attributes["groups"].([]any)
	var groups Groups
	for _, one := range list {
		if name, ok := one.(string); ok {
			groups = append(groups, name)
		}
	}
	return groups
}

// Opens returns which of the allowed groups lets a user in; ok is false if none does. Of a rule that is open to
// everybody it is "".
func (r Rule) Opens(groups Groups) (by string, ok bool) {
	if len(r.AllowedGroups) == 0 {
		return "", true
	}
	for _, pattern := range r.AllowedGroups {
		first, rest, starred := strings.Cut(pattern, "*")
		named := func(name string) bool { return matches(first, rest, name) }
		if !starred && slices.Contains(groups, pattern) || starred && slices.ContainsFunc(groups, named) {
			return pattern, true
		}
	}
	return "", false
}

// Allows reports whether a user of these groups may.
func (r Rule) Allows(groups Groups) bool {
	_, ok := r.Opens(groups)
	return ok
}

// Refusal returns the sentences for a user whom the rule refuses what, such as "the flavor gpu".
func (r Rule) Refusal(what string) string {
	text := "You may not use " + what + "."
	if r.DeniedText != "" {
		text += " " + r.DeniedText
	}
	return text
}

// Explain says why the rule lets a user in, or not, for the operator.
func (r Rule) Explain(groups Groups) string {
	by, ok := r.Opens(groups)
	switch {
	case !ok:
		return "in none of the allowed groups: " + strings.Join(r.AllowedGroups, ", ")
	case by == "":
		return "open to everybody"
	}
	return "in an allowed group: " + by
}

// Member returns groups of a user to whom the rule is open.
func (r Rule) Member() Groups {
	if len(r.AllowedGroups) == 0 {
		return nil
	}
	return Groups{strings.ReplaceAll(r.AllowedGroups[0], "*", "x")}
}

// matches reports whether a name is first*rest, in which each "*" stands for any characters.
func matches(first, rest, name string) bool {
	if !strings.HasSuffix(name, rest[strings.LastIndex(rest, "*")+1:]) {
		return false // most patterns differ there: the look for what is between is left out
	}
	name, ok := strings.CutPrefix(name, first)
	for ok {
		part, after, starred := strings.Cut(rest, "*")
		rest = after
		if !starred {
			return strings.HasSuffix(name, part)
		}
		_, name, ok = strings.Cut(name, part)
	}
	return ok
}

// ParseGroups returns AllowedGroups as a file has them, decoded YAML or JSON.
func ParseGroups(v any) ([]string, error) {
	list, _ := v.([]any)
	groups := make([]string, len(list))
	for i, one := range list {
		groups[i], _ = one.(string)
	}
	if len(list) == 0 || slices.Contains(groups, "") {
		return nil, errors.New("must be a list of names of groups, at least one")
	}
	return groups, nil
}

// ParseText returns DeniedText as a file has it, decoded YAML or JSON.
func ParseText(v any) (string, error) {
	text, _ := v.(string)
	if strings.TrimSpace(text) == "" {
		return "", errors.New("must be a sentence")
	}
	return text, nil
}
