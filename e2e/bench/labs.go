package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/process"
)

// labsLimit ends what a hub does not end: its own limits for a start are shorter.
const labsLimit = time.Hour

// The systems of the hub that `make up` makes, which are also the names of their clusters' contexts.
const labsMany, labsOne = "local", "remote"

// The namespace of outposts' servers in both clusters, and the label of the pods of all servers.
const labsNamespace, labsPods = "outpost-servers", "component=singleuser-server"

// labsBench starts JupyterLabs by the hub that `make up` makes.
type labsBench struct {
	run      *run
	checkout *checkout
	hubURL   string
	password string
	clusters map[string]kubernetes.Interface // by system
	config   string                          // of the hub's stack, with which it starts servers on outposts
	used     *labsSpawner                    // what it starts them with now
	someone  *hubapi.Client                  // a user of the hub
}

// measureLabs takes starts of real JupyterLabs by a real hub on real clusters, one alone and many at once, of the time
// that their own processor time takes on this machine: against the same pods without a hub, and many also against the
// same hub with KubeSpawner.
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
	if r.wants("labs/start") {
		err = errors.Join(err, b.takeAlone(ctx))
	}
	if r.wants("labs/together") {
		err = errors.Join(err, b.takeAtOnce(ctx))
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
		run: r, checkout: c, hubURL: outputs.HubURL, password: outputs.LoginPassword,
		clusters: map[string]kubernetes.Interface{},
	}
	config, err := os.ReadFile(c.path(labsConfig))
	if err != nil {
		return nil, err
	}
	b.config = string(config)
	for _, name := range []string{labsMany, labsOne} {
		config, err := c.clusterConfig(name)
		if err != nil {
			return nil, err
		}
		config.QPS, config.Burst = -1, -1 // many pods are made at the same moment
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

// users logs users in whose names begin alike.
func (b *labsBench) users(ctx context.Context, begin string, n int) ([]lab, error) {
	labs := make([]lab, n)
	for i := range labs {
		user := fmt.Sprintf("%s%d", begin, i)
		client, err := hubapi.Login(ctx, b.hubURL, user, b.password)
		if err != nil {
			return nil, err
		}
		labs[i] = lab{client, user}
	}
	return labs, nil
}

// start starts the server and waits until it is ready.
func (l lab) start(ctx context.Context, options map[string]any) error {
	if err := l.hub.Start(ctx, l.user, "", options); err != nil {
		return err
	}
	return l.hub.Progress(ctx, l.user, "", nil)
}

// stop stops the server and waits until it is gone.
func (l lab) stop(ctx context.Context) error {
	return errors.Join(l.hub.Stop(ctx, l.user, ""), l.hub.WaitGone(ctx, l.user, ""))
}

// takeAtOnce takes the starts of many servers at once on one cluster, with each spawner in turn.
func (b *labsBench) takeAtOnce(ctx context.Context) error {
	n, rounds, spawners := pick(b.run, 30, 5), pick(b.run, 3, 1), labsSpawners()
	b.used = spawners[0]
	for _, s := range spawners {
		var err error
		if s.labs, err = b.users(ctx, s.users, n); err != nil {
			return err
		}
	}
	b.someone = spawners[0].labs[0].hub
	for round := range rounds {
		for _, s := range spawners {
			b.run.say("labs: %d at once with %s, round %d", n, s.subject, round+1)
			if err := errors.Join(b.use(ctx, s), calm(ctx)); err != nil {
				return err
			}
			if err := b.takeRound(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s.subject, err)
			}
		}
	}
	for _, s := range spawners {
		b.together(s.subject, n, fmt.Sprintf("lost in %d rounds", rounds), "servers", float64(s.lost))
	}
	return nil
}

// together adds a sample of n servers.
func (b *labsBench) together(subject string, n int, what, unit string, sample float64) {
	b.run.add(fmt.Sprintf("labs/together/%s, %d servers", what, n), subject, unit, "less", sample)
}

// allReady adds the samples of servers that all answer, after they and the machine have worked for that long.
func (b *labsBench) allReady(subject string, pods []corev1.Pod, took, machine time.Duration) error {
	var own time.Duration
	for _, pod := range pods {
		pids, err := processesOf(&pod)
		if err != nil {
			return err
		}
		own += process.CPUOf(pids)
	}
	n, onAll := len(pods), own.Seconds()/float64(runtime.NumCPU())
	b.together(subject, n, "processor time of all", "CPU-s", own.Seconds())
	b.together(subject, n, "processor time of the machine", "CPU-s", machine.Seconds())
	b.together(subject, n, "of that time on all cores", "times", took.Seconds()/onAll)
	return nil
}

// takeRound starts all servers of a spawner at once, and stops them.
func (b *labsBench) takeRound(ctx context.Context, s *labsSpawner) error {
	busy, err := busyTime()
	if err != nil {
		return err
	}
	begin, errs, ready := time.Now(), make([]error, len(s.labs)), make([]time.Duration, len(s.labs))
	_, _ = atOnce(len(s.labs), func(i int) error {
		if errs[i] = s.labs[i].start(ctx, s.options); errs[i] == nil {
			ready[i] = time.Since(begin)
		}
		return nil // those that fail are counted
	})
	later, err := busyTime()
	if err != nil {
		return err
	}
	lost := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	for _, err := range lost {
		b.run.say("labs: lost: %v", err)
	}
	s.lost += len(lost)
	last := slices.Max(ready)
	if last == 0 {
		return errors.Join(lost...) // that is no figure
	}
	b.together(s.subject, len(s.labs), "until the last is ready", "s", last.Seconds())
	if len(lost) == 0 { // else nobody knows what those that are gone have used
		pods, err := b.pods(ctx, s)
		if err != nil {
			return err
		}
		if len(pods) != len(s.labs) {
			return fmt.Errorf("%d servers run, with %d pods in %s", len(s.labs), len(pods), s.namespace)
		}
		if err := b.allReady(s.subject, pods, last, later-busy); err != nil {
			return err
		}
		if s.subject == projectSubject {
			if err := b.takeBare(ctx, s.namespace, pods); err != nil {
				return err
			}
		}
	}
	return b.stopAll(ctx, s)
}

// labsStop is how long pods may be there that their spawner has been asked to remove.
const labsStop = 2 * time.Minute

// stopAll stops all servers of a spawner and waits until their pods are gone. Those that it leaves are removed.
func (b *labsBench) stopAll(ctx context.Context, s *labsSpawner) error {
	if _, err := atOnce(len(s.labs), func(i int) error { return s.labs[i].stop(ctx) }); err != nil {
		return err
	}
	for begin, left := time.Now(), false; ; sleep(ctx, time.Second) {
		pods, err := b.pods(ctx, s)
		if err != nil || len(pods) == 0 {
			return err
		}
		if time.Since(begin) < labsStop || left {
			continue
		}
		left = true
		b.run.say("labs: %s has left %d pods", s.subject, len(pods))
		err = b.clusters[labsMany].CoreV1().Pods(s.namespace).DeleteCollection(ctx, *metav1.NewDeleteOptions(0),
			metav1.ListOptions{LabelSelector: labsPods})
		if err != nil {
			return err
		}
	}
}

// pods returns the pods of a spawner's servers.
func (b *labsBench) pods(ctx context.Context, s *labsSpawner) ([]corev1.Pod, error) {
	list, err := b.clusters[labsMany].CoreV1().Pods(s.namespace).List(ctx,
		metav1.ListOptions{LabelSelector: labsPods})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}
