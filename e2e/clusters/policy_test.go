//go:build e2e

package clusters

import (
	"fmt"
	"net"
	"net/url"
	"testing"
)

// testNetworkPolicy holds that policies are enforced: for what comes in and what goes out, by pods, by
// namespaces, by named ports and by ranges of ports. Before them everything is open; what they do not allow is
// closed, also from outside the cluster.
func (tb *testbed) testNetworkPolicy(t *testing.T) {
	c := tb.t2
	const server, other = "policy-server", "policy-other"
	for _, ns := range []string{server, other} {
		c.kubectl(t,
			fmt.Sprintf("{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {team: %s}}}", ns, ns),
			"apply", "-f", "-")
	}
	// p0, p1 ... are the names of the ports.
	c.kubectl(t, helloPod("server", "role: server", "", "8080", "8081", "8082", "8083", "8084"),
		"-n", server, "apply", "-f", "-")
	for _, ns := range []string{server, other} {
		c.kubectl(t,
			helloPod("friend", "role: friend", "", "8080")+"---"+helloPod("stranger", "role: stranger", "", "8080"),
			"-n", ns, "apply", "-f", "-")
	}
	c.ready(t, server, "role")
	c.ready(t, other, "role")
	address := func(pod, ns string) string {
		return c.kubectl(t, "", "-n", ns, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
	}
	target, otherFriend := address("server", server), address("friend", other)

	type try struct {
		ns, pod, target, port string
		open                  bool
	}
	check := func(t *testing.T, tries []try) {
		t.Helper()
		for _, try := range tries {
			name := fmt.Sprintf("%s/%s to %s:%s, open is %v", try.ns, try.pod, try.target, try.port, try.open)
			eventually(t, name, func() error {
				got, err := c.ask(t.Context(), try.ns, try.pod, "/dial",
					url.Values{"address": {net.JoinHostPort(try.target, try.port)}})
				if err == nil && (got == "connected") != try.open {
					err = fmt.Errorf("it is %q", got)
				}
				return err
			})
		}
	}
	check(t, []try{
		{server, "stranger", target, "8081", true},
		{other, "stranger", target, "8084", true},
	})

	c.kubectl(t, fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: server}
spec:
  podSelector: {matchLabels: {role: server}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {role: friend}}}]                      # friends of this namespace
    ports: [{port: p1}]
  - from: [{namespaceSelector: {matchLabels: {team: %s}}, podSelector: {matchLabels: {role: friend}}}]
    ports: [{port: 8082, endPort: 8083}]                                      # friends of the other namespace
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: stranger}
spec:
  podSelector: {matchLabels: {role: stranger}}
  policyTypes: [Egress]
  egress:
  - to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
    ports: [{port: dns, protocol: UDP}]
`, other), "-n", server, "apply", "-f", "-")
	check(t, []try{
		{server, "friend", target, "8081", true}, // by the port's name
		{server, "friend", target, "8082", false},
		{other, "friend", target, "8082", true}, // both ends of the range
		{other, "friend", target, "8083", true},
		{other, "friend", target, "8084", false}, // beside it
		{other, "friend", target, "8081", false},
		{other, "stranger", target, "8082", false}, // the right namespace, the wrong pod
		{server, "stranger", target, "8081", false},
		{server, "stranger", otherFriend, "8080", false}, // going out
		{other, "stranger", otherFriend, "8080", true},   // the policy is not of its namespace
		{server, "server", otherFriend, "8080", true},    // a policy for one direction leaves the other open
	})
	eventually(t, "DNS of a pod that may reach nothing else", func() error {
		got, err := c.ask(t.Context(), server, "stranger", "/lookup", url.Values{"name": {"kubernetes.default"}})
		return want(err, got, "<nil>")
	})
	eventually(t, "a NodePort of a closed port, from the other cluster", func() error {
		c.kubectl(t, `{apiVersion: v1, kind: Service, metadata: {name: server}, spec: {type: NodePort,
			selector: {role: server}, ports: [{port: 80, targetPort: 8081, nodePort: 30081}]}}`,
			"-n", server, "apply", "-f", "-")
		if got, err := get(t.Context(), direct, "http://"+c.node+":30081/"); err == nil {
			return fmt.Errorf("it answers %q", got)
		}
		return nil
	})

	c.kubectl(t, "", "-n", server, "delete", "networkpolicy", "server", "stranger")
	check(t, []try{
		{server, "stranger", target, "8081", true},
		{other, "stranger", target, "8084", true},
	})
}
