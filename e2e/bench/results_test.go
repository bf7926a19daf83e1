package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedianAndSpread(t *testing.T) {
	for _, tc := range []struct {
		name           string
		samples        []float64
		median, spread float64
	}{
		{"none", nil, 0, 0},
		{"one", []float64{4}, 4, 0},
		{"odd", []float64{9, 1, 5}, 5, 80},
		{"even", []float64{1, 3, 5, 7}, 4, 75},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := result{Samples: tc.samples}
			if r.median() != tc.median || r.spread() != tc.spread {
				t.Errorf("median %v, spread %v; want %v, %v", r.median(), r.spread(), tc.median, tc.spread)
			}
		})
	}
}

// A figure stays until something newer takes its place, and says which run it is of.
func TestMerge(t *testing.T) {
	of := func(run, name, subject string) result { return result{Run: run, Name: name, Subject: subject} }
	older := results{
		Runs: []conditions{{ID: "old"}, {ID: "older still"}},
		Results: []result{
			of("old", "ssh/throughput/down", "outpost"), of("old", "ssh/throughput/down", "sshd"),
			of("old", "ssh/memory", "outpost"),
			of("old", "api/polls", "outpost"), of("older still", "provision/renamed", "outposts"),
		},
		Skipped: []skip{
			{Run: "older still", Name: "pods", Why: "no root"},
			{Run: "older still", Name: "provision/tools/from nothing", Why: "no cache"},
		},
	}
	for _, tc := range []struct {
		name  string
		newer results
		whole []string
		want  results
	}{
		{
			name: "a part", // -only ssh/throughput
			newer: results{Runs: []conditions{{ID: "new"}}, Results: []result{
				of("new", "ssh/throughput/down", "outpost"), of("new", "ssh/throughput/down", "sshd"),
			}},
			want: results{
				Runs: []conditions{{ID: "old"}, {ID: "older still"}, {ID: "new"}},
				Results: []result{
					of("old", "ssh/memory", "outpost"), of("new", "ssh/throughput/down", "outpost"),
					of("new", "ssh/throughput/down", "sshd"),
					of("old", "api/polls", "outpost"), of("older still", "provision/renamed", "outposts"),
				},
				Skipped: older.Skipped,
			},
		},
		{
			name: "a figure that one subject had no longer",
			newer: results{
				Runs: []conditions{{ID: "new"}}, Results: []result{of("new", "ssh/throughput/down", "sshd")},
			},
			want: results{
				Runs: []conditions{{ID: "old"}, {ID: "older still"}, {ID: "new"}},
				Results: []result{
					of("old", "ssh/memory", "outpost"), of("new", "ssh/throughput/down", "sshd"),
					of("old", "api/polls", "outpost"), of("older still", "provision/renamed", "outposts"),
				},
				Skipped: older.Skipped,
			},
		},
		{
			name: "a topic that ended with an error",
			newer: results{
				Runs: []conditions{{ID: "new"}}, Results: []result{of("new", "provision/clusters", "outposts")},
				Skipped: []skip{{Run: "new", Name: "pods", Why: "no image"}},
			},
			want: results{
				Runs: []conditions{{ID: "old"}, {ID: "older still"}, {ID: "new"}},
				Results: append(older.Results[:len(older.Results):len(older.Results)],
					of("new", "provision/clusters", "outposts")),
				Skipped: []skip{
					{Run: "older still", Name: "provision/tools/from nothing", Why: "no cache"},
					{Run: "new", Name: "pods", Why: "no image"},
				},
			},
		},
		{
			name: "a topic as a whole leaves nothing old of it",
			newer: results{
				Runs:    []conditions{{ID: "new"}},
				Results: []result{of("new", "provision/clusters", "outposts")},
			},
			whole: []string{"provision"},
			want: results{
				Runs: []conditions{{ID: "old"}, {ID: "older still"}, {ID: "new"}},
				Results: append(older.Results[:4:4],
					of("new", "provision/clusters", "outposts")),
				Skipped: older.Skipped[:1],
			},
		},
		{
			name:  "everything: the old runs are forgotten",
			newer: results{Runs: []conditions{{ID: "new"}}, Results: []result{of("new", "api/polls", "outpost")}},
			whole: []string{"ssh", "api", "pods", "provision"},
			want:  results{Runs: []conditions{{ID: "new"}}, Results: []result{of("new", "api/polls", "outpost")}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, older.merge(tc.newer, tc.whole)); diff != "" {
				t.Errorf("merge (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWants(t *testing.T) {
	for _, tc := range []struct {
		only        []string
		name        string
		some, whole bool
	}{
		{nil, "ssh", true, true},
		{[]string{"ssh"}, "ssh", true, true},
		{[]string{"ssh"}, "ssh/memory", true, true},
		{[]string{"ssh"}, "api", false, false},
		{[]string{"api", "ssh/memory"}, "ssh", true, false},
		{[]string{"api", "ssh/memory"}, "ssh/latency", false, false},
	} {
		r := &run{only: tc.only}
		if r.wants(tc.name) != tc.some || r.wantsAll(tc.name) != tc.whole {
			t.Errorf("-only %v, %s: wanted %v, as a whole %v; want %v, %v", tc.only, tc.name, r.wants(tc.name),
				r.wantsAll(tc.name), tc.some, tc.whole)
		}
	}
}

func TestChange(t *testing.T) {
	committed := results{Results: []result{{Name: "n", Subject: "outpost", Samples: []float64{100}}}}
	for _, tc := range []struct {
		better string
		now    float64
		want   string
	}{
		{"more", 110, "+10 %"},
		{"more", 90, "-10 % worse"},
		{"less", 110, "+10 % worse"},
		{"less", 90, "-10 %"},
		{"less", 100.5, "+0 %"},
	} {
		now := result{Name: "n", Subject: "outpost", Better: tc.better, Samples: []float64{tc.now}}
		if got := change(now, committed); got != tc.want {
			t.Errorf("%v, %s is better: %q, want %q", tc.now, tc.better, got, tc.want)
		}
	}
	if got := change(result{Name: "n", Subject: "sshd", Samples: []float64{1}}, committed); got != "" {
		t.Errorf("a figure that was not there before: %q", got)
	}
}
