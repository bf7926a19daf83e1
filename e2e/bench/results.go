package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// result is one figure: several samples of one thing about one subject.
type result struct {
	Run     string    `json:"run"`     // the run that took it, by its ID
	Name    string    `json:"name"`    // what, such as "ssh/throughput/down/aes128-gcm/1"
	Subject string    `json:"subject"` // of whom, such as "outpost" or "sshd"
	Unit    string    `json:"unit"`
	Better  string    `json:"better"` // "more" or "less"
	Samples []float64 `json:"samples"`
}

// ours reports whether the result is of this project: of the outpost, or of outposts as a whole.
func (r result) ours() bool { return r.Subject == outpostSubject || r.Subject == projectSubject }

// The subjects that are ours. The others are the usual alternatives.
const (
	outpostSubject = "outpost"
	projectSubject = "outposts"
)

// median is the figure that counts.
func (r result) median() float64 {
	s := slices.Sorted(slices.Values(r.Samples))
	if len(s) == 0 {
		return 0
	}
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}

// spread is half the range of the samples in per cent of the median.
func (r result) spread() float64 {
	m := r.median()
	if m == 0 {
		return 0
	}
	return (slices.Max(r.Samples) - slices.Min(r.Samples)) / 2 / m * 100
}

// skip is a measurement that could not be taken, and why.
type skip struct {
	Run  string `json:"run"`
	Name string `json:"name"`
	Why  string `json:"why"`
}

// conditions are when, where and of what a run has taken its figures.
type conditions struct {
	ID       string   `json:"id"` // the time of its beginning
	Commit   string   `json:"commit"`
	Machine  string   `json:"machine"`
	Versions []string `json:"versions"`
	Load     float64  `json:"load"` // of the machine before the run, over a minute: 0 is a quiet machine
	Seconds  float64  `json:"seconds"`
	Quick    bool     `json:"quick"`
}

// results are what results.json holds: the newest figure of everything that was ever measured, and
// the runs that they are of.
type results struct {
	Runs    []conditions `json:"runs"`
	Results []result     `json:"results"`
	Skipped []skip       `json:"skipped,omitempty"`
}

// subjects returns the results of a name, in the order of their first sample.
func (s results) subjects(name string) []result {
	var out []result
	for _, r := range s.Results {
		if r.Name == name {
			out = append(out, r)
		}
	}
	return out
}

// names returns every name that begins with a prefix once, in order.
func (s results) names(prefix string) []string {
	var out []string
	for _, r := range s.Results {
		if strings.HasPrefix(r.Name, prefix) && !slices.Contains(out, r.Name) {
			out = append(out, r.Name)
		}
	}
	return out
}

// topic is the first part of a name: the measurement that it is of.
func topic(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

// merge returns these results with those of a newer run put over them. What the newer run has measured
// whole has no older figures left; of the rest each figure is replaced by its newer one, with those of its other
// subjects, as only figures of one run can be compared. whole lists the topics that were measured whole.
func (s results) merge(newer results, whole []string) results {
	var out results
	renewed := func(name string) bool {
		return slices.Contains(whole, topic(name)) ||
			slices.ContainsFunc(newer.Results, func(n result) bool { return n.Name == name })
	}
	for _, r := range s.Results {
		if !renewed(r.Name) {
			out.Results = append(out.Results, r)
		}
	}
	out.Results = append(out.Results, newer.Results...)
	slices.SortStableFunc(out.Results, func(a, b result) int { return rank(a.Name) - rank(b.Name) })
	for _, k := range s.Skipped {
		if !slices.Contains(whole, topic(k.Name)) &&
			!slices.ContainsFunc(newer.Skipped, func(n skip) bool { return n.Name == k.Name }) {
			out.Skipped = append(out.Skipped, k)
		}
	}
	out.Skipped = append(out.Skipped, newer.Skipped...)
	for _, c := range slices.Concat(s.Runs, newer.Runs) {
		used := slices.ContainsFunc(out.Results, func(r result) bool { return r.Run == c.ID }) ||
			slices.ContainsFunc(out.Skipped, func(k skip) bool { return k.Run == c.ID })
		if used {
			out.Runs = append(out.Runs, c)
		}
	}
	return out
}

// rank orders topics as the measurements are, whichever run their figures are of.
func rank(name string) int {
	return slices.IndexFunc(measurements, func(m measurement) bool { return m.topic == topic(name) })
}

// readResults reads results.json.
func readResults(name string) (results, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return results{}, err
	}
	return parseResults(text)
}

// committedResults reads results.json as it is in the last commit.
func committedResults(ctx context.Context) (results, error) {
	command := exec.CommandContext(ctx, "git", "show", "HEAD:./"+home+"/"+resultsFile)
	text, err := command.Output()
	if err != nil {
		return results{}, fmt.Errorf("no results are committed to compare with (%s: %w)",
			strings.Join(command.Args, " "), err)
	}
	return parseResults(text)
}

const resultsFile = "results.json"

func parseResults(text []byte) (results, error) {
	var s results
	if err := json.Unmarshal(text, &s); err != nil {
		return results{}, fmt.Errorf("%s: %w", resultsFile, err)
	}
	return s, nil
}

// write writes results.json.
func (s results) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, resultsFile), append(text, '\n'), 0o644)
}
