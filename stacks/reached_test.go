package main

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestRouteIsAwaited holds how long a run waits for a Gateway's answer, and what it says of a no and of silence.
func TestRouteIsAwaited(t *testing.T) {
	unanswered := cluster.RouteStatus{Text: "no answer of Gateway gateways/public"}
	refused := cluster.RouteStatus{
		Verdict: cluster.Refused,
		Text:    "not accepted by Gateway gateways/public: NoMatchingListenerHostname: no such name",
	}
	accepted := cluster.RouteStatus{Verdict: cluster.Accepted}
	for _, tt := range []struct {
		name  string
		says  func(after time.Duration) cluster.RouteStatus
		want  string
		takes time.Duration
	}{
		{"at once", func(time.Duration) cluster.RouteStatus { return accepted }, "", 0},
		{"late", func(after time.Duration) cluster.RouteStatus {
			if after < 50*time.Second {
				return unanswered
			}
			return accepted
		}, "", 50 * time.Second},
		{"no, until its Service is seen", func(after time.Duration) cluster.RouteStatus {
			if after < 5*time.Second {
				return refused
			}
			return accepted
		}, "", 5 * time.Second},
		{
			"no", func(time.Duration) cluster.RouteStatus { return refused },
			"outposts:hub.exposure.gateway: HTTPRoute jupyter/jupyterhub is not accepted by Gateway gateways/public: " +
				"NoMatchingListenerHostname: no such name", 9 * time.Second,
		},
		{
			"silence", func(time.Duration) cluster.RouteStatus { return unanswered },
			"outposts:hub.exposure.gateway: HTTPRoute jupyter/jupyterhub has no answer of Gateway gateways/public " +
				"within 1m0s: check that the controller of its GatewayClass runs " +
				"(kubectl -n gateways describe gateway public)",
			59 * time.Second,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				api := fakeCluster{routes: func(cluster.RouteKind) cluster.RouteStatus {
					return tt.says(time.Since(began))
				}}
				r := route{
					key: "hub.exposure.gateway", kind: cluster.RouteKind{Kind: cluster.HTTPRoute, Version: "v1"},
					name:    cluster.Object{Namespace: "jupyter", Name: "jupyterhub"},
					gateway: exposure.GatewayRef{Name: "public", Namespace: "gateways"},
				}
				l := look{api: api, patience: usualPatience, deadline: began.Add(usualPatience.answer)}
				err := l.accepted(t.Context(), r)
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != tt.want || time.Since(began) != tt.takes {
					t.Errorf("after %s: %q, want %q after %s", time.Since(began), got, tt.want, tt.takes)
				}
			})
		})
	}
}

// TestAddressesAreAwaited holds that a run waits for addresses that will come, and not for those that may not.
func TestAddressesAreAwaited(t *testing.T) {
	for _, tt := range []struct {
		name    string
		awaited bool
		after   time.Duration // when there are some
		want    []string
		takes   time.Duration
	}{
		{"there", true, 0, []string{"192.0.2.1"}, 0},
		{"late", true, 30 * time.Second, []string{"192.0.2.1"}, 30 * time.Second},
		{"never", true, time.Hour, nil, 59 * time.Second},
		{"not awaited", false, time.Hour, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				api := fakeCluster{addresses: func(object string) []string {
					if object != "Service a/b" || time.Since(began) < tt.after {
						return nil
					}
					return []string{"192.0.2.1"}
				}}
				l := look{api: api, patience: usualPatience, deadline: began.Add(usualPatience.answer)}
				got, _, err := l.addresses(t.Context(), addressed{
					kind: "Service", name: cluster.Object{Namespace: "a", Name: "b"}, awaited: tt.awaited,
				})
				if diff := cmp.Diff(tt.want, got); err != nil || diff != "" || time.Since(began) != tt.takes {
					t.Errorf("after %s, want %s: error %v (-want +got):\n%s", time.Since(began), tt.takes, err, diff)
				}
			})
		})
	}
}

// TestClosedGatewayIsNotAwaited holds that nobody waits for addresses that the user may not read.
func TestClosedGatewayIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, name := time.Now(), cluster.Object{Namespace: "gateways", Name: "public"}
		api := fakeCluster{gateways: map[cluster.Object]*cluster.Gateway{name: nil}}
		l := look{api: api, patience: usualPatience, deadline: began.Add(usualPatience.answer)}
		got, known, err := l.addresses(t.Context(), addressed{kind: "Gateway", name: name, awaited: true})
		if got != nil || known || err != nil || !time.Now().Equal(began) {
			t.Errorf("after %s: %v, known %v, error %v", time.Since(began), got, known, err)
		}
	})
}

// TestAddressesAreOutputs holds which outputs a stack has of where it is reached, by the exposures of hub and outpost.
func TestAddressesAreOutputs(t *testing.T) {
	api := fakeCluster{
		identity: "a", gateways: publicGateway(),
		addresses: func(object string) []string { return []string{object} },
	}
	const service, ssh = "Service outpost/outpost", "Service outpost/outpost-ssh"
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		want    map[string]any
	}{
		{"gateway", nil, map[string]any{
			outputHubAddresses: []string{"192.0.2.1"}, outputAPIAddresses: []string{"192.0.2.1"}, outputSSHAddresses: []string{"192.0.2.1"},
		}},
		{"gateway, SSH by a load balancer", map[string]string{"outpost.exposure": "{type: gateway, gateway: {name: public, namespace: gateways}, sshAddress: ssh.example.org}"}, map[string]any{
			outputHubAddresses: []string{"192.0.2.1"}, outputAPIAddresses: []string{"192.0.2.1"}, outputSSHAddresses: []string{ssh},
		}},
		{"load balancers", map[string]string{
			"hub.exposure": "{type: loadBalancer}", "hub.url": "http://hub.example.org",
			"outpost.exposure": "{type: loadBalancer, tls: false, sshAddress: ssh.example.org}",
		}, map[string]any{
			outputHubAddresses: []string{"Service jupyter/proxy-public"}, outputAPIAddresses: []string{service}, outputSSHAddresses: []string{ssh},
		}},
		{"Ingress", map[string]string{
			"hub.exposure":     "{type: ingress, host: hub.example.org, tlsSecret: t}",
			"outpost.exposure": "{type: ingress, tlsSecret: t, sshNodePort: 30022}",
		}, map[string]any{
			outputHubAddresses: []string{"Ingress jupyter/jupyterhub"}, outputAPIAddresses: []string{"Ingress outpost/outpost"},
		}},
		{"node ports", map[string]string{
			"hub.exposure": "{type: nodePort, nodePort: 30000}", "hub.url": "http://hub.example.org",
			"outpost.exposure": "{type: nodePort, tls: false, apiNodePort: 30080, sshNodePort: 30022}",
		}, map[string]any{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testWorld(configFrom(t, gatewayConfig))
			for key, value := range tt.changes {
				change(t, w.config, key, value)
			}
			w.open = func(cluster.Access) (clusterAPI, error) { return api, nil }
			outputs := outputsOf(t, "local", w, &infratest.Recorder{})
			got := map[string]any{}
			for _, name := range []string{outputHubAddresses, outputAPIAddresses, outputSSHAddresses} {
				if value, there := outputs[name]; there {
					got[name] = value
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("outputs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefusedRouteEndsTheRun holds that the operator reads what a Gateway says of a route, and that the outputs which
// other stacks read are there all the same.
func TestRefusedRouteEndsTheRun(t *testing.T) {
	w := testWorld(configFrom(t, gatewayConfig))
	w.open = refusesTCPRoutes
	exported := false
	w.exported = func(_ *pulumi.Context, outputs pulumi.Map) { exported = outputs[outputSystems] != nil }
	err := runStack(t, &infratest.Recorder{}, "local", w)
	const want = "outposts:outpost.exposure.sshGateway: TCPRoute outpost/outpost-ssh is " +
		"not accepted by Gateway gateways/public: NotAllowedByListeners: no"
	if err == nil || !strings.Contains(err.Error(), want) || !exported {
		t.Errorf("error %v, want ... %s; outputs exported: %v", err, want, exported)
	}
}

// TestRefusedRouteIsOfWhoTold holds that the operator of an outpost whose hub's stack says how it is reached is sent
// there, and not to keys that this config may not have.
func TestRefusedRouteIsOfWhoTold(t *testing.T) {
	const stack = "organization/outposts/local"
	outputs := localOutputs(t)
	maps.Copy(outputs[outputSystems].(map[string]any)["remote"].(map[string]any), map[string]any{
		"address": "outpost.example.org",
		"exposure": map[string]any{
			"type": "gateway", "gateway": map[string]any{"name": "public", "namespace": "gateways"},
			"sshGateway": map[string]any{"name": "public", "namespace": "gateways", "sectionName": "ssh"},
		},
		"tlsCertificate": "", "tlsKey": "",
	})
	w := testWorld(committedConfig(t, "remote"))
	w.open = refusesTCPRoutes
	err := runStack(t, &infratest.Recorder{Stacks: map[string]map[string]any{stack: outputs}}, "remote", w)
	const want = "outposts:hubs[0]: sshGateway from " + stack + ": TCPRoute outpost/outpost-ssh is not accepted by "
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want ... %s", err, want)
	}
}

// refusesTCPRoutes opens a cluster whose Gateway accepts no TCPRoute.
func refusesTCPRoutes(cluster.Access) (clusterAPI, error) {
	api := fakeCluster{identity: "a", gateways: publicGateway()}
	api.routes = func(k cluster.RouteKind) cluster.RouteStatus {
		if k.Kind == cluster.HTTPRoute {
			return cluster.RouteStatus{Verdict: cluster.Accepted}
		}
		return cluster.RouteStatus{
			Verdict: cluster.Refused, Text: "not accepted by Gateway gateways/public: NotAllowedByListeners: no",
		}
	}
	return api, nil
}
