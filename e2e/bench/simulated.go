package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// simulated is as much of a Kubernetes API server as an outpost asks for: pods that run as soon as they are made and
// are gone as soon as they are deleted, and Services and Secrets that it takes and forgets. It shows what thousands of
// pods cost the outpost, where one machine cannot run thousands of pods.
type simulated struct {
	mu       sync.Mutex
	version  int
	pods     map[string]*corev1.Pod
	watchers map[chan []byte]bool
	requests map[string]int // by verb and resource
}

// serveSimulated is the role of the simulated cluster. It prints its address and serves until it is killed.
func serveSimulated([]string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &simulated{pods: map[string]*corev1.Pod{}, watchers: map[chan []byte]bool{}, requests: map[string]int{}}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	return server.Serve(l)
}

// ServeHTTP answers /version, /requests (how often what was asked), and /api/v1/namespaces/NAMESPACE/RESOURCE[/NAME].
func (s *simulated) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		reply(w, http.StatusOK, map[string]string{"major": "1", "minor": "34", "gitVersion": "v1.34.4"})
		return
	case r.URL.Path == "/requests":
		s.mu.Lock()
		defer s.mu.Unlock()
		reply(w, http.StatusOK, s.requests)
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
	s.mu.Lock()
	s.requests[verb+" "+resource]++
	s.mu.Unlock()
	switch {
	case watching:
		s.watch(w, r, resource)
	case resource == "pods":
		s.pod(w, r, name)
	case r.Method == http.MethodGet && name == "":
		s.mu.Lock()
		defer s.mu.Unlock()
		reply(w, http.StatusOK,
			map[string]any{"kind": "List", "apiVersion": "v1", "metadata": s.listMeta(), "items": []any{}})
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

func decode(r *http.Request) (any, error) {
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
func (s *simulated) pod(w http.ResponseWriter, r *http.Request, name string) {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.pods[name]
	switch {
	case made != nil && s.pods[made.Name] != nil:
		status(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
	case made != nil:
		s.version++
		made.UID, made.ResourceVersion = types.UID(fmt.Sprintf("uid-%d", s.version)), fmt.Sprint(s.version)
		made.CreationTimestamp = metav1.Now()
		made.Status = runningStatus(made)
		s.pods[made.Name] = made
		s.tell(watch.Added, made)
		reply(w, http.StatusCreated, made)
	case r.Method == http.MethodGet && name == "":
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
		list.ResourceVersion = fmt.Sprint(s.version)
		for _, p := range s.pods {
			list.Items = append(list.Items, *p)
		}
		reply(w, http.StatusOK, list)
	case old == nil:
		missing(w)
	case r.Method == http.MethodDelete:
		s.version++
		old.ResourceVersion = fmt.Sprint(s.version)
		delete(s.pods, name)
		s.tell(watch.Deleted, old)
		reply(w, http.StatusOK, old)
	default:
		reply(w, http.StatusOK, old)
	}
}

func runningStatus(p *corev1.Pod) corev1.PodStatus {
	status := corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{
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

// watch sends what happens to pods from now on; of anything else nothing happens.
func (s *simulated) watch(w http.ResponseWriter, r *http.Request, resource string) {
	events := make(chan []byte, 4096)
	if resource == "pods" {
		s.mu.Lock()
		s.watchers[events] = true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			delete(s.watchers, events)
			s.mu.Unlock()
		}()
	}
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w)
	_ = flush.Flush() // a watcher that went away shows in the next write
	for {
		select {
		case e := <-events:
			if _, err := w.Write(e); err != nil {
				return
			}
			_ = flush.Flush() // as above
		case <-r.Context().Done():
			return
		}
	}
}

// tell is called with the lock held.
func (s *simulated) tell(what watch.EventType, p *corev1.Pod) {
	text, err := json.Marshal(map[string]any{"type": what, "object": p})
	if err != nil {
		return // a pod that came as JSON goes as JSON
	}
	for events := range s.watchers {
		events <- append(text, '\n')
	}
}

func (s *simulated) listMeta() map[string]string {
	return map[string]string{"resourceVersion": fmt.Sprint(s.version)}
}

func reply(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object) // a client that went away needs no answer
}

func missing(w http.ResponseWriter) { status(w, http.StatusNotFound, metav1.StatusReasonNotFound) }

func status(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	reply(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason,
	})
}
