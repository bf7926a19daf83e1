//go:build e2e

package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	class    = 20               // servers that are asked for at once; a multiple of seats
	seats    = 5                // servers that fit
	nodeless = 90 * time.Second // how long there is no node at all
	seat     = "outposts.dev/seat"
)

// A class that asks for servers before there is a node, and for more than fit once there is one, waits and gets them
// all, as room comes. Meanwhile its users read what it waits for. The outpost has its defaults, and the rights that its
// chart gives it: it cannot know that nobody adds nodes to this cluster.
func TestE2EClassWaitsForRoom(t *testing.T) {
	t.Parallel()
	c, dir, hub := newOtherCluster(t), t.TempDir(), newProgress(t)
	node := c.nodeWithSeats(t)
	p := c.newProcess(t, dir)
	p.kubeconfig = c.asAccount(t)
	write(t, p.config, fmt.Sprintf("spawner:\n  image: %s\n  image_pull_policy: IfNotPresent\n"+
		"  cpu_guarantee: 0.001\n  mem_guarantee: 1M\n"+
		"  extra_resource_guarantees: {%[2]s: \"1\"}\n  extra_resource_limits: {%[2]s: \"1\"}\n"+
		"hubs: {%[3]s: {callbackUrls: [%[4]q]}}\n", c.image, seat, hubName, hub.URL))
	p.start(t)

	c.cordon(t, node, true)
	ready := make(chan string, class)
	began := time.Now()
	var starts sync.WaitGroup
	for i := range class {
		name := fmt.Sprintf("seat-%02d", i)
		starts.Go(func() {
			asked := startRequest{name: name, startID: "s", eventsURL: hub.URL + "/" + name}
			if err := wantStatus(p.request(t.Context(), asked, false)); err != nil {
				t.Errorf("start of %s: %v", name, err)
			}
			ready <- name
		})
	}
	wait(t, nodeless+time.Minute, "all pods wait, the last one for as long as there is no node", func() error {
		pods, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), singleuser)
		if err != nil {
			return err
		}
		if len(pods.Items) != class {
			return fmt.Errorf("there are %d pods", len(pods.Items))
		}
		for _, pod := range pods.Items {
			if waited := time.Since(pod.CreationTimestamp.Time); pod.Spec.NodeName != "" || waited < nodeless {
				return fmt.Errorf("pod %s has node %q and has waited %v", pod.Name, pod.Spec.NodeName, waited)
			}
		}
		return nil
	})
	if len(ready) > 0 {
		t.Fatalf("%d starts were answered without a node", len(ready))
	}
	for i := range class {
		hub.saw(t, fmt.Sprintf("seat-%02d", i), "Waiting for a node with room for this server: 0/1 nodes are available")
	}
	c.cordon(t, node, false)

	var order []string
	for len(order) < class && !t.Failed() {
		// Those that fit are ready, and no other, until one of them makes room.
		for range seats {
			select {
			case name := <-ready:
				order = append(order, name)
			case <-time.After(2 * time.Minute):
				t.Fatalf("%d of %d servers were ready", len(order), class)
			}
		}
		if got := c.onNode(t); got != seats && !t.Failed() {
			t.Errorf("%d servers have a node, want %d", got, seats)
		}
		t.Logf("%d of %d servers have been ready after %v", len(order), class, time.Since(began).Round(time.Second))
		leave := order[len(order)-seats:]
		inParallel(t, seats, func(i int) error {
			return wantStatus(p.call(t.Context(), http.MethodDelete, "/services/"+leave[i]+"/s", nil, false))
		})
	}
	starts.Wait()
	slices.Sort(order)
	if len(slices.Compact(order)) != class {
		t.Errorf("servers that have been ready: %q", order)
	}
	if rows, pods := p.services(t), c.pods(t); len(rows) > 0 || len(pods) > 0 {
		t.Errorf("left are rows %q and pods %q", rows, pods)
	}
}

// nodeWithSeats lets the cluster's node take as many servers with a seat as there are seats, and returns its name.
func (c *cluster) nodeWithSeats(t *testing.T) string {
	t.Helper()
	nodes, err := c.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(nodes.Items) != 1 {
		t.Fatalf("want one node: %v, %v", nodes, err)
	}
	name := nodes.Items[0].Name
	patch := func(ctx context.Context, count any) error {
		text, err := json.Marshal(map[string]any{"status": map[string]any{"capacity": map[string]any{seat: count}}})
		if err != nil {
			return err
		}
		_, err = c.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{}, "status")
		return err
	}
	if err := patch(t.Context(), fmt.Sprint(seats)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := patch(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
	wait(t, time.Minute, "the node has seats", func() error {
		node, err := c.client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if got := node.Status.Allocatable[seat]; err == nil && got.Value() != seats {
			err = fmt.Errorf("it has %s", got.String())
		}
		return err
	})
	return name
}

// cordon keeps new pods off a node, or lets them come again. The test's end does in any case.
func (c *cluster) cordon(t *testing.T, node string, off bool) {
	t.Helper()
	patch := func(ctx context.Context, off bool) error {
		_, err := c.client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType,
			fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, off), metav1.PatchOptions{})
		return err
	}
	if err := patch(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	if off {
		t.Cleanup(func() {
			if err := patch(context.Background(), false); err != nil {
				t.Error(err)
			}
		})
	}
}

// onNode is how many servers the scheduler has found a node for, and that are not about to end.
func (c *cluster) onNode(t *testing.T) int {
	t.Helper()
	pods, err := c.client.CoreV1().Pods(c.namespace).List(t.Context(), singleuser)
	if err != nil {
		t.Fatal(err)
	}
	return len(slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool {
		return p.Spec.NodeName == "" || p.DeletionTimestamp != nil
	}))
}

// asAccount returns a kubeconfig for an account with the rights that the chart gives an outpost in its namespace.
func (c *cluster) asAccount(t *testing.T) string {
	t.Helper()
	const account = "default"
	_, err := c.client.RbacV1().RoleBindings(c.namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "outpost"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account, Namespace: c.namespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		user.Impersonate = "system:serviceaccount:" + c.namespace + ":" + account
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// progress is a hub as far as it takes what users of servers are told: by the last element of the path, the events.
type progress struct {
	*httptest.Server
	mu   sync.Mutex
	said map[string][]event
}

// event is one of a start, or a notice of what becomes of a server (protocol 3.2).
type event struct {
	Message string
	Notice  bool
}

func newProgress(t *testing.T) *progress {
	t.Helper()
	p := &progress{said: map[string][]event{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("progress of %s: %v", r.URL.Path, err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		name := filepath.Base(r.URL.Path)
		p.said[name] = append(p.said[name], e)
	}))
	t.Cleanup(p.Close)
	return p
}

// saw holds that the progress of a start has had a message with a text in it.
func (p *progress) saw(t *testing.T, name, text string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.said[name], func(e event) bool { return strings.Contains(e.Message, text) }) {
		t.Errorf("the progress of %s has no %q: %+v", name, text, p.said[name])
	}
}
