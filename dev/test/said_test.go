package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSaidByGo(t *testing.T) {
	long := strings.Repeat("ä", saidRunes)
	for _, test := range []struct {
		name, output string
		want         []string
	}{
		{name: "nothing", output: "=== RUN   TestX\n--- FAIL: TestX (0.00s)\n"},
		{
			name:   "one message",
			output: "=== RUN   TestX/y\n    x_test.go:7: wrong\n--- FAIL: TestX/y (0.00s)\n",
			want:   []string{"x_test.go:7: wrong"},
		},
		{
			name: "a message of several lines among others",
			output: `=== RUN   TestX
hub=a level=info
    x_test.go:5: made a hub
    x_test.go:7: (-want +got):
          {
        -   a.go:3: one

        +   two
          }
=== NAME  TestX
    x_test.go:9: the hub's log
--- FAIL: TestX (0.00s)
FAIL
exit status 1
`,
			want: []string{
				"x_test.go:7: (-want +got):", "      {", "    -   a.go:3: one", "    +   two",
				"x_test.go:9: the hub's log",
			},
		},
		{
			name:   "many lines, and a long one",
			output: "    x_test.go:7: " + long + "\n        1\n        2\n        3\n        4\n        5\n",
			want: []string{
				"x_test.go:7: " + long[:2*(saidRunes-len("    x_test.go:7: "))] + "...",
				"    1", "    2", "    3", "    4",
			},
		},
		{
			name: "a panic",
			output: "=== RUN   TestX\n    x_test.go:5: first\npanic: boom [recovered]\n\tpanic: boom\n\n" +
				"goroutine 7 [running]:\n",
			want: []string{"x_test.go:5: first", "panic: boom [recovered]", "panic: boom", "goroutine 7 [running]:"},
		},
		{
			name: "a data race",
			output: `==================
WARNING: DATA RACE
Write at 0x1 by goroutine 8:
  m.TestX()
      /m/x_test.go:12 +0x1d
==================
    testing.go:1712: race detected during execution of test
`,
			want: []string{
				"WARNING: DATA RACE", "Write at 0x1 by goroutine 8:", "  m.TestX()", "      /m/x_test.go:12 +0x1d",
				"testing.go:1712: race detected during execution of test",
			},
		},
		{
			name:   "a compiler",
			output: "# m/x [m/x.test]\nx/x_test.go:12:3: undefined: y\nFAIL\tm/x [build failed]\n",
			want:   []string{"x/x_test.go:12:3: undefined: y"},
		},
		{
			name:   "a process that ended itself",
			output: "=== RUN   TestX\n1\n2\n3\n\n4\n5\ncannot listen\nexit status 1\nFAIL\tm/x\t0.1s\n",
			want:   []string{"2", "3", "4", "5", "cannot listen"},
		},
	} {
		if got := saidByGo(test.output); !slices.Equal(got, test.want) || (got == nil) != (test.want == nil) {
			t.Errorf("%s:\ngot  %q\nwant %q", test.name, got, test.want)
		}
	}
}
