package options

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Problems collects what is wrong with options and names, so that all of it is reported at once.
type Problems struct {
	// Source is where the options that are being checked come from, such as "misc" or "profile small"; it is put behind
	// each option's name.
	Source string

	list    []string
	omitted int // beyond maxProblems
}

const (
	maxProblems = 100      // that are listed
	maxMessage  = 16 << 10 // bytes of all of them
)

// Addf notes a problem of an option, or of the part of it that has this name. What is long is shortened.
func (p *Problems) Addf(name, format string, args ...any) {
	if len(p.list) >= maxProblems {
		p.omitted++
		return
	}
	name = excerpt.Of(name, excerpt.Name)
	if p.Source != "" {
		name += " (" + p.Source + ")"
	}
	p.list = append(p.list, name+": "+excerpt.Of(fmt.Sprintf(format, args...), excerpt.Sentence))
}

// Err returns all problems as one error of KindInvalid, sorted and separated by semicolons; nil if there are none.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	list := slices.Compact(slices.Sorted(slices.Values(p.list)))
	text := excerpt.Of(strings.Join(list, "; "), maxMessage)
	if p.omitted > 0 {
		text += fmt.Sprintf("; and %d more", p.omitted)
	}
	return outpost.Errorf(outpost.KindInvalid, "%s", text)
}
