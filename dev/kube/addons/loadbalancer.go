package addons

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// balancer gives each Service of type LoadBalancer an address of the pool. kube-proxy answers on it as soon as it
// is in the Service's status, because the pool is routed to the node.
type balancer struct {
	client   kubernetes.Interface
	services corelisters.ServiceLister
	pool     netip.Prefix
}

func (b *balancer) sync(ctx context.Context) error {
	services, err := b.services.List(labels.Everything())
	if err != nil {
		return err
	}
	wanted, errs := assign(b.pool, services)
	for _, svc := range services {
		want, ok := wanted[svc.Namespace+"/"+svc.Name]
		if !ok {
			continue
		}
		svc = svc.DeepCopy()
		svc.Status.LoadBalancer.Ingress = want
		_, err := b.client.CoreV1().Services(svc.Namespace).UpdateStatus(ctx, svc,
			metav1.UpdateOptions{})
		if err != nil {
			errs = append(errs, fmt.Errorf("give service %s/%s an address: %w", svc.Namespace, svc.Name, err))
		}
	}
	return errors.Join(errs...)
}

// assign returns the new status of each Service that needs another one, by namespace/name: an address for those
// without, nothing for those that are no longer a LoadBalancer. Addresses once given stay. Older Services are served
// first. A Service that names a loadBalancerClass belongs to someone else.
func assign(pool netip.Prefix, services []*corev1.Service) (map[string][]corev1.LoadBalancerIngress, []error) {
	services = append([]*corev1.Service(nil), services...)
	sort.Slice(services, func(i, j int) bool {
		a, b := services[i], services[j]
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
	})
	wanted, used := map[string][]corev1.LoadBalancerIngress{}, map[string]string{}
	var open []*corev1.Service
	for _, svc := range services {
		key, has := svc.Namespace+"/"+svc.Name, svc.Status.LoadBalancer.Ingress
		switch {
		case svc.Spec.Type != corev1.ServiceTypeLoadBalancer:
			if len(has) > 0 {
				wanted[key] = nil
			}
		case svc.Spec.LoadBalancerClass != nil:
		case len(has) == 0 || used[has[0].IP] != "": // none yet, or restored from elsewhere with one that is taken
			open = append(open, svc)
		default:
			used[has[0].IP] = key
		}
	}
	var errs []error
	for _, svc := range open {
		key := svc.Namespace + "/" + svc.Name
		address, err := pick(pool, used, svc.Spec.LoadBalancerIP) //nolint:staticcheck // charts still offer it
		if err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", key, err))
			continue
		}
		used[address] = key
		mode := corev1.LoadBalancerIPModeVIP
		wanted[key] = []corev1.LoadBalancerIngress{{IP: address, IPMode: &mode}}
	}
	return wanted, errs
}

// pick returns the asked address, or the first free one when asked is empty.
func pick(pool netip.Prefix, used map[string]string, asked string) (string, error) {
	if asked != "" {
		address, err := netip.ParseAddr(asked)
		if err != nil || !pool.Contains(address) {
			return "", fmt.Errorf("loadBalancerIP %s is not in the pool %s", asked, pool)
		}
		if by := used[asked]; by != "" {
			return "", fmt.Errorf("loadBalancerIP %s is used by service %s", asked, by)
		}
		return asked, nil
	}
	for address := pool.Masked().Addr().Next(); pool.Contains(address.Next()); address = address.Next() {
		if used[address.String()] == "" {
			return address.String(), nil
		}
	}
	return "", fmt.Errorf("no free address in the pool %s", pool)
}
