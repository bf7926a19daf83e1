package kubespawner

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/outpost"
)

// plan plans a start of alice with the operator's options.
func plan(values map[string]any) (*Objects, error) {
	b, err := NewBuilder("jhub", nil, values, 0, nil)
	if err != nil {
		return nil, err
	}
	return b.Build("00", outpost.Hub{Name: "hub"}, outpost.StartRequest{
		Key:  outpost.Key{Hub: "hub", StartID: "s1"},
		Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice", "JUPYTERHUB_USER_ID": "7"}},
	}, nil)
}

// checkPlan holds that a start is refused for what the operator's options are, with a message that has want, or that it
// is planned if want is empty.
func checkPlan(t *testing.T, values map[string]any, want string) {
	t.Helper()
	_, err := plan(values)
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want %s", err, want)
	}
}

type m = map[string]any

// Names of volumes and containers that Kubernetes would refuse, once the claim and the Secret are made, are refused
// before.
func TestVolumesAndContainersAreChecked(t *testing.T) {
	volume := func(name string) m { return m{"name": name, "emptyDir": m{}} }
	mount := func(name, path string) m { return m{"name": name, "mountPath": path} }
	container := func(name string, mounts ...any) m { return m{"name": name, "image": "x", "volumeMounts": mounts} }
	list := func(values ...any) []any { return values }
	const label = "a lowercase RFC 1123 label"
	//nolint:lll // a case a line
	for _, c := range []struct {
		name   string
		values m
		want   string // part of the error; empty for none
	}{
		{"sound", m{"volumes": list(volume("home-{username}")), "volume_mounts": list(mount("home-{username}", "/home/jovyan")), "init_containers": list(container("setup", mount("home-alice", "/h"))), "extra_containers": list(container("sidecar", mount("home-alice", "/h")))}, ""},
		{"one volume at two places", m{"volumes": list(volume("v")), "volume_mounts": list(mount("v", "/a"), mount("v", "/b"))}, ""},
		{"upper case", m{"volumes": list(volume("Home"))}, `volumes: "Home" cannot be the name of a volume: ` + label},
		{"an underscore", m{"volumes": list(volume("my_home"))}, `volumes: "my_home" cannot be the name of a volume: ` + label},
		{"a dot", m{"volumes": list(volume("my.home"))}, `volumes: "my.home" cannot be the name of a volume: `},
		{"a long name", m{"volumes": list(volume(strings.Repeat("v", 64)))}, `cannot be the name of a volume: must be no more than 63`},
		{"a template of a name", m{"volumes": list(volume("home-{unescaped_username}-{servername}"))}, ""},
		{"no name", m{"volumes": list(m{"emptyDir": m{}})}, `volumes: "" cannot be the name of a volume: `},
		{"a volume twice", m{"volumes": list(volume("v"), volume("v"))}, `volumes: volume "v" is listed twice`},
		{"a name of a container", m{"extra_containers": list(container("Side_Car"))}, `extra_containers: "Side_Car" cannot be the name of a container: ` + label},
		{"a container without a name", m{"extra_containers": list(m{"image": "x"})}, `extra_containers: container 1 has no name`},
		{"a container twice", m{"extra_containers": list(container("c"), container("c"))}, `extra_containers: container "c" is listed twice`},
		{"a second notebook", m{"extra_containers": list(container("notebook"))}, `extra_containers: container "notebook" is listed twice`},
		{"an init container of a container's name", m{"init_containers": list(container("notebook"))}, `init_containers: container "notebook" is listed twice`},
		{"a mount of nothing", m{"volume_mounts": list(mount("hmoe", "/home/jovyan"))}, `volume_mounts: container "notebook" mounts volume "hmoe", which is not in volumes`},
		{"a mount of nothing, beside", m{"extra_containers": list(container("c", mount("v", "/v")))}, `extra_containers: container "c" mounts volume "v", which is not in volumes`},
		{"a mount of nothing, before", m{"init_containers": list(container("c", mount("v", "/v")))}, `init_containers: container "c" mounts volume "v", which is not in volumes`},
		{"a mount nowhere", m{"volumes": list(volume("v")), "volume_mounts": list(m{"name": "v"})}, `volume_mounts: container "notebook" mounts volume "v" without a mountPath`},
		{"two mounts at one place", m{"volumes": list(volume("v"), volume("w")), "volume_mounts": list(mount("v", "/a"), mount("w", "/a"))}, `volume_mounts: container "notebook" mounts two volumes at "/a"`},
		{"an overlay", m{"pod_overlay": m{"spec": m{"volumes": list(volume("V"))}}}, `volumes: "V" cannot be the name of a volume: `},
	} {
		t.Run(c.name, func(t *testing.T) { checkPlan(t, c.values, c.want) })
	}
}

// Values that Kubernetes would refuse, once the claim and the Secret are made, are refused before.
func TestValuesOfThePodAreChecked(t *testing.T) {
	list := func(values ...any) []any { return values }
	const gpu = "nvidia.com/gpu"
	//nolint:lll // a case a line
	for _, c := range []struct {
		name   string
		values m
		want   string // part of the error; empty for none
	}{
		{"guarantees up to the limits", m{"cpu_limit": 2, "cpu_guarantee": 2, "mem_limit": "4G", "mem_guarantee": "1G"}, ""},
		{"a guarantee without a limit", m{"cpu_limit": 0, "cpu_guarantee": 2}, ""},
		{"processors", m{"cpu_limit": 1, "cpu_guarantee": 2}, `cpu_limit: limits cpu of container "notebook" to 1, less than the 2 that are guaranteed`},
		{"memory", m{"mem_limit": "1G", "mem_guarantee": "2G"}, `mem_limit: limits memory of container "notebook" to 1Gi, less than the 2Gi that are guaranteed`},
		{"another resource", m{"extra_resource_limits": m{"ephemeral-storage": "1Gi"}, "extra_resource_guarantees": m{"ephemeral-storage": "2Gi"}}, `extra_resource_limits: limits ephemeral-storage of container "notebook" to 1Gi, less than the 2Gi that are guaranteed`},
		{"a sidecar", m{"extra_containers": list(m{"name": "c", "image": "x", "resources": m{"limits": m{"cpu": "1"}, "requests": m{"cpu": "2"}}})}, `extra_containers: limits cpu of container "c" to 1, less than the 2`},
		{"devices", m{"extra_resource_limits": m{gpu: "2"}, "extra_resource_guarantees": m{gpu: 2}}, ""},
		{"devices, limited only", m{"extra_resource_limits": m{gpu: 1}}, ""},
		{"a part of a device", m{"extra_resource_limits": m{gpu: 0.5}}, `extra_resource_limits: nvidia.com/gpu of container "notebook" must be a whole number`},
		{"a part of a device, guaranteed", m{"extra_resource_guarantees": m{gpu: "500m"}}, `extra_resource_guarantees: nvidia.com/gpu of container "notebook" must be a whole number`},
		{"more devices guaranteed", m{"extra_resource_limits": m{gpu: 1}, "extra_resource_guarantees": m{gpu: 2}}, `extra_resource_limits: limits nvidia.com/gpu of container "notebook" to 1, less than the 2`},
		{"fewer devices guaranteed", m{"extra_resource_limits": m{gpu: 2}, "extra_resource_guarantees": m{gpu: 1}}, `extra_resource_guarantees: guarantees 1 of nvidia.com/gpu to container "notebook", whose limit is 2; they are not shared`},
		{"devices, guaranteed only", m{"extra_resource_guarantees": m{gpu: 1}}, `extra_resource_guarantees: guarantees nvidia.com/gpu of container "notebook" without a limit`},
		{"a device without a domain", m{"extra_resource_limits": m{"gpu": 1}}, `extra_resource_limits: "gpu" cannot be a resource of container "notebook": must be one of cpu, memory, ephemeral-storage, or have the domain of its device plugin, such as nvidia.com/gpu`},
		{"a resource of a claim", m{"extra_resource_limits": m{"storage": "1Gi"}}, `"storage" cannot be a resource of container "notebook"`},
		{"a device with a blank", m{"extra_resource_limits": m{"nvidia.com/my gpu": 1}}, `"nvidia.com/my gpu" cannot be a resource of container "notebook": name part`},
		{"a device of a quota", m{"extra_resource_limits": m{"requests.nvidia.com/gpu": 1}}, `leave requests. out`},
		{"a negative amount", m{"extra_resource_limits": m{"ephemeral-storage": "-1Gi"}}, `ephemeral-storage of container "notebook" must not be negative`},
		{"huge pages", m{"mem_limit": "1G", "extra_resource_limits": m{"hugepages-2Mi": "4Mi"}, "extra_resource_guarantees": m{"hugepages-2Mi": "4Mi"}}, ""},
		{"huge pages alone", m{"extra_resource_limits": m{"hugepages-2Mi": "4Mi"}}, `hugepages-2Mi of container "notebook" needs an amount of cpu or memory`},
		{"fewer huge pages", m{"mem_limit": "1G", "extra_resource_limits": m{"hugepages-2Mi": "4Mi"}, "extra_resource_guarantees": m{"hugepages-2Mi": "2Mi"}}, `whose limit is 4Mi`},
		{"a resource of Kubernetes'", m{"extra_resource_limits": m{"example.kubernetes.io/unit": "2"}, "extra_resource_guarantees": m{"example.kubernetes.io/unit": "1"}}, ""},

		{"a node selector", m{"node_selector": m{"example.org/pool": "gpu", "empty": ""}}, ""},
		{"a key of a node selector", m{"node_selector": m{"a pool": "gpu"}}, `node_selector: label a pool="gpu": name part`},
		{"a value of a node selector", m{"node_selector": m{"pool": "big gpu"}}, `node_selector: label pool="big gpu": a valid label`},
		{"node affinity", m{"node_affinity_required": list(m{"matchExpressions": list(m{"key": "a", "operator": "In", "values": list("b")}, m{"key": "a", "operator": "Exists"}, m{"key": "n", "operator": "Gt", "values": list("4")})}), "node_affinity_preferred": list(m{"weight": 100, "preference": m{"matchFields": list(m{"key": "metadata.name", "operator": "In", "values": list("n1")})}})}, ""},
		{"an operator of node affinity", m{"node_affinity_required": list(m{"matchExpressions": list(m{"key": "a", "operator": "Equal", "values": list("b")})})}, `node_affinity_required[0].matchExpressions[0]: must be one of DoesNotExist, Exists, Gt, In, Lt, NotIn, not "Equal"`},
		{"a key of node affinity", m{"node_affinity_required": list(m{"matchExpressions": list(m{"key": "a b", "operator": "Exists"})})}, `node_affinity_required[0].matchExpressions[0]: key: Invalid value: "a b"`},
		{"node affinity to nothing", m{"node_affinity_required": list(m{"matchExpressions": list(m{"key": "a", "operator": "In"})})}, `values: Invalid value: null: for 'in', 'notin' operators`},
		{"node affinity to something that exists", m{"node_affinity_required": list(m{"matchExpressions": list(m{"key": "a", "operator": "Exists", "values": list("b")})})}, `values set must be empty for exists and does not exist`},
		{"more than a word", m{"node_affinity_required": list(m{"matchExpressions": list(m{"key": "a", "operator": "Gt", "values": list("many")})})}, `for 'Gt', 'Lt' operators, the value must be an integer`},
		{"a field of nodes", m{"node_affinity_required": list(m{"matchFields": list(m{"key": "spec.name", "operator": "In", "values": list("n1")})})}, `node_affinity_required[0].matchFields[0]: needs the key metadata.name and one value`},
		{"a weight", m{"node_affinity_preferred": list(m{"weight": 0, "preference": m{"matchExpressions": list(m{"key": "a", "operator": "Exists"})}})}, `node_affinity_preferred[0]: weight must be from 1 to 100`},
		{"pod affinity", m{"pod_affinity_required": list(m{"topologyKey": "kubernetes.io/hostname", "labelSelector": m{"matchLabels": m{"a": "b"}}}), "pod_anti_affinity_preferred": list(m{"weight": 1, "podAffinityTerm": m{"topologyKey": "zone", "namespaces": list("a")}})}, ""},
		{"a missing topology", m{"pod_affinity_required": list(m{"labelSelector": m{"matchLabels": m{"a": "b"}}})}, `pod_affinity_required[0]: needs a topologyKey, such as kubernetes.io/hostname`},
		{"a topology", m{"pod_anti_affinity_preferred": list(m{"weight": 1, "podAffinityTerm": m{"topologyKey": "my zone"}})}, `pod_anti_affinity_preferred[0]: topologyKey "my zone": name part`},
		{"an operator of pod affinity", m{"pod_anti_affinity_required": list(m{"topologyKey": "zone", "labelSelector": m{"matchExpressions": list(m{"key": "a", "operator": "Is", "values": list("b")})}})}, `pod_anti_affinity_required[0]: labelSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator`},
		{"a label of pod affinity", m{"pod_affinity_preferred": list(m{"weight": 1, "podAffinityTerm": m{"topologyKey": "zone", "labelSelector": m{"matchLabels": m{"a": "b c"}}}})}, `pod_affinity_preferred[0]: labelSelector.matchLabels: Invalid value: "b c"`},
		{"a namespace of pod affinity", m{"pod_affinity_required": list(m{"topologyKey": "zone", "namespaces": list("A")})}, `"A" cannot be the name of a namespace`},
		{"spread", m{"extra_pod_config": m{"topologySpreadConstraints": list(m{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "Ignore"})}}, `extra_pod_config.topologySpreadConstraints[0]: maxSkew must be 1 or more; extra_pod_config.topologySpreadConstraints[0]: must be one of DoNotSchedule, ScheduleAnyway, not "Ignore"`},
		{"a key of a toleration", m{"tolerations": list(m{"key": "my gpu", "operator": "Exists"})}, `tolerations: my gpu="": name part`},
		{"a value of a toleration", m{"tolerations": list(m{"key": "a", "value": "b c"})}, `tolerations: a="b c": a valid label`},
		{"seconds of a toleration", m{"tolerations": list(m{"key": "a", "operator": "Exists", "tolerationSeconds": 5})}, `tolerations: tolerationSeconds of "a" needs effect NoExecute`},

		{"names", m{"service_account": "lab", "priority_class_name": "low", "image_pull_secrets": "pull", "extra_pod_config": m{"runtimeClassName": "gvisor", "hostname": "lab"}}, ""},
		{"a service account", m{"service_account": "My Account"}, `service_account: "My Account" cannot be a name: a lowercase RFC 1123 subdomain`},
		{"a priority class", m{"priority_class_name": "High_Priority"}, `priority_class_name: "High_Priority" cannot be a name`},
		{"a pull Secret that there cannot be, which Kubernetes accepts", m{"image_pull_secrets": list("Regcred")}, ""},
		{"a runtime class", m{"extra_pod_config": m{"runtimeClassName": "g visor"}}, `extra_pod_config: "g visor" cannot be a name`},
		{"a host name", m{"extra_pod_config": m{"hostname": "lab.example"}}, `extra_pod_config: "lab.example" cannot be a name`},
		{"a DNS policy", m{"extra_pod_config": m{"dnsPolicy": "cluster"}}, `extra_pod_config: must be one of ClusterFirst, ClusterFirstWithHostNet, Default, None, not "cluster"`},
		{"a restart policy", m{"extra_pod_config": m{"restartPolicy": "Sometimes"}}, `extra_pod_config: must be one of Always, OnFailure, Never, not "Sometimes"`},
		{"a deadline", m{"extra_pod_config": m{"activeDeadlineSeconds": 0}}, `extra_pod_config: activeDeadlineSeconds must be from 1 to`},

		{"rights", m{"privileged": true, "allow_privilege_escalation": true, "uid": 0, "fs_gid": 100, "supplemental_gids": list(5)}, ""},
		{"rights without escalation", m{"privileged": true}, `allow_privilege_escalation: must be true for container "notebook", which is privileged`},
		{"a user", m{"uid": -1}, `uid: runAsUser must be between 0 and 2147483647`},
		{"a group", m{"gid": 4294967295}, `gid: runAsGroup must be between`},
		{"the group of volumes", m{"fs_gid": -5}, `fs_gid: fsGroup must be between`},
		{"a further group", m{"supplemental_gids": list(-5)}, `supplemental_gids: supplementalGroups must be between`},

		{"volumes", m{"volumes": list(m{"name": "a", "nfs": m{"server": "s", "path": "/p"}}, m{"name": "b", "hostPath": m{"path": "/p"}}, m{"name": "c", "configMap": m{"name": "m"}}, m{"name": "d"})}, ""},
		{"two sources", m{"volumes": list(m{"name": "a", "emptyDir": m{}, "secret": m{"secretName": "s"}})}, `volumes: volume "a" is both emptyDir and secret`},
		{"a claim without a name", m{"volumes": list(m{"name": "a", "persistentVolumeClaim": m{}})}, `volumes: volume "a" needs persistentVolumeClaim.claimName`},
		{"a Secret without a name", m{"volumes": list(m{"name": "a", "secret": m{}})}, `volumes: volume "a" needs secret.secretName`},
		{"a relative share", m{"volumes": list(m{"name": "a", "nfs": m{"server": "s", "path": "p"}})}, `volumes: volume "a" needs an absolute path at nfs.path, not "p"`},
		{"a share of nobody", m{"volumes": list(m{"name": "a", "nfs": m{"path": "/p"}})}, `volumes: volume "a" needs nfs.server`},
		{"a folder above", m{"volumes": list(m{"name": "a", "emptyDir": m{}}), "volume_mounts": list(m{"name": "a", "mountPath": "/a", "subPath": "../b"})}, `volume_mounts: container "notebook" mounts "../b", which leads out of volume "a"`},
		{"an absolute folder", m{"volumes": list(m{"name": "a", "emptyDir": m{}}), "volume_mounts": list(m{"name": "a", "mountPath": "/a", "subPath": "/b"})}, `which leads out of volume "a"`},

		{"hooks", m{"lifecycle_hooks": m{"postStart": m{"exec": m{"command": list("a")}}, "preStop": m{"sleep": m{"seconds": 5}}}}, ""},
		{"a hook of nothing", m{"lifecycle_hooks": m{"preStop": m{}}}, `lifecycle_hooks: preStop of container "notebook" must have one handler, such as exec, and has 0`},
		{"a probe of two", m{"extra_container_config": m{"livenessProbe": m{"exec": m{"command": list("a")}, "tcpSocket": m{"port": 1}}}}, `extra_container_config: livenessProbe of container "notebook" must have one handler, such as exec, and has 2`},
		{"a port", m{"extra_containers": list(m{"name": "c", "image": "x", "ports": list(m{"containerPort": 70000})})}, `extra_containers: port "" of container "c": must be between 1 and 65535`},
		{"a name of a port", m{"extra_containers": list(m{"name": "c", "image": "x", "ports": list(m{"containerPort": 7, "name": "a-very-long-name-of-a-port"})})}, `must be no more than 15 characters`},
		{"a protocol", m{"extra_containers": list(m{"name": "c", "image": "x", "ports": list(m{"containerPort": 7, "protocol": "tcp"})})}, `extra_containers: must be one of TCP, UDP, SCTP, not "tcp"`},

		{"no image", m{"image": ""}, `image: container "notebook" has the image "", which is not a name`},
		{"an image with a blank", m{"image": "quay.io/x "}, `which is not a name`},
		{"a pull policy", m{"image_pull_policy": "always"}, `image_pull_policy: must be one of Always, IfNotPresent, Never, not "always"`},
		{"tolerations", m{"tolerations": list(m{"key": "a", "operator": "Exists", "effect": "NoSchedule"}, m{"key": "a", "value": "b"}, m{"operator": "Exists"})}, ""},
		{"an operator", m{"tolerations": list(m{"key": "a", "operator": "In"})}, `tolerations: must be one of Equal, Exists, Gt, Lt, not "In"`},
		{"an effect", m{"tolerations": list(m{"key": "a", "effect": "NoSchedul"})}, `tolerations: must be one of NoSchedule, PreferNoSchedule, NoExecute, not "NoSchedul"`},
		{"a value that is not compared", m{"tolerations": list(m{"key": "a", "operator": "Exists", "value": "b"})}, `tolerations: the value of "a" must be empty with operator Exists`},
		{"a toleration of nothing", m{"tolerations": list(m{"effect": "NoSchedule"})}, `tolerations: without a key, the operator must be Exists`},
		{"an access mode", m{"storage_pvc_ensure": true, "storage_capacity": "1Gi", "storage_access_modes": list("RWX")}, `storage_access_modes: must be one of ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod, not "RWX"`},
	} {
		t.Run(c.name, func(t *testing.T) { checkPlan(t, c.values, c.want) })
	}
}

// A pod's own period, or a hook, counts when it is deleted, wherever it comes from.
func TestGracePeriod(t *testing.T) {
	hook := m{"preStop": m{"exec": m{"command": []any{"save"}}}}
	snake := m{"pre_stop": m{"exec": m{"command": []any{"save"}}}}
	const own = -1 // left to the pod
	//nolint:lll // a case a line
	for _, c := range []struct {
		name   string
		values m
		want   int64
	}{
		{"nothing", nil, 1},
		{"the option", m{"delete_grace_period": 5}, 5},
		{"the option, 0", m{"delete_grace_period": 0}, 0},
		{"a period of the pod", m{"extra_pod_config": m{"terminationGracePeriodSeconds": 3000}}, own},
		{"a period of the pod, as Python writes it", m{"extra_pod_config": m{"termination_grace_period_seconds": 3000}}, own},
		{"a period in an overlay", m{"pod_overlay": m{"spec": m{"terminationGracePeriodSeconds": 3000}}}, own},
		{"the option over a period of the pod", m{"delete_grace_period": 5, "extra_pod_config": m{"terminationGracePeriodSeconds": 3000}}, 5},
		{"a hook", m{"lifecycle_hooks": hook}, own},
		{"a hook, as Python writes it", m{"lifecycle_hooks": snake}, own},
		{"a hook of the container", m{"extra_container_config": m{"lifecycle": hook}}, own},
		{"a hook of a sidecar", m{"extra_containers": []any{m{"name": "c", "image": "x", "lifecycle": hook}}}, own},
		{"a hook of a sidecar among init containers", m{"init_containers": []any{m{"name": "c", "image": "x", "restartPolicy": "Always", "lifecycle": hook}}}, own},
		{"a hook in an overlay", m{"pod_overlay": m{"spec": m{"containers": []any{m{"name": "notebook", "lifecycle": hook}}}}}, own},
		{"another hook", m{"lifecycle_hooks": m{"postStart": m{"exec": m{"command": []any{"load"}}}}}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := plan(c.values)
			if err != nil {
				t.Fatal(err)
			}
			got := int64(own)
			if grace := ParseState(StateOf(o.Pod), "jhub").Grace(); grace != nil {
				got = *grace
			}
			if got != c.want {
				t.Errorf("period %d, want %d", got, c.want)
			}
		})
	}
}

// A hub's client takes an address apart at its colons: IPv6 addresses are avoided where there is another, and refused
// in words where there is none.
func TestIPv6Addresses(t *testing.T) {
	pod := func(ips ...string) *corev1.Pod {
		p := &corev1.Pod{Status: corev1.PodStatus{PodIP: ips[0]}}
		for _, ip := range ips {
			p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
		}
		p.Spec.Containers = []corev1.Container{{
			Name: NotebookContainer, Ports: []corev1.ContainerPort{{Name: NotebookPort, ContainerPort: 8888}},
		}}
		return p
	}
	named := m{"services_enabled": true}
	for _, c := range []struct {
		name   string
		values m
		pod    *corev1.Pod
		want   string // the address, or the error
	}{
		{"IPv4", nil, pod("10.0.0.1"), "http://10.0.0.1:8888"},
		{"both, IPv4 first", nil, pod("10.0.0.1", "fd00::1"), "http://10.0.0.1:8888"},
		{"both, IPv6 first", nil, pod("fd00::1", "10.0.0.1"), "http://10.0.0.1:8888"},
		{
			"IPv6 alone", nil, pod("fd00::1"), "The server has only the IPv6 address fd00::1, which a hub cannot " +
				"use; set services_enabled, so that it has a name.",
		},
		{"IPv6 alone, with a name", named, pod("fd00::1"), "http://jupyter-alice.jhub.svc.cluster.local:8888"},
		{
			"IPv6 alone, by another name",
			m{"pod_connect_ip": "{username}.example.org"},
			pod("fd00::1"),
			"http://alice.example.org:8888",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := plan(c.values)
			if err != nil {
				t.Fatal(err)
			}
			got, err := o.Address(c.pod)
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
	for connect, want := range map[string]string{
		"fd00::1": `pod_connect_ip: yields the address "http://[fd00::1]:1"; a hub accepts a host name or ` +
			`an IPv4 address`,
		"[fd00::1]":     `pod_connect_ip: yields the address`,
		"under_score.x": `pod_connect_ip: yields the address`,
		"10.0.0.7":      "",
	} {
		_, err := plan(m{"pod_connect_ip": connect})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", connect, err, want)
		}
	}
}

// What cannot be read is named once: what it would have been put into stays as it is. No message quotes the pod, whose
// variables hold tokens, nor a number, which is not as it was written if it is large.
func TestAWrongValueIsOneFault(t *testing.T) {
	overlay := func(spec string) string { return `{"pod_overlay": {"spec": ` + spec + `}}` }
	const merge = "pod_overlay: cannot be merged: each entry of a list needs the key that such entries are merged " +
		"by, as containers, volumes and variables need name; $patch must be replace, merge or delete"
	const into = "cannot unmarshal "
	//nolint:lll // a case a line
	for _, c := range []struct{ options, want string }{
		{overlay(`{"volumes": "x"}`), "pod_overlay: " + into + "string into Go struct field PodSpec.spec.volumes of type []v1.Volume"},
		{overlay(`{"volumes": ["x"]}`), "pod_overlay: " + into + "string into Go struct field PodSpec.spec.volumes of type v1.Volume"},
		{overlay(`{"containers": "x"}`), "pod_overlay: " + into + "string into Go struct field PodSpec.spec.containers of type []v1.Container"},
		{overlay(`{"containers": [3]}`), "pod_overlay: " + into + "number into Go struct field PodSpec.spec.containers of type v1.Container"},
		{overlay(`{"containers": [{"name": "notebook", "env": [true]}]}`), "pod_overlay: " + into + "bool into Go struct field Container.spec.containers.env of type v1.EnvVar"},
		{overlay(`{"containers": [{"image": "x"}]}`), merge},
		{overlay(`{"containers": [{"name": "notebook", "$patch": "drop"}]}`), merge},
		{overlay(`{"hostNetwrk": true}`), `pod_overlay: unknown field "spec.hostNetwrk"`},
		{overlay(`"x"`), "pod_overlay: " + into + "string into Go struct field Pod.spec of type v1.PodSpec"},
		{overlay(`{"activeDeadlineSeconds": 99999999999999999999}`), "pod_overlay: " + into + "this number into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64"},
		{`{"pod_overlay": {"metadata": {"name": 5}}}`, "pod_overlay: " + into + "number into Go struct field ObjectMeta.metadata.name of type string"},
		{`{"extra_pod_config": {"containers": "x"}}`, "extra_pod_config: " + into + "string into Go struct field PodSpec.containers of type []v1.Container"},
		{`{"extra_pod_config": {"priority": 99999999999999999999}}`, "extra_pod_config: " + into + "this number into Go struct field PodSpec.priority of type int32"},
		{`{"extra_container_config": {"name": 3}}`, "extra_container_config: " + into + "number into Go struct field Container.name of type string"},
		{`{"extra_container_config": {"ports": "x"}, "services_enabled": true}`, "extra_container_config: " + into + "string into Go struct field Container.ports of type []v1.ContainerPort"},
		{`{"volumes": [{"name": "a", "emptyDir": "x"}], "volume_mounts": [{"name": "a", "mountPath": "/a"}]}`, "volumes[0]: " + into + "string into Go struct field Volume.emptyDir of type v1.EmptyDirVolumeSource"},
		{`{"extra_containers": [{"name": 3}]}`, "extra_containers[0]: " + into + "number into Go struct field Container.name of type string"},
		{overlay(`{"containers": [{"name": "notebook", "$patch": "delete"}]}`), "extra_container_config, extra_pod_config or pod_overlay: leaves no container named notebook"},
		{overlay(`{"volumes": [{"$patch": "replace"}], "$retainKeys": ["containers", "volumes"]}`), ""},
	} {
		_, err := plan(decodeOptions(t, c.options))
		if got := problemOf(err); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.options, got, c.want)
		}
	}
}
