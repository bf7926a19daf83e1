package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// result is how a suite has ended.
type result struct {
	name                    string
	began, took             time.Duration // began: after the first suite
	cpu                     time.Duration // of the processes that have ended and were waited for
	passed, failed, skipped int
	skips                   []string // "TestX: why"
	failures                []failure
	broken                  string // why the suite as a whole counts as failed
}

// failure is a test that failed, in a package of Go or a class of Python; test is "" when its package did not compile.
type failure struct {
	in, test string
	pair     string   // of JupyterHub and client, which Python's tests run with
	again    string   // the command that runs it alone
	said     []string // lines that say why, a few short ones
}

func (f failure) String() string {
	return strings.Join(slices.DeleteFunc([]string{f.pair, f.in, f.test}, func(s string) bool { return s == "" }), " ")
}

// ofExit is the result of a program that is one test, and that writes what it says to log.
func ofExit(err error, program, log string) result {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return result{passed: 1}
	case errors.As(err, &exit):
		text, _ := os.ReadFile(log) // if it cannot be read, the failure stays one
		said := lastSaid(strings.Split(string(text), "\n"))
		return result{failed: 1, failures: []failure{{in: program, said: said}}}
	}
	return result{} // it did not run, as err says
}

// goEvent is a line of "go test -json" (go doc cmd/test2json).
type goEvent struct {
	Action, Package, Test, Output string
	ImportPath                    string // whose build said Output
	FailedBuild                   string // the ImportPath for whose sake Package has failed
	Elapsed                       float64
}

func readGoEvents(in io.Reader, log, w io.Writer) result {
	var r result
	output := map[string]*bytes.Buffer{} // by package and test, or by build, until its end is known
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e goEvent
		if len(line) > 0 {
			if json.Unmarshal(line, &e) != nil {
				_, _ = w.Write(line)
				_, _ = log.Write(line)
			} else {
				r.add(e, output, log, w)
			}
		}
		if err != nil {
			return r
		}
	}
}

func (r *result) add(e goEvent, output map[string]*bytes.Buffer, log, w io.Writer) {
	id := e.Package + " " + e.Test
	if e.Action == "build-output" {
		id = e.ImportPath
	}
	if e.Action == "output" || e.Action == "build-output" {
		fmt.Fprint(log, e.Output)
		if output[id] == nil {
			output[id] = &bytes.Buffer{}
		}
		output[id].WriteString(e.Output)
		if e.Action == "build-output" {
			fmt.Fprint(w, e.Output)
		}
		return
	}
	said := ""
	if output[id] != nil {
		said = output[id].String()
	}
	switch {
	case e.Action == "pass" && e.Test != "":
		r.passed++
		if e.Elapsed >= 3 { // what takes long says how far it is
			fmt.Fprintf(w, "   %-4s %7.1fs %s\n", e.Action, e.Elapsed, e.Test)
		}
	case e.Action == "skip" && e.Test != "":
		r.skipped++
		r.skips = append(r.skips, e.Test+": "+reason(said))
	case e.Action == "fail" && e.Test != "":
		r.failed++
		r.failures = append(r.failures, failure{in: e.Package, test: e.Test, said: saidByGo(said)})
		fmt.Fprint(w, said)
	case e.Action == "fail":
		if !slices.ContainsFunc(r.failures, func(f failure) bool { return f.in == e.Package }) {
			r.failed++
			build := ""
			if output[e.FailedBuild] != nil {
				build = output[e.FailedBuild].String()
			}
			r.failures = append(r.failures, failure{in: e.Package, said: saidByGo(build + said)})
		}
		fmt.Fprint(w, said)
	case e.Action == "pass" || e.Action == "skip":
		if e.Elapsed > 0 {
			fmt.Fprintf(w, "   %-4s %7.1fs %s\n", e.Action, e.Elapsed, e.Package)
		}
	default:
		return
	}
	delete(output, id)
}

// reason finds what a skipped test said: the text behind "file.go:12: ".
func reason(output string) string {
	for line := range strings.Lines(output) {
		if _, text, ok := strings.Cut(strings.TrimSpace(line), ".go:"); ok {
			if _, text, ok = strings.Cut(text, ": "); ok {
				return text
			}
		}
	}
	return "no reason given"
}

// readJUnit adds up the files in a folder.
func readJUnit(folder string) result {
	files, err := filepath.Glob(filepath.Join(folder, "*.xml"))
	if err != nil {
		return result{broken: err.Error()}
	}
	var r result
	for _, file := range files {
		if err := r.addJUnit(file); err != nil {
			r.broken = fmt.Sprintf("%s: %s", file, err)
		}
	}
	return r
}

func (r *result) addJUnit(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	type told struct {
		Message string `xml:"message,attr"`
	}
	var doc struct {
		Suites []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string `xml:"name,attr"`
				Class   string `xml:"classname,attr"`
				Failure *told  `xml:"failure"`
				Error   *told  `xml:"error"`
				Skipped *told  `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &doc); err != nil {
		return err
	}
	for _, s := range doc.Suites {
		for _, c := range s.Cases {
			switch {
			case c.Failure != nil || c.Error != nil:
				why := strings.Split(cmp.Or(c.Failure, c.Error).Message, "\n")
				r.failed++
				r.failures = append(r.failures, failure{pair: s.Name, in: c.Class, test: c.Name, said: firstSaid(why)})
			case c.Skipped != nil:
				r.skipped++
				r.skips = append(r.skips, s.Name+" "+c.Name+": "+c.Skipped.Message)
			default:
				r.passed++
			}
		}
	}
	return nil
}
