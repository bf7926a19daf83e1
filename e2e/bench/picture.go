package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Colours by order of subject: readable on white and on black, also without colour vision.
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7"}

// draw writes one picture of bars for each group: the first two parts of a name, such as "ssh/throughput".
func (r *run) draw(dir string) error {
	groups := map[string][]string{}
	var order []string
	for _, name := range r.names() {
		parts := strings.SplitN(name, "/", 3)
		g := strings.Join(parts[:min(2, len(parts))], "-")
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], name)
	}
	for _, g := range order {
		if err := os.WriteFile(filepath.Join(dir, g+".svg"), []byte(r.bars(g, groups[g])), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// bars draws the medians of a group's names as horizontal bars, each name with its subjects below one another, and a
// thin line from the least to the greatest sample.
func (r *run) bars(title string, names []string) string {
	const width, label, bar, gap = 860, 330, 14, 10
	most := 0.0
	rows := 0
	var subjects []string
	unit := ""
	for _, name := range names {
		for _, res := range r.subjects(name) {
			most = max(most, slices.Max(res.Samples))
			rows++
			unit = res.Unit
			if !slices.Contains(subjects, res.Subject) {
				subjects = append(subjects, res.Subject)
			}
		}
	}
	if most == 0 {
		most = 1
	}
	height := 50 + rows*bar + len(names)*gap
	scale := float64(width-label-90) / most
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#777">`+"\n", width, height)
	fmt.Fprintf(&b, `<text x="8" y="18" font-size="14">%s, %s</text>`+"\n", html.EscapeString(title), html.EscapeString(unit))
	for i, s := range subjects {
		fmt.Fprintf(&b, `<rect x="%d" y="8" width="12" height="12" fill="%s"/><text x="%d" y="18">%s</text>`+"\n",
			label+i*110, colours[i%len(colours)], label+16+i*110, html.EscapeString(s))
	}
	y := 34
	for _, name := range names {
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`+"\n", y+bar-3, html.EscapeString(strings.TrimPrefix(name, strings.ReplaceAll(title, "-", "/")+"/")))
		for _, res := range r.subjects(name) {
			w := res.median() * scale
			mid := float64(y) + float64(bar)/2
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", label, y+1, w, bar-2, colours[slices.Index(subjects, res.Subject)%len(colours)])
			fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#777"/>`+"\n",
				label+slices.Min(res.Samples)*scale, mid, label+slices.Max(res.Samples)*scale, mid)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", label+slices.Max(res.Samples)*scale+6, y+bar-3, figure(res.median()))
			y += bar
		}
		y += gap
	}
	b.WriteString("</svg>\n")
	return b.String()
}
