package options

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Problem is one thing that is wrong with options or names.
type Problem struct {
	Name   string // of an option, or of a part of it: "volumes[0]"
	Source string // where its value comes from, such as "misc" or "profile small"; may be empty
	Text   string // one sentence
}

func (p Problem) String() string {
	if p.Source != "" {
		return p.Name + " (" + p.Source + "): " + p.Text
	}
	return p.Name + ": " + p.Text
}

// Problems collects what is wrong with options and names, so that all of it is reported at once.
type Problems struct {
	// Source is where the options that are being checked come from; see [Problem].
	Source string

	at      string // is put before each name: the key below which the options are
	list    []Problem
	omitted int // beyond maxProblems
}

const (
	maxProblems = 100      // that are listed
	maxMessage  = 16 << 10 // bytes of all of them
)

// Addf notes a problem of an option, or of the part of it that has this name. What is long is shortened.
func (p *Problems) Addf(name, format string, args ...any) {
	if p.Full() {
		p.omitted++
		return
	}
	p.list = append(p.list, Problem{
		Name: excerpt.Of(p.at+name, excerpt.Name), Source: p.Source,
		Text: excerpt.Of(fmt.Sprintf(format, args...), excerpt.Sentence),
	})
}

// below notes what check finds under names that begin with at.
func (p *Problems) below(at string, check func()) {
	before := p.at
	p.at = before + at + "."
	check()
	p.at = before
}

// Noted reports whether something is wrong with an option, or with a part of it.
func (p *Problems) Noted(option string) bool {
	return slices.ContainsFunc(p.list, func(one Problem) bool {
		rest, of := strings.CutPrefix(one.Name, option)
		return of && (rest == "" || rest[0] == '[' || rest[0] == '.')
	})
}

// Full reports whether as many problems are noted as are listed, so that looking for more is work for nothing.
func (p *Problems) Full() bool { return len(p.list) >= maxProblems }

// All returns the problems in the order in which they were found.
func (p *Problems) All() []Problem { return p.list }

// Err returns all problems as one error of KindInvalid, sorted and separated by semicolons; nil if there are none.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	list := make([]string, len(p.list))
	for i, one := range p.list {
		list[i] = one.String()
	}
	slices.Sort(list)
	text := excerpt.Of(strings.Join(slices.Compact(list), "; "), maxMessage)
	if p.omitted > 0 {
		text += fmt.Sprintf("; and %d more", p.omitted)
	}
	return outpost.Errorf(outpost.KindInvalid, "%s", text)
}
