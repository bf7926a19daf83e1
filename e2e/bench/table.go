package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table prints medians and spread, our ratio to the other subjects, the change since the committed
// results, and the aims.
func (s results) table(w io.Writer, committed results) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tSUBJECT\tMEDIAN\tUNIT\tSPREAD\tOURS/THEIRS\tCOMMITTED\tAIM")
	for _, name := range s.names("") {
		all := s.subjects(name)
		for _, r := range all {
			var verdicts []string
			for _, a := range aimsOf(r) {
				verdicts = append(verdicts, a.words(r.Unit)+": "+verdict(a.met(r, all)))
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, r.Subject, figure(r.median()),
				r.Unit, spread(r), ratio(r, all),
				change(r, committed), strings.Join(verdicts, "; "))
		}
	}
	_ = tw.Flush() // to a terminal or a file; its loss shows
	for _, k := range s.Skipped {
		fmt.Fprintf(w, "left out: %s: %s\n", k.Name, k.Why)
	}
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "SHORT"
}

// spread says half the range of several samples.
func spread(r result) string {
	if len(r.Samples) < 2 || r.median() == 0 {
		return ""
	}
	return fmt.Sprintf("± %.0f %%", r.spread())
}

// ratio says our figure divided by this one.
func ratio(r result, all []result) string {
	for _, ours := range all {
		if ours.ours() && !r.ours() && r.median() != 0 {
			return fmt.Sprintf("%.2f", ours.median()/r.median())
		}
	}
	return ""
}

// change says how the figure differs from the committed one.
func change(r result, committed results) string {
	old, ok := of(committed.subjects(r.Name), r.Subject)
	if !ok || old.median() == 0 {
		return ""
	}
	grown := (r.median()/old.median() - 1) * 100
	word := ""
	if worse := (grown < 0) == (r.Better == "more"); worse && (grown >= 1 || grown <= -1) {
		word = " worse"
	}
	return fmt.Sprintf("%+.0f %%%s", grown, word)
}

// figure prints a number with three significant digits or so.
func figure(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
