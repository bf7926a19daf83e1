package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// printTable writes one row for each system and, below, what to look at where something failed. It reports whether
// nothing did.
func printTable(w io.Writer, results []result) bool {
	passed := true
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SYSTEM\tSTART\tROUTE\tREQUEST\tKERNEL\tREMOVED FROM\tVERDICT")
	for _, r := range results {
		verdict := "ok"
		if r.part != "" {
			verdict = "FAILED: " + r.part
			passed = false
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.system, seconds(r.start), orDash(r.route),
			milliseconds(r.request), milliseconds(r.kernel), orDash(strings.Join(r.removed, ", ")), verdict)
	}
	_ = table.Flush()
	for _, r := range results {
		if r.part != "" {
			fmt.Fprintf(w, "\n%s failed at %s: %v\n  look at: %s\n", r.system, r.part, r.err, r.look)
		}
	}
	return passed
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
