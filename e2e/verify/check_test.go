package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/server/kubespawner"
)

// home is a claim that an outpost has made for user ann of the hub.
func home(name string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "servers", UID: types.UID("uid of " + name),
		Annotations: map[string]string{
			kubespawner.InstallationKey: "one", kubespawner.HubKey: "jupyterhub", kubespawner.UsernameKey: "ann",
		},
	}}
}

// TestHomesOfBeforeStay holds that a home goes only if it has come with the check, whatever fails: on one system the
// homes cannot be listed at first, on the next one the outpost makes a home and then no server, and before the last one
// the hub fails.
func TestHomesOfBeforeStay(t *testing.T) {
	hubCluster := fake.NewClientset(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "jupyterhub-outpost-auth", Namespace: "jupyter"},
		Data: map[string][]byte{
			"unlisted": []byte("jupyterhub:a"), "full": []byte("jupyterhub:b"), "last": []byte("jupyterhub:c"),
		},
	})
	systems := map[string]*fake.Clientset{}
	opened := map[string]cluster{}
	for _, name := range []string{"unlisted", "full", "last"} {
		systems[name] = fake.NewClientset(home("before-" + name))
		opened[name] = cluster{api: systems[name]}
	}
	lists := 0
	systems["unlisted"].PrependReactor("list", "persistentvolumeclaims",
		func(k8stesting.Action) (bool, runtime.Object, error) {
			lists++
			return lists == 1, nil, errors.New("etcd has no leader")
		})
	fails := false
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case fails:
			w.WriteHeader(http.StatusBadGateway)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNotFound)
		case strings.HasSuffix(r.URL.Path, "/servers/verify"):
			var options struct{ System string }
			if err := json.NewDecoder(r.Body).Decode(&options); err != nil {
				t.Error(err)
			}
			if err := systems[options.System].Tracker().Add(home("new")); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusInternalServerError)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusConflict) // the user exists
		default:
			_, _ = w.Write([]byte(`{"version": "5.5.4"}`))
		}
	}))
	defer hub.Close()
	opts := options{user: "ann", hubNamespace: "jupyter", timeout: time.Minute}
	c := checker{
		hub: &hubapi.Client{URL: hub.URL, Token: "secret"}, opts: opts, say: t.Logf,
		clusters: &clusters{opts: opts, hub: hubCluster, systems: opened},
	}
	failed := map[string]string{}
	left := map[string][]string{}
	for _, name := range []string{"unlisted", "full", "last"} {
		fails = name == "last"
		failed[name] = c.system(t.Context(), target{name, name}).part
		left[name] = claims(t, systems[name])
	}
	want := map[string]string{"unlisted": "homes", "full": "start", "last": "hub"}
	if diff := cmp.Diff(want, failed); diff != "" {
		t.Errorf("what failed (-want +got)\n%s", diff)
	}
	kept := map[string][]string{"unlisted": {"before-unlisted"}, "full": {"before-full"}, "last": {"before-last"}}
	if diff := cmp.Diff(kept, left); diff != "" {
		t.Errorf("homes (-want +got)\n%s", diff)
	}
}

func claims(t *testing.T, api kubernetes.Interface) (names []string) {
	t.Helper()
	list, err := api.CoreV1().PersistentVolumeClaims("servers").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, claim := range list.Items {
		names = append(names, claim.Name)
	}
	return names
}
