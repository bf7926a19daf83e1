package kube

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Connect makes the client that [New] takes: from the pod's service account or, if kubeconfig is not empty, from that
// file and the context of contextName (empty for the current one).
//
// The client speaks protobuf and has no rate limit, so that a class that starts at once is not slowed down; Kubernetes'
// own fairness limits it, and its 429 answers are obeyed. Changes are sent a few at a time.
func Connect(kubeconfig, contextName, userAgent string) (kubernetes.Interface, error) {
	var c *rest.Config
	var err error
	if kubeconfig == "" {
		c, err = rest.InClusterConfig()
	} else {
		c, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig},
			&clientcmd.ConfigOverrides{CurrentContext: contextName},
		).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("configure Kubernetes client: %w", err)
	}
	client, err := kubernetes.NewForConfig(tune(c, userAgent))
	if err != nil {
		return nil, fmt.Errorf("make Kubernetes client: %w", err)
	}
	return client, nil
}

// tune sets what Connect promises.
func tune(c *rest.Config, userAgent string) *rest.Config {
	c = rest.CopyConfig(c)
	c.UserAgent = userAgent
	c.ContentType = "application/vnd.kubernetes.protobuf"
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	c.QPS, c.Burst = -1, -1
	c.Wrap(newChangeLimiter)
	c.Timeout = 0 // watches last; any other request has its own limit
	return c
}

// uidBudget bounds how long a process that starts asks for the uid of its namespace.
const uidBudget = 10 * time.Second

// NamespaceUID returns the uid of a namespace: a UUID that no other namespace of any cluster has, and that changes when
// the namespace is made anew. It needs the right to get that one namespace.
func NamespaceUID(ctx context.Context, client kubernetes.Interface, namespace string) (string, error) {
	ns, err := get(ctx, attempt{timeout: getTimeout, budget: uidBudget}, client.CoreV1().Namespaces(), namespace)
	if err != nil {
		return "", err
	}
	return string(ns.UID), nil
}

// changesAtOnce is how many requests may create, change or delete objects at a time. A class that starts or ends at
// once needs hundreds; sent all together, their answers come together, and a hub's poll would wait behind all of them.
const changesAtOnce = 16

// changeLimiter sends requests that change something a few at a time. Reading and watching never wait.
type changeLimiter struct {
	next  http.RoundTripper
	slots chan struct{}
}

func newChangeLimiter(next http.RoundTripper) http.RoundTripper {
	return &changeLimiter{next, make(chan struct{}, changesAtOnce)}
}

// RoundTrip implements http.RoundTripper.
func (l *changeLimiter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return l.next.RoundTrip(r)
	}
	select {
	case l.slots <- struct{}{}:
	case <-r.Context().Done():
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; nothing was read
		}
		return nil, r.Context().Err()
	}
	defer func() { <-l.slots }()
	return l.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport below.
func (l *changeLimiter) WrappedRoundTripper() http.RoundTripper { return l.next }
