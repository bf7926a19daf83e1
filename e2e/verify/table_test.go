package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	var out bytes.Buffer
	passed := printTable(&out, []result{
		{
			system: "local", start: 6100 * time.Millisecond, route: "direct", request: 4 * time.Millisecond,
			kernel: 49 * time.Millisecond, removed: []string{"hub", "cluster", "outpost"},
		},
		{system: "remote", start: 13300 * time.Millisecond, part: "start", look: "the log", err: errors.New("no room")},
	})
	want := `SYSTEM  START   ROUTE   REQUEST  KERNEL  REMOVED FROM           VERDICT
local   6.1 s   direct  4 ms     49 ms   hub, cluster, outpost  ok
remote  13.3 s  -       -        -       -                      FAILED: start

remote failed at start: no room
  look at: the log
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("table (-want +got)\n%s", diff)
	}
	if passed {
		t.Error("passed although a system failed")
	}
	if !printTable(&out, []result{{system: "local"}}) {
		t.Error("not passed although no system failed")
	}
}

func TestParse(t *testing.T) {
	getenv := func(string) string { return "from-the-environment" }
	tests := []struct {
		name string
		args []string
		want []target
		err  string
	}{
		{
			"names",
			[]string{"--hub", "http://h", "--systems", "local, remote"},
			[]target{{system: "local"}, {system: "remote"}},
			"",
		},
		{
			"contexts",
			[]string{"--hub", "http://h", "--systems", "local=a,remote=b"},
			[]target{{"local", "a"}, {"remote", "b"}},
			"",
		},
		{"outputs", []string{"--outputs", "-"}, []target{{system: "local"}, {system: "north"}}, ""},
		{
			"outputs and contexts",
			[]string{"--outputs", "-", "--kubeconfig", "/k"},
			[]target{{"local", "local"}, {"north", "north"}},
			"",
		},
		{
			"outputs of one system",
			[]string{"--outputs", "-", "--kubeconfig", "/k", "--systems", "north=n"},
			[]target{{"north", "n"}},
			"",
		},
		{"no outputs", []string{"--outputs", "/no/such/file"}, nil, "--outputs"},
		{"nothing", nil, nil, "--systems"},
		{"no hub", []string{"--systems", "local"}, nil, "--hub"},
		{"no token file", []string{"--token-file", "/no/such/file"}, nil, "--token-file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const outputs = `{"hubUrl": "http://from-the-outputs",
				"verifyToken": "from-the-outputs", "verifyUser": "ann", "systemNames": ["local", "north"], "more": {}}`
			opts, err := parse(test.args, getenv, strings.NewReader(outputs), &bytes.Buffer{})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error = %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, opts.systems, cmp.AllowUnexported(target{})); diff != "" {
				t.Errorf("systems (-want +got)\n%s", diff)
			}
			if opts.token != "from-the-environment" {
				t.Errorf("token = %q", opts.token)
			}
		})
	}
}
