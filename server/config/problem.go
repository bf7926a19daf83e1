package config

import (
	"fmt"
	"strings"

	"github.com/outposts-dev/outposts/server/place"
)

// Problem is one wrong setting: the name that the operator typed, and what is wrong with it.
type Problem struct {
	Name    string // OUTPOST_LISTEN, or config.yaml: hubs.jupyterhub.allowedImages
	Message string // one sentence without the value of a secret
	Line    int    // in the file that Name begins with; 0 if it is unknown, or no file
}

// Error is the problem with its place.
func (p Problem) Error() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s: %s (line %d)", p.Name, p.Message, p.Line)
	}
	return p.Name + ": " + p.Message
}

// Problems are all wrong settings. It is an error; nil means that nothing is wrong.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// orNil returns p as an error, nil if it is empty.
func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// addf adds a problem.
func (p *Problems) addf(name, format string, args ...any) {
	*p = append(*p, Problem{Name: name, Message: fmt.Sprintf(format, args...)})
}

// placeIn adds the lines of the problems that are in a file.
func (p Problems) placeIn(file string, text []byte) {
	lines := place.Of(text)
	for i, one := range p {
		if key, in := strings.CutPrefix(one.Name, file+": "); in {
			p[i].Line = lines.Of(key)
		}
	}
}
