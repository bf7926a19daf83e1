package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestReadGoEvents(t *testing.T) {
	events := `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestLong/part","Elapsed":61.5}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: OUTPOST_X is not set\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:7: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
{"ImportPath":"does/not/build [does/not/build.test]","Action":"build-output","Output":"# does/not/build\n"}
{"ImportPath":"does/not/build [does/not/build.test]","Action":"build-output","Output":"not/x.go:3:1: no\n"}
{"ImportPath":"does/not/build [does/not/build.test]","Action":"build-fail"}
{"Action":"output","Package":"does/not/build","Output":"FAIL\tdoes/not/build [build failed]\n"}
{"Action":"fail","Package":"does/not/build","FailedBuild":"does/not/build [does/not/build.test]"}
`
	var shown strings.Builder
	got := readGoEvents(strings.NewReader(events), io.Discard, &shown)
	want := result{
		passed: 2, failed: 2, skipped: 1,
		skips: []string{"TestB: OUTPOST_X is not set"},
		failures: []failure{
			{in: "p", test: "TestC", said: []string{"c_test.go:7: wrong"}},
			{in: "does/not/build", said: []string{"not/x.go:3:1: no"}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, want := range []string{"c_test.go:7: wrong", "   pass    61.5s TestLong/part\n"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("shown is %q, want %q in it", shown.String(), want)
		}
	}
}

// TestAgain holds the command that runs a failed test alone.
func TestAgain(t *testing.T) {
	const module = "example.org/m"
	for _, test := range []struct {
		suite   string
		failure failure
		want    string
	}{
		{"unit", failure{in: module + "/a/b", test: "TestX"}, "go test -race -count 1 -run '^TestX$' ./a/b"},
		{"unit", failure{in: module, test: "TestX"}, "go test -race -count 1 -run '^TestX$' ./"},
		{
			"unit",
			failure{in: module + "/a", test: "TestX/it's_(one)/y"},
			`go test -race -count 1 -run '^TestX$/^it'\''s_\(one\)$/^y$' ./a`,
		},
		{"unit", failure{in: module + "/a"}, "go test -race -count 1 ./a"},
		{
			"addons",
			failure{in: module + "/addons", test: "TestX"},
			"go test -C dev/kube -race -count 1 -run '^TestX$' ./addons",
		},
		{
			"e2e",
			failure{in: module + "/e2e/a", test: "TestE2EX"},
			"go test -tags e2e -count 1 -run '^TestE2EX$' ./e2e/a",
		},
		{
			"alone",
			failure{in: module + "/stacks", test: "TestE2EX"},
			"go test -tags e2e -count 1 -run '^TestE2EX$' ./stacks",
		},
		{"fuzz", failure{in: module + "/server/a", test: "FuzzX"}, "go test -count 1 -run '^FuzzX$' ./server/a"},
		{
			"hub-6.1",
			failure{pair: "jupyterhub-6.1", in: "test_hub", test: "test_x[a]"},
			"PAIR=jupyterhub-6.1 infra/hub/tests/run -k test_x",
		},
		{"vuln", failure{in: "dev/vuln"}, "dev/vuln"},
		{"docs", failure{pair: "docs", in: "test_site", test: "test_x"}, "dev/docs/run test -k test_x"},
	} {
		chosen, err := choose([]string{test.suite})
		if err != nil {
			t.Fatal(err)
		}
		if got := chosen[0][0].again(test.failure, module); got != test.want {
			t.Errorf("%s, %s:\ngot  %s\nwant %s", test.suite, test.failure, got, test.want)
		}
	}
}

func TestModulePath(t *testing.T) {
	if got, want := modulePath("."), "github.com/outposts-dev/outposts/dev/test"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := modulePath(t.TempDir()); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}

func TestTagged(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"go.mod":                      "module m\n",
		"a_test.go":                   "package m\n//go:build e2e\n",
		"one/one_test.go":             "//go:build e2e\n\npackage one\n",
		"one/deep/er/er_test.go":      "// Why.\n\n//go:build e2e && linux\n\npackage er\n",
		"two/two.go":                  "//go:build e2e\n\npackage two\n",
		"two/testdata/x/x_test.go":    "//go:build e2e\n\npackage x\n",
		"three/go.mod":                "module three\n",
		"three/three_test.go":         "//go:build e2e\n\npackage three\n",
		".state/copy/copy_test.go":    "//go:build e2e\n\npackage copy\n",
		"node_modules/m/some_test.go": "//go:build e2e\n\npackage m\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := tagged(root)
	if want := []string{"./one", "./one/deep/er"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := tagged(t.TempDir()); err == nil {
		t.Errorf("of nothing: %v and no error", got)
	}
}

// TestBeside holds that the packages that run beside those on the deployed clusters are there.
func TestBeside(t *testing.T) {
	all, err := tagged("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, packages := range beside {
		for _, name := range packages {
			if !slices.Contains(all, name) {
				t.Errorf("%s has no test end to end", name)
			}
		}
	}
}

// TestLanes holds that suites of one argument run one after the other, and those of several beside one another.
func TestLanes(t *testing.T) {
	root := t.TempDir()
	begun := func(name string) string { return filepath.Join(root, name) }
	script := func(name, text string) suite {
		return suite{name: name, about: "suite " + name, argv: []string{
			"sh", "-c", text + `; echo '{"Action":"pass","Package":"p","Test":"T"}'`,
		}}
	}
	const until = "until [ -e %s ]; do sleep 0.01; done"
	a := script("a", fmt.Sprintf("touch %s; "+until+"; touch %s", begun("a"), begun("b"), begun("a-ended")))
	b := script("b", fmt.Sprintf("touch %s; "+until, begun("b"), begun("a")))
	c := script("c", fmt.Sprintf("[ -e %s ] || exit 1; echo said", begun("a-ended")))
	var out strings.Builder
	var got []string
	for _, r := range runLanes(t.Context(), [][]suite{{a, c}, {b}}, root, root, &out) {
		if r.cpu <= 0 {
			t.Errorf("%s took no time of a processor", r.name)
		}
		got = append(got, fmt.Sprintf("%s %d %s", r.name, r.passed, r.broken))
	}
	if want := []string{"a 1 ", "c 1 ", "b 1 "}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	said := slices.Sorted(strings.SplitSeq(strings.TrimSpace(out.String()), "\n"))
	want := []string{"a        == suite a", "b        == suite b", "c        == suite c", "c        said"}
	if !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
}

// TestInterrupt holds that the end of the context ends every suite, each of which may take away what it has made, and
// that no other begins.
func TestInterrupt(t *testing.T) {
	root := t.TempDir()
	endless := func(name string) suite {
		return suite{name: name, about: "endless", whole: true, argv: []string{
			"bash", "-c", fmt.Sprintf(`trap 'touch %[1]s-ended; exit 3' INT; touch %[1]s; while :; do sleep 0.01; done`,
				filepath.Join(root, name)),
		}}
	}
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		for _, name := range []string{"a", "b"} {
			for {
				if _, err := os.Stat(filepath.Join(root, name)); err == nil || t.Context().Err() != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
		interrupt()
	}()
	var got []string
	for _, r := range runLanes(ctx, [][]suite{{endless("a"), endless("c")}, {endless("b")}}, root, root, io.Discard) {
		got = append(got, r.name+": "+r.broken)
	}
	if want := []string{"a: interrupted", "b: interrupted"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	ended, err := filepath.Glob(filepath.Join(root, "*-ended"))
	want := []string{filepath.Join(root, "a-ended"), filepath.Join(root, "b-ended")}
	if err != nil || !slices.Equal(ended, want) {
		t.Errorf("ended by themselves: %q, %v; want %q", ended, err, want)
	}
}

// TestWhole holds that a program without tests of its own counts as one, and is told the pair that it is to look at.
func TestWhole(t *testing.T) {
	root := t.TempDir()
	one := func(line string) suite {
		return suite{name: "one", whole: true, pair: "p", argv: []string{"sh", "-c", line}}
	}
	for line, want := range map[string]result{
		`[ "$PAIR" = p ]`: {passed: 1},
		"exit 3":          {failed: 1, failures: []failure{{in: "sh", again: "sh -c exit 3"}}},
		"echo no; exit 3": {
			failed: 1, failures: []failure{{in: "sh", again: "sh -c echo no; exit 3", said: []string{"no"}}},
		},
	} {
		got := one(line).run(t.Context(), root, root, io.Discard)
		if got.cpu <= 0 {
			t.Errorf("%s took no time of a processor", line)
		}
		if got.cpu = 0; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", line, got, want)
		}
	}
	nowhere := suite{name: "one", whole: true, argv: []string{"./nowhere"}}
	if got := nowhere.run(t.Context(), root, root, io.Discard); got.broken == "" || got.passed+got.failed > 0 {
		t.Errorf("without the program: %+v", got)
	}
}

// TestPairs holds that every pair of JupyterHub and client has its suite.
func TestPairs(t *testing.T) {
	files, err := filepath.Glob("../../images/hub/jupyterhub-*.in")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var want, got []string
	for _, file := range files {
		want = append(want, strings.TrimSuffix(filepath.Base(file), ".in"))
	}
	for _, s := range suites {
		if s.pair != "" {
			got = append(got, s.pair)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLines(t *testing.T) {
	var out strings.Builder
	l := &lines{to: &out, mu: &sync.Mutex{}, name: "unit"}
	for _, text := range []string{"", "..", ".\none\n\ntwo\n", "the end"} {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	l.flush()
	l.flush()
	const want = "unit     ...\nunit     one\nunit     \nunit     two\nunit     the end\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReadJUnit holds that no file hides another.
func TestReadJUnit(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"5.5.xml": `<testcase classname="m" name="a"/>
<testcase classname="m" name="b"><failure message="assert 1 == 2&#10; +  where&#10;1&#10;2&#10;3&#10;4"/></testcase>
<testcase classname="m" name="d"><error message="no hub"/></testcase>`,
		"6.1.xml": `<testcase classname="m" name="b"/>
<testcase classname="m" name="c"><skipped message="no ssh"/></testcase>`,
	} {
		text = `<testsuites><testsuite name="` + strings.TrimSuffix(name, ".xml") + `">` + text +
			"</testsuite></testsuites>"
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := readJUnit(folder)
	want := result{
		passed: 2, failed: 2, skipped: 1, skips: []string{"6.1 c: no ssh"},
		failures: []failure{
			{pair: "5.5", in: "m", test: "b", said: []string{"assert 1 == 2", " +  where", "1", "2", "3"}},
			{pair: "5.5", in: "m", test: "d", said: []string{"no hub"}},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := os.WriteFile(filepath.Join(folder, "torn.xml"), []byte("<testsuites>"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := readJUnit(folder); got.broken == "" {
		t.Errorf("with a file that is torn: %+v", got)
	}
}

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name    string
		results []result
		last    string
		code    int
	}{
		{
			"all well",
			[]result{{name: "unit", passed: 3, skipped: 1, took: time.Second}},
			"3 passed, 0 failed, 1 skipped", 0,
		},
		{"one failed", []result{{name: "unit", passed: 3, failed: 1}}, "3 passed, 1 failed, 0 skipped", 1},
		{
			"a suite without tests",
			[]result{{name: "unit", passed: 3}, {name: "e2e", broken: "no test ran to its end"}},
			"3 passed, 1 failed, 0 skipped", 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			code := report(c.results, time.Minute, &out)
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; last != c.last || code != c.code {
				t.Errorf("got %q, exit %d; want %q, exit %d", last, code, c.last, c.code)
			}
		})
	}
}

// TestReportHasTheTimeOfProcessors holds the whole table.
func TestReportHasTheTimeOfProcessors(t *testing.T) {
	var out strings.Builder
	report([]result{
		{name: "unit", passed: 3, took: 90 * time.Second, cpu: 2 * time.Minute},
		{name: "e2e", passed: 1, skipped: 1, began: time.Second, took: time.Hour, cpu: 30 * time.Second},
	}, 5*time.Minute, &out)
	want := strings.Join([]string{
		"",
		"suite     passed  failed  skipped    began     time      cpu",
		"unit           3       0        0       0s      90s     120s",
		"e2e            1       0        1       1s    3600s      30s",
		"cpu: 150s of the suites, 300s of the whole machine, clusters and all",
		"suites run: unit, e2e",
		"4 passed, 0 failed, 1 skipped",
		"",
	}, "\n")
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBusy(t *testing.T) {
	if got, want := busyOf("cpu  100 20 30 5000 400 5 6 70 8 9"), 1610*time.Millisecond; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, line := range []string{"", "cpu", "cpu a b c"} {
		if got := busyOf(line); got != 0 {
			t.Errorf("%q: %s", line, got)
		}
	}
}

func TestReportSaysWhyAndNamesTheCommand(t *testing.T) {
	var out strings.Builder
	failures := []failure{
		{in: "m/a", test: "TestX", again: "go test ./a", said: []string{"x_test.go:7: got 1", "    want 2"}},
		{in: "m/b", again: "go test ./b"},
	}
	report([]result{{name: "unit", failed: 2, failures: failures}}, 0, &out)
	want := "failed: unit: m/a TestX\n    x_test.go:7: got 1\n        want 2\n  alone: go test ./a\n" +
		"failed: unit: m/b\n  alone: go test ./b\n"
	if !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s\nwant in it\n%s", &out, want)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{{}, {"nosuch"}, {"unit,"}, {"unit", "dev,unit"}, {"-nosuch"}} {
		if code := run(t.Context(), args, io.Discard, io.Discard); code != 2 {
			t.Errorf("run(%v) = %d, want 2", args, code)
		}
	}
}
