//go:build e2e

package lifecycle

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// Two processes on one PostgreSQL: no start runs twice, a quota holds, and each knows what the other did.
func TestE2ETwoProcesses(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	database := storetest.StartPostgres(t)
	env := []string{
		"SQL_TYPE=postgresql", "SQL_HOST=" + database.Host, "SQL_USER=" + database.User,
		"SQL_PASSWORD=" + storetest.Password,
		"SQL_DATABASE=" + database.NewDatabase(t), "OUTPOST_LEASE=outpost",
	}
	a, b := c.newProcess(t, t.TempDir(), env...), c.newProcess(t, t.TempDir(), env...)
	a.start(t)
	b.start(t)
	both := []*process{a, b}

	var good, refused sync.Map
	inParallel(t, 16, func(i int) error {
		status, answer, err := both[i%2].startService(t.Context(), "twice", "s", false)
		switch {
		case err == nil && status == http.StatusOK:
			good.Store(i, answer)
		case err == nil && status == 419:
			refused.Store(i, answer)
		default:
			return fmt.Errorf("status %d, %s, %w", status, answer, err)
		}
		return nil
	})
	if n := size(&good); n != 1 {
		t.Errorf("%d starts of one key were answered well", n)
	}
	if diff := cmp.Diff([]string{"twice/s"}, c.pods(t)); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if err := wantStatus(b.call(t.Context(), http.MethodDelete, "/services/twice/s", nil, false)); err != nil {
		t.Error(err)
	}
	for _, p := range both { // each learns from its own watch that the pod is gone
		wait(t, time.Minute, "a poll after the stop says so", func() error {
			status, answer, err := p.call(t.Context(), http.MethodGet, "/services/twice/s", nil, false)
			if err == nil && status != http.StatusNotFound {
				err = fmt.Errorf("status %d, %s", status, answer)
			}
			return err
		})
	}

	// The process that starts a server dies; the other one deals with what it leaves.
	if err := wantStatus(a.startService(t.Context(), "kept", "s", false)); err != nil {
		t.Fatal(err)
	}
	if status, _, err := a.startService(t.Context(), "left", "s", true); err != nil || status != http.StatusAccepted {
		t.Fatalf("status %d, %v", status, err)
	}
	a.kill()
	if status, answer, err := b.call(t.Context(), http.MethodGet, "/services/kept/s", nil, false); err != nil ||
		!strings.Contains(answer, `"status":null`) {
		t.Errorf("poll of the kept one: status %d, %s, %v", status, answer, err)
	}
	for _, name := range []string{"kept", "left"} {
		if err := wantStatus(b.call(t.Context(), http.MethodDelete, "/services/"+name+"/s", nil, false)); err != nil {
			t.Error(err)
		}
	}
	if rows, pods := b.services(t), c.pods(t); len(rows)+len(pods) > 0 {
		t.Errorf("rows %v, pods %v", rows, pods)
	}
}

func size(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// visitor starts and stops servers as the hub's client does: one POST that is never repeated, polls, and a DELETE for
// what has failed. Each request has a connection of its own.
type visitor struct {
	*api
	ledger *ledger
	polls  atomic.Int64
	broken atomic.Int64 // polls without an answer, which a hub takes for "running"
}

func newVisitor(url string) *visitor {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Minute}
	return &visitor{
		api:    &api{url: url, client: client},
		ledger: &ledger{running: map[string]bool{}, stopped: map[string]bool{}},
	}
}

// visit starts servers one after the other, polls each a few times and stops every second one, until ctx ends.
func (v *visitor) visit(ctx context.Context, t *testing.T, prefix string) {
	for i := 0; ctx.Err() == nil; i++ {
		name, async := fmt.Sprintf("%s-%d", prefix, i), i%3 == 2
		key := name + "/s"
		begun, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		status, answer, err := v.startService(begun, name, "s", async)
		cancel()
		if good := err == nil && (status == http.StatusOK || status == http.StatusAccepted); !good {
			t.Logf("start of %s: status %d, %s, %v", key, status, answer, err)
			v.end(t, key)
			continue
		}
		if !async {
			v.ledger.set(v.ledger.running, key, true)
		}
		for range 5 {
			v.poll(t, key, !async)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		if i%2 == 1 {
			v.ledger.set(v.ledger.running, key, false)
			v.end(t, key)
		}
	}
}

// poll asks once. That a running server is gone is the only answer that must never come.
func (v *visitor) poll(t *testing.T, key string, running bool) {
	v.polls.Add(1)
	status, answer, err := v.call(context.Background(), http.MethodGet, "/services/"+key, nil, false)
	switch {
	case err != nil || status == http.StatusServiceUnavailable:
		v.broken.Add(1)
		t.Logf("poll of %s: status %d, %s, %v", key, status, answer, err)
	case running && !strings.Contains(answer, `"status":null`):
		t.Errorf("poll of %s, which runs: status %d, %s", key, status, answer)
	}
}

// end stops a server, again and again until it is answered as stopped.
func (v *visitor) end(t *testing.T, key string) {
	for range 60 {
		status, answer, err := v.call(context.Background(), http.MethodDelete, "/services/"+key, nil, false)
		if err == nil && (status == http.StatusOK || status == http.StatusNotFound) {
			v.ledger.set(v.ledger.stopped, key, true)
			return
		}
		t.Logf("stop of %s: status %d, %s, %v", key, status, answer, err)
		time.Sleep(time.Second)
	}
	t.Errorf("%s cannot be stopped", key)
}

// births counts the pods that were ever made, by server.
type births struct {
	mu   sync.Mutex
	pods map[string]map[types.UID]bool
}

// watchBirths follows the cluster until the test ends.
func watchBirths(t *testing.T, c *cluster) *births {
	t.Helper()
	b := &births{pods: map[string]map[types.UID]bool{}}
	factory := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithNamespace(c.namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = singleuser.LabelSelector }))
	informer := factory.Core().V1().Pods().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(object any) {
		pod := object.(*corev1.Pod)
		b.mu.Lock()
		defer b.mu.Unlock()
		key := pod.Annotations[kubespawner.NameKey] + "/" + pod.Annotations[kubespawner.StartIDKey]
		if b.pods[key] == nil {
			b.pods[key] = map[types.UID]bool{}
		}
		b.pods[key][pod.UID] = true
	}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	t.Cleanup(func() {
		cancel()
		factory.Shutdown()
	})
	return b
}

// twice returns the servers that got more than one pod.
func (b *births) twice() (keys []string, all int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, pods := range b.pods {
		all += len(pods)
		if len(pods) > 1 {
			keys = append(keys, key)
		}
	}
	return keys, all
}

// The chart's Deployment with two replicas on one PostgreSQL, while hubs start, poll and stop: rolling updates that
// change the key ring, `outpost rekey` beside the serving replicas, and the crash of the leader. No start runs twice,
// no server is lost, no poll says that a running one is gone, and rows are pods in the end.
func TestE2EReplicasAreReplacedAndCrash(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	first, second := fernetKey('1'), fernetKey('2')
	d := newDeployment(t, c, 2, first)
	b := watchBirths(t, c)
	v := newVisitor(d.url)
	ctx, stop := context.WithCancel(t.Context())
	var visits sync.WaitGroup
	for i := range 3 {
		visits.Go(func() { v.visit(ctx, t, fmt.Sprintf("v%d", i)) })
	}
	end := func() {
		stop()
		visits.Wait()
	}
	defer end()

	for _, ring := range []string{first + " " + second, second + " " + first} {
		d.apply(t, d.keys(ring))
		t.Logf("rolling update within %v; %d polls, %d without an answer", d.rollOut(t),
			v.polls.Load(), v.broken.Load())
	}
	// One that is ending still seals with its own first key.
	wait(t, 2*time.Minute, "the replicas before are gone", func() error { return d.alone(t, 2) })
	t.Logf("rekey while serving: %s",
		d.kubectl(t, "exec", "deployment/"+release, "--", "/usr/local/bin/outpost", "rekey"))
	if again := d.kubectl(t, "exec", "deployment/"+release, "--", "/usr/local/bin/outpost",
		"rekey"); !strings.Contains(again, " 0 of them sealed anew") {
		t.Errorf("rekey was not complete: %s", again)
	}
	d.apply(t, d.keys(second))
	t.Logf("rolling update without the old key within %v; %d polls, %d without an answer", d.rollOut(t),
		v.polls.Load(), v.broken.Load())

	wait(t, 2*time.Minute, "the replicas before are gone", func() error { return d.alone(t, 2) })
	var leader, pod string
	wait(t, time.Minute, "one of the replicas leads", func() (err error) { leader, pod, err = d.leader(t); return err })
	if !d.killReplica(t, pod) {
		t.Log("the cluster is another machine's: the leader's pod is deleted instead")
		d.kubectl(t, "delete", "pod", pod, "--grace-period=0", "--force")
	}
	begin := time.Now()
	wait(t, 2*time.Minute, "another leader is chosen", func() error {
		now, _, err := d.leader(t)
		if err == nil && now == leader {
			err = errors.New("the Lease is still the killed one's")
		}
		return err
	})
	t.Logf("another leader after %v; %d polls, %d without an answer", time.Since(begin).Round(100*time.Millisecond),
		v.polls.Load(), v.broken.Load())
	end()
	wait(t, 3*time.Minute, "rows are pods, and what was stopped is gone", func() error { return v.settled(t, c) })
	t.Logf("settled %v after the leader was killed", time.Since(begin).Round(100*time.Millisecond))
	for _, key := range v.ledger.keys(v.ledger.running) {
		v.poll(t, key, true)
	}
	twice, all := b.twice()
	if len(twice) > 0 {
		t.Errorf("started twice: %v", twice)
	}
	t.Logf("%d pods were made, none for a start that had one; %d servers run, %d were stopped", all,
		len(v.ledger.keys(v.ledger.running)), len(v.ledger.keys(v.ledger.stopped)))
}

func fernetKey(c byte) string { return base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{c}, 32)) }

// settled returns what still differs from what the outposts have answered.
func (v *visitor) settled(t *testing.T, c *cluster) error {
	rows := v.services(t)
	if diff := cmp.Diff(rows, c.pods(t)); diff != "" {
		return errors.New("(-rows +pods):\n" + diff)
	}
	for _, key := range v.ledger.keys(v.ledger.stopped) {
		if slices.Contains(rows, key) {
			return fmt.Errorf("%s was answered as stopped, and still exists", key)
		}
	}
	for _, key := range v.ledger.keys(v.ledger.running) {
		if !slices.Contains(rows, key) {
			return fmt.Errorf("%s was answered as started, and is lost", key)
		}
	}
	return nil
}
