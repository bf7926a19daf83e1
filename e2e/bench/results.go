package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is one figure: several samples of one thing about one subject.
type result struct {
	Name    string    `json:"name"`    // what, such as "ssh/throughput/down/aes128-gcm/1"
	Subject string    `json:"subject"` // of whom, such as "outpost" or "sshd"
	Unit    string    `json:"unit"`
	Better  string    `json:"better"` // "more" or "less"
	Samples []float64 `json:"samples"`
	Aim     string    `json:"aim,omitempty"` // in words, where there is one
}

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

// run is one run of this program; its exported fields are results.json.
type run struct {
	Date     string   `json:"date"`
	Machine  string   `json:"machine"`
	Versions []string `json:"versions"`
	Quick    bool     `json:"quick"`
	Results  []result `json:"results"`
	Skipped  []string `json:"skipped,omitempty"`

	quick    bool
	only     []string
	progress io.Writer
}

// wants tells whether a name, or anything below it, was asked for.
func (r *run) wants(name string) bool {
	if len(r.only) == 0 {
		return true
	}
	return slices.ContainsFunc(r.only, func(o string) bool {
		return strings.HasPrefix(name, o) || strings.HasPrefix(o, name)
	})
}

// pick returns the size for a full or a quick run.
func pick[T any](r *run, full, quick T) T {
	if r.quick {
		return quick
	}
	return full
}

// add records a sample.
func (r *run) add(name, subject, unit, better, aim string, sample float64) {
	for i := range r.Results {
		if r.Results[i].Name == name && r.Results[i].Subject == subject {
			r.Results[i].Samples = append(r.Results[i].Samples, sample)
			return
		}
	}
	r.Results = append(r.Results, result{Name: name, Subject: subject, Unit: unit, Better: better, Aim: aim, Samples: []float64{sample}})
}

// say tells how far the run is.
func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.progress, format+"\n", args...)
}

// describe notes when and where the figures were taken.
func (r *run) describe() {
	r.Date = time.Now().UTC().Format(time.RFC3339)
	r.Quick = r.quick
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.Trim(name, "\t :\n")
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // empty where there is none
	r.Machine = fmt.Sprintf("%d x %s, %s %s", runtime.NumCPU(), cpu, runtime.GOOS, strings.TrimSpace(string(kernel)))
	r.Versions = append(r.Versions, runtime.Version())
	if text, err := exec.Command("ssh", "-V").CombinedOutput(); err == nil {
		r.Versions = append(r.Versions, strings.TrimSpace(string(text)))
	}
}

// subjects returns the subjects of a name in the order of their first sample.
func (r *run) subjects(name string) []result {
	var out []result
	for _, res := range r.Results {
		if res.Name == name {
			out = append(out, res)
		}
	}
	return out
}

// names returns every name once, in order.
func (r *run) names() []string {
	var out []string
	for _, res := range r.Results {
		if !slices.Contains(out, res.Name) {
			out = append(out, res.Name)
		}
	}
	return out
}

// table prints medians, spread, the ratio to the other subjects' and to the last run's.
func (r *run) table(w io.Writer, last *run) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "what\tsubject\tmedian\tunit\tspread\toutpost/other\tlast\taim")
	for _, name := range r.names() {
		all := r.subjects(name)
		for _, res := range all {
			ratio, before := "", ""
			if res.Subject != "outpost" && res.median() != 0 {
				for _, ours := range all {
					if ours.Subject == "outpost" {
						ratio = fmt.Sprintf("%.2f", ours.median()/res.median())
					}
				}
			}
			if last != nil {
				for _, old := range last.subjects(name) {
					if old.Subject == res.Subject && old.median() != 0 {
						before = fmt.Sprintf("%+.0f %%", (res.median()/old.median()-1)*100)
					}
				}
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%.0f %%\t%s\t%s\t%s\n", name, res.Subject, figure(res.median()), res.Unit, res.spread(), ratio, before, res.Aim)
		}
	}
	_ = tw.Flush() // to a terminal or a file; its loss shows
}

// figure prints a number with three significant digits or so.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// readResults reads the results of an earlier run.
func readResults(name string) (*run, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &run{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// write writes results.json and a picture for each group of names.
func (r *run) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return r.draw(dir)
}
