package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// block is a part of the page that this program writes: what is between the two marks. The first names what belongs
// there: "runs", "short", or the beginnings of names of results.
var block = regexp.MustCompile(`(?s)(<!-- bench: ([^\n]*?) -->\n).*?(<!-- end -->)`)

// fillPage returns a page with all of its blocks written anew. Every result must have a place on it.
func fillPage(text string, s results) (string, error) {
	var prefixes []string
	filled := block.ReplaceAllStringFunc(text, func(found string) string {
		parts := block.FindStringSubmatch(found)
		var body string
		switch parts[2] {
		case "runs":
			body = s.runsBlock()
		case "short":
			body = s.shortBlock()
		default:
			names := strings.Split(parts[2], ", ")
			prefixes = append(prefixes, names...)
			body = s.tableBlock(names)
		}
		return parts[1] + "\n" + body + "\n" + parts[3]
	})
	for _, name := range s.names("") {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p+"/") }) {
			return "", fmt.Errorf("no block of the page has a place for %s", name)
		}
	}
	return filled, nil
}

// runsBlock lists the runs that the figures are of, and what they could not measure.
func (s results) runsBlock() string {
	var b strings.Builder
	b.WriteString("| run | of | commit | machine | load before | took |\n| --- | --- | --- | --- | --- | --- |\n")
	for i, c := range s.Runs {
		size := ""
		if c.Quick {
			size = " (quick)"
		}
		fmt.Fprintf(&b, "| %d | %s%s | %s | %s; %s | %.1f | %.0f min |\n", i+1, c.ID, size, c.Commit, c.Machine,
			strings.Join(c.Versions, ", "), c.Load, c.Seconds/60)
	}
	for _, k := range s.Skipped {
		fmt.Fprintf(&b, "\nLeft out: %s, because: %s\n", k.Name, k.Why)
	}
	return b.String()
}

// tableBlock is one table of all results whose names begin with one of the prefixes: a line for each name,
// a column for each subject.
func (s results) tableBlock(prefixes []string) string {
	var names, subjects []string
	for _, p := range prefixes {
		names = append(names, groups(s.names(p+"/"))...)
	}
	for _, name := range names {
		for _, r := range s.subjects(name) {
			if !slices.Contains(subjects, r.Subject) {
				subjects = append(subjects, r.Subject)
			}
		}
	}
	if len(names) == 0 {
		return "Not measured yet.\n"
	}
	head := append([]string{"what", "unit"}, subjects...)
	if len(subjects) > 1 {
		head = append(head, "ours / theirs")
	}
	head = append(head, "aim")
	if len(s.Runs) > 1 {
		head = append(head, "run")
	}
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, name := range names {
		all := s.subjects(name)
		cells := []string{label(name), all[0].Unit}
		var ratios, verdicts []string
		for _, subject := range subjects {
			r, ok := of(all, subject)
			if !ok {
				cells = append(cells, "")
				continue
			}
			cells = append(cells, strings.TrimSpace(figure(r.median())+" "+spread(r)))
			if text := ratio(r, all); text != "" {
				ratios = append(ratios, text)
			}
			for _, a := range aimsOf(r) {
				verdicts = append(verdicts,
					a.words(r.Unit)+": "+strings.ReplaceAll(verdict(a.met(r, all)), "SHORT", "**short**"))
			}
		}
		if len(subjects) > 1 {
			cells = append(cells, strings.Join(ratios, ", "))
		}
		cells = append(cells, strings.Join(verdicts, "; "))
		if len(s.Runs) > 1 {
			cells = append(cells, s.runsOf(all))
		}
		line(cells)
	}
	return b.String()
}

// groups brings names together that differ in their last part only, such as the same figure at several sizes.
func groups(names []string) []string {
	var order []string
	for _, name := range names {
		if !slices.Contains(order, path.Dir(name)) {
			order = append(order, path.Dir(name))
		}
	}
	slices.SortStableFunc(names,
		func(a, b string) int { return slices.Index(order, path.Dir(a)) - slices.Index(order, path.Dir(b)) })
	return names
}

// label is how a table calls a result: its name without the topic.
func label(name string) string {
	return strings.Join(strings.Split(name, "/")[1:], ", ")
}

// runsOf are the numbers of the runs that some results are of.
func (s results) runsOf(all []result) string {
	var numbers []string
	for i, c := range s.Runs {
		if slices.ContainsFunc(all, func(r result) bool { return r.Run == c.ID }) {
			numbers = append(numbers, fmt.Sprint(i+1))
		}
	}
	return strings.Join(numbers, ", ")
}

// shortBlock lists every figure that falls short of an aim, and what it is bound by.
func (s results) shortBlock() string {
	var b strings.Builder
	total := 0
	said := map[string]bool{}
	for _, name := range s.names("") {
		all := s.subjects(name)
		for _, r := range all {
			for _, a := range aimsOf(r) {
				total++
				if a.met(r, all) {
					continue
				}
				got := figure(r.median()) + " " + r.Unit
				if other, ok := of(all, a.of); ok {
					got = fmt.Sprintf("%.2f × %s (%s against %s %s)", r.median()/other.median(), a.of,
						figure(r.median()), figure(other.median()), r.Unit)
				}
				fmt.Fprintf(&b, "- %s: %s; the aim is %s.", topic(name)+", "+label(name), got, a.words(r.Unit))
				// A reason that several figures share is said once.
				if a.limit != "" && !said[a.limit] {
					b.WriteString(" " + a.limit)
					said[a.limit] = true
				}
				b.WriteString("\n")
			}
		}
	}
	switch {
	case total == 0:
		return "Nothing is measured yet.\n"
	case b.Len() == 0:
		return fmt.Sprintf("All %d aims are met.\n", total)
	default:
		return fmt.Sprintf("Of %d aims, %d are not met:\n\n%s", total, strings.Count(b.String(), "\n"), b.String())
	}
}
