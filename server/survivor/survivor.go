// Package survivor finds servers that have outlived the rows of an outpost's database, and makes services of what their
// pods say of them.
package survivor

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/outposts-dev/outposts/server/kubespawner"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Found is what runs in some namespaces for one installation.
type Found struct {
	Services []outpost.Service
	Strange  []Stray // pods of which no service can be made
}

// Stray is such a pod. The outpost removes it unless its key has a row.
type Stray struct {
	outpost.Key
	Pod string // "namespace/name"
	Why string
}

// Find looks for the pods that the outpost with a database of this id has made and that run. What a pod does not say is
// left out of its service: what the hub asked for beside the variables that name the hub, and an end date.
func Find(
	ctx context.Context, client kubernetes.Interface, namespaces []string, installation string, now time.Time,
) (Found, error) {
	var found Found
	for _, namespace := range namespaces {
		pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return Found{}, fmt.Errorf("list pods in %s: %w", namespace, err)
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			origin, ours := kubespawner.OriginOf(pod)
			if !ours || origin.Installation != installation || pod.DeletionTimestamp != nil ||
				pod.Status.Phase != corev1.PodRunning {
				continue
			}
			host, err := hostOf(ctx, client, pod)
			if err != nil {
				return Found{}, err
			}
			service, why := serviceOf(pod, origin.Key, host, now)
			if why != "" {
				found.Strange = append(found.Strange, Stray{origin.Key, pod.Namespace + "/" + pod.Name, why})
				continue
			}
			found.Services = append(found.Services, service)
		}
	}
	slices.SortStableFunc(found.Services, func(a, b outpost.Service) int { return a.StartDate.Compare(b.StartDate) })
	return found, nil
}

// hostOf returns the host of a server's address: the name of its Service if it has one, else the pod's address.
func hostOf(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) (string, error) {
	dns, _ := kubespawner.StateOf(pod)["dns_name"].(string)
	name, _, _ := strings.Cut(dns, ".")
	if name == "" {
		return kubespawner.AddressOf(pod), nil
	}
	service, err := client.CoreV1().Services(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return kubespawner.AddressOf(pod), nil
	case err != nil:
		return "", fmt.Errorf("get service %s/%s: %w", pod.Namespace, name, err)
	}
	have, ours := kubespawner.OriginOf(service)
	if want, _ := kubespawner.OriginOf(pod); !ours || have != want {
		return kubespawner.AddressOf(pod), nil
	}
	return dns, nil
}

// serviceOf returns the service of a pod, or why there can be none.
func serviceOf(pod *corev1.Pod, key outpost.Key, host string, now time.Time) (s outpost.Service, why string) {
	if key.Hub == "" || key.StartID == "" {
		return s, "it does not say which hub has started it"
	}
	notebook, port, err := kubespawner.ServingContainer(pod)
	if err != nil {
		return s, err.Error()
	}
	address := "http://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
	if _, _, ok := outpost.ParseAddress(address); !ok {
		return s, "a hub does not accept its address " + address
	}
	env := hubVariables(notebook)
	user, _ := strconv.ParseInt(env["JUPYTERHUB_USER_ID"], 10, 32)
	begun, err := time.Parse(time.RFC3339Nano, pod.Annotations[kubespawner.DateKey])
	if err != nil {
		begun = pod.CreationTimestamp.Time
	}
	return outpost.Service{
		Summary: outpost.Summary{
			Key: key, UserID: int(user), Flavor: pod.Annotations[kubespawner.FlavorKey],
			StartDate: begun.UTC().Truncate(time.Microsecond), LastUpdate: now.UTC().Truncate(time.Microsecond),
			EndDate: outpost.NoEnd, StateStored: true,
		},
		Body: outpost.Body{Env: env}, State: kubespawner.StateOf(pod), Address: address,
	}, ""
}

// hubVariables are those variables of a server that its hub has sent with the start, and by which the outpost calls it
// back. One that refers to others is not as the hub sent it.
func hubVariables(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, v := range c.Env {
		if strings.HasPrefix(v.Name, "JUPYTERHUB_") && v.ValueFrom == nil && !strings.Contains(v.Value, "$") {
			env[v.Name] = v.Value
		}
	}
	return env
}
