package kubespawner

import (
	"maps"
	"testing"
)

// What Kubernetes refuses of claims, hooks, probes, variables, files, addresses and rights is refused before anything
// is made, and what it accepts is not: the cases agree with ValidatePodCreate and ValidatePersistentVolumeClaim of
// Kubernetes 1.34.4.
func TestWhatKubernetesRefusesIsRefused(t *testing.T) {
	list := func(values ...any) []any { return values }
	home := func(values m) m {
		all := m{"storage_pvc_ensure": true, "storage_capacity": "1Gi"}
		maps.Copy(all, values)
		return all
	}
	probe := func(values m) m { return m{"extra_container_config": m{"livenessProbe": values}} }
	from := func(source m) m { return m{"valueFrom": source} }
	variable := func(values m) m { return m{"environment": m{"A": values}} }
	volume := func(source m) m {
		source["name"] = "v"
		return m{"volumes": list(source)}
	}
	spread := func(constraints ...any) m {
		return m{"extra_pod_config": m{"topologySpreadConstraints": constraints}}
	}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name   string
		values m
		want   string // part of the error; empty for none
	}{
		{"a home", home(m{"storage_class": "fast.ssd", "storage_access_modes": list("ReadWriteOncePod"), "storage_selector": m{"matchExpressions": list(m{"key": "a", "operator": "In", "values": list("b")})}}), ""},
		{"a negative home", home(m{"storage_capacity": "-5Gi"}), `storage_capacity: must be more than 0, such as 10Gi, not -5Gi`},
		{"an empty home", home(m{"storage_capacity": "0"}), `storage_capacity: must be more than 0`},
		{"a storage class", home(m{"storage_class": "Fast_SSD"}), `storage_class: "Fast_SSD" cannot be the name of a storage class: a lowercase RFC 1123 subdomain`},
		{"no storage class", home(m{"storage_class": ""}), ""},
		{"no access mode", home(m{"storage_access_modes": []any{}}), `storage_access_modes: needs an access mode, such as ReadWriteOnce`},
		{"an access mode that is alone", home(m{"storage_access_modes": list("ReadWriteOncePod", "ReadWriteOnce")}), `storage_access_modes: ReadWriteOncePod cannot be combined with "ReadWriteOnce"`},
		{"a selector of volumes", home(m{"storage_selector": m{"matchExpressions": list(m{"key": "a b", "operator": "in", "values": list("b")})}}), `storage_selector: selector.matchExpressions[0].operator: Invalid value: "in": not a valid selector operator`},
		{"an annotation of a home", home(m{"storage_extra_annotations": m{"a b": "c"}}), `storage_extra_annotations: key "a b": name part`},

		{"probes", m{"extra_container_config": m{"livenessProbe": m{"httpGet": m{"port": "notebook-port", "scheme": "HTTPS"}, "successThreshold": 1}, "readinessProbe": m{"grpc": m{"port": 5}, "successThreshold": 3}, "startupProbe": m{"tcpSocket": m{"port": 8888}, "terminationGracePeriodSeconds": 5}}}, ""},
		{"a probe without a port", probe(m{"httpGet": m{"path": "/"}}), `extra_container_config: httpGet.port of livenessProbe of container "notebook": must be between 1 and 65535`},
		{"a probe of a name of a port", probe(m{"tcpSocket": m{"port": "a-very-long-name-of-a-port"}}), `tcpSocket.port of livenessProbe of container "notebook": must be no more than 15 characters`},
		{"a probe of a port beyond", probe(m{"grpc": m{"port": 70000}}), `grpc.port of livenessProbe of container "notebook": must be between`},
		{"a scheme", probe(m{"httpGet": m{"port": 1, "scheme": "https"}}), `extra_container_config: must be one of HTTP, HTTPS, not "https"`},
		{"a header", probe(m{"httpGet": m{"port": 1, "httpHeaders": list(m{"name": "a b", "value": ""})}}), `header "a b" of livenessProbe of container "notebook": a valid HTTP header`},
		{"a probe of no command", probe(m{"exec": m{}}), `livenessProbe of container "notebook" needs exec.command`},
		{"a negative period", probe(m{"tcpSocket": m{"port": 1}, "periodSeconds": -1}), `periodSeconds of livenessProbe of container "notebook" must not be negative`},
		{"successes of a probe", probe(m{"tcpSocket": m{"port": 1}, "successThreshold": 2}), `successThreshold of livenessProbe of container "notebook" must be 1`},
		{"a grace of a probe", probe(m{"tcpSocket": m{"port": 1}, "terminationGracePeriodSeconds": 0}), `terminationGracePeriodSeconds of livenessProbe of container "notebook" must be 1 or more`},
		{"a grace of readiness", m{"extra_container_config": m{"readinessProbe": m{"tcpSocket": m{"port": 1}, "terminationGracePeriodSeconds": 5}}}, `readinessProbe of container "notebook" must not have terminationGracePeriodSeconds`},
		{"a probe of an init container", m{"init_containers": list(m{"name": "c", "image": "x", "livenessProbe": m{"tcpSocket": m{"port": 1}}})}, `init_containers: container "c" has hooks or probes, which need restartPolicy Always`},
		{"a probe of a sidecar", m{"init_containers": list(m{"name": "c", "image": "x", "restartPolicy": "Always", "livenessProbe": m{"tcpSocket": m{"port": 1}}})}, ""},
		{"a long sleep", m{"lifecycle_hooks": m{"preStop": m{"sleep": m{"seconds": 60}}}}, `lifecycle_hooks: sleep of preStop of container "notebook" must be from 0 to the 30 seconds of terminationGracePeriodSeconds`},
		{"a long sleep in a long period", m{"lifecycle_hooks": m{"preStop": m{"sleep": m{"seconds": 60}}}, "extra_pod_config": m{"terminationGracePeriodSeconds": 60}}, ""},
		{"a negative sleep", m{"lifecycle_hooks": m{"preStop": m{"sleep": m{"seconds": -5}}}}, `sleep of preStop of container "notebook" must be from 0`},
		{"a negative period of the pod, which Kubernetes takes for 1", m{"extra_pod_config": m{"terminationGracePeriodSeconds": -1}}, ""},

		{"variables", m{"environment": m{"A": from(m{"secretKeyRef": m{"name": "s", "key": "k"}}), "B": from(m{"fieldRef": m{"fieldPath": "metadata.labels['app']"}}), "C": from(m{"fieldRef": m{"fieldPath": "spec.host"}}), "D": from(m{"resourceFieldRef": m{"resource": "limits.hugepages-2Mi"}}), "E": from(m{"resourceFieldRef": m{"resource": "limits.cpu"}})}, "extra_container_config": m{"envFrom": list(m{"prefix": "P_", "secretRef": m{"name": "s"}}, m{"configMapRef": m{"name": "s"}})}}, ""},
		{"a name of a variable", m{"environment": m{"A=": "b"}}, `environment: "A=" is not a name of a variable`},
		{"a name of a variable of a sidecar", m{"extra_containers": list(m{"name": "c", "image": "x", "env": list(m{"name": "Ä"})})}, `extra_containers: "Ä" is not a name of a variable`},
		{"names of variables that shells do not know", m{"environment": m{"1 a.b": "c"}}, ""},
		{"a variable of nothing", variable(m{"valueFrom": m{}}), `environment: valueFrom of variable "A" of container "notebook" needs a source, such as secretKeyRef`},
		{"a variable of two", variable(from(m{"secretKeyRef": m{"name": "s", "key": "k"}, "configMapKeyRef": m{"name": "s", "key": "k"}})), `environment: valueFrom of variable "A" of container "notebook" has both configMapKeyRef and secretKeyRef; leave one of them out`},
		{"a variable with a value", variable(m{"value": "b", "valueFrom": m{"secretKeyRef": m{"name": "s", "key": "k"}}}), `has a value, too; leave one of them out`},
		{"a variable without a key", variable(from(m{"secretKeyRef": m{"name": "s"}})), `environment: valueFrom of variable "A" of container "notebook" needs name and key in secretKeyRef`},
		{"a variable of a key", variable(from(m{"configMapKeyRef": m{"name": "s", "key": "a b"}})), `has a configMapKeyRef that cannot be one: a valid config key`},
		{"a variable of a field", variable(from(m{"fieldRef": m{"fieldPath": "metadata.nam"}})), `has a fieldPath that is not one of metadata.name, metadata.namespace`},
		{"a variable of a resource", variable(from(m{"resourceFieldRef": m{"resource": "limits.gpu"}})), `has a resource that is not one of limits.cpu`},
		{"a variable of a sidecar", m{"extra_containers": list(m{"name": "c", "image": "x", "env": list(m{"name": "A", "valueFrom": m{}})})}, `extra_containers: valueFrom of variable "A" of container "c" needs a source`},
		{"variables of nothing", m{"extra_container_config": m{"envFrom": list(m{"prefix": "P_"})}}, `extra_container_config: envFrom[0] of container "notebook" needs either configMapRef or secretRef`},
		{"variables of two", m{"extra_container_config": m{"envFrom": list(m{"secretRef": m{"name": "s"}, "configMapRef": m{"name": "s"}})}}, `envFrom[0] of container "notebook" needs either configMapRef or secretRef`},
		{"variables of a name", m{"extra_container_config": m{"envFrom": list(m{"secretRef": m{"name": "My_Secret"}})}}, `envFrom[0] of container "notebook": "My_Secret" cannot be a name`},

		{"files", volume(m{"secret": m{"secretName": "s", "defaultMode": 0o444, "items": list(m{"key": "k", "path": "a/b", "mode": 0})}}), ""},
		{"a mode that is not octal", volume(m{"secret": m{"secretName": "s", "defaultMode": 777}}), `volumes: defaultMode of volume "v" must be from 0 to 511, which is 0777 in octal, not 777`},
		{"an absolute file", volume(m{"configMap": m{"name": "s", "items": list(m{"key": "k", "path": "/a"})}}), `volumes: items[0].path of volume "v" must be a relative path without .., not "/a"`},
		{"a file above", volume(m{"configMap": m{"name": "s", "items": list(m{"key": "k", "path": "a/../../b"})}}), `items[0].path of volume "v" must be a relative path without ..`},
		{"a file of no key", volume(m{"configMap": m{"name": "s", "items": list(m{"path": "a"})}}), `items[0] of volume "v" needs a key`},
		{"a type of hostPath", volume(m{"hostPath": m{"path": "/a", "type": "Dir"}}), `volumes: must be one of DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice, BlockDevice, not "Dir"`},
		{"a projected volume", volume(m{"projected": m{"sources": list(m{"secret": m{"name": "s"}}, m{"serviceAccountToken": m{"path": "t"}}, m{})}}), ""},
		{"a projected source of two", volume(m{"projected": m{"sources": list(m{"secret": m{"name": "s"}, "configMap": m{"name": "s"}})}}), `volumes: sources[0] of volume "v" is both secret and configMap; give each an entry of its own`},
		{"a projected source of nobody", volume(m{"projected": m{"sources": list(m{"secret": m{}})}}), `volumes: sources[0] of volume "v" needs secret.name`},
		{"a short token", volume(m{"projected": m{"sources": list(m{"serviceAccountToken": m{"path": "t", "expirationSeconds": 5}})}}), `serviceAccountToken.expirationSeconds of volume "v" must be from 600 to 4294967296`},
		{"a token nowhere", volume(m{"projected": m{"sources": list(m{"serviceAccountToken": m{}})}}), `serviceAccountToken.path of volume "v" must be a relative path`},
		{"an ephemeral volume", volume(m{"ephemeral": m{"volumeClaimTemplate": m{"spec": m{"accessModes": list("ReadWriteOnce"), "resources": m{"requests": m{"storage": "1Gi"}}}}}}), ""},
		{"an ephemeral volume of nothing", volume(m{"ephemeral": m{}}), `volumes: volume "v" needs ephemeral.volumeClaimTemplate`},
		{"an ephemeral volume of no size", volume(m{"ephemeral": m{"volumeClaimTemplate": m{"spec": m{}}}}), `volumes: needs an access mode, such as ReadWriteOnce; volumes: volume "v" needs resources.requests.storage`},
		{"propagation", m{"volumes": list(m{"name": "v"}), "privileged": true, "allow_privilege_escalation": true, "volume_mounts": list(m{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"})}, ""},
		{"propagation without rights", m{"volumes": list(m{"name": "v"}), "volume_mounts": list(m{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"})}, `volume_mounts: container "notebook" mounts volume "v" with mountPropagation Bidirectional, which needs privileged`},
		{"a word of propagation", m{"volumes": list(m{"name": "v"}), "volume_mounts": list(m{"name": "v", "mountPath": "/v", "mountPropagation": "Both"})}, `volume_mounts: must be one of None, HostToContainer, Bidirectional, not "Both"`},

		{"huge pages", m{"extra_resource_limits": m{"hugepages-2Mi": "4Mi", "memory": "1Gi"}}, ""},
		{"a part of a huge page", m{"extra_resource_limits": m{"hugepages-2Mi": "3Mi", "memory": "1Gi"}}, `extra_resource_limits: hugepages-2Mi of container "notebook" must be a multiple of the size in its name`},
		{"huge pages of no size", m{"extra_resource_limits": m{"hugepages-foo": "4Mi", "memory": "1Gi"}}, `"hugepages-foo" cannot be a resource of container "notebook": needs the size of a page, such as hugepages-2Mi`},
		{"a claim of devices", m{"extra_pod_config": m{"resourceClaims": list(m{"name": "gpu", "resourceClaimName": "g"})}, "extra_container_config": m{"resources": m{"claims": list(m{"name": "gpu"})}}}, ""},
		{"a claim of devices that there is not", m{"extra_container_config": m{"resources": m{"claims": list(m{"name": "gpu"})}}}, `extra_container_config: container "notebook" uses claim "gpu", which is not in resourceClaims of the pod`},
		{"spread twice", spread(m{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}, m{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}), `extra_pod_config.topologySpreadConstraints[1]: topologyKey "zone" with whenUnsatisfiable "ScheduleAnyway" is listed twice`},
		{"spread twice, in two ways", spread(m{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}, m{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 2}), ""},
		{"domains", spread(m{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}), `minDomains must be 1 or more, and needs whenUnsatisfiable DoNotSchedule`},

		{"addresses", m{"extra_pod_config": m{"dnsPolicy": "None", "dnsConfig": m{"nameservers": list("10.0.0.1", "fd00::1")}, "hostAliases": list(m{"ip": "010.0.0.1", "hostnames": list("a.b")})}}, ""},
		{"no name server", m{"extra_pod_config": m{"dnsPolicy": "None"}}, `extra_pod_config: dnsPolicy None needs dnsConfig.nameservers`},
		{"a name of a name server", m{"extra_pod_config": m{"dnsConfig": m{"nameservers": list("ns.example.org")}}}, `extra_pod_config: dnsConfig.nameservers: "ns.example.org" is not an IP address`},
		{"many name servers", m{"extra_pod_config": m{"dnsConfig": m{"nameservers": list("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")}}}, `dnsConfig.nameservers has 4 entries; at most 3 are possible`},
		{"an alias of a name", m{"extra_pod_config": m{"hostAliases": list(m{"ip": "host", "hostnames": list("A_B")})}}, `extra_pod_config: hostAliases: "A_B" is not a host name: a lowercase RFC 1123 subdomain`},
		{"a port of the node", m{"extra_containers": list(m{"name": "c", "image": "x", "ports": list(m{"containerPort": 7, "hostPort": 99999})})}, `extra_containers: port "" of container "c": must be between 1 and 65535`},
		{"a filter of system calls", m{"pod_security_context": m{"seccompProfile": m{"type": "RuntimeDefault"}, "fsGroupChangePolicy": "OnRootMismatch"}, "container_security_context": m{"seccompProfile": m{"type": "Localhost", "localhostProfile": "a/b.json"}}}, ""},
		{"a filter without a file", m{"container_security_context": m{"seccompProfile": m{"type": "Localhost"}}}, `container_security_context: seccompProfile of type Localhost needs localhostProfile`},
		{"a file of no filter", m{"pod_security_context": m{"seccompProfile": m{"type": "Unconfined", "localhostProfile": "a"}}}, `pod_security_context: seccompProfile has a localhostProfile, which needs type Localhost`},
		{"a file elsewhere", m{"pod_security_context": m{"seccompProfile": m{"type": "Localhost", "localhostProfile": "/a"}}}, `localhostProfile "/a" must be a relative path`},
		{"a word of a filter", m{"pod_security_context": m{"seccompProfile": m{"type": "runtime/default"}}}, `pod_security_context: must be one of Localhost, RuntimeDefault, Unconfined, not "runtime/default"`},
		{"a change of groups", m{"pod_security_context": m{"fsGroupChangePolicy": "Never"}}, `pod_security_context: must be one of OnRootMismatch, Always, not "Never"`},
	} {
		t.Run(c.name, func(t *testing.T) { checkPlan(t, c.values, c.want) })
	}
}
