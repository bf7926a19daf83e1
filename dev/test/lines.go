package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// lines writes what a suite says to where others write too: whole lines, each behind the name of the suite. What one
// call of Write has stays together.
type lines struct {
	to   io.Writer
	mu   *sync.Mutex // over to
	name string
	rest []byte // of a line that has not ended
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, text...)
	for {
		line, rest, ended := bytes.Cut(l.rest, []byte("\n"))
		if !ended {
			return len(text), nil
		}
		if _, err := fmt.Fprintf(l.to, "%-8s %s\n", l.name, line); err != nil {
			return 0, err
		}
		l.rest = rest
	}
}

// flush ends the last line.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		_, _ = l.Write([]byte("\n"))
	}
}
