package tunnels

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"lab.ns.svc:8888": {"lab.ns.svc", 8888}, "10.1.2.3:1": {"10.1.2.3", 1}, "LAB-1:65535": {"LAB-1", 65535},
	} {
		if got, err := ParseTarget(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "lab", "lab:", ":8888", "lab:0", "lab:65536", "lab:-1", "lab:+1", "lab:08", "lab: 8", "lab:8 ", " lab:8",
		"lab:http", "[::1]:8888", "::1:8888", "lab..:8", "-lab:8", ".lab:8", "la b:8", "lab\n:8", "lab:8\n",
		"lab\x00:8",
		"läb:8", "lab/..:8", "lab_1:8", "a@lab:8", "lab%0a:8", "$(id):8", strings.Repeat("a", 254) + ":8", "lab:8:8",
		"[lab]:8", "lab:٨",
	} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"lab.ns.svc:8888", "[::1]:1", "lab:08", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if target, err := ParseTarget(text); err == nil && target.String() != text {
			t.Errorf("%q is taken for %q", text, target)
		}
	})
}

func TestParsePorts(t *testing.T) {
	if got, err := ParsePorts("20000-29999"); err != nil || got != (Ports{20000, 29999}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{
		"", "20000", "20000-", "-1-5", "2000-1000", "80-2000", "20000-70000", "20000-29999 ", "20000-29999x",
		"020000-29999",
	} {
		if got, err := ParsePorts(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestParseService(t *testing.T) {
	w := &world{}
	valid := func() *corev1.Service { return w.service("lab", "remote", "lab-1.ns.svc:8888", 20001) }
	good := valid()
	got, err := parseService(good, owner, ports)
	want := route{good.UID, "lab", 20001, "remote", Target{"lab-1.ns.svc", 8888}}
	if err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	port := func(f func(*corev1.ServicePort)) func(*corev1.Service) {
		return func(svc *corev1.Service) { f(&svc.Spec.Ports[0]) }
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name   string
		change func(*corev1.Service)
		want   string
	}{
		{"of another hub", func(s *corev1.Service) { s.Labels[tunnelsLabel] = "other" }, "label outposts.dev/tunnels is not hub"},
		{"no system", func(s *corev1.Service) { delete(s.Labels, systemLabel) }, "label outposts.dev/system is not the name of a system"},
		{"a system's path", func(s *corev1.Service) { s.Labels[systemLabel] = "../x" }, "label outposts.dev/system is not the name of a system"},
		{"no target", func(s *corev1.Service) { s.Annotations = nil }, `annotation outposts.dev/target: "" is not host:port`},
		{"a strange target", func(s *corev1.Service) { s.Annotations[targetAnnotation] = "lab;id:1" }, `annotation outposts.dev/target: "lab;id:1" is not host:port`},
		{"open to the world", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer }, "the Service can be reached from outside of the cluster"},
		{"an outer address", func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"192.0.2.1"} }, "the Service can be reached from outside of the cluster"},
		{"headless", func(s *corev1.Service) { s.Spec.ClusterIP = "None" }, "the Service is headless: its name leads to every port of the tunnels"},
		{"selects others", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "x"} }, "the selector is not outposts.dev/tunnels: hub alone"},
		{"selects nobody", func(s *corev1.Service) { s.Spec.Selector = nil }, "the selector is not outposts.dev/tunnels: hub alone"},
		{"no port", func(s *corev1.Service) { s.Spec.Ports = nil }, "the Service has 0 ports, not one"},
		{"UDP", port(func(p *corev1.ServicePort) { p.Protocol = corev1.ProtocolUDP }), "the port is of UDP, not of TCP"},
		{"a port outside", port(func(p *corev1.ServicePort) { p.TargetPort = intstr.FromInt32(22) }), "target port 22 is not a number from 20000 to 20063"},
		{"a named port", port(func(p *corev1.ServicePort) { p.TargetPort = intstr.FromString("20001") }), "target port 20001 is not a number from 20000 to 20063"},
		{"a port below zero", port(func(p *corev1.ServicePort) { p.TargetPort = intstr.FromInt32(20001 - 65536) }), "target port -45535 is not a number from 20000 to 20063"},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := valid()
			c.change(svc)
			if _, err := parseService(svc, owner, ports); err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestClaims(t *testing.T) {
	w := &world{}
	at := func(svc *corev1.Service, second int64, uid types.UID) *corev1.Service {
		svc.CreationTimestamp, svc.UID = metav1.NewTime(time.Unix(second, 0)), uid
		return svc
	}
	one := func(name, system string, port uint16) *corev1.Service {
		return w.service(name, system, "lab-1.ns.svc:8888", port)
	}
	leaving := at(one("leaving", "remote", 20005), 1, "a")
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Unix(2, 0)}
	malformed := at(one("malformed", "remote", 20006), 1, "a")
	malformed.Annotations = nil
	stranger := at(one("stranger", "remote", 20007), 1, "b")
	stranger.Spec.Selector = map[string]string{"app": "mine"}
	services := []*corev1.Service{
		at(one("younger", "remote", 20001), 9, "a"), at(one("older", "remote", 20001), 8, "z"),
		at(one("same second, second uid", "remote", 20002), 8, "b"),
		at(one("same second, first uid", "remote", 20002), 8, "a"),
		at(one("of no system", "north", 20003), 8, "c"), at(one("after it", "remote", 20003), 9, "d"),
		leaving, at(one("after leaving", "remote", 20005), 9, "e"),
		malformed, at(one("after malformed", "remote", 20006), 9, "f"),
		stranger, at(one("after a stranger", "remote", 20007), 9, "g"),
		at(one("moved to a port that is served", "remote", 20008), 1, "h"), at(one("served", "remote", 20008), 9, "i"),
	}
	c := newClaims(services, owner, ports, func(system string) bool { return system == "remote" },
		map[uint16]types.UID{20008: "i", 20001: "gone"})
	got := map[uint16]string{}
	for port, r := range c.routes {
		got[port] = r.name
	}
	want := map[uint16]string{
		20001: "older", 20002: "same second, first uid", 20007: "after a stranger", 20008: "served",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("served (-want +got):\n%s", diff)
	}
	refused := map[string]string{}
	for _, r := range c.refused {
		refused[r.service.Name] = r.reason + ": " + r.message
	}
	wantRefused := map[string]string{
		"younger": "PortTaken: Port 20001 belongs to Service older, which had it first.",
		"same second, second uid": "" +
			"PortTaken: Port 20002 belongs to Service same second, first uid, which had it first.",
		"of no system":    "UnknownSystem: The tunnels know no system north.",
		"after it":        "PortTaken: Port 20003 belongs to Service of no system, which had it first.",
		"after leaving":   "PortTaken: Port 20005 belongs to Service leaving, which had it first.",
		"after malformed": "PortTaken: Port 20006 belongs to Service malformed, which had it first.",
		"stranger": "Malformed: Not served by the tunnels: " +
			"the selector is not outposts.dev/tunnels: hub alone.",
		"moved to a port that is served": "PortTaken: Port 20008 belongs to Service served, which had it first.",
		"malformed": "Malformed: Not served by the tunnels: " +
			`annotation outposts.dev/target: "" is not host:port.`,
	}
	if diff := cmp.Diff(wantRefused, refused); diff != "" {
		t.Errorf("refused (-want +got):\n%s", diff)
	}
}
