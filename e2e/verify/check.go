package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// checker checks one system after the other.
type checker struct {
	hub      *hubapi.Client
	clusters *clusters // nil: do not look into the clusters
	opts     options
	say      func(format string, args ...any)

	// kept are homes of the user that were there before the check of this system; nil while that is not known.
	kept map[types.UID]bool
}

// result is one system's row of the table.
type result struct {
	system string
	// start is from the request to ready, request one request through the proxy (and the tunnel), kernel one cell.
	start, request, kernel time.Duration
	// route is how the hub reaches the server: "direct", "tunnel", or "" when that is not known.
	route string
	// removed names the places that no longer know the stopped server.
	removed []string
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

// server is the name of the server, the same on each system: with a system's name it could be longer than allowed.
const server = "verify"

// system runs all steps for one system and stops the server whatever happens.
func (c *checker) system(ctx context.Context, target target) result {
	ctx, cancel := context.WithTimeout(ctx, c.opts.timeout)
	defer cancel()
	c.kept = nil
	r := result{system: target.system}
	for _, step := range c.steps(target) {
		if err := step.do(ctx, &r); err != nil {
			r.part, r.look, r.err = step.part, step.look, err
			c.say("%s: FAILED at %s: %v", target.system, step.part, err)
			c.cleanUp(ctx, target)
			break
		}
	}
	return r
}

// steps are the parts of the check of one system, each with what to look at when it fails.
func (c *checker) steps(target target) []step {
	hubLog := fmt.Sprintf("kubectl --namespace %s logs deployment/hub", c.opts.hubNamespace)
	tunnelsLog := fmt.Sprintf("kubectl --namespace %s logs deployment/outposts-hub-tunnels", c.opts.hubNamespace)
	there := fmt.Sprintf("in the cluster of %s: kubectl --namespace %s ", target.system, c.opts.outpostNamespace)
	servers := "--all-namespaces"
	if c.opts.serverNamespace != "" {
		servers = "--namespace " + c.opts.serverNamespace
	}
	outpostLog := there + "logs deployment/outpost"
	pods := fmt.Sprintf("in the cluster of %s: kubectl %s get pods,events", target.system, servers)
	return []step{
		{
			"hub", "is the hub's address right, and the token that of a service with the role for this user? " + hubLog,
			func(ctx context.Context, _ *result) error { return c.greet(ctx, target.system) },
		},
		{
			"old server", hubLog,
			func(ctx context.Context, _ *result) error { return c.stop(ctx) },
		},
		{"homes", pods + ",pvc", func(ctx context.Context, _ *result) error { return c.noteHomes(ctx, target) }},
		{"start", outpostLog + "; " + pods, c.start},
		{"proxy and tunnel", "is there a Service of the server's name in the hub's namespace, and do policies admit " +
			"the proxy? " + hubLog + " | grep -i tunnel; " + tunnelsLog, c.open},
		{"kernel", "the server's own log; " + pods, c.cell},
		{"stop", hubLog, func(ctx context.Context, r *result) error {
			if err := c.stop(ctx); err != nil {
				return err
			}
			r.removed = append(r.removed, "hub")
			return nil
		}},
		{"removal", outpostLog + "; " + pods, func(ctx context.Context, r *result) error {
			if c.clusters == nil {
				return nil
			}
			return c.clusters.waitGone(ctx, target, server, r)
		}},
		{"home", pods + ",pvc", func(ctx context.Context, _ *result) error { return c.removeHomes(ctx, target) }},
	}
}

// noteHomes notes which homes the user has: what comes with the check goes with it.
func (c *checker) noteHomes(ctx context.Context, target target) error {
	if c.clusters == nil {
		return nil
	}
	homes, err := c.clusters.homes(ctx, target)
	if err != nil {
		return err
	}
	c.kept = map[types.UID]bool{}
	for _, home := range homes {
		c.kept[home.UID] = true
	}
	return nil
}

// removeHomes removes the homes that have come since noteHomes, if that has seen which there were.
func (c *checker) removeHomes(ctx context.Context, target target) error {
	if c.kept == nil {
		return nil
	}
	removed, err := c.clusters.removeHomes(ctx, target, c.kept)
	if removed > 0 {
		c.say("%s: the home that the server had is removed", target.system)
	}
	return err
}

// greet asks the hub for its version, and makes the user.
func (c *checker) greet(ctx context.Context, system string) error {
	version, err := c.hub.Version(ctx)
	if err != nil {
		return err
	}
	c.say("%s: JupyterHub %s answers", system, version)
	return c.hub.EnsureUser(ctx, c.opts.user)
}

// stop stops the server and waits until the hub no longer lists it.
func (c *checker) stop(ctx context.Context) error {
	if err := c.hub.Stop(ctx, c.opts.user, server); err != nil {
		return err
	}
	return c.hub.WaitGone(ctx, c.opts.user, server)
}

// cleanUp stops what was started, also when time is up.
func (c *checker) cleanUp(ctx context.Context, target target) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.hub.Stop(ctx, c.opts.user, server); err != nil {
		c.say("%s: the server could not be stopped: %v", target.system, err)
	}
	if err := c.removeHomes(ctx, target); err != nil { // the claim goes with its last pod
		c.say("%s: its home is still there: %v", target.system, err)
	}
}

func (c *checker) start(ctx context.Context, r *result) error {
	options := map[string]any{"system": r.system}
	if c.opts.flavor != "" {
		options["flavor"] = c.opts.flavor
	}
	began := time.Now()
	if err := c.hub.Start(ctx, c.opts.user, server, options); err != nil {
		return err
	}
	err := c.hub.Progress(ctx, c.opts.user, server, func(e hubapi.Event) {
		c.say("%s: %3.0f %% %s", r.system, e.Progress, e.Message)
	})
	r.start = time.Since(began)
	return err
}

// open asks the server through the proxy. The first answer may still carry the opening of connections, so the second
// is the one measured.
func (c *checker) open(ctx context.Context, r *result) error {
	for range 2 {
		began := time.Now()
		if _, err := c.hub.Get(ctx, c.opts.user, server, "api/status"); err != nil {
			return err
		}
		r.request = time.Since(began)
	}
	c.say("%s: the server answers through the proxy in %s", r.system, r.request.Round(time.Millisecond))
	if c.clusters == nil {
		return nil
	}
	var err error
	r.route, err = c.clusters.route(ctx, server)
	return err
}

// cell runs a cell twice: the first waits for the kernel to come up, the second is the round trip.
func (c *checker) cell(ctx context.Context, r *result) (err error) {
	kernel, err := c.hub.OpenKernel(ctx, c.opts.user, server)
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
