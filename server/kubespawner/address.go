package kubespawner

import (
	"net"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/outpost"
)

// rawURL is the URL that KubeSpawner returns.
func (o *Objects) rawURL(podIP string, port int32) (string, error) {
	scheme, host := "http", podIP
	if o.Secret != nil {
		scheme = "https"
	}
	if o.Service != nil {
		host = o.names.DNS
	}
	if connect := o.Settings.PodConnectIP; connect != "" {
		parts := strings.Split(connect, ".")
		for i, part := range parts {
			out, err := o.fields.expand(part)
			if err != nil {
				return "", outpost.Errorf(outpost.KindInvalid, "pod_connect_ip: %v", err)
			}
			parts[i] = out
		}
		host = strings.Join(parts, ".")
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(int(port))), nil
}

var addressPattern = regexp.MustCompile(`^http://[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[0-9]{1,5}$`)

// address returns the address for the hub. Its client takes it apart at the colons and puts it into a command
// line, so nothing but a name or an IPv4 address and a port may be in it. The scheme is always http: the client
// ignores it and goes by its own internal_ssl.
func (o *Objects) Address(pod *corev1.Pod) (string, error) {
	port, err := portOf(pod)
	if err != nil {
		return "", outpost.Wrap(err, outpost.KindFailed, "the server's pod has no port called %s", NotebookPort)
	}
	url, err := o.rawURL(pod.Status.PodIP, port)
	if err != nil {
		return "", err
	}
	if rest, ok := strings.CutPrefix(url, "https://"); ok {
		url = "http://" + rest
	}
	if !addressPattern.MatchString(url) {
		return "", outpost.Errorf(outpost.KindFailed,
			"The server's address %s is not one that a hub understands; set services_enabled or pod_connect_ip.", url)
	}
	return url, nil
}
