package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// figure is one line of a report.
type figure struct {
	what, value string
	want        string // what must hold; empty for a figure that is only told
	bad         bool   // it does not hold
}

// report is what a run has measured.
type report struct {
	figures []figure
	notes   []string
}

func (r *report) tell(what, format string, args ...any) {
	r.figures = append(r.figures, figure{what: what, value: fmt.Sprintf(format, args...)})
}

// hold adds a figure of which something must hold.
func (r *report) hold(ok bool, want, what, format string, args ...any) {
	r.figures = append(r.figures, figure{what, fmt.Sprintf(format, args...), want, !ok})
}

func (r *report) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range r.figures {
		switch {
		case f.want == "":
			fmt.Fprintf(table, "%s\t%s\n", f.what, f.value)
		case f.bad:
			fmt.Fprintf(table, "%s\t%s\tNOT %s\n", f.what, f.value, f.want)
		default:
			fmt.Fprintf(table, "%s\t%s\tok: %s\n", f.what, f.value, f.want)
		}
	}
	_ = table.Flush() // to the standard output
	for _, note := range r.notes {
		fmt.Fprintln(w, note)
	}
}

// err is nil if all that must hold does.
func (r *report) err() error {
	var bad []string
	for _, f := range r.figures {
		if f.bad {
			bad = append(bad, f.what)
		}
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("does not hold: %s", strings.Join(bad, ", "))
}
