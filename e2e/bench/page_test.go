package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The page and the pictures say what results.json says. `go run ./e2e/bench -draw` at the top of the
// checkout repairs them.
func TestPageIsOfTheResults(t *testing.T) {
	const home = "../../" + home
	s, err := readResults(filepath.Join(home, resultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no results; `make bench` takes them")
	}
	if err != nil {
		t.Fatal(err)
	}
	page := readFile(t, "../../docs/performance.md")
	want, err := fillPage(page, s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, page); diff != "" {
		t.Errorf("docs/performance.md (-want +got):\n%s", diff)
	}
	// What a run could not measure is said on the page, and has no figures.
	left := func(name string) bool {
		return slices.ContainsFunc(s.Skipped, func(k skip) bool { return topic(k.Name) == topic(name) })
	}
	for _, p := range pictures {
		if !strings.Contains(page, "("+"../bench/"+p.file+")") {
			t.Errorf("%s is not on the page", p.file)
		}
		if want := s.bars(p); want == "" && !left(p.prefix) {
			t.Errorf("%s: no results of %s", p.file, p.prefix)
		} else if want != "" && readFile(t, filepath.Join(home, p.file)) != want {
			t.Errorf("%s is not of the results", p.file)
		}
	}
	for _, link := range regexp.MustCompile(`\(\.\./bench/(\S+\.svg)\)`).FindAllStringSubmatch(page, -1) {
		if _, err := os.Stat(filepath.Join(home, link[1])); err != nil {
			t.Error(err)
		}
	}
	for _, a := range aims {
		found := false
		for _, r := range s.Results {
			for _, of := range aimsOf(r) {
				found = found || of == a
			}
		}
		if !found && !left(a.names) {
			t.Errorf("no result has the aim of %s", a.names)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What falls short of an aim says so in its line and in the list, with the reason; what has no place is refused.
func TestFillPage(t *testing.T) {
	s := results{
		Runs: []conditions{{
			ID: "2026-01-02T03:04:05Z", Commit: "abc", Machine: "2 x CPU",
			Versions: []string{"go1"}, Load: 0.25, Seconds: 600,
		}},
		Results: []result{
			{
				Run: "2026-01-02T03:04:05Z", Name: "ssh/throughput/up/aes128-gcm/1", Subject: "outpost", Unit: "MB/s",
				Better: "more", Samples: []float64{90, 100, 110},
			},
			{
				Run: "2026-01-02T03:04:05Z", Name: "ssh/throughput/up/aes128-gcm/1", Subject: "sshd", Unit: "MB/s",
				Better: "more", Samples: []float64{100},
			},
			{
				Run: "2026-01-02T03:04:05Z", Name: "ssh/connect/alone", Subject: "outpost", Unit: "ms",
				Better: "less", Samples: []float64{9},
			},
		},
		Skipped: []skip{{Run: "2026-01-02T03:04:05Z", Name: "pods", Why: "clusters need root"}},
	}
	page := `# Title
<!-- bench: runs -->
old
<!-- end -->
<!-- bench: ssh/throughput, ssh/connect -->
<!-- end -->
<!-- bench: api/polls -->
<!-- end -->
<!-- bench: short -->
<!-- end -->
The end.
`
	want := `# Title
<!-- bench: runs -->

| run | of | commit | machine | load before | took |
| --- | --- | --- | --- | --- | --- |
| 1 | 2026-01-02T03:04:05Z | abc | 2 x CPU; go1 | 0.2 | 10 min |

Left out: pods, because: clusters need root

<!-- end -->
<!-- bench: ssh/throughput, ssh/connect -->

| what | unit | outpost | sshd | ours / theirs | aim |
| --- | --- | --- | --- | --- | --- |
| throughput, up, aes128-gcm, 1 | MB/s | 100 ± 10 % | 100 | 1.00 | ≥ 1.1 × sshd: **short** |
| connect, alone | ms | 9.00 |  |  | ≤ 60 ms: met |

<!-- end -->
<!-- bench: api/polls -->

Not measured yet.

<!-- end -->
<!-- bench: short -->

Of 2 aims, 1 are not met:

- ssh, throughput, up, aes128-gcm, 1: 1.00 × sshd (100 against 100 MB/s); the aim is ≥ 1.1 × sshd. ` + sshUpLimit + `

<!-- end -->
The end.
`
	got, err := fillPage(page, s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	again, err := fillPage(got, s)
	if err != nil || again != got {
		t.Errorf("filling the page again changes it: %v", err)
	}
	if _, err := fillPage(strings.ReplaceAll(page, ", ssh/connect", ""), s); err == nil ||
		!strings.Contains(err.Error(), "ssh/connect/alone") {
		t.Errorf("a result without a place: %v", err)
	}
}
