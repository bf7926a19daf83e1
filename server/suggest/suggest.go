// Package suggest finds the name that a mistyped one most likely means.
package suggest

import (
	"fmt"
	"strings"
)

// Nearest returns the one of names that a mistyped name most likely means, or "" if none is close.
func Nearest(typed string, names []string) string {
	best, bestDistance := "", 1+max(1, len(typed)/3)
	for _, name := range names {
		if max(len(typed)-len(name), len(name)-len(typed)) >= bestDistance {
			continue // each letter more or less counts
		}
		if d := distance(strings.ToLower(typed), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// Or is the end of a sentence about an unknown name: "; did you mean mem_limit?", or other if no name is close. The
// name is looked for when the sentence is written.
func Or(typed string, names []string, other string) fmt.Stringer { return ending{typed, names, other} }

type ending struct {
	typed string
	names []string
	other string
}

func (e ending) String() string {
	if near := Nearest(e.typed, e.names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return e.other
}

// distance is the number of letters to add, drop, change or swap with the next to get from a to b (optimal string
// alignment).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1) // by the lengths of beginnings of both
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := range len(a) {
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(rows[i][j+1]+1, rows[i+1][j]+1, rows[i][j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, rows[i-1][j-1]+1)
			}
			rows[i+1][j+1] = d
		}
	}
	return rows[len(a)][len(b)]
}
