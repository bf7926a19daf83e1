package hub

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// Hooks of the client that the hub's module sets on its spawner, whatever the values say.
var hooks = []string{
	"options_form", "options_from_form", "apply_user_options", "pre_spawn_hook",
	"request_url", "request_headers", "request_kwargs", "request_kwargs_start", "custom_user_options",
	"custom_misc", "extra_labels", "failed_spawn_request_hook", "public_api_url", "ssh_during_startup", "ssh_node",
	"ssh_port", "ssh_username", "ssh_key", "ssh_forward_options", "ssh_recreate_at_start", "ssh_custom_svc",
	"ssh_custom_svc_remove", "update_start_response", "update_expected_path", "pre_poll_hook", "pre_stop_hook",
	"svc_name_template",
}

// refusal is a place of the chart's values that has no effect here.
type refusal struct {
	pattern string // of values.Match
	text    string // why, and the key that does it
}

// spawnerOption refuses a place for an option of the outposts' configuration.
func spawnerOption(pattern, options string) refusal {
	return refusal{pattern, "has no effect: outposts start the servers; set " + options +
		" in outpost.config.spawner of each outpost"}
}

// refusals are all such places; the first that matches holds. What is in none of them is the chart's or the hub's.
var refusals = slices.Concat([]refusal{
	{"enabled", "has no effect: it is for charts that contain this one; leave it out"},
	{"nameOverride", "would change labels that policies and checks rely on; leave it out"},
	{"rbac.enabled", "has no effect in this chart any more; set values.rbac.create"},

	{"hub.config.JupyterHub.allow_named_servers", "is what values.hub.allowNamedServers says, true; leave it out"},
	{"hub.config.JupyterHub.base_url", "is unknown to the proxy, probes and outposts; set values.hub.baseUrl"},
	{"hub.config.JupyterHub.spawner_class", "has no effect: the hub's module sets its own; leave it out"},
	{"hub.config.JupyterHub.services.**", "has no effect in this chart; set values.hub.services"},
	{"hub.config.JupyterHub.proxy_auth_token", "has no effect in this chart; set values.proxy.secretToken"},
	{"hub.config.ConfigurableHTTPProxy.auth_token", "has no effect in this chart; set values.proxy.secretToken"},
	{"hub.config.KubeSpawner.**", "has no effect: outposts start the servers; set it in outpost.config.spawner of each " +
		"outpost"},

	{"singleuser.defaultUrl", ""}, // the hub passes it on to every server
	{"singleuser.startTimeout", "has no effect: outposts start the servers; set hub.startTimeout"},
	{"singleuser.cloudMetadata.**", "has no effect: outposts start the servers; set " +
		"outpost.values.singleuser.networkPolicy.egressAllowRules.cloudMetadataServer of each outpost"},
	{"singleuser.networkPolicy.**", "has no effect: outposts start the servers; set " +
		"outpost.values.singleuser.networkPolicy of each outpost"},
	{"singleuser.networkTools.**", "has no effect: outposts start no such container; leave it out"},
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
	{"singleuser.**", "has no effect: outposts start the servers; set KubeSpawner's options in outpost.config.spawner " +
		"of each outpost"},

	{"prePuller.**", "has no effect: no server runs in the hub's namespace; set outpost.values.prePuller of each outpost"},
	spawnerOption("scheduling.userScheduler.**", "scheduler_name"),
	{"scheduling.userPlaceholder.**", "has no effect: no server runs in the hub's namespace; leave it out"},
	{"scheduling.podPriority.imagePullerPriority", "has no effect: nothing is pulled beforehand; leave it out"},
	{"scheduling.podPriority.userPlaceholderPriority", "has no effect: there are no placeholders; leave it out"},
	spawnerOption("scheduling.userPods.tolerations.**", "tolerations"),
	spawnerOption("scheduling.userPods.nodeAffinity.**", "node_affinity_preferred or node_affinity_required"),
}, hookRefusals())

func hookRefusals() (all []refusal) {
	// The module's own class is called Spawner, too.
	for _, class := range []string{"OutpostSpawner", "ForwardBaseSpawner", "Spawner"} {
		for _, hook := range hooks {
			all = append(all, refusal{
				"hub.config." + class + "." + hook + ".**", "is what systems need, and the hub's module sets it; leave it out",
			})
		}
	}
	return all
}

// condition is a place of the chart's values that has an effect only with some values at another one.
type condition struct {
	pattern string // of values.Match
	at      string // the other place
	of      []any  // its values
	initial any    // its value in the chart
}

var (
	on           = []any{true}
	loadBalancer = []any{"LoadBalancer"}
	letsEncrypt  = []any{"letsencrypt"}
)

// conditions are all such places, of values that are not refused.
var conditions = []condition{
	{"ingress.**", "ingress.enabled", on, false},
	{"httpRoute.**", "httpRoute.enabled", on, false},
	{"imagePullSecret.**", "imagePullSecret.create", on, false},
	{"cull.**", "cull.enabled", on, true},
	{"scheduling.podPriority.**", "scheduling.podPriority.enabled", on, false},
	{"hub.db.pvc.**", "hub.db.type", []any{"sqlite-pvc"}, "sqlite-pvc"},
	{"hub.db.url", "hub.db.type", []any{"mysql", "postgres", "other"}, "sqlite-pvc"},
	{"hub.db.password", "hub.db.type", []any{"mysql", "postgres"}, "sqlite-pvc"},
	{"hub.pdb.**", "hub.pdb.enabled", on, false},
	{"hub.networkPolicy.**", "hub.networkPolicy.enabled", on, true},
	{"hub.livenessProbe.**", "hub.livenessProbe.enabled", on, true},
	{"hub.readinessProbe.**", "hub.readinessProbe.enabled", on, true},
	{"hub.service.ports.nodePort", "hub.service.type", []any{"NodePort", "LoadBalancer"}, "ClusterIP"},
	{"hub.service.loadBalancerIP", "hub.service.type", loadBalancer, "ClusterIP"},
	{"hub.serviceAccount.annotations.**", "hub.serviceAccount.create", on, true},
	{"proxy.chp.pdb.**", "proxy.chp.pdb.enabled", on, false},
	{"proxy.chp.networkPolicy.**", "proxy.chp.networkPolicy.enabled", on, true},
	{"proxy.chp.livenessProbe.**", "proxy.chp.livenessProbe.enabled", on, true},
	{"proxy.chp.readinessProbe.**", "proxy.chp.readinessProbe.enabled", on, true},
	{"proxy.service.nodePorts.**", "proxy.service.type", []any{"NodePort", "LoadBalancer"}, "LoadBalancer"},
	{"proxy.service.loadBalancerIP", "proxy.service.type", loadBalancer, "LoadBalancer"},
	{"proxy.service.loadBalancerSourceRanges.**", "proxy.service.type", loadBalancer, "LoadBalancer"},
	{"proxy.https.**", "proxy.https.enabled", on, false},
	{"proxy.https.letsencrypt.**", "proxy.https.type", letsEncrypt, "letsencrypt"},
	{"proxy.https.hosts.**", "proxy.https.type", letsEncrypt, "letsencrypt"},
	{"proxy.https.manual.**", "proxy.https.type", []any{"manual"}, "letsencrypt"},
	{"proxy.https.secret.**", "proxy.https.type", []any{"secret"}, "letsencrypt"},
	{"proxy.traefik.**", "proxy.https.enabled", on, false},
	{"proxy.traefik.**", "proxy.https.type", letsEncrypt, "letsencrypt"},
	{"proxy.traefik.pdb.**", "proxy.traefik.pdb.enabled", on, false},
	{"proxy.traefik.networkPolicy.**", "proxy.traefik.networkPolicy.enabled", on, true},
	{"proxy.secretSync.**", "proxy.https.enabled", on, false},
	{"proxy.secretSync.**", "proxy.https.type", letsEncrypt, "letsencrypt"},
}

// unmet returns why a place has no effect with values as they end up; empty if it has one.
func unmet(path []string, made map[string]any) string {
	for _, c := range conditions {
		at := strings.Split(c.at, ".")
		if !values.Match(c.pattern, path) || slices.Equal(at, path) {
			continue
		}
		is := values.At(made, at...)
		if is == nil {
			is = c.initial
		}
		if !slices.Contains(c.of, is) {
			return fmt.Sprintf("has no effect while values.%s is %v; set that to %s, or leave this out",
				c.at, is, alternatives(c.of))
		}
	}
	return ""
}

// alternatives are values as they are typed, in words.
func alternatives(of []any) string {
	words := make([]string, len(of))
	for i, value := range of {
		words[i] = fmt.Sprint(value)
	}
	return strings.Join(words, " or ")
}

// unused finds the operator's values that have no effect in the values as they end up. One that says what holds anyway
// is no fault.
func (a Args) unused(made map[string]any) (faults []schema.Fault) {
	different := values.Lost(required(a), a.Values)
	for _, path := range values.Leaves(a.Values) {
		holds := !slices.ContainsFunc(different, func(at []string) bool { return within(path, at) })
		if text := unusedText(path, made); text != "" && !holds {
			faults = append(faults, schema.Fault{Path: wholeList(a.Values, path), Text: text})
		}
	}
	return slices.CompactFunc(faults, func(a, b schema.Fault) bool { return slices.Equal(a.Path, b.Path) })
}

// wholeList is the part of a path that leads to the first list in a document, if there is one on the way.
func wholeList(document map[string]any, path []string) []string {
	for i := range path {
		if _, isList := values.At(document, path[:i]...).([]any); isList {
			return path[:i]
		}
	}
	return path
}

// unusedText returns why a place of the chart's values has no effect, with values as they end up; empty if it has one.
func unusedText(path []string, made map[string]any) string {
	for _, r := range refusals {
		if values.Match(r.pattern, path) {
			return r.text
		}
	}
	return unmet(path, made)
}

// identities are the fields that tell the entries of a list of the hub's pod apart.
var identities = map[string]string{
	"initContainers": "name", "extraEnv": "name", "extraVolumes": "name", "extraVolumeMounts": "mountPath",
}

// taken finds the operator's values that would take the place of what systems need.
func (a Args) taken(made map[string]any) (faults []schema.Fault) {
	add := func(path []string, text string) { faults = append(faults, schema.Fault{Path: path, Text: text}) }
	needed := required(a)
	systems := []string{"custom", "outposts"}
	if values.At(a.Values, systems...) != nil {
		add(systems, "is made from the systems; set those instead")
	}
	for _, path := range values.Lost(made, needed) {
		path = presentPart(a.Values, path)
		said := within(path, systems) || unusedText(path, made) != "" ||
			slices.ContainsFunc(faults, func(f schema.Fault) bool { return slices.Equal(f.Path, path) })
		if !said {
			add(path, "is what systems need, and cannot be changed; leave it out")
		}
	}
	for list, field := range identities {
		ours, _ := values.At(needed, "hub", list).([]any)
		theirs, _ := values.At(a.Values, "hub", list).([]any)
		for i, entry := range theirs {
			name := values.At(mapOf(entry), field)
			same := func(other any) bool { return name != nil && values.At(mapOf(other), field) == name }
			if slices.ContainsFunc(ours, same) && len(values.Lost(ours, []any{entry})) > 0 {
				add([]string{"hub", list, strconv.Itoa(i), field}, fmt.Sprintf("%v is what systems need; choose another", name))
			}
		}
	}
	slices.SortFunc(faults, func(a, b schema.Fault) int { return strings.Compare(a.Key(), b.Key()) })
	return faults
}

// within reports whether a path is another one, or below it.
func within(path, at []string) bool { return len(path) >= len(at) && slices.Equal(path[:len(at)], at) }

func mapOf(entry any) map[string]any {
	m, _ := entry.(map[string]any)
	return m
}

// presentPart is the part of a path that is in a document.
func presentPart(document map[string]any, path []string) []string {
	var here any = document
	for i, key := range path {
		inner, _ := here.(map[string]any)
		below, there := inner[key]
		if !there {
			return path[:i]
		}
		here = below
	}
	return path
}
