// Package simulated has a Kubernetes cluster without nodes. It shows what thousands of pods cost an outpost, and what
// an outpost does under load, where one machine cannot run thousands of pods. It exists because e2e/bench and e2e/load
// both need one.
package simulated

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// Cluster is as much of a Kubernetes API server as an outpost and the tunnels ask for: pods that run as soon as they
// are made, unless told otherwise, and are gone as soon as they are deleted, Services that go with the pod that owns
// them, and Secrets that it takes and forgets. It has one namespace, whatever the requests call it. It is an
// http.Handler, safe for concurrent use.
type Cluster struct {
	address func(n int) string // of the n-th pod

	// Wait is how long a pod takes to run; less than 0 for one that never does. nil: all run at once. It is not to be
	// changed when requests may come.
	Wait func(*corev1.Pod) time.Duration

	mu       sync.Mutex
	version  int
	pods     map[string]*corev1.Pod
	services map[string]*corev1.Service
	owned    map[types.UID][]string // Services by the pod that they go with
	watchers map[*watcher]struct{}
	told     []change       // the latest changes, by version
	requests map[string]int // by verb and resource
}

// watcher is a watch of pods or services.
type watcher struct {
	resource string
	events   chan []byte
	left     chan struct{} // closed when nobody reads events any more
}

// change is what watches are told of an object.
type change struct {
	version  int
	resource string
	text     []byte
}

// keptChanges is how many changes a watch can begin before.
const keptChanges = 4096

// New returns an empty cluster. address is the IP address of the n-th pod, from 1; nil for 10.0.0.1, which leads
// nowhere.
func New(address func(n int) string) *Cluster {
	if address == nil {
		address = func(int) string { return "10.0.0.1" }
	}
	return &Cluster{
		address: address, pods: map[string]*corev1.Pod{}, services: map[string]*corev1.Service{},
		owned: map[types.UID][]string{}, watchers: map[*watcher]struct{}{}, requests: map[string]int{},
	}
}

// Kubeconfig returns the text of a kubeconfig for a cluster at an address that speaks plain HTTP and lets everybody in.
func Kubeconfig(address string) string {
	return fmt.Sprintf(
		"apiVersion: v1\nkind: Config\ncurrent-context: s\nclusters: [{name: s, cluster: {server: 'http://%s'}}]\n"+
			"contexts: [{name: s, context: {cluster: s, user: s}}]\nusers: [{name: s, user: {}}]\n", address)
}

// ServeHTTP answers /version, /requests (how often what was asked), and /api/v1/namespaces/NAMESPACE/RESOURCE[/NAME].
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		reply(w, http.StatusOK, map[string]string{"major": "1", "minor": "34", "gitVersion": "v1.34.4"})
		return
	case r.URL.Path == "/requests":
		c.mu.Lock()
		defer c.mu.Unlock()
		reply(w, http.StatusOK, c.requests)
		return
	case len(parts) < 5:
		missing(w)
		return
	}
	resource, name := parts[4], strings.Join(parts[5:], "/")
	watching := r.URL.Query().Get("watch") != ""
	verb := r.Method
	if watching {
		verb = "WATCH"
	}
	c.mu.Lock()
	c.requests[verb+" "+resource]++
	c.mu.Unlock()
	switch {
	case watching:
		c.watch(w, r, resource)
	case resource == "pods":
		c.pod(w, r, parts[3], name)
	case resource == "services":
		c.service(w, r, parts[3], name)
	case r.Method == http.MethodGet && name == "":
		reply(w, http.StatusOK, c.empty())
	case r.Method == http.MethodPost:
		object, err := decode(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, http.StatusCreated, object)
	default:
		missing(w)
	}
}

// Pods returns the names of all pods, sorted.
func (c *Cluster) Pods() []string { return names(c, c.pods) }

// Services returns the names of all Services, sorted.
func (c *Cluster) Services() []string { return names(c, c.services) }

func names[T any](c *Cluster, objects map[string]T) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(objects))
}

func decode(r *http.Request) (runtime.Object, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	object, kind, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		return nil, err
	}
	object.GetObjectKind().SetGroupVersionKind(*kind)
	return object, nil
}

// pod lists, makes, returns and removes pods.
func (c *Cluster) pod(w http.ResponseWriter, r *http.Request, namespace, name string) {
	var made *corev1.Pod
	if r.Method == http.MethodPost {
		object, err := decode(r)
		pod, ok := object.(*corev1.Pod)
		if err != nil || !ok {
			http.Error(w, "not a pod", http.StatusBadRequest)
			return
		}
		made = pod
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.pods[name]
	switch {
	case made != nil && c.pods[made.Name] != nil:
		conflict(w)
	case made != nil:
		c.stamp(&made.ObjectMeta, namespace)
		c.run(made, c.address(c.version))
		c.pods[made.Name], c.owned[made.UID] = made, nil
		c.tell(watch.Added, "pods", made)
		reply(w, http.StatusCreated, made)
	case r.Method == http.MethodGet && name == "":
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
		list.ResourceVersion, list.Items = fmt.Sprint(c.version), make([]corev1.Pod, 0, len(c.pods)) // never null
		for _, p := range c.pods {
			list.Items = append(list.Items, *p)
		}
		reply(w, http.StatusOK, list)
	case old == nil:
		missing(w)
	case r.Method == http.MethodDelete:
		c.version++
		old.ResourceVersion = fmt.Sprint(c.version)
		delete(c.pods, name)
		c.tell(watch.Deleted, "pods", old)
		c.collect(old.UID)
		reply(w, http.StatusOK, old)
	default:
		reply(w, http.StatusOK, old)
	}
}

// service lists, makes, returns and removes Services.
func (c *Cluster) service(w http.ResponseWriter, r *http.Request, namespace, name string) {
	var made *corev1.Service
	if r.Method == http.MethodPost {
		object, err := decode(r)
		svc, ok := object.(*corev1.Service)
		if err != nil || !ok {
			http.Error(w, "not a Service", http.StatusBadRequest)
			return
		}
		made = svc
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.services[name]
	switch {
	case made != nil && c.services[made.Name] != nil:
		conflict(w)
	case made != nil:
		c.stamp(&made.ObjectMeta, namespace)
		c.keep(made)
		reply(w, http.StatusCreated, made)
	case r.Method == http.MethodGet && name == "":
		list := corev1.ServiceList{TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"}}
		list.ResourceVersion, list.Items = fmt.Sprint(c.version), make([]corev1.Service, 0, len(c.services))
		for _, svc := range c.services {
			list.Items = append(list.Items, *svc)
		}
		reply(w, http.StatusOK, list)
	case old == nil:
		missing(w)
	case r.Method == http.MethodDelete:
		c.drop(old)
		reply(w, http.StatusOK, old)
	default:
		reply(w, http.StatusOK, old)
	}
}

// stamp gives a new object what the API server gives it. c.mu must be held.
func (c *Cluster) stamp(meta *metav1.ObjectMeta, namespace string) {
	c.version++
	meta.UID, meta.ResourceVersion = types.UID(fmt.Sprintf("uid-%d", c.version)), fmt.Sprint(c.version)
	meta.Namespace, meta.CreationTimestamp = namespace, metav1.Now()
}

// keep keeps a Service, unless the pod that owns it is gone: the garbage collector would remove it. c.mu must be held.
func (c *Cluster) keep(svc *corev1.Service) {
	for _, owner := range svc.OwnerReferences {
		if _, there := c.owned[owner.UID]; !there {
			return
		}
		c.owned[owner.UID] = append(c.owned[owner.UID], svc.Name)
	}
	c.services[svc.Name] = svc
	c.tell(watch.Added, "services", svc)
}

// drop removes a Service. c.mu must be held.
func (c *Cluster) drop(svc *corev1.Service) {
	c.version++
	svc.ResourceVersion = fmt.Sprint(c.version)
	delete(c.services, svc.Name)
	c.tell(watch.Deleted, "services", svc)
}

// collect removes the Services of a pod that is gone, as the garbage collector does. c.mu must be held.
func (c *Cluster) collect(pod types.UID) {
	for _, name := range c.owned[pod] {
		if svc := c.services[name]; svc != nil {
			c.drop(svc)
		}
	}
	delete(c.owned, pod)
}

// run makes a new pod run, at once or when its time has come. c.mu must be held.
func (c *Cluster) run(made *corev1.Pod, address string) {
	wait := time.Duration(0)
	if c.Wait != nil {
		wait = c.Wait(made)
	}
	if wait == 0 {
		made.Status = runningStatus(made, address)
		return
	}
	made.Status = corev1.PodStatus{Phase: corev1.PodPending}
	if wait < 0 {
		return
	}
	time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pods[made.Name] != made {
			return
		}
		c.version++
		made.ResourceVersion, made.Status = fmt.Sprint(c.version), runningStatus(made, address)
		c.tell(watch.Modified, "pods", made)
	})
}

func runningStatus(p *corev1.Pod, address string) corev1.PodStatus {
	status := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue},
	}}
	for _, c := range p.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Ready: true, Image: c.Image,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		})
	}
	return status
}

// watch sends what happens to pods or Services after a version; of anything else nothing happens.
func (c *Cluster) watch(w http.ResponseWriter, r *http.Request, resource string) {
	own := &watcher{resource: resource, events: make(chan []byte, 2*keptChanges), left: make(chan struct{})}
	if resource == "pods" || resource == "services" {
		c.mu.Lock()
		c.watchers[own] = struct{}{}
		if since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion")); err == nil {
			for _, made := range c.told {
				if made.version > since && made.resource == resource {
					own.events <- made.text
				}
			}
		}
		c.mu.Unlock()
		defer func() {
			close(own.left) // who tells it something has the lock
			c.mu.Lock()
			delete(c.watchers, own)
			c.mu.Unlock()
		}()
	}
	ctx := r.Context()
	if seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds")); err == nil && seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
		defer cancel()
	}
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w)
	_ = flush.Flush() // a watcher that went away shows in the next write
	for {
		select {
		case e := <-own.events:
			if _, err := w.Write(e); err != nil {
				return
			}
			_ = flush.Flush() // as above
		case <-ctx.Done():
			return
		}
	}
}

// tell tells all watches of a change, and waits for those that are far behind. It is called with the lock held.
func (c *Cluster) tell(what watch.EventType, resource string, object runtime.Object) {
	text, err := json.Marshal(map[string]any{"type": what, "object": object})
	if err != nil {
		return // what came as JSON goes as JSON
	}
	text = append(text, '\n')
	for w := range c.watchers {
		if w.resource != resource {
			continue
		}
		select {
		case w.events <- text:
		case <-w.left:
		}
	}
	if c.told = append(c.told, change{c.version, resource, text}); len(c.told) > keptChanges {
		c.told = slices.Delete(c.told, 0, len(c.told)-keptChanges)
	}
}

// empty returns the list of what the cluster keeps none of.
func (c *Cluster) empty() map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]any{
		"kind": "List", "apiVersion": "v1", "items": []any{},
		"metadata": map[string]string{"resourceVersion": fmt.Sprint(c.version)},
	}
}

func reply(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object) // a client that went away needs no answer
}

func missing(w http.ResponseWriter) { status(w, http.StatusNotFound, metav1.StatusReasonNotFound) }

func conflict(w http.ResponseWriter) {
	status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
}

func status(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	reply(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason,
	})
}
