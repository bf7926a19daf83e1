//go:build e2e

package stacks

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// answerIn is how long a running server may be out of reach.
const answerIn = 2 * time.Minute

// user is the one user that the token of the hub's stack may act for.
type user struct {
	*hubapi.Client
	name string
}

func (s *site) user(t *testing.T) user {
	t.Helper()
	var url, name, token string
	s.output(t, "local", "hubUrl", &url)
	s.output(t, "local", "verifyUser", &name)
	s.output(t, "local", "verifyToken", &token)
	return user{&hubapi.Client{URL: url, Token: token}, name}
}

// start starts a server and waits until it answers through the hub. The flavor may be empty, as where there are none.
func (u user) start(t *testing.T, server, system, flavor string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	began := time.Now()
	options := map[string]any{"system": system}
	if flavor != "" {
		options["flavor"] = flavor
	}
	if err := u.Start(ctx, u.name, server, options); err != nil {
		t.Fatalf("start %s: %v", server, err)
	}
	u.ready(ctx, t, server)
	t.Logf("%s started on %s: %.1f s", server, system, time.Since(began).Seconds())
}

// ready waits until a server that starts answers through the hub.
func (u user) ready(ctx context.Context, t *testing.T, server string) {
	t.Helper()
	if err := u.Progress(ctx, u.name, server, nil); err != nil {
		t.Fatalf("start %s: %v", server, err)
	}
	if err := u.WaitReachable(ctx, u.name, server); err != nil {
		t.Fatalf("%s: %v", server, err)
	}
}

func (u user) stop(t *testing.T, server string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	if err := deployed.Eventually(ctx,
		func(ctx context.Context) error { return u.Stop(ctx, u.name, server) }); err != nil {
		t.Fatal(err)
	}
	if err := u.WaitGone(ctx, u.name, server); err != nil {
		t.Fatal(err)
	}
}

// servers are those that run while the stacks change, by the system they are on.
var servers = map[string]string{"local": "lives-here", "remote": "lives-there"}

func startServers(t *testing.T, s *site) {
	u := s.user(t)
	if err := u.EnsureUser(t.Context(), u.name); err != nil {
		t.Fatal(err)
	}
	u.startAll(t)
}

func (u user) startAll(t *testing.T) {
	t.Helper()
	for system, server := range servers {
		u.start(t, server, system, "small")
	}
}

func (u user) stopAll(t *testing.T) {
	t.Helper()
	for _, server := range servers {
		u.stop(t, server)
	}
}

// serverPods are the uids of the pods of the running servers of both clusters.
func (s *site) serverPods(t *testing.T) []types.UID {
	t.Helper()
	return s.serverPodsIn(t, deployed.ServerNamespace)
}

// serverPodsIn are those in a namespace; empty for all.
func (s *site) serverPodsIn(t *testing.T, namespace string) []types.UID {
	t.Helper()
	var uids []types.UID
	for _, c := range []cluster{s.hub, s.remote} {
		pods, err := c.API.CoreV1().Pods(namespace).List(t.Context(),
			metav1.ListOptions{LabelSelector: deployed.ServerPods})
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods.Items {
			uids = append(uids, pod.UID)
		}
	}
	slices.Sort(uids)
	return uids
}

// survive holds that the servers run and are reached, in the pods they were in, also when the hub polls them.
func (u user) survive(t *testing.T, s *site, before []types.UID) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	for system, server := range servers {
		u.survives(ctx, t, server, system)
	}
	if after := s.serverPods(t); !slices.Equal(before, after) {
		t.Errorf("pods of servers were %v, are %v", before, after)
	}
}

// survives holds that one server runs and is reached.
func (u user) survives(ctx context.Context, t *testing.T, server, system string) {
	t.Helper()
	// The hub polls a server that it is asked to start once more, and forgets it if the outpost says so.
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		err := u.Start(ctx, u.name, server, map[string]any{"system": system})
		if hubapi.IsCode(err, http.StatusBadRequest) {
			return nil
		}
		if err == nil {
			t.Fatalf("%s did not run any more", server)
		}
		return err
	})
	if err != nil {
		t.Fatalf("poll of %s: %v", server, err)
	}
	if err := u.WaitReachable(ctx, u.name, server); err != nil {
		t.Fatalf("%s is out of reach: %v", server, err)
	}
}

// podNames are the names of the pods in a namespace, sorted.
func (c cluster) podNames(t *testing.T, namespace string) []string {
	t.Helper()
	names, err := c.PodNames(t.Context(), namespace, "")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// replaceAll kills all pods with these labels, and waits until as many others are ready.
func (c cluster) replaceAll(t *testing.T, namespace, labels string) {
	t.Helper()
	pods, now := c.API.CoreV1().Pods(namespace), int64(0)
	of := metav1.ListOptions{LabelSelector: labels}
	was, err := c.PodNames(t.Context(), namespace, labels)
	if err != nil {
		t.Fatal(err)
	}
	err = pods.DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &now}, of)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerIn)
	defer cancel()
	err = deployed.Eventually(ctx, func(ctx context.Context) error {
		ready, err := c.ReadyBut(ctx, namespace, labels, was...)
		if err == nil && ready < len(was) {
			err = fmt.Errorf("%d of %d new pods are ready", ready, len(was))
		}
		return err
	})
	if err != nil || len(was) == 0 {
		t.Fatalf("%d pods with %s: %v", len(was), labels, err)
	}
}

// secret is the content of a Secret.
func (c cluster) secret(t *testing.T, namespace, name string) map[string]string {
	t.Helper()
	found, err := c.API.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for key, value := range found.Data {
		texts[key] = string(value)
	}
	return texts
}
