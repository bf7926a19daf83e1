package config

import (
	"fmt"
	"strings"
)

// Problem is one wrong setting: the name that the operator typed, and what is wrong with it.
type Problem struct {
	Name    string // OUTPOST_LISTEN, or config.yaml: hubs.jupyterhub.allowedImages
	Message string // one sentence without the value of a secret
}

// Problems are all wrong settings. It is an error; nil means that nothing is wrong.
type Problems []Problem

// Error lists the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Name + ": " + one.Message
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

// nearest returns the name that a mistyped one most likely means, or "" if none is close.
func nearest(typed string, names []string) string {
	best, bestDistance := "", 1+max(1, len(typed)/3)
	for _, name := range names {
		if d := distance(strings.ToLower(typed), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of letters to add, drop or change to get from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
