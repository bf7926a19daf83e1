package survivor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

const installation = "00112233445566778899aabbccddeeff"

var (
	made = time.Date(2026, 5, 4, 9, 12, 33, 104500000, time.UTC)
	now  = made.Add(time.Hour)
)

// pod is one that runs, with everything an outpost writes about it.
func pod(name string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "servers", Name: name, CreationTimestamp: metav1.NewTime(made.Add(time.Second)),
			Annotations: map[string]string{
				kubespawner.InstallationKey: installation, kubespawner.HubKey: "hub-a", kubespawner.NameKey: name,
				kubespawner.StartIDKey: "1", kubespawner.FlavorKey: "tiny",
				kubespawner.DateKey: made.Format(time.RFC3339Nano),
				kubespawner.StateKey: `{"outpost":true,"pod_name":"` + name + `","namespace":"servers","dns_name":"` +
					name + `.servers.svc.cluster.local","pvc_name":"claim"}`,
			},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{
			{Name: "sidecar", Ports: []corev1.ContainerPort{{Name: "other", ContainerPort: 1}}},
			{
				Name:  "notebook",
				Ports: []corev1.ContainerPort{{Name: kubespawner.NotebookPort, ContainerPort: 8888}},
				Env: []corev1.EnvVar{
					{Name: "JUPYTERHUB_USER_ID", Value: "42"},
					{Name: "JUPYTERHUB_EVENTS_URL", Value: "https://hub.example.org/events"},
					{Name: "JUPYTERHUB_OTHER", Value: "$(HOME)"},
					{Name: "JUPYTERHUB_KEPT_ELSEWHERE", ValueFrom: &corev1.EnvVarSource{}},
					{Name: "GREETING", Value: "hello"},
				},
			},
		}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.7", PodIPs: []corev1.PodIP{{IP: "10.0.0.7"}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

func service(name string, of *corev1.Pod) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: "servers", Name: name, Annotations: of.Annotations,
	}}
}

// keyOf is the key of pod(name, nil).
func keyOf(name string) outpost.Key { return outpost.Key{Hub: "hub-a", Name: name, StartID: "1"} }

// want is the service of pod(name, nil) at a host.
func want(name, host string) outpost.Service {
	return outpost.Service{
		Summary: outpost.Summary{
			Key: keyOf(name), UserID: 42, Flavor: "tiny", StartDate: made,
			LastUpdate: now, EndDate: outpost.NoEnd, StateStored: true,
		},
		Body: outpost.Body{Env: map[string]string{
			"JUPYTERHUB_USER_ID": "42", "JUPYTERHUB_EVENTS_URL": "https://hub.example.org/events",
		}},
		State: outpost.State{
			"outpost": true, "pod_name": name, "namespace": "servers", "dns_name": name + ".servers.svc.cluster.local",
			"pvc_name": "claim",
		},
		Address: "http://" + host + ":8888",
	}
}

func TestFind(t *testing.T) {
	annotate := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations[key] = value }
	}
	early := pod("early", annotate(kubespawner.DateKey, "?"))
	early.CreationTimestamp = metav1.NewTime(made.Add(-time.Hour))
	wantEarly := want("early", "10.0.0.7")
	wantEarly.StartDate = made.Add(-time.Hour)
	named, taken := pod("named", nil), pod("taken", nil)
	client := fake.NewClientset(
		pod("plain", nil), named, service("named", named), taken, service("taken", named), early,
		pod("other-installation", annotate(kubespawner.InstallationKey, "another")),
		pod("nobody", func(p *corev1.Pod) { p.Annotations = nil }),
		pod("ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		pod("starting", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }),
		pod("going", func(p *corev1.Pod) {
			p.DeletionTimestamp, p.Finalizers = &metav1.Time{Time: now}, []string{"example.org/x"}
		}),
		pod("no-hub", annotate(kubespawner.HubKey, "")),
		pod("no-port", func(p *corev1.Pod) { p.Spec.Containers = p.Spec.Containers[:1] }),
		pod("six", func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "fd00::1", nil }),
		pod("no-ip", func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil }),
	)
	got, err := Find(t.Context(), client, []string{"servers", "empty"}, installation, now)
	if err != nil {
		t.Fatal(err)
	}
	wanted := Found{
		Services: []outpost.Service{
			wantEarly, want("named", "named.servers.svc.cluster.local"), want("plain", "10.0.0.7"),
			want("taken", "10.0.0.7"),
		},
		Strange: []Stray{
			{outpost.Key{Name: "no-hub", StartID: "1"}, "servers/no-hub", "it does not say which hub has started it"},
			{keyOf("no-ip"), "servers/no-ip", "a hub does not accept its address http://:8888"},
			{keyOf("no-port"), "servers/no-port", "no container has a port named notebook-port"},
			{keyOf("six"), "servers/six", "a hub does not accept its address http://[fd00::1]:8888"},
		},
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What cannot be seen cannot be kept: nothing is restored then.
func TestFindFails(t *testing.T) {
	for resource, want := range map[string]string{
		"pods": "list pods in servers: forbidden", "services": "get service servers/plain: forbidden",
	} {
		client := fake.NewClientset(pod("plain", nil))
		client.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("forbidden")
		})
		got, err := Find(t.Context(), client, []string{"servers"}, installation, now)
		if err == nil || !strings.Contains(err.Error(), want) || len(got.Services) > 0 {
			t.Errorf("%s: %v, %v", resource, got, err)
		}
	}
}
