package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// TestWait holds what is said while something comes, and how a wait ends that nothing ends.
func TestWait(t *testing.T) {
	starting, routing := errors.New("503 Service Unavailable"), errors.New("404 Not Found")
	for _, test := range []struct {
		name    string
		answers []error // of one question after the other; the last repeats
		said    []string
		err     string
	}{
		{name: "there already", answers: []error{nil}},
		{
			name: "comes", answers: []error{starting, starting, routing, nil},
			said: []string{
				"waiting for the hub, 0s of at most 1m0s: 503 Service Unavailable",
				"waiting for the hub, 2s of at most 1m0s: 404 Not Found",
				"the hub is there after 3s",
			},
		},
		{
			name: "never comes", answers: []error{starting},
			said: []string{
				"waiting for the hub, 0s of at most 1m0s: 503 Service Unavailable",
				"waiting for the hub, 25s of at most 1m0s: 503 Service Unavailable",
				"waiting for the hub, 50s of at most 1m0s: 503 Service Unavailable",
			},
			err: "the hub is not there after 1m0s; the last answer: 503 Service Unavailable",
		},
		{
			name: "refuses for good", answers: []error{starting, permanentError{errors.New("403 Forbidden")}},
			said: []string{"waiting for the hub, 0s of at most 1m0s: 503 Service Unavailable"},
			err:  "the hub: 403 Forbidden",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				hub := thing{name: "the hub", ready: func(context.Context) error {
					asked++
					return test.answers[min(asked, len(test.answers))-1]
				}}
				var said []string
				p := patience{limit: time.Minute, attempt: time.Second, pause: time.Second, remind: 25 * time.Second}
				err := p.wait(t.Context(), []thing{hub}, func(format string, args ...any) {
					said = append(said, fmt.Sprintf(format, args...))
				})
				if diff := cmp.Diff(test.said, said); diff != "" {
					t.Errorf("said (-want +got)\n%s", diff)
				}
				if got := text(err); got != test.err {
					t.Errorf("error = %q, want %q", got, test.err)
				}
			})
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestWaitCutsAQuestionShort holds that a hub that accepts a connection and says nothing is asked again, and that the
// end of the wait hides no answer of before.
func TestWaitCutsAQuestionShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		hub := thing{name: "the hub", ready: func(ctx context.Context) error {
			if asked++; asked == 2 {
				return errors.New("503 Service Unavailable")
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		p := patience{limit: 15 * time.Second, attempt: 10 * time.Second, pause: time.Second, remind: time.Minute}
		err := p.wait(t.Context(), []thing{hub}, func(string, ...any) {})
		const want = "the hub is not there after 15s; the last answer: 503 Service Unavailable"
		if text(err) != want || asked != 3 {
			t.Errorf("asked %d times, error = %v, want 3 times and %s", asked, err, want)
		}
	})
}

// runAgainst runs the whole program against a hub, with the waits of a test.
func runAgainst(t *testing.T, hub string, args ...string) (stderr string, code int) {
	t.Helper()
	var out bytes.Buffer
	args = append([]string{"--hub", hub, "--systems", "local", "--user", "ann"}, args...)
	code = run(t.Context(), args, func(string) string { return "secret" }, strings.NewReader(""), &out, &out)
	return out.String(), code
}

// TestWaitsForAHubThatComes runs the program against a hub whose address refuses connections at first, whose proxy
// then has no route to it, and which answers at last.
func TestWaitsForAHubThatComes(t *testing.T) {
	var asked atomic.Int32
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			http.Error(w, "no route", http.StatusNotFound)
		case 2:
			http.Error(w, "starting", http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `{"version": "5.5.4"}`)
		}
	})
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	c := checker{hub: &hubapi.Client{URL: "http://" + address, Token: "secret"}}
	var said []string
	say := func(format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
		if len(said) > 1 {
			return
		}
		listener, err := net.Listen("tcp", address) // refused once: now it comes
		if err != nil {
			t.Error(err)
			return
		}
		server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
		server.Start()
		t.Cleanup(server.Close)
	}
	p := patience{limit: time.Minute, attempt: 10 * time.Second, pause: time.Millisecond, remind: time.Minute}
	if err := p.wait(t.Context(), c.things(), say); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"connection refused", "404 Not Found", "503 Service Unavailable", "is there after"} {
		if i >= len(said) || !strings.Contains(said[i], want) {
			t.Errorf("said %q, want %q at %d", said, want, i)
		}
	}
}

// TestWaitGivesUp runs the program against a hub that never comes, and against one that refuses the token.
func TestWaitGivesUp(t *testing.T) {
	for _, test := range []struct {
		name string
		code int
		wait time.Duration
		want string
	}{
		{
			"never comes", http.StatusServiceUnavailable, time.Second,
			" is not there after \\S+; the last answer: GET URL/hub/api/: 503 Service Unavailable$",
		},
		{"refuses the token", http.StatusForbidden, time.Hour, ": GET URL/hub/api/: 403 Forbidden$"},
	} {
		t.Run(test.name, func(t *testing.T) {
			hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.code)
			}))
			defer hub.Close()
			var out string
			var code int
			for wait := test.wait; ; wait *= 2 { // on a busy machine there may be no answer in the time
				out, code = runAgainst(t, hub.URL, "--wait", wait.String())
				if !strings.Contains(out, context.DeadlineExceeded.Error()) || wait > time.Minute {
					break
				}
			}
			missing := strings.ReplaceAll(test.want, "URL", hub.URL)
			want := regexp.MustCompile(`(?m)^verify: the hub at ` + hub.URL + missing)
			if code != 1 || !want.MatchString(out) {
				t.Errorf("exit %d and\n%s, want 1 and %s", code, out, want)
			}
		})
	}
}

func TestWaitOnly(t *testing.T) {
	var asked []string
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		fmt.Fprint(w, `{"version": "5.5.4"}`)
	}))
	defer hub.Close()
	if out, code := runAgainst(t, hub.URL, "--wait-only"); code != 0 || out != "" {
		t.Errorf("exit %d and\n%s", code, out)
	}
	if diff := cmp.Diff([]string{"GET /hub/api/", "GET /hub/api/user"}, asked); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
	var out bytes.Buffer
	outputs := strings.NewReader(`{"outpostUrl": "http://10.77.0.3:30080"}`) // of a stack without a hub
	getenv := func(string) string { return "" }
	code := run(t.Context(), []string{"--outputs", "-", "--wait-only"}, getenv, outputs, &out, &out)
	if code != 0 || out.String() != "" {
		t.Errorf("a stack without a hub: exit %d and\n%s", code, &out)
	}
}

// TestWaitsForRollouts lets the Deployments of a hub change while they are waited for.
func TestWaitsForRollouts(t *testing.T) {
	two := int32(2)
	deployment := func(change func(*appsv1.Deployment)) *appsv1.Deployment {
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{
				Name: "hub", Namespace: "jupyter", Generation: 7,
				Labels: map[string]string{"app": "jupyterhub", "component": "hub"},
			},
			Spec: appsv1.DeploymentSpec{Replicas: &two},
			Status: appsv1.DeploymentStatus{
				ObservedGeneration: 7, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2,
			},
		}
		change(d)
		return d
	}
	states := []*appsv1.Deployment{
		deployment(func(d *appsv1.Deployment) { d.Status.ObservedGeneration = 6 }),
		deployment(func(d *appsv1.Deployment) { d.Status.UpdatedReplicas, d.Status.AvailableReplicas = 1, 1 }),
		deployment(func(d *appsv1.Deployment) {
			d.Status.AvailableReplicas = 0
			d.Status.Conditions = []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentProgressing, Status: "False", Message: "it makes no progress"},
			}
		}),
		deployment(func(d *appsv1.Deployment) { d.Status.Replicas = 3 }),
		deployment(func(*appsv1.Deployment) {}),
	}
	api := fake.NewClientset(states[0], &appsv1.Deployment{ // another's, which never comes
		ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: "jupyter"},
	})
	rollout := rollouts(api, "jupyter", hubDeployments, "the rollout")
	var said []string
	say := func(format string, args ...any) {
		said = append(said, fmt.Sprintf(format, args...))
		if len(said) < len(states) {
			deployments := appsv1.SchemeGroupVersion.WithResource("deployments")
			err := api.Tracker().Update(deployments, states[len(said)], "jupyter")
			if err != nil {
				t.Error(err)
			}
		}
	}
	p := patience{limit: time.Hour, attempt: time.Hour, pause: time.Millisecond, remind: time.Hour}
	synctest.Test(t, func(t *testing.T) { // where time is that of the pauses
		if err := p.wait(t.Context(), []thing{rollout}, say); err != nil {
			t.Fatal(err)
		}
	})
	want := []string{
		"waiting for the rollout, 0s of at most 1h0m0s: deployment hub: its change is not begun",
		"waiting for the rollout, 0s of at most 1h0m0s: deployment hub: of 2 pods 1 are new, 1 available",
		"waiting for the rollout, 0s of at most 1h0m0s: deployment hub: of 2 pods 2 are new, 0 available, " +
			"it makes no progress",
		"waiting for the rollout, 0s of at most 1h0m0s: deployment hub: 1 pods of before are left",
		"the rollout is there after 0s",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("said (-want +got)\n%s", diff)
	}
}

// TestWaitWithoutRights holds that a user who may not list Deployments is not kept waiting for them.
func TestWaitWithoutRights(t *testing.T) {
	api := fake.NewClientset()
	api.PrependReactor("list", "deployments", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(appsv1.Resource("deployments"), "", errors.New("no"))
	})
	if err := rollouts(api, "jupyter", hubDeployments, "the rollout").ready(t.Context()); err != nil {
		t.Error(err)
	}
}
