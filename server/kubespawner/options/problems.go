package options

import (
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/server/outpost"
)

// Problems collects what is wrong with options and names, so that all of it is reported at once.
type Problems struct {
	// Source is where the options that are being checked come from, such as "misc" or "profile small"; it is put behind
	// each option's name.
	Source string

	list []string
}

// Addf notes a problem of an option, or of the part of it that has this name.
func (p *Problems) Addf(name, format string, args ...any) {
	if p.Source != "" {
		name += " (" + p.Source + ")"
	}
	p.list = append(p.list, name+": "+fmt.Sprintf(format, args...))
}

// Err returns all problems as one error of KindInvalid, sorted and separated by semicolons; nil if there are none.
func (p *Problems) Err() error {
	if len(p.list) == 0 {
		return nil
	}
	list := slices.Compact(slices.Sorted(slices.Values(p.list)))
	return outpost.Errorf(outpost.KindInvalid, "%s", strings.Join(list, "; "))
}
