//go:build e2e

package choices

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

const (
	word  = "word" // with which all log in
	token = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

	nearNamespace = "look-near" // in the cluster of the hubs, local: an outpost, and one in maintenance
	farNamespace  = "look-far"  // in the other one, remote
	mill          = "mill"      // the outpost in maintenance
	partition     = "partition" // an outpost beside far for members of gpu
)

// site is a JupyterHub with its name at the outposts.
type site struct {
	name, pair string
	port       int
	key        string // private
	public     string
	hub        *hubapi.Client
}

func (s *site) namespace() string { return "look-" + s.name }

// place is two hubs, of both pairs of versions, whose users share the same outposts.
type place struct {
	root                  string
	local, remote         deployed.Cluster
	localNode, remoteNode string
	sites                 []*site
	hostKey, hostPublic   string
}

// openPlace installs the charts in both clusters, in namespaces of this test alone.
func openPlace(t *testing.T) *place {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	p := &place{
		root: root,
		sites: []*site{
			{name: "five", pair: "jupyterhub-5.5", port: 30710},
			{name: "six", pair: "jupyterhub-6.1", port: 30711},
		},
	}
	kubeconfig := filepath.Join(root, ".state", "kubeconfig")
	deployed.NeedsClusters(t, kubeconfig)
	p.local, p.remote = deployed.OpenCluster(t, kubeconfig, "local"), deployed.OpenCluster(t, kubeconfig, "remote")
	p.localNode, p.remoteNode = deployed.Node(t, p.local.API), deployed.Node(t, p.remote.API)
	p.hostKey, p.hostPublic = deployed.NewKey(t)
	for _, s := range p.sites {
		s.key, s.public = deployed.NewKey(t)
		s.hub = &hubapi.Client{URL: fmt.Sprintf("http://%s:%d", p.localNode, s.port), Token: token}
	}
	makeNamespaces(t, p.local, nearNamespace, p.sites[0].namespace(), p.sites[1].namespace())
	makeNamespaces(t, p.remote, farNamespace)
	p.outposts(t)
	for _, s := range p.sites {
		p.install(t, s)
	}
	for _, s := range p.sites {
		p.ready(t, s)
	}
	return p
}

// makeNamespaces makes namespaces that go at the end, and before if a killed run has left them.
func makeNamespaces(t *testing.T, c deployed.Cluster, names ...string) {
	t.Helper()
	c.Without(t, names...)
	t.Cleanup(func() { c.Without(t, names...) })
	for _, name := range names {
		made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.API.CoreV1().Namespaces().Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// said is what a program of the checkout prints.
func (p *place) said(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(p.root, program), args...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", program, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// outposts installs the outposts near and mill beside the hubs, and far and partition in the other cluster.
func (p *place) outposts(t *testing.T) {
	t.Helper()
	var names, words []string
	keys := map[string]any{}
	for _, s := range p.sites {
		names, words = append(names, s.name), append(words, word)
		keys[s.name] = []any{s.public}
	}
	for namespace, cluster := range map[string]deployed.Cluster{nearNamespace: p.local, farNamespace: p.remote} {
		cluster.MakeSecret(t, namespace, "outpost-users", map[string]string{
			"usernames": strings.Join(names, ";"), "passwords": strings.Join(words, ";"),
		})
		cluster.MakeSecret(t, namespace, "outpost-cryptkey", map[string]string{"secret_key": deployed.PythonKey})
		cluster.MakeSecret(t, namespace, "outpost-host-keys", map[string]string{"ssh_host_ed25519_key": p.hostKey})
	}
	// Each outpost has hubs in two namespaces, and hubNamespace names one; e2e/policies has what policies close.
	off := map[string]any{"enabled": false}
	common := map[string]any{
		"image":         outpostImage,
		"cryptSecret":   "outpost-cryptkey",
		"outpostUsers":  "outpost-users",
		"hostKeySecret": "outpost-host-keys", "hubSshPublicKeys": keys,
		"networkPolicy": off, "singleuser": map[string]any{"networkPolicy": off},
	}
	p.local.Release(t, p.root, nearNamespace, "outpost", "charts/outpost", deployed.Merge(common, nearValues(p.sites)))
	p.local.Release(t, p.root, nearNamespace, mill, "charts/outpost", deployed.Merge(common, millValues()))
	p.remote.Release(t, p.root, farNamespace, "outpost", "charts/outpost", deployed.Merge(common, farValues(p.sites)))
	p.remote.Release(t, p.root, farNamespace, partition, "charts/outpost",
		deployed.Merge(common, partitionValues(p.sites)))
	for _, there := range []struct {
		cluster         deployed.Cluster
		namespace, name string
	}{
		{p.local, nearNamespace, "outpost"},
		{p.local, nearNamespace, mill},
		{p.remote, farNamespace, "outpost"},
		{p.remote, farNamespace, partition},
	} {
		if err := there.cluster.RolledOut(t.Context(), there.namespace, there.name); err != nil {
			t.Fatal(err)
		}
	}
}

var outpostImage = map[string]any{"repository": "localhost/outposts/outpost", "tag": "dev"}

// install installs a hub of its pair, with the chart of the hub's side and the lines that this prints.
func (p *place) install(t *testing.T, s *site) {
	t.Helper()
	p.said(t, "dev/run", "clusters", "load", p.said(t, "images/build", "hub", s.pair))
	name, tag, _ := strings.Cut(p.said(t, "images/build", "ref", "hub", s.pair), ":")
	image := map[string]any{"name": name, "tag": tag}
	auth := map[string]string{}
	for _, system := range []string{"near", "far", partition, mill, "gone"} {
		auth[system] = s.name + ":" + word
	}
	p.local.MakeSecret(t, s.namespace(), "auth", auth)
	p.local.MakeSecret(t, s.namespace(), "sshkey", map[string]string{"ssh-privatekey": s.key})
	notes := p.local.Release(t, p.root, s.namespace(), "outposts-hub", "charts/outposts-hub", map[string]any{
		"image": outpostImage, "hubRelease": "jhub", "authSecret": "auth", "sshKeySecret": "sshkey", "replicaCount": 1,
		"systems": p.systems(t, s),
	})
	values := deployed.Merge(hubValues(t, notes), map[string]any{
		"hub": map[string]any{"image": image},
		"proxy": map[string]any{
			"chp":     map[string]any{"image": image},
			"service": map[string]any{"type": "NodePort", "nodePorts": map[string]any{"http": s.port}},
		},
	})
	p.local.Release(t, p.root, s.namespace(), "jhub", "e2e/charts/hub", values)
}

// systems are the outposts as a hub knows them; gone is one that does not answer.
func (p *place) systems(t *testing.T, s *site) map[string]any {
	t.Helper()
	inside := "http://hub." + s.namespace() + ".svc:8081/hub/api"
	near := func(release string) string { return "http://" + release + "." + nearNamespace + ".svc:8080/services" }
	port := func(service string) int {
		svc, err := p.remote.API.CoreV1().Services(farNamespace).Get(t.Context(), service, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return int(svc.Spec.Ports[0].NodePort)
	}
	far := func(release, name string) map[string]any {
		return map[string]any{
			"url":       fmt.Sprintf("http://%s:%d/services", p.remoteNode, port(release)),
			"hubApiUrl": s.hub.URL + "/hub/api",
			"ssh": map[string]any{
				"host": p.remoteNode, "port": port(release + "-ssh"), "hostKeys": []any{p.hostPublic},
			},
			"displayName": name,
		}
	}
	return map[string]any{
		"near":    map[string]any{"url": near("outpost"), "hubApiUrl": inside, "displayName": "Campus"},
		"far":     far("outpost", "Computing centre"),
		partition: far(partition, "GPU partition"),
		mill:      map[string]any{"url": near(mill), "hubApiUrl": inside, "displayName": "Old mill"},
		"gone": map[string]any{
			"url": "http://" + p.remoteNode + ":1/services", "hubApiUrl": inside, "displayName": "Island",
		},
	}
}

// ready waits until a hub can start servers.
func (p *place) ready(t *testing.T, s *site) {
	t.Helper()
	for _, name := range []string{"outposts-hub-tunnels", "proxy", "hub"} {
		if err := p.local.RolledOut(t.Context(), s.namespace(), name); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.hub.WaitThere(ctx); err != nil {
		t.Fatalf("hub %s: %v", s.name, err)
	}
}

// hubValues are those of a hub as somebody has it, with the lines of the notes.
func hubValues(t *testing.T, notes string) map[string]any {
	t.Helper()
	off := map[string]any{"enabled": false}
	return deployed.Merge(deployed.HubLines(t, notes), map[string]any{
		"hub": map[string]any{
			"resources":     requests("200m"),
			"cookieSecret":  strings.Repeat("a1", 32),
			"networkPolicy": off,
			"config": map[string]any{
				"JupyterHub":         map[string]any{"authenticator_class": "dummy"},
				"DummyAuthenticator": map[string]any{"password": word},
				"Authenticator":      map[string]any{"allow_all": true},
				// Other tests have the processors too.
				"Spawner": map[string]any{"start_timeout": 300, "http_timeout": 120},
			},
			"services": map[string]any{"test": map[string]any{"apiToken": token}},
			"loadRoles": map[string]any{"test": map[string]any{"services": []any{"test"}, "scopes": []any{
				"admin:users", "admin:servers", "access:servers", "admin:groups",
			}}},
		},
		"proxy": map[string]any{
			"secretToken": strings.Repeat("b2", 32),
			"chp":         map[string]any{"networkPolicy": off, "resources": requests("50m")},
		},
		"singleuser": map[string]any{
			"networkPolicy": off,
			"storage":       map[string]any{"type": "none"},
			"cloudMetadata": map[string]any{"blockWithIptables": false},
		},
		"prePuller":  map[string]any{"hook": off, "continuous": off},
		"scheduling": map[string]any{"userScheduler": off, "userPlaceholder": off},
		"cull":       off,
	})
}

var nodePort = map[string]any{"type": "NodePort"}

// requests are what a pod is to have of the processors, which other tests use too.
func requests(cpu string) map[string]any {
	return map[string]any{"requests": map[string]any{"cpu": cpu, "memory": "128Mi"}}
}

// flavor is one of an outpost, with room in the clusters of the tests.
func flavor(name, description string, weight int, more map[string]any) map[string]any {
	return deployed.Merge(map[string]any{
		"display_name": name, "description": description, "weight": weight,
		"resources": map[string]any{
			"cpu_guarantee": 0.1, "cpu_limit": 2, "mem_guarantee": "64M", "mem_limit": "1G",
		},
	}, more)
}

// hubs are the settings of an outpost for each of the hubs, which it tells of starts.
func hubs(sites []*site, more map[string]any) map[string]any {
	all := map[string]any{}
	for _, s := range sites {
		inside := "http://hub." + s.namespace() + ".svc:8081/"
		all[s.name] = deployed.Merge(map[string]any{"callbackUrls": []any{inside, s.hub.URL + "/"}}, more)
	}
	return all
}

func nearValues(sites []*site) map[string]any {
	return map[string]any{
		"config": map[string]any{"spawner": map[string]any{"image": deployed.LabImage}, "hubs": hubs(sites, nil)},
		"flavors": map[string]any{"flavors": map[string]any{
			"small": flavor("Small", "1 CPU, 2 GB", 30, nil),
			"large": flavor("Large", "4 CPUs, 16 GB", 20, nil),
			"node": flavor("A node", "64 CPUs, 512 GB", 10, map[string]any{ // more than any node has
				"resources": map[string]any{"cpu_guarantee": 64, "cpu_limit": 64},
			}),
		}},
	}
}

func millValues() map[string]any {
	now := time.Now().UTC()
	return map[string]any{"config": map[string]any{
		"spawner": map[string]any{"image": deployed.LabImage},
		"maintenance": map[string]any{
			"from": now.Add(-time.Hour).Format(time.RFC3339), "until": now.Add(3 * time.Hour).Format(time.RFC3339),
			"text": "New disks.",
		},
	}}
}

// partitionValues are those of an outpost that only the group gpu sees.
func partitionValues(sites []*site) map[string]any {
	return map[string]any{
		"service": nodePort, "servicessh": nodePort,
		"config": map[string]any{
			"spawner": map[string]any{"image": deployed.LabImage, "homes": map[string]any{"size": "1Gi"}},
			"hubs":    hubs(sites, map[string]any{"allowedGroups": []any{"gpu"}}),
		},
		"flavors": map[string]any{"flavors": map[string]any{
			"gpu": flavor("One GPU", "16 CPUs, 128 GB", 10, map[string]any{"max": 16}),
		}},
	}
}

// farValues are those of an outpost with homes, profiles and rules for groups. Who is not in the group gpu sees neither
// the partition nor the profile Training, reads why a flavor is not for them, and finds another one full when it has
// one server.
func farValues(sites []*site) map[string]any {
	framework := func(name string) map[string]any {
		return map[string]any{
			"display_name":         name,
			"kubespawner_override": map[string]any{"environment": map[string]any{"FRAMEWORK": name}},
		}
	}
	return map[string]any{
		"service": nodePort, "servicessh": nodePort,
		"config": map[string]any{
			"spawner": map[string]any{
				"image": deployed.LabImage,
				"homes": map[string]any{"size": "1Gi"},
				"profile_list": []any{
					map[string]any{
						"display_name": "Notebook", "description": "Python with the usual packages.", "default": true,
					},
					map[string]any{
						"display_name": "Training", "description": "Frameworks for a GPU.", "slug": "training",
						"allowed_groups": []any{"gpu"},
						"profile_options": map[string]any{"framework": map[string]any{
							"display_name": "Framework",
							"choices": map[string]any{
								"torch": deployed.Merge(framework("PyTorch"), map[string]any{"default": true}),
								"jax":   framework("JAX"),
							},
						}},
					},
					map[string]any{
						"display_name": "MATLAB", "slug": "matlab", "allowed_groups": []any{"licence:matlab"},
						"denied_text": "For members of the faculties that pay for it.",
					},
				},
			},
			"hubs": hubs(sites, map[string]any{
				"allowedOptions": []any{"image"}, "allowedImages": []any{"localhost/outposts/lab*"},
			}),
		},
		"flavors": map[string]any{"flavors": map[string]any{
			"small": flavor("Small", "2 CPUs, 4 GB", 30, map[string]any{"max": 8, "maxPerUser": 1}),
			"large": flavor("Large", "16 CPUs, 64 GB", 20, map[string]any{"max": 1}),
			"gpu": flavor("One GPU", "8 CPUs, 32 GB", 10, map[string]any{
				"max": 4, "maxPerUser": 1, "allowedGroups": []any{"gpu"}, "deniedText": "Ask for the group gpu.",
			}),
		}},
	}
}
