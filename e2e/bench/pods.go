package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// barePods is the subject of pods that are made by client-go alone.
const barePods = "bare pods"

const (
	// podsImage is on every local cluster; its program does nothing, so that what is measured is not its start.
	podsImage = "localhost/outposts/pause:1"
	// podsLimit ends a measurement on a cluster that does not make its pods.
	podsLimit = 20 * time.Minute
)

// podsBench starts servers on a real cluster, by an outpost and as bare pods. Both ask the API server through the same
// proxy, which counts requests.
type podsBench struct {
	run       *run
	outpost   *outpost
	client    kubernetes.Interface // through the proxy
	watch     *podWatch            // beside it
	requests  atomic.Int64
	namespace string
	serial    int
}

// measurePods compares starts, from the POST of a hub to its answer, with pods of the same image made and watched by
// nothing but client-go: one, and many at once.
func measurePods(ctx context.Context, r *run) (err error) {
	checkout, err := r.clusters(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, podsLimit, fmt.Errorf("not done after %s", podsLimit))
	defer cancel()
	b := &podsBench{run: r, namespace: "bench-pods"}
	direct, proxy, err := b.connect(ctx, checkout)
	if err != nil {
		return err
	}
	namespaces := direct.CoreV1().Namespaces()
	if _, err := namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}},
		metav1.CreateOptions{}); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, namespaces.Delete(context.WithoutCancel(ctx), b.namespace, metav1.DeleteOptions{}))
	}()
	if b.outpost, err = newOutpost(ctx, r); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.outpost.close()) }()
	config := filepath.Join(b.outpost.dir, "config.yaml")
	text := fmt.Sprintf("spawner: {image: %s, cpu_guarantee: 0.001, delete_grace_period: 0}\n", podsImage)
	if err := errors.Join(b.outpost.useCluster(proxy), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return err
	}
	b.outpost.env = []string{
		"OUTPOST_NAMESPACE=" + b.namespace,
		"OUTPOST_CONFIG_FILE=" + config, "OUTPOST_START_TIMEOUT=300",
	}
	if _, _, err := b.outpost.start(ctx); err != nil {
		return err
	}
	b.watch = watchPods(ctx, direct, b.namespace)
	for b.account(ctx) != nil { // pods need the namespace's account, which comes a moment later
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := b.together(ctx, 1, false); err != nil { // the first one pulls the image
		return err
	}
	for _, at := range pick(r, []struct{ n, rounds int }{{1, 7}, {20, 11}, {64, 3}},
		[]struct{ n, rounds int }{{1, 3}, {20, 1}}) {
		for round := range at.rounds {
			r.say("pods: %d at once, round %d", at.n, round+1)
			if err := b.together(ctx, at.n, true); err != nil {
				return fmt.Errorf("%d at once: %w; %s", at.n, err, firstLines(b.outpost.process.Stderr()))
			}
		}
	}
	return nil
}

func (b *podsBench) account(ctx context.Context) error {
	_, err := b.client.CoreV1().ServiceAccounts(b.namespace).Get(ctx, "default", metav1.GetOptions{})
	return err
}

// connect makes a client of the cluster local, and one that goes through a counting proxy, whose
// address it returns too.
func (b *podsBench) connect(
	ctx context.Context, checkout *checkout,
) (direct kubernetes.Interface, proxy string, err error) {
	c, err := checkout.clusterConfig("local")
	if err != nil {
		return nil, "", err
	}
	c.QPS, c.Burst = -1, -1
	if direct, err = kubernetes.NewForConfig(c); err != nil {
		return nil, "", err
	}
	server, err := url.Parse(c.Host)
	if err != nil {
		return nil, "", err
	}
	transport, err := rest.TransportFor(c)
	if err != nil {
		return nil, "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	forward := httputil.NewSingleHostReverseProxy(server)
	forward.Transport, forward.FlushInterval = transport, -1
	counting := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.requests.Add(1)
			forward.ServeHTTP(w, r)
		}),
	}
	go func() { _ = counting.Serve(l) }() // until it is closed
	context.AfterFunc(ctx, func() { _ = counting.Close() })
	proxy = l.Addr().String()
	b.client, err = kubernetes.NewForConfig(&rest.Config{
		Host: "http://" + proxy, QPS: -1, Burst: -1,
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
	})
	return direct, proxy, err
}

// together takes n servers of the outpost and n bare pods, each when the node is calm; who comes first takes turns.
func (b *podsBench) together(ctx context.Context, n int, record bool) error {
	b.serial++
	var servers []sample
	var bare time.Duration
	halves := []func() error{
		func() (err error) { servers, err = b.servers(ctx, n); return err },
		func() (err error) { bare, err = b.bare(ctx, n); return err },
	}
	if b.serial%2 == 0 {
		slices.Reverse(halves)
	}
	for _, half := range halves {
		if n > 1 {
			if err := calm(ctx); err != nil {
				return err
			}
		}
		if err := half(); err != nil {
			return err
		}
	}
	if !record {
		return nil
	}
	for _, s := range servers {
		b.run.add(fmt.Sprintf("pods/%s/%d", s.what, n), outpostSubject, s.unit, "less", s.value)
	}
	b.run.add(fmt.Sprintf("pods/ready/%d", n), barePods, "s", "less", bare.Seconds())
	return nil
}

// sample is one figure of one round.
type sample struct {
	what, unit string
	value      float64
}

// servers starts n servers at once by the outpost, polls and stops them.
func (b *podsBench) servers(ctx context.Context, n int) ([]sample, error) {
	name := func(i int) string { return fmt.Sprintf("lab-%d-%d", b.serial, i) }
	posted, answered := make([]time.Time, n), make([]time.Time, n)
	before := b.requests.Load()
	took, err := atOnce(n, func(i int) error {
		posted[i] = time.Now()
		err := b.outpost.askOnce(ctx, startRequest(i, name(i)))
		answered[i] = time.Now()
		return err
	})
	if err != nil {
		return nil, err
	}
	forStart := float64(b.requests.Load()-before) / float64(n)
	var created, own []float64
	for i := range n {
		if err := b.watch.waitReady(ctx, name(i)); err != nil {
			return nil, err
		}
		made, ready := b.watch.times(name(i))
		created = append(created, milliseconds(made.Sub(posted[i])))
		own = append(own, milliseconds(made.Sub(posted[i])+max(0, answered[i].Sub(ready))))
	}
	before = b.requests.Load()
	const polls = 20
	for range polls {
		if _, err := atOnce(n, func(i int) error {
			return b.outpost.askOnce(ctx,
				apiRequest{hub: i, method: http.MethodGet, path: "/services/" + name(i) + "/s", want: `{"status":null`})
		}); err != nil {
			return nil, err
		}
	}
	forPoll := float64(b.requests.Load()-before) / float64(polls*n)
	before = b.requests.Load()
	stops, err := atOnce(n, func(i int) error { return b.outpost.askOnce(ctx, stopRequest(i, name(i))) })
	if err != nil {
		return nil, err
	}
	forStop := float64(b.requests.Load()-before) / float64(n)
	return []sample{
		{"ready", "s", took.Seconds()},
		{"POST to pod created", "ms", middle(created)},
		{"own time", "ms", middle(own)},
		{"stopped and gone", "s", stops.Seconds()},
		{"requests for a start", "requests", forStart},
		{"requests for a poll", "requests", forPoll},
		{"requests for a stop", "requests", forStop},
	}, nil
}

// middle returns the median of several times.
func middle(samples []float64) float64 { return result{Samples: samples}.median() }

// askOnce sends a request on a connection of its own.
func (o *outpost) askOnce(ctx context.Context, r apiRequest) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", o.address)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // ends the request
	return errors.Join(newAPIConn(conn).ask(r), conn.Close())
}

// atOnce runs f n times at once and returns how long all took.
func atOnce(n int, f func(i int) error) (time.Duration, error) {
	errs := make([]error, n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	// The first few say it.
	return time.Since(began), errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

// bare makes n pods like those of the outpost, waits until each is ready, and removes them.
func (b *podsBench) bare(ctx context.Context, n int) (time.Duration, error) {
	pods := b.client.CoreV1().Pods(b.namespace)
	name := func(i int) string { return fmt.Sprintf("bare-%d-%d", b.serial, i) }
	took, err := atOnce(n, func(i int) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name(i)}}
		pod.Spec.Containers = []corev1.Container{{Name: "notebook", Image: podsImage}}
		pod.Spec.AutomountServiceAccountToken = new(bool)
		if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
		return b.watch.waitReady(ctx, name(i))
	})
	if err != nil {
		return 0, err
	}
	_, err = atOnce(n, func(i int) error {
		return errors.Join(pods.Delete(ctx, name(i), *metav1.NewDeleteOptions(0)), b.watch.waitGone(ctx, name(i)))
	})
	return took, err
}
