package sshd

import (
	"net/netip"
	"sync"
	"time"
)

// Log lines for clients that never authenticate are limited, so that a flood does not fill the log.
const (
	linesPerWindow = 20
	lineWindow     = 10 * time.Second
)

// lineLimit counts log lines in a window of time.
type lineLimit struct {
	mu      sync.Mutex
	start   time.Time
	lines   int
	skipped int
}

// take reports whether a line may be written now, and how many were skipped before it.
func (l *lineLimit) take(now time.Time) (ok bool, skipped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.start) >= lineWindow {
		l.start, l.lines = now, 0
	}
	if l.lines >= linesPerWindow {
		l.skipped++
		return false, 0
	}
	l.lines++
	skipped, l.skipped = l.skipped, 0
	return true, skipped
}

// logRefused writes the line of a connection that never authenticated.
func (s *Server) logRefused(source netip.Addr, reason string) {
	ok, skipped := s.lines.take(s.now())
	if !ok {
		return
	}
	log := s.opts.Logger.With("remote", source.String(), "reason", reason)
	if skipped > 0 {
		log = log.With("lines_skipped", skipped)
	}
	log.Info("connection refused")
}
