package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

const probeTimeout = 3 * time.Second

// check is one condition of readiness.
type check struct {
	name string
	ask  func(context.Context) error
}

// readiness answers /readyz: which checks pass. The cause of a failure goes to the log, once for each change.
type readiness struct {
	checks []check
	log    *slog.Logger

	mu     sync.Mutex
	failed map[string]bool
}

// ServeHTTP lists the checks, one a line, with status 200 if all pass and 503 if not.
func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), probeTimeout)
	defer cancel()
	var answer strings.Builder
	status := http.StatusOK
	for _, c := range r.checks {
		err := c.ask(ctx)
		r.note(c.name, err)
		state := "ok"
		if err != nil {
			status, state = http.StatusServiceUnavailable, "not ready"
		}
		fmt.Fprintf(&answer, "%s: %s\n", c.name, state)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write([]byte(answer.String())); err != nil {
		r.log.Debug("answer a probe", "err", err)
	}
}

// note logs a check whose result has changed.
func (r *readiness) note(name string, err error) {
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
		r.log.Warn("not ready", "check", name, "err", err)
		return
	}
	r.log.Info("ready again", "check", name)
}

// alive answers /healthz: the process answers.
func alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n")) // a probe that went away needs no answer
}
