package kubespawner

import (
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/python"
)

// Address returns the address of a pod for the hub, in the one form that [outpost.ParseAddress] accepts. The scheme is
// always http: the hub's client ignores it and goes by its own internal_ssl.
func (o *Objects) Address(pod *corev1.Pod) (string, error) {
	_, port, err := ServingContainer(pod)
	if err != nil {
		return "", outpost.Wrap(err, outpost.KindFailed, "The server's pod has no port named %s.", NotebookPort)
	}
	ip := AddressOf(pod)
	url, err := o.url(ip, port)
	if err != nil {
		return "", err
	}
	if rest, ok := strings.CutPrefix(url, "https://"); ok {
		url = "http://" + rest
	}
	if strings.Contains(ip, ":") && strings.Contains(url, ip) {
		return "", outpost.Errorf(outpost.KindFailed,
			"The server has only the IPv6 address %s, which a hub cannot use; "+
				"set services_enabled, so that it has a name.", ip)
	}
	if !isAddress(url) {
		return "", outpost.Errorf(outpost.KindFailed,
			"A hub does not accept the server's address %s; set services_enabled or pod_connect_ip.", url)
	}
	return url, nil
}

// AddressOf returns the pod's address, its first IPv4 address if it has one. It differs from KubeSpawner in a cluster
// of both kinds whose first one is IPv6, which no hub's client can use.
func AddressOf(pod *corev1.Pod) string {
	for _, ip := range pod.Status.PodIPs {
		if !strings.Contains(ip.IP, ":") {
			return ip.IP
		}
	}
	return pod.Status.PodIP
}

func isAddress(url string) bool {
	_, _, ok := outpost.ParseAddress("http://" + strings.TrimPrefix(strings.TrimPrefix(url, "http://"), "https://"))
	return ok
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
		parts, left := strings.Split(connect, "."), python.MaxLength
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
