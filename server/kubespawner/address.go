package kubespawner

import (
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/pyformat"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Address returns the address of a pod for the hub, in the one form that [outpost.ParseAddress] accepts. The scheme is
// always http: the hub's client ignores it and goes by its own internal_ssl.
func (o *Objects) Address(pod *corev1.Pod) (string, error) {
	port, err := portOf(pod)
	if err != nil {
		return "", outpost.Wrap(err, outpost.KindFailed, "The server's pod has no port named %s.", NotebookPort)
	}
	url, err := o.url(pod.Status.PodIP, port)
	if err != nil {
		return "", err
	}
	if rest, ok := strings.CutPrefix(url, "https://"); ok {
		url = "http://" + rest
	}
	if _, _, ok := outpost.ParseAddress(url); !ok {
		return "", outpost.Errorf(outpost.KindFailed,
			"A hub does not accept the server's address %s; set services_enabled or pod_connect_ip.", url)
	}
	return url, nil
}

// url is what KubeSpawner's start returns.
func (o *Objects) url(podIP string, port int32) (string, error) {
	scheme, host := "http", podIP
	if o.Secret != nil {
		scheme = "https"
	}
	if o.Service != nil {
		host = o.names.DNS
	}
	if connect := o.Settings.PodConnectIP; connect != "" {
		parts, left := strings.Split(connect, "."), pyformat.MaxLength
		for i, part := range parts {
			out, err := o.fields.expandWithin(part, &left)
			if err != nil {
				return "", outpost.Errorf(outpost.KindInvalid, "pod_connect_ip: %v", err)
			}
			parts[i] = out
		}
		host = strings.Join(parts, ".")
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}
