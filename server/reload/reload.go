// Package reload puts files into use again when they have changed.
package reload

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	settleTime   = 100 * time.Millisecond // a volume is swapped in several steps
	pollInterval = 10 * time.Second       // for volumes that send no notice
)

// watched are files that belong together, and what to do when they change.
type watched struct {
	what  string // for logs and metrics
	files []string
	apply func() error
	sum   [sha256.Size]byte
}

// Reloader watches files and applies what has changed. Kubernetes swaps a symlink of the folder when a ConfigMap or
// Secret changes, so folders are watched and contents are compared.
//
// The keys of SSH are not among them. Package sshd watches its own, because a key that is removed must open nothing
// from that moment on, and its connections end; here a file that cannot be read leaves the previous version in use.
type Reloader struct {
	items   []*watched
	log     *slog.Logger
	applied func(what string, err error) // for metrics
	now     chan struct{}                // asks for a check at once
}

// New returns a Reloader of no files. applied is called after each attempt to put changed files into use.
func New(log *slog.Logger, applied func(what string, err error)) *Reloader {
	return &Reloader{log: log, applied: applied, now: make(chan struct{}, 1)}
}

// Add watches files from now on: what they hold at this moment counts as applied. what names them in logs and metrics.
// All calls come before Run.
func (r *Reloader) Add(what string, apply func() error, files ...string) {
	w := &watched{what: what, files: files, apply: apply}
	w.sum, _ = w.read()
	r.items = append(r.items, w)
}

// read returns a checksum of the files' contents; a missing file counts as empty.
func (w *watched) read() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	for _, path := range w.files {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sum, err
		}
		one := sha256.Sum256(text)
		h.Write(one[:])
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// again asks for a check of the files at once.
func (r *Reloader) again() {
	select {
	case r.now <- struct{}{}:
	default:
	}
}

// Run looks after the files until ctx ends.
func (r *Reloader) Run(ctx context.Context) {
	events, stop := r.watch()
	defer stop()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	settled := time.NewTimer(0)
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			settled.Reset(settleTime)
		case <-settled.C:
			r.check()
		case <-ticker.C:
			r.check()
		case <-r.now:
			r.check()
		}
	}
}

// watch begins to watch the folders of all files; without notices the ticker alone remains.
func (r *Reloader) watch() (<-chan fsnotify.Event, func()) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		r.log.Warn("cannot watch files, polling instead", "interval", pollInterval, "err", err)
		return nil, func() {}
	}
	seen := map[string]bool{}
	for _, item := range r.items {
		for _, path := range item.files {
			dir := filepath.Dir(path)
			if seen[dir] {
				continue
			}
			seen[dir] = true
			if err := w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				r.log.Warn("cannot watch folder, polling instead", "dir", dir, "err", err)
			}
		}
	}
	go func() {
		for err := range w.Errors {
			r.log.Warn("watching files", "err", err)
			r.again()
		}
	}()
	return w.Events, func() {
		if err := w.Close(); err != nil {
			r.log.Warn("stop watching files", "err", err)
		}
	}
}

// check applies every change. What cannot be applied is tried again only when it changes once more.
func (r *Reloader) check() {
	for _, w := range r.items {
		sum, err := w.read()
		if err == nil && sum == w.sum {
			continue
		}
		if err == nil {
			w.sum = sum
			err = w.apply()
		}
		r.applied(w.what, err)
		if err != nil {
			r.log.Error("reload failed, keeping the previous version", "what", w.what, "err", err)
			continue
		}
		r.log.Info("file reloaded", "what", w.what)
	}
}
