package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/outposts-dev/outposts/server/kube"
	"github.com/outposts-dev/outposts/server/outpost"
)

// podsImage is on every local cluster; its program does nothing, so that what is measured is not its start.
const podsImage = "localhost/outposts/pause:1"

// podsLimit ends a measurement on a cluster that does not make its pods.
const podsLimit = 20 * time.Minute

// podsBench starts servers on a real cluster, by our spawner and as bare pods.
type podsBench struct {
	run       *run
	client    kubernetes.Interface
	requests  atomic.Int64
	namespace string
	spawner   *kube.Spawner
	serial    int
}

// measurePods compares starts with the same pods made and watched by nothing but client-go.
func measurePods(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, podsLimit)
	defer cancel()
	b := &podsBench{run: r, namespace: fmt.Sprintf("bench-pods-%d", os.Getpid())}
	if err := b.connect(); err != nil {
		return err
	}
	if _, err := b.client.Discovery().ServerVersion(); err != nil {
		return fmt.Errorf("needs the local clusters (make clusters): %w", err)
	}
	namespaces := b.client.CoreV1().Namespaces()
	if _, err := namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	defer func() { _ = namespaces.Delete(context.WithoutCancel(ctx), b.namespace, metav1.DeleteOptions{}) }() // the figures are there
	var err error
	b.spawner, err = kube.New(b.client, b.namespace, kube.Options{Spawner: map[string]any{
		"image": podsImage, "services_enabled": true, "start_timeout": 300, "cpu_guarantee": 0.001, "delete_grace_period": 0,
	}})
	if err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = b.spawner.Run(runCtx) })
	defer wg.Wait()
	defer stop()
	if _, err := b.spawner.Found(ctx); err != nil {
		return err
	}
	for b.account(ctx) != nil { // pods need the namespace's account, which comes a moment later
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := b.together(ctx, 1, ""); err != nil { // the first one pulls the image
		return err
	}
	for round := range pick(r, 5, 2) {
		for _, n := range pick(r, []int{1, 20, 64}, []int{1, 20}) {
			r.say("pods: %d at once, round %d", n, round+1)
			if err := b.together(ctx, n, "pods/ready/"+strconv.Itoa(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *podsBench) account(ctx context.Context) error {
	_, err := b.client.CoreV1().ServiceAccounts(b.namespace).Get(ctx, "default", metav1.GetOptions{})
	return err
}

// connect makes a client as kube.Connect does, that counts requests.
func (b *podsBench) connect() error {
	kubeconfig := os.Getenv("OUTPOSTS_KUBECONFIG")
	if kubeconfig == "" {
		kubeconfig = ".state/kubeconfig"
	}
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}, &clientcmd.ConfigOverrides{CurrentContext: "local"},
	).ClientConfig()
	if err != nil {
		return fmt.Errorf("needs the local clusters (make clusters): %w", err)
	}
	c.QPS, c.Burst = -1, -1
	c.ContentType = "application/vnd.kubernetes.protobuf"
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	c.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return countingTransport{next: next, b: b}
	})
	b.client, err = kubernetes.NewForConfig(rest.CopyConfig(c))
	return err
}

// countingTransport counts requests.
type countingTransport struct {
	next http.RoundTripper
	b    *podsBench
}

func (t countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.b.requests.Add(1)
	return t.next.RoundTrip(r)
}

// together starts n servers at once by the spawner, stops them, and makes n bare pods at once; an empty name records nothing.
func (b *podsBench) together(ctx context.Context, n int, name string) error {
	plans := make([]outpost.Plan, n)
	for i := range plans {
		b.serial++
		id := strconv.Itoa(b.serial)
		p, err := b.spawner.Plan(ctx, outpost.Hub{Name: "bench"}, outpost.StartRequest{
			Key:  outpost.Key{Hub: "bench", Name: "s" + id, StartID: id},
			Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "bench"}, Misc: map[string]json.RawMessage{}},
		}, nil)
		if err != nil {
			return err
		}
		plans[i] = p
	}
	before := b.requests.Load()
	ours, err := atOnce(n, func(i int) error {
		_, err := b.spawner.Start(ctx, plans[i], nil)
		return err
	})
	if err != nil {
		return err
	}
	perStart := float64(b.requests.Load()-before) / float64(n)
	before = b.requests.Load()
	for range 100 {
		for _, p := range plans {
			if _, err := b.spawner.Poll(ctx, p.Key, p.State); err != nil {
				return err
			}
		}
	}
	perPoll := float64(b.requests.Load()-before) / float64(100*n)
	before = b.requests.Load()
	stops, err := atOnce(n, func(i int) error { return b.spawner.Stop(ctx, plans[i].Key, plans[i].State) })
	if err != nil {
		return err
	}
	perStop := float64(b.requests.Load()-before) / float64(n)
	bare, err := b.bare(ctx, plans)
	if err != nil || name == "" {
		return err
	}
	b.run.add(name, "outpost", "s", "less", "within 1.1x of bare pods", ours.Seconds())
	b.run.add(name, "bare pods", "s", "less", "", bare.Seconds())
	b.run.add(fmt.Sprintf("pods/gone/%d", n), "outpost", "s", "less", "", stops.Seconds())
	b.run.add(fmt.Sprintf("pods/requests/start/%d", n), "outpost", "requests", "less", "", perStart)
	b.run.add(fmt.Sprintf("pods/requests/poll/%d", n), "outpost", "requests", "less", "0", perPoll)
	b.run.add(fmt.Sprintf("pods/requests/stop/%d", n), "outpost", "requests", "less", "", perStop)
	return nil
}

// atOnce runs f n times at once and tells how long all took.
func atOnce(n int, f func(i int) error) (time.Duration, error) {
	errs := make([]error, n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return time.Since(began), errors.Join(errs...)
}

// bare makes pods like those of the plans, waits until each is ready and removes them.
func (b *podsBench) bare(ctx context.Context, plans []outpost.Plan) (time.Duration, error) {
	pods := b.client.CoreV1().Pods(b.namespace)
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	ready := make([]chan struct{}, len(plans))
	index := map[string]int{}
	for i := range plans {
		ready[i] = make(chan struct{})
		index["bare-"+plans[i].StartID] = i
	}
	go func() {
		for watchCtx.Err() == nil && len(index) > 0 { // a busy API server ends watches
			seen, err := pods.Watch(watchCtx, metav1.ListOptions{LabelSelector: "bench=bare"})
			if err != nil {
				continue
			}
			announce(seen, index, ready)
			seen.Stop()
		}
	}()
	took, err := atOnce(len(plans), func(i int) error {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare-" + plans[i].StartID, Labels: map[string]string{"bench": "bare"}}}
		pod.Spec.Containers = []corev1.Container{{Name: "notebook", Image: podsImage}}
		pod.Spec.AutomountServiceAccountToken = new(bool)
		if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return err
		}
		select {
		case <-ready[i]:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return 0, err
	}
	_, err = atOnce(len(plans), func(i int) error {
		return pods.Delete(ctx, "bare-"+plans[i].StartID, *metav1.NewDeleteOptions(0))
	})
	return took, err
}

// announce closes the channel of each pod when it is ready, until all are or the watch ends.
func announce(seen watch.Interface, index map[string]int, ready []chan struct{}) {
	for e := range seen.ResultChan() {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		i, known := index[pod.Name]
		if !known || pod.Status.Phase != corev1.PodRunning || len(pod.Status.ContainerStatuses) == 0 || !pod.Status.ContainerStatuses[0].Ready {
			continue
		}
		delete(index, pod.Name)
		close(ready[i])
		if len(index) == 0 {
			return
		}
	}
}
