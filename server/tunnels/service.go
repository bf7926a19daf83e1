package tunnels

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/tunnels/remote"
)

// What a Service for a remote server has:
//
//	metadata:
//	  labels:
//	    outposts.dev/tunnels: hub        # whose it is: the Name of these tunnels
//	    outposts.dev/system: remote      # a system of the file
//	  annotations:
//	    outposts.dev/target: lab.ns.svc:8888
//	spec:
//	  selector: {outposts.dev/tunnels: hub}    # nothing else: the pods of the tunnels have this label
//	  ports: [{port: 80, targetPort: 20001}]   # one, of TCP, with a number in the range of ports
const (
	tunnelsLabel     = "outposts.dev/tunnels"
	systemLabel      = "outposts.dev/system"
	targetAnnotation = "outposts.dev/target"
)

// route is what one Service says: connections to a port lead to a target on a system. Two equal routes are the same.
type route struct {
	uid    types.UID // of the Service
	name   string    // of the Service
	port   uint16    // that we listen on
	system string
	target Target
}

// Target is what an outpost is asked to connect to.
type Target struct {
	Host string // a name or an IPv4 address
	Port uint16
}

// String is host:port.
func (t Target) String() string { return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))) }

// ParseTarget reads "host:port": a host name or IPv4 address of [A-Za-z0-9.-] as an outpost takes it (RFC 4254 section
// 7.2, and RFC 1035 section 2.3.4 for the length), and a number from 1 to 65535 in its usual form.
func ParseTarget(text string) (Target, error) {
	host, port, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port || !remote.IsHost(host) {
		return Target{}, fmt.Errorf("%q is not host:port", excerpt.Of(text, excerpt.Name))
	}
	return Target{host, uint16(n)}, nil
}

// Ports is a range of ports, both ends included.
type Ports struct{ First, Last uint16 }

// ParsePorts reads "20000-29999". Ports below 1024 are refused: they belong to others.
func ParsePorts(text string) (Ports, error) {
	var p Ports
	if n, err := fmt.Sscanf(text, "%d-%d", &p.First, &p.Last); n != 2 || err != nil || text != p.String() {
		return Ports{}, fmt.Errorf("%q is not a range of ports such as 20000-29999", excerpt.Of(text, excerpt.Name))
	}
	if p.First < 1024 || p.Last < p.First {
		return Ports{}, fmt.Errorf("%q is not a range of ports from 1024 to 65535", text)
	}
	return p, nil
}

// String is the range as it is written.
func (p Ports) String() string { return fmt.Sprintf("%d-%d", p.First, p.Last) }

// Contains reports whether a port is in the range.
func (p Ports) Contains(port int) bool { return int(p.First) <= port && port <= int(p.Last) }

// parseService reads a Service; the error says what about it is wrong, for its events.
func parseService(svc *corev1.Service, name string, ports Ports) (route, error) {
	if svc.Labels[tunnelsLabel] != name {
		return route{}, fmt.Errorf("label %s is not %s", tunnelsLabel, name)
	}
	r := route{uid: svc.UID, name: svc.Name, system: svc.Labels[systemLabel]}
	if !remote.Name.MatchString(r.system) {
		return route{}, fmt.Errorf("label %s is not the name of a system", systemLabel)
	}
	var err error
	if r.target, err = ParseTarget(svc.Annotations[targetAnnotation]); err != nil {
		return route{}, fmt.Errorf("annotation %s: %w", targetAnnotation, err)
	}
	if svc.Spec.Type != corev1.ServiceTypeClusterIP && svc.Spec.Type != "" || len(svc.Spec.ExternalIPs) > 0 {
		return route{}, errors.New("the Service can be reached from outside of the cluster")
	}
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return route{}, errors.New("the Service is headless: its name leads to every port of the tunnels")
	}
	if !maps.Equal(svc.Spec.Selector, map[string]string{tunnelsLabel: name}) {
		return route{}, fmt.Errorf("the selector is not %s: %s alone", tunnelsLabel, name)
	}
	if len(svc.Spec.Ports) != 1 {
		return route{}, fmt.Errorf("the Service has %d ports, not one", len(svc.Spec.Ports))
	}
	p := svc.Spec.Ports[0]
	if p.Protocol != corev1.ProtocolTCP && p.Protocol != "" {
		return route{}, fmt.Errorf("the port is of %s, not of TCP", p.Protocol)
	}
	if port := p.TargetPort.IntValue(); !ports.Contains(port) || p.TargetPort.StrVal != "" {
		return route{}, fmt.Errorf("target port %s is not a number from %d to %d",
			excerpt.Of(p.TargetPort.String(), excerpt.Name), ports.First, ports.Last)
	}
	r.port = uint16(p.TargetPort.IntValue())
	return r, nil
}
