package main

import (
	"fmt"
	"html"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// picture is one drawing of bars: results of one unit, whose names begin alike.
type picture struct{ file, title, prefix string }

// pictures are those that docs/performance.md shows.
var pictures = []picture{
	{"ssh-throughput.svg", "SSH forwarding", "ssh/throughput/"},
	{"ssh-cpu.svg", "SSH forwarding: processor time of the server", "ssh/cpu/"},
	{"ssh-delay.svg", "SSH forwarding with delay", "ssh/delay/"},
	{"ssh-memory.svg", "1,000 open channels", "ssh/memory/"},
	{"api-polls.svg", "Polls for each second of processor time", "api/polls/for each CPU-second/"},
	{"api-memory.svg", "Memory of the outpost", "api/process/memory/"},
	{"hub-start.svg", "Processor time of a hub for one start", "hub/start/processor time"},
	{"pods-ready.svg", "Until all of so many servers are ready", "pods/ready/"},
	{"provision-clusters.svg", "Two local clusters", "provision/clusters/"},
	{"provision-stacks.svg", "Stacks", "provision/stacks/"},
}

// Colours by order of subject: readable on white and on black, also without colour vision.
var colours = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7"}

// draw writes the pictures.
func (s results) draw(dir string) error {
	for _, p := range pictures {
		if text := s.bars(p); text != "" {
			if err := os.WriteFile(filepath.Join(dir, p.file), []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// bars draws medians as horizontal bars, each name with its subjects below one another, and a thin line from the least
// to the greatest sample. It is empty when nothing was measured.
func (s results) bars(p picture) string {
	const width, labelWidth, bar, gap = 860, 280, 14, 10
	names := s.names(p.prefix)
	var subjects []string
	most, rows, unit, better := 0.0, 0, "", ""
	for _, name := range names {
		for _, r := range s.subjects(name) {
			most = max(most, slices.Max(r.Samples))
			rows++
			unit, better = r.Unit, r.Better
			if !slices.Contains(subjects, r.Subject) {
				subjects = append(subjects, r.Subject)
			}
		}
	}
	if most == 0 {
		return ""
	}
	scale := float64(width-labelWidth-70) / most
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d"`, width, 60+rows*bar+len(names)*gap)
	b.WriteString(` font-family="sans-serif" font-size="11" fill="#777">` + "\n")
	fmt.Fprintf(&b, `<text x="8" y="18" font-size="14">%s, %s (%s is better)</text>`+"\n", html.EscapeString(p.title),
		html.EscapeString(unit), better)
	for i, subject := range subjects {
		x := labelWidth + i*120
		fmt.Fprintf(&b, `<rect x="%d" y="28" width="12" height="12" fill="%s"/><text x="%d" y="38">%s</text>`+"\n",
			x, colours[i%len(colours)], x+16, html.EscapeString(subject))
	}
	y := 52
	for _, name := range names {
		text := strings.ReplaceAll(strings.TrimPrefix(name, p.prefix), "/", ", ")
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text>`+"\n", y+bar-3, html.EscapeString(text))
		for _, r := range s.subjects(name) {
			least, greatest, mid := slices.Min(r.Samples), slices.Max(r.Samples), float64(y)+float64(bar)/2
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n",
				labelWidth, y+1, r.median()*scale, bar-2, colours[slices.Index(subjects, r.Subject)%len(colours)])
			fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#777"/>`+"\n",
				labelWidth+least*scale, mid, labelWidth+greatest*scale, mid)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n",
				labelWidth+greatest*scale+6, y+bar-3, figure(r.median()))
			y += bar
		}
		y += gap
	}
	b.WriteString("</svg>\n")
	return b.String()
}
