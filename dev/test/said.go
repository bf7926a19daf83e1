package main

import (
	"regexp"
	"slices"
	"strings"
)

// What is shown again of a failed test, which has said all of it before.
const (
	saidLines = 5
	saidRunes = 300 // of one line
)

var (
	// place begins a message of a test, of the compiler or of a process that ends: "file_test.go:12: wrong".
	place = regexp.MustCompile(`^\s*(\S+\.go:\d+:(\d+:)? |panic: |fatal error: |WARNING: DATA RACE)`)
	// frame is a line of go test itself.
	frame = regexp.MustCompile(
		`^(\s*=== (RUN|PAUSE|CONT|NAME)|\s*--- (FAIL|PASS|SKIP): |(FAIL|PASS|ok)\b|exit status |# )`)
)

// saidByGo returns the lines of a failed test's output that say why, nil if there are none. A test of Go logs as it
// fails, and it fails last: so these are its last messages, each from its first line on.
func saidByGo(output string) []string {
	var messages [][]string
	var others []string // lines of no message
	within := false
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case frame.MatchString(line):
			within = false
		case place.MatchString(line):
			messages = append(messages, []string{line})
			within = true
		case within:
			last := len(messages) - 1
			messages[last] = append(messages[last], line)
		default:
			others = append(others, line)
		}
	}
	if messages == nil {
		return lastSaid(others)
	}
	var said []string
	for _, message := range slices.Backward(messages) {
		indent := message[0][:len(message[0])-len(strings.TrimLeft(message[0], " \t"))]
		message = firstSaid(message)
		for i, line := range message {
			message[i] = strings.TrimPrefix(line, indent)
		}
		said = append(message[:min(len(message), saidLines-len(said))], said...)
	}
	return said
}

// firstSaid returns the first lines that are not blank.
func firstSaid(lines []string) []string {
	lines = shortened(lines)
	return lines[:min(len(lines), saidLines)]
}

// lastSaid returns the last lines that are not blank.
func lastSaid(lines []string) []string {
	lines = shortened(lines)
	return lines[max(0, len(lines)-saidLines):]
}

// shortened returns copies of the lines that are not blank, nil if all are.
func shortened(lines []string) []string {
	var short []string
	for _, line := range lines {
		line = strings.TrimRight(line, " \t\r\n")
		if line == "" {
			continue
		}
		if runes := []rune(line); len(runes) > saidRunes {
			line = string(runes[:saidRunes]) + "..."
		}
		short = append(short, line)
	}
	return short
}
