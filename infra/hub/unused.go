package hub

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/outposts-dev/outposts/infra/effect"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// hooks are those of the client that the hub's module sets on its spawner, whatever the values say.
var hooks = []string{
	"options_form", "options_from_form", "apply_user_options", "pre_spawn_hook",
	"request_url", "request_headers", "request_kwargs", "request_kwargs_start", "custom_user_options",
	"custom_misc", "extra_labels", "failed_spawn_request_hook", "public_api_url", "ssh_during_startup", "ssh_node",
	"ssh_port", "ssh_username", "ssh_key", "ssh_forward_options", "ssh_recreate_at_start", "ssh_custom_svc",
	"ssh_custom_svc_remove", "update_start_response", "update_expected_path", "pre_poll_hook", "pre_stop_hook",
	"svc_name_template",
}

// spawnerOption refuses a place for an option of the outposts' configuration.
func spawnerOption(pattern, options string) effect.Refusal {
	return effect.Refuse(pattern, "has no effect: outposts start the servers; set "+options+
		" in outpost.config.spawner of each outpost")
}

// unused are the values of the chart that have no effect here, and those that other settings decide. All others are the
// chart's or the hub's.
var unused = effect.Table{
	Refusals: slices.Concat(refusals, spawnerRefusals()), Conditions: conditions, Defaults: values.Parse(defaultsText),
	Conflicts: []effect.Refusal{
		effect.Refuse("hub.image.**", "has another value in hub.image; leave one of them out"),
		effect.Refuse("hub.config.OutpostSpawner.start_timeout",
			"has another value in hub.startTimeout; leave one of them out"),
		effect.Refuse("proxy.service.**", exposed),
		effect.Refuse("ingress.**", exposed),
	},
}

const exposed = "follows from how the hub is exposed; set hub.exposure"

var refusals = []effect.Refusal{
	effect.Refuse("enabled", "has no effect: it is for charts that contain this one; leave it out"),
	effect.Refuse("nameOverride", "would change labels that policies and checks rely on; leave it out"),
	effect.Refuse("rbac.enabled", "has no effect in this chart any more; set values.rbac.create"),

	effect.Refuse("hub.config.JupyterHub.allow_named_servers",
		"is what values.hub.allowNamedServers says, true; leave it out"),
	effect.Refuse("hub.config.JupyterHub.base_url",
		"is unknown to the proxy, probes and outposts; set values.hub.baseUrl"),
	effect.Refuse("hub.config.JupyterHub.spawner_class",
		"has no effect: the hub's module sets its own; leave it out"),
	effect.Refuse("hub.config.JupyterHub.services.**", "has no effect in this chart; set values.hub.services"),
	effect.Refuse("hub.config.JupyterHub.proxy_auth_token",
		"has no effect in this chart; set values.proxy.secretToken"),
	effect.Refuse("hub.config.ConfigurableHTTPProxy.auth_token",
		"has no effect in this chart; set values.proxy.secretToken"),
	effect.Refuse("hub.config.KubeSpawner.**",
		"has no effect: outposts start the servers; set it in outpost.config.spawner of each outpost"),

	effect.Refuse("singleuser.defaultUrl", ""), // the hub passes it on to every server
	effect.Refuse("singleuser.startTimeout", "has no effect: outposts start the servers; set hub.startTimeout"),
	effect.Refuse("singleuser.cloudMetadata.**", "has no effect: outposts start the servers; set "+
		"outpost.values.singleuser.networkPolicy.egressAllowRules.cloudMetadataServer of each outpost"),
	effect.Refuse("singleuser.networkPolicy.**", "has no effect: outposts start the servers; set "+
		"outpost.values.singleuser.networkPolicy of each outpost"),
	effect.Refuse("singleuser.networkTools.**", "has no effect: outposts start no such container; leave it out"),
	spawnerOption("singleuser.podNameTemplate", "pod_name_template"),
	spawnerOption("singleuser.cpu.limit", "cpu_limit"),
	spawnerOption("singleuser.cpu.guarantee", "cpu_guarantee"),
	spawnerOption("singleuser.memory.limit", "mem_limit"),
	spawnerOption("singleuser.memory.guarantee", "mem_guarantee"),
	spawnerOption("singleuser.image.pullPolicy", "image_pull_policy"),
	spawnerOption("singleuser.image.pullSecrets.**", "image_pull_secrets"),
	spawnerOption("singleuser.image.**", "image"),
	spawnerOption("singleuser.initContainers.**", "init_containers"),
	spawnerOption("singleuser.profileList.**", "profile_list"),
	spawnerOption("singleuser.extraFiles.**", "volumes and volume_mounts"),
	spawnerOption("singleuser.extraEnv.**", "environment"),
	spawnerOption("singleuser.nodeSelector.**", "node_selector"),
	spawnerOption("singleuser.extraTolerations.**", "tolerations"),
	spawnerOption("singleuser.extraNodeAffinity.required.**", "node_affinity_required"),
	spawnerOption("singleuser.extraNodeAffinity.preferred.**", "node_affinity_preferred"),
	spawnerOption("singleuser.extraPodAffinity.required.**", "pod_affinity_required"),
	spawnerOption("singleuser.extraPodAffinity.preferred.**", "pod_affinity_preferred"),
	spawnerOption("singleuser.extraPodAntiAffinity.required.**", "pod_anti_affinity_required"),
	spawnerOption("singleuser.extraPodAntiAffinity.preferred.**", "pod_anti_affinity_preferred"),
	spawnerOption("singleuser.cmd.**", "cmd"),
	spawnerOption("singleuser.events", "events_enabled"),
	spawnerOption("singleuser.extraAnnotations.**", "extra_annotations"),
	spawnerOption("singleuser.extraContainers.**", "extra_containers"),
	spawnerOption("singleuser.extraLabels.**", "extra_labels"),
	spawnerOption("singleuser.extraPodConfig.**", "extra_pod_config"),
	spawnerOption("singleuser.extraResource.guarantees.**", "extra_resource_guarantees"),
	spawnerOption("singleuser.extraResource.limits.**", "extra_resource_limits"),
	spawnerOption("singleuser.fsGid", "fs_gid"),
	spawnerOption("singleuser.lifecycleHooks.**", "lifecycle_hooks"),
	spawnerOption("singleuser.serviceAccountName", "service_account"),
	spawnerOption("singleuser.storage.type", "storage_pvc_ensure"),
	spawnerOption("singleuser.storage.capacity", "storage_capacity"),
	spawnerOption("singleuser.storage.dynamic.pvcNameTemplate", "pvc_name_template"),
	spawnerOption("singleuser.storage.dynamic.storageAccessModes.**", "storage_access_modes"),
	spawnerOption("singleuser.storage.dynamic.storageClass", "storage_class"),
	spawnerOption("singleuser.storage.extraLabels.**", "storage_extra_labels"),
	spawnerOption("singleuser.storage.**", "volumes and volume_mounts"),
	spawnerOption("singleuser.allowPrivilegeEscalation", "allow_privilege_escalation"),
	spawnerOption("singleuser.uid", "uid"),
	effect.Refuse("singleuser.**",
		"has no effect: outposts start the servers; set it as an option in outpost.config.spawner of each outpost"),

	effect.Refuse("prePuller.**",
		"has no effect: no server runs in the hub's namespace; set outpost.values.prePuller of each outpost"),
	spawnerOption("scheduling.userScheduler.**", "scheduler_name"),
	effect.Refuse("scheduling.userPlaceholder.**",
		"has no effect: no server runs in the hub's namespace; leave it out"),
	effect.Refuse("scheduling.podPriority.imagePullerPriority",
		"has no effect: nothing is pulled beforehand; leave it out"),
	effect.Refuse("scheduling.podPriority.userPlaceholderPriority",
		"has no effect: there are no placeholders; leave it out"),
	spawnerOption("scheduling.userPods.tolerations.**", "tolerations"),
	spawnerOption("scheduling.userPods.nodeAffinity.**", "node_affinity_preferred or node_affinity_required"),
}

// unsent are options of JupyterHub's own spawner that the client neither uses nor sends.
var unsent = []string{"cmd", "args", "cpu_guarantee", "cpu_limit", "mem_guarantee", "mem_limit"}

func spawnerRefusals() (all []effect.Refusal) {
	// The module's own class is called Spawner, too.
	for _, class := range []string{"OutpostSpawner", "ForwardBaseSpawner", "Spawner"} {
		for _, option := range unsent {
			all = append(all, spawnerOption("hub.config."+class+"."+option+".**", option))
		}
		for _, hook := range hooks {
			all = append(all, effect.Refuse("hub.config."+class+"."+hook+".**",
				"is what systems need, and the hub's module sets it; leave it out"))
		}
	}
	return all
}

var conditions = []effect.Condition{
	effect.While("ingress.**", "ingress.enabled", true),
	effect.While("httpRoute.**", "httpRoute.enabled", true),
	effect.While("imagePullSecret.**", "imagePullSecret.create", true),
	effect.While("cull.**", "cull.enabled", true),
	effect.While("scheduling.podPriority.**", "scheduling.podPriority.enabled", true),
	effect.While("hub.db.pvc.**", "hub.db.type", "sqlite-pvc"),
	effect.While("hub.db.url", "hub.db.type", "mysql", "postgres", "other"),
	effect.While("hub.db.password", "hub.db.type", "mysql", "postgres"),
	effect.While("hub.pdb.**", "hub.pdb.enabled", true),
	effect.While("hub.networkPolicy.**", "hub.networkPolicy.enabled", true),
	effect.While("hub.livenessProbe.**", "hub.livenessProbe.enabled", true),
	effect.While("hub.readinessProbe.**", "hub.readinessProbe.enabled", true),
	effect.While("hub.service.ports.nodePort", "hub.service.type", "NodePort", "LoadBalancer"),
	effect.While("hub.service.loadBalancerIP", "hub.service.type", "LoadBalancer"),
	effect.While("hub.serviceAccount.annotations.**", "hub.serviceAccount.create", true),
	effect.While("proxy.chp.pdb.**", "proxy.chp.pdb.enabled", true),
	effect.While("proxy.chp.networkPolicy.**", "proxy.chp.networkPolicy.enabled", true),
	effect.While("proxy.chp.livenessProbe.**", "proxy.chp.livenessProbe.enabled", true),
	effect.While("proxy.chp.readinessProbe.**", "proxy.chp.readinessProbe.enabled", true),
	effect.While("proxy.service.nodePorts.**", "proxy.service.type", "NodePort", "LoadBalancer"),
	effect.While("proxy.service.loadBalancerIP", "proxy.service.type", "LoadBalancer"),
	effect.While("proxy.service.loadBalancerSourceRanges.**", "proxy.service.type", "LoadBalancer"),
	effect.While("proxy.https.**", "proxy.https.enabled", true),
	effect.While("proxy.https.letsencrypt.**", "proxy.https.type", "letsencrypt"),
	effect.While("proxy.https.hosts.**", "proxy.https.type", "letsencrypt"),
	effect.While("proxy.https.manual.**", "proxy.https.type", "manual"),
	effect.While("proxy.https.secret.**", "proxy.https.type", "secret"),
	effect.While("proxy.traefik.**", "proxy.https.enabled", true),
	effect.While("proxy.traefik.**", "proxy.https.type", "letsencrypt"),
	effect.While("proxy.traefik.pdb.**", "proxy.traefik.pdb.enabled", true),
	effect.While("proxy.traefik.networkPolicy.**", "proxy.traefik.networkPolicy.enabled", true),
	effect.While("proxy.secretSync.**", "proxy.https.enabled", true),
	effect.While("proxy.secretSync.**", "proxy.https.type", "letsencrypt"),
}

// secondRoute finds the chart's own route beside that of the exposure.
func (a Args) secondRoute() (faults schema.Faults) {
	if a.Exposure.Type == exposure.Gateway && values.At(a.Values, "httpRoute", "enabled") == true {
		faults.Add("httpRoute", exposed)
	}
	return faults
}

// identities are the fields that tell the entries of a list of the hub's pod apart.
var identities = map[string]string{
	"initContainers": "name", "extraEnv": "name", "extraVolumes": "name", "extraVolumeMounts": "mountPath",
}

// taken finds the operator's entries of lists that would take the place of what systems need in the hub's pod.
func (a Args) taken() (faults []schema.Fault) {
	needed := required(a)
	for _, list := range slices.Sorted(maps.Keys(identities)) {
		field := identities[list]
		ours, _ := values.At(needed, "hub", list).([]any)
		theirs, _ := values.At(a.own(), "hub", list).([]any)
		for i, entry := range theirs {
			name := fieldOf(entry, field)
			same := func(other any) bool { return name != nil && fieldOf(other, field) == name }
			if slices.ContainsFunc(ours, same) && len(values.Lost(ours, []any{entry})) > 0 {
				faults = append(faults, schema.Fault{
					Path: []string{"hub", list, strconv.Itoa(i), field},
					Text: fmt.Sprintf("%v is what systems need; choose another", name),
				})
			}
		}
	}
	return faults
}

func fieldOf(entry any, field string) any {
	m, _ := entry.(map[string]any)
	return m[field]
}
