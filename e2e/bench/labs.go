package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/process"
)

// labsLimit ends what a hub does not end: its own limits for a start are shorter.
const labsLimit = 30 * time.Minute

// The systems of the hub that `make up` makes, which are also the names of their clusters' contexts.
const labsMany, labsOne = "local", "remote"

// The namespace of users' servers in both clusters, and the label of their pods.
const labsNamespace, labsPods = "outpost-servers", "component=singleuser-server"

// labsBench starts JupyterLabs by the hub that `make up` makes.
type labsBench struct {
	run      *run
	hubURL   string
	password string
	clusters map[string]kubernetes.Interface // by system
}

// measureLabs takes starts of real JupyterLabs by a real hub on real clusters: many at once, of the time that their own
// processor time takes on this machine, and one alone, against the same pod without a hub.
func measureLabs(ctx context.Context, r *run) error {
	c, err := r.copied(ctx)
	if err != nil {
		return err
	}
	// 30 servers with what is promised to each of them as published do not fit on one node of two cores.
	if err := c.replace("cpu_guarantee: 0.05", "cpu_guarantee: 0.01"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, labsLimit, fmt.Errorf("not done after %s", labsLimit))
	defer cancel()
	r.say("labs: make up")
	if _, err := c.output(ctx, "make", "up"); err != nil {
		return err
	}
	b, err := openLabs(ctx, r, c)
	if err != nil {
		return err
	}
	if r.wants("labs/together") {
		err = errors.Join(err, b.takeAtOnce(ctx))
	}
	if r.wants("labs/start") {
		err = errors.Join(err, b.takeAlone(ctx))
	}
	// What is measured next on these clusters finds them as it would without this.
	_, downErr := c.output(context.WithoutCancel(ctx), "make", "down")
	return errors.Join(err, downErr)
}

// openLabs finds the hub and the clusters of a copy that is up.
func openLabs(ctx context.Context, r *run, c *checkout) (*labsBench, error) {
	out, err := c.output(ctx, "dev/run", "pulumi", "stack", "output", "-s", "local", "--show-secrets", "--json")
	if err != nil {
		return nil, err
	}
	var outputs struct {
		HubURL        string
		LoginPassword string
	}
	if err := json.Unmarshal([]byte(out), &outputs); err != nil {
		return nil, fmt.Errorf("outputs of the stack local: %w", err)
	}
	b := &labsBench{
		run: r, hubURL: outputs.HubURL, password: outputs.LoginPassword, clusters: map[string]kubernetes.Interface{},
	}
	for _, name := range []string{labsMany, labsOne} {
		config, err := c.clusterConfig(name)
		if err != nil {
			return nil, err
		}
		if b.clusters[name], err = kubernetes.NewForConfig(config); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// lab is the server of a user of the hub.
type lab struct {
	hub  *hubapi.Client // of that user
	user string
}

// users logs users in.
func (b *labsBench) users(ctx context.Context, n int) ([]lab, error) {
	labs := make([]lab, n)
	for i := range labs {
		user := fmt.Sprintf("lab%d", i)
		client, err := hubapi.Login(ctx, b.hubURL, user, b.password)
		if err != nil {
			return nil, err
		}
		labs[i] = lab{client, user}
	}
	return labs, nil
}

// start starts the server on a system and waits until it is ready.
func (l lab) start(ctx context.Context, system string) error {
	if err := l.hub.Start(ctx, l.user, "", map[string]any{"system": system}); err != nil {
		return err
	}
	return l.hub.Progress(ctx, l.user, "", nil)
}

// stop stops the server and waits until it is gone.
func (l lab) stop(ctx context.Context) error {
	return errors.Join(l.hub.Stop(ctx, l.user, ""), l.hub.WaitGone(ctx, l.user, ""))
}

// takeAtOnce takes the starts of many servers at once on one system.
func (b *labsBench) takeAtOnce(ctx context.Context) error {
	n := pick(b.run, 30, 5)
	labs, err := b.users(ctx, n)
	if err != nil {
		return err
	}
	for round := range pick(b.run, 3, 1) {
		b.run.say("labs: %d at once, round %d", n, round+1)
		if err := calm(ctx); err != nil {
			return err
		}
		errs := make([]error, n)
		took, _ := atOnce(n, func(i int) error {
			errs[i] = labs[i].start(ctx, labsMany)
			return nil // those that fail are counted
		})
		lost := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
		for _, err := range lost {
			b.run.say("labs: lost: %v", err)
		}
		own, err := b.processorTime(ctx, labsMany)
		if err != nil {
			return err
		}
		add := func(what, unit string, sample float64) {
			b.run.add(fmt.Sprintf("labs/together/%s, %d servers", what, n), projectSubject, unit, "less", sample)
		}
		add("lost", "servers", float64(len(lost)))
		add("until all are ready", "s", took.Seconds())
		add("processor time of all", "CPU-s", own.Seconds())
		add("of that time on all cores", "times", took.Seconds()/(own.Seconds()/float64(runtime.NumCPU())))
		if err := b.stopAll(ctx, labs); err != nil {
			return err
		}
	}
	return nil
}

func (b *labsBench) stopAll(ctx context.Context, labs []lab) error {
	_, err := atOnce(len(labs), func(i int) error { return labs[i].stop(ctx) })
	return err
}

// processorTime returns what the servers of a system have used so far, from the first instruction in their pods on.
func (b *labsBench) processorTime(ctx context.Context, system string) (time.Duration, error) {
	pods, err := b.clusters[system].CoreV1().Pods(labsNamespace).List(ctx,
		metav1.ListOptions{LabelSelector: labsPods})
	if err != nil {
		return 0, err
	}
	var all time.Duration
	for _, pod := range pods.Items {
		pids, err := processesOf(&pod)
		if err != nil {
			return 0, err
		}
		all += process.CPUOf(pids)
	}
	return all, nil
}
