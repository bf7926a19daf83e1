package addons

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func service(name string, edit func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: metav1.Unix(int64(len(name)), 0)},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	if edit != nil {
		edit(svc)
	}
	return svc
}

func with(address string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
	}
}

func TestAssign(t *testing.T) {
	pool := netip.MustParsePrefix("10.77.2.0/29") // .1 to .6
	for _, test := range []struct {
		name     string
		services []*corev1.Service
		want     map[string]string // "" takes the address away
		wrong    string
	}{
		{
			"one each, the older first",
			[]*corev1.Service{service("younger", nil), service("old", nil)},
			map[string]string{"ns/old": "10.77.2.1", "ns/younger": "10.77.2.2"},
			"",
		},
		{
			"given ones stay and are skipped",
			[]*corev1.Service{service("a", with("10.77.2.1")), service("bb", nil)},
			map[string]string{"ns/bb": "10.77.2.2"},
			"",
		},
		{
			"two with the same",
			[]*corev1.Service{service("a", with("10.77.2.1")), service("bb", with("10.77.2.1"))},
			map[string]string{"ns/bb": "10.77.2.2"},
			"",
		},
		{
			"no LoadBalancer any more",
			[]*corev1.Service{service("a",
				func(s *corev1.Service) { with("10.77.2.1")(s); s.Spec.Type = corev1.ServiceTypeClusterIP })},
			map[string]string{"ns/a": ""},
			"",
		},
		{
			"somebody else's class",
			[]*corev1.Service{service("a", func(s *corev1.Service) { s.Spec.LoadBalancerClass = ptr.To("else") })},
			map[string]string{},
			"",
		},
		{
			"asked for",
			[]*corev1.Service{
				service("a", nil),
				service("bb", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "10.77.2.5" }),
			},
			map[string]string{"ns/a": "10.77.2.1", "ns/bb": "10.77.2.5"},
			"",
		},
		{
			"asked for one outside",
			[]*corev1.Service{service("a", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "10.78.0.1" })},
			map[string]string{},
			"service ns/a: loadBalancerIP 10.78.0.1 is not in the pool",
		},
		{
			"asked for a taken one",
			[]*corev1.Service{
				service("a", with("10.77.2.1")),
				service("bb", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "10.77.2.1" }),
			},
			map[string]string{},
			"is used by service ns/a",
		},
		{
			"more than there are",
			[]*corev1.Service{
				service("a", nil), service("bb", nil), service("ccc", nil), service("dddd", nil),
				service("eeeee", nil), service("ffffff", nil), service("ggggggg", nil),
			},
			map[string]string{
				"ns/a": "10.77.2.1", "ns/bb": "10.77.2.2", "ns/ccc": "10.77.2.3", "ns/dddd": "10.77.2.4",
				"ns/eeeee": "10.77.2.5", "ns/ffffff": "10.77.2.6",
			},
			"service ns/ggggggg: no free address",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			wanted, errs := assign(pool, test.services)
			got := map[string]string{}
			for key, ingress := range wanted {
				got[key] = ""
				if len(ingress) > 0 {
					got[key] = ingress[0].IP
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (test.wrong == "") != (len(errs) == 0) ||
				len(errs) > 0 && !strings.Contains(errs[0].Error(), test.wrong) {
				t.Errorf("errors %v, want %q", errs, test.wrong)
			}
		})
	}
}
