package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// patience is how something that is coming is waited for.
type patience struct {
	limit   time.Duration // of all the waiting
	attempt time.Duration // of one question
	pause   time.Duration // between an answer and the next question
	remind  time.Duration // between two lines while the answer stays the same
}

// usualPatience is that of every run; limit is the flag --wait.
func usualPatience(limit time.Duration) patience {
	return patience{limit: limit, attempt: 10 * time.Second, pause: time.Second, remind: 15 * time.Second}
}

// thing is what is waited for: its name, and what it lacks. ready returns nil when it is there, a permanentError when
// waiting is of no use, and any other error while it may still come.
type thing struct {
	name  string
	ready func(context.Context) error
}

// permanentError is an answer that time does not change.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// wait returns as soon as every thing is there, in the order given. It says what is missing when that changes, and
// now and then while it does not. An error names the thing, how long it was waited for and what it said last.
func (p patience) wait(ctx context.Context, things []thing, say func(format string, args ...any)) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	for _, t := range things {
		if err := p.waitFor(ctx, t, began, say); err != nil {
			return err
		}
	}
	return nil
}

func (p patience) waitFor(
	ctx context.Context, t thing, began time.Time, say func(format string, args ...any),
) error {
	waited := func() time.Duration { return time.Since(began).Round(time.Second) }
	var last error
	var told time.Time
	for {
		attempt, cancel := context.WithTimeout(ctx, p.attempt)
		err := t.ready(attempt)
		cancel()
		if err == nil {
			if last != nil {
				say("%s is there after %s", t.name, waited())
			}
			return nil
		}
		if _, ok := errors.AsType[permanentError](err); ok {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if ctx.Err() == nil || last == nil { // else the question was cut short, and the answer before it says more
			if last == nil || last.Error() != err.Error() || time.Since(told) >= p.remind {
				say("waiting for %s, %s of at most %s: %v", t.name, waited(), p.limit, err)
				told = time.Now()
			}
			last = err
		}
		timer := time.NewTimer(p.pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s is not there after %s; the last answer: %w", t.name, waited(), last)
		}
	}
}

// things are what the check needs: the Deployments of hub, proxy and outposts as far as it can look into the clusters,
// and a hub that answers.
func (c *checker) things() []thing {
	var things []thing
	if c.clusters != nil {
		things = append(things, rollouts(c.clusters.hub, c.opts.hubNamespace, hubDeployments,
			fmt.Sprintf("the rollout of the hub in namespace %s", c.opts.hubNamespace)))
		for _, target := range c.opts.systems {
			if system, ok := c.clusters.systems[target.context]; ok {
				what := fmt.Sprintf("the rollout of the outpost of %s in namespace %s",
					target.system, c.opts.outpostNamespace)
				things = append(things, rollouts(system.api, c.opts.outpostNamespace, outpostDeployment, what))
			}
		}
	}
	if c.hub.URL == "" {
		return things
	}
	return append(things, thing{
		name: "the hub at " + c.hub.URL,
		ready: func(ctx context.Context) error {
			_, err := c.hub.Version(ctx)
			if comes(err) {
				return err
			}
			return permanentError{err}
		},
	})
}

// comes reports whether a hub that answers so may still be starting, nil among the answers: its address refuses
// connections or does not answer in time, or a proxy in front has nobody to pass the request to yet. JupyterHub's proxy
// knows no route when it has just started, and says 404.
func comes(err error) bool {
	refused, answered := errors.AsType[*hubapi.StatusError](err)
	if !answered {
		return true
	}
	switch refused.Code {
	case http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return refused.Code >= http.StatusInternalServerError
}

// Labels of the Deployments that are waited for; zero-to-jupyterhub and the outpost's chart set them.
const (
	hubDeployments    = "app=jupyterhub,component in (hub,proxy)"
	outpostDeployment = "app.kubernetes.io/name=outpost,app.kubernetes.io/component=outpost"
)

// rollouts is there when every Deployment with the labels has all pods of its newest template, available, and none of
// an older one. Who may not list Deployments does not wait for them.
func rollouts(api kubernetes.Interface, namespace, labels, name string) thing {
	return thing{name: name, ready: func(ctx context.Context) error {
		list, err := api.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
		if apierrors.IsForbidden(err) {
			return nil
		}
		if err != nil {
			return err
		}
		var lacks []string
		for i := range list.Items {
			if lack := unrolled(&list.Items[i]); lack != "" {
				lacks = append(lacks, lack)
			}
		}
		if len(lacks) > 0 {
			return errors.New(strings.Join(lacks, "; "))
		}
		return nil
	}}
}

// unrolled returns what a Deployment lacks, "" when it is rolled out.
func unrolled(d *appsv1.Deployment) string {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	switch {
	case s.ObservedGeneration < d.Generation:
		return fmt.Sprintf("deployment %s: its change is not begun", d.Name)
	case s.UpdatedReplicas < want || s.AvailableReplicas < want:
		text := fmt.Sprintf("deployment %s: of %d pods %d are new, %d available",
			d.Name, want, s.UpdatedReplicas, s.AvailableReplicas)
		for _, condition := range s.Conditions {
			if condition.Type == appsv1.DeploymentProgressing && condition.Status == "False" {
				text += ", " + condition.Message
			}
		}
		return text
	case s.Replicas > s.UpdatedReplicas:
		return fmt.Sprintf("deployment %s: %d pods of before are left", d.Name, s.Replicas-s.UpdatedReplicas)
	}
	return ""
}
