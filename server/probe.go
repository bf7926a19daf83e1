package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// probeTimeout is for all checks of a probe. Only tests have another one.
var probeTimeout = 3 * time.Second

// check is one condition of readiness.
type check struct {
	name string
	ask  func(context.Context) error
	// partial says that without it some are not served, and all others are: the process is ready all the same.
	partial bool
}

// stoppingCheck fails once the channel is closed.
func stoppingCheck(stopping <-chan struct{}) check {
	return check{name: "stopping", ask: func(context.Context) error {
		select {
		case <-stopping:
			return errors.New("this process is stopping")
		default:
			return nil
		}
	}}
}

// readiness answers /readyz: which checks pass. The cause of a failure goes to the log, once for each change.
type readiness struct {
	checks []check
	log    *slog.Logger

	mu     sync.Mutex
	failed map[string]bool
}

// ServeHTTP lists the checks, one a line: "ok", "not ready", or "degraded" if it is partial. The status is 503 if one
// is "not ready", else 200.
func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), probeTimeout)
	defer cancel()
	var answer strings.Builder
	status := http.StatusOK
	for _, c := range r.checks {
		err := c.ask(ctx)
		state := "ok"
		switch {
		case err != nil && c.partial:
			state = "degraded"
		case err != nil:
			status, state = http.StatusServiceUnavailable, "not ready"
		}
		r.note(c.name, state, err)
		fmt.Fprintf(&answer, "%s: %s\n", c.name, state)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write([]byte(answer.String())); err != nil {
		r.log.Debug("answer a probe", "err", err)
	}
}

// note logs a check whose result has changed.
func (r *readiness) note(name, state string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed[name] == (err != nil) {
		return
	}
	if r.failed == nil {
		r.failed = map[string]bool{}
	}
	r.failed[name] = err != nil
	if err != nil {
		r.log.Warn("a check of readiness fails", "check", name, "state", state, "err", err)
		return
	}
	r.log.Info("ready again", "check", name)
}

// alive answers /healthz: the process answers.
func alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // a probe that went away needs no answer
}
