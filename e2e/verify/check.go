package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// checker checks one system after the other.
type checker struct {
	hub      *hubapi.Client
	clusters *clusters // nil: the clusters are not looked into
	opts     options
	say      func(format string, args ...any)
}

// result is what one system's row of the table tells.
type result struct {
	system string
	// start is from the request to ready, request one request through the proxy (and the tunnel), kernel one cell.
	start, request, kernel time.Duration
	// way is how the hub reaches the server: "direct", "tunnel", or "" when that is not known.
	way string
	// gone names where the stopped server was looked for.
	gone []string
	// part is what failed, "" when nothing did; err why, look where to find out more.
	part, look string
	err        error
}

// step is a part of the check that can fail by itself.
type step struct {
	part string
	look string
	do   func(context.Context, *result) error
}

// system runs all steps for one system and stops the server whatever happens.
func (c *checker) system(ctx context.Context, target target) result {
	ctx, cancel := context.WithTimeout(ctx, c.opts.timeout)
	defer cancel()
	r := result{system: target.system}
	// on one system after the other; with a system's name it could be longer than a server's may be
	const server = "verify"
	user := c.opts.user
	hubLog := fmt.Sprintf("kubectl --namespace %s logs deployment/hub", c.opts.hubNamespace)
	outpostLog := fmt.Sprintf("in the cluster of %s: kubectl --namespace %s logs deployment/outpost",
		target.system, c.opts.outpostNamespace)
	pods := fmt.Sprintf("in the cluster of %s: kubectl --namespace %s get pods,events",
		target.system, c.opts.outpostNamespace)

	steps := []step{
		{
			"hub", "is the hub's address right, and the token that of a service with the role for this user? " + hubLog,
			func(ctx context.Context, _ *result) error {
				version, err := c.hub.Version(ctx)
				if err != nil {
					return err
				}
				c.say("%s: JupyterHub %s answers", target.system, version)
				return c.hub.EnsureUser(ctx, user)
			},
		},
		{"old server", hubLog, func(ctx context.Context, _ *result) error {
			if err := c.hub.Stop(ctx, user, server); err != nil {
				return err
			}
			return c.hub.WaitGone(ctx, user, server)
		}},
		{"start", outpostLog + "; " + pods, func(ctx context.Context, r *result) error {
			return c.start(ctx, user, server, target.system, r)
		}},
		{
			"proxy and tunnel",
			"is there a Service of the server's name in the hub's namespace, and do policies admit the proxy? " +
				hubLog + " | grep -i tunnel", func(ctx context.Context, r *result) error {
				return c.open(ctx, user, server, target, r)
			},
		},
		{"kernel", "the server's own log; " + pods, func(ctx context.Context, r *result) error {
			return c.cell(ctx, user, server, r)
		}},
		{"stop", hubLog, func(ctx context.Context, r *result) error {
			if err := c.hub.Stop(ctx, user, server); err != nil {
				return err
			}
			if err := c.hub.WaitGone(ctx, user, server); err != nil {
				return err
			}
			r.gone = append(r.gone, "hub")
			return nil
		}},
		{"gone", outpostLog + "; " + pods, func(ctx context.Context, r *result) error {
			if c.clusters == nil {
				return nil
			}
			return c.clusters.waitGone(ctx, target, server, r)
		}},
	}
	for _, step := range steps {
		if err := step.do(ctx, &r); err != nil {
			r.part, r.look, r.err = step.part, step.look, err
			c.say("%s: FAILED at %s: %v", target.system, step.part, err)
			break
		}
	}
	if r.part != "" {
		// Whatever was started is stopped, also when time is up.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := c.hub.Stop(ctx, user, server); err != nil {
			c.say("%s: the server could not be stopped: %v", target.system, err)
		}
	}
	return r
}

func (c *checker) start(ctx context.Context, user, server, system string, r *result) error {
	options := map[string]any{"system": system}
	if c.opts.flavor != "" {
		options["flavor"] = c.opts.flavor
	}
	began := time.Now()
	if err := c.hub.Start(ctx, user, server, options); err != nil {
		return err
	}
	err := c.hub.Progress(ctx, user, server, func(e hubapi.Event) {
		c.say("%s: %3.0f %% %s", system, e.Progress, e.Message)
	})
	r.start = time.Since(began)
	return err
}

// open asks the server through the proxy. The first answer may still carry the opening of connections, so the second
// is the one measured.
func (c *checker) open(ctx context.Context, user, server string, target target, r *result) error {
	for range 2 {
		began := time.Now()
		if _, err := c.hub.Get(ctx, user, server, "api/status"); err != nil {
			return err
		}
		r.request = time.Since(began)
	}
	c.say("%s: the server answers through the proxy in %s", target.system, r.request.Round(time.Millisecond))
	if c.clusters == nil {
		return nil
	}
	var err error
	r.way, err = c.clusters.way(ctx, server)
	return err
}

// cell runs a cell twice: the first waits for the kernel to come up, the second is the round trip.
func (c *checker) cell(ctx context.Context, user, server string, r *result) (err error) {
	kernel, err := c.hub.OpenKernel(ctx, user, server)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := kernel.Close(ctx); err == nil && closeErr != nil {
			err = fmt.Errorf("end the kernel: %w", closeErr)
		}
	}()
	for range 2 {
		began := time.Now()
		printed, err := kernel.Run(ctx, "print(6 * 7)")
		if err != nil {
			return err
		}
		if strings.TrimSpace(printed) != "42" {
			return fmt.Errorf("the cell print(6 * 7) printed %q", printed)
		}
		r.kernel = time.Since(began)
	}
	c.say("%s: a cell ran in %s", r.system, r.kernel.Round(time.Millisecond))
	return nil
}
