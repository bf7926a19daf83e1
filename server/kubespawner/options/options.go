// Package options reads KubeSpawner's options: what an operator, a flavor, a profile or a hub may set, checked and
// merged.
package options

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/outposts-dev/outposts/server/suggest"
)

// An option is one name that an operator, a flavor, a profile or (if allowed) a hub may set.
type option struct {
	name    string
	kind    kind // nil accepts anything
	initial any  // the default; nil is empty, false, 0 or null, whichever the setting's type has
	list    bool // a list that may be written as a map: its values form the list, in the order of its keys
	// idle options are known and have no effect here: they act inside a hub, configure KubeSpawner's own API client, or
	// are Python functions.
	idle bool
}

// table lists KubeSpawner 7.1's options, then ours. Each that has an effect is a field of [Settings] too. The defaults
// are KubeSpawner's, but for three: a request to Kubernetes may take 10 s, not 3, because admission webhooks are slow;
// the namespace and start_timeout are those of the outpost (see [Defaults]).
var table = []option{
	{name: "image", kind: str, initial: "quay.io/jupyterhub/singleuser:latest"},
	{name: "image_pull_policy", kind: nullable(str)},
	{name: "image_pull_secrets", kind: pullSecrets},
	{name: "namespace", kind: str},
	{name: "pod_name_template", kind: str, initial: "jupyter-{user_server}"},
	{name: "dns_name_template", kind: str, initial: "{name}.{namespace}.svc.cluster.local"},
	{name: "pvc_name_template", kind: str, initial: "claim-{user_server}"},
	{name: "secret_name_template", kind: str, initial: "{pod_name}"},
	{name: "slug_scheme", kind: oneOf(SchemeSafe, SchemeEscape, SchemeClient), initial: SchemeSafe},
	{name: "component_label", kind: str, initial: "singleuser-server"},
	{name: "common_labels", kind: stringMap, initial: map[string]any{
		"app.kubernetes.io/name":       "jupyterhub",
		"app.kubernetes.io/managed-by": "kubespawner",
		"app":                          "jupyterhub",
		"heritage":                     "jupyterhub",
	}},
	{name: "extra_labels", kind: stringMap},
	{name: "extra_annotations", kind: stringMap},
	{name: "enable_user_namespaces", kind: boolean},
	{name: "user_namespace_template", kind: str, initial: "{hubnamespace}-{username}"},
	{name: "user_namespace_labels", kind: stringMap},
	{name: "user_namespace_annotations", kind: stringMap},
	{name: "cmd", kind: nullable(stringList)},
	{name: "args", kind: stringList},
	{name: "port", kind: integerIn(0, 65535)},
	{name: "ip", kind: str, initial: "0.0.0.0"},
	{name: "working_dir", kind: nullable(str)},
	{name: "environment", kind: environment},
	{name: "env_keep", kind: stringList},
	{name: "default_url", kind: str},
	{name: "notebook_dir", kind: str},
	{name: "debug", kind: boolean},
	{name: "disable_user_config", kind: boolean},
	{name: "lifecycle_hooks", kind: mapping},
	{name: "cpu_limit", kind: nullable(cpu)},
	{name: "cpu_guarantee", kind: nullable(cpu)},
	{name: "mem_limit", kind: nullable(memory)},
	{name: "mem_guarantee", kind: nullable(memory)},
	{name: "extra_resource_limits", kind: quantities},
	{name: "extra_resource_guarantees", kind: quantities},
	{name: "volumes", kind: objectList, list: true},
	{name: "volume_mounts", kind: objectList, list: true},
	{name: "storage_pvc_ensure", kind: boolean},
	{name: "storage_capacity", kind: nullable(str)},
	{name: "storage_class", kind: nullable(str)},
	{name: "storage_access_modes", kind: stringList, initial: []any{"ReadWriteOnce"}},
	{name: "storage_selector", kind: mapping},
	{name: "storage_extra_labels", kind: stringMap},
	{name: "storage_extra_annotations", kind: stringMap},
	{name: "delete_pvc", kind: boolean, idle: true}, // no request of the protocol removes a user for good
	{name: "remember_pvc_name", kind: boolean, idle: true},
	{name: "handle_legacy_names", kind: boolean, idle: true},
	{name: "uid", kind: nullable(integer)},
	{name: "gid", kind: nullable(integer)},
	{name: "fs_gid", kind: nullable(integer)},
	{name: "supplemental_gids", kind: integerList},
	{name: "privileged", kind: boolean},
	{name: "allow_privilege_escalation", kind: nullable(boolean), initial: false},
	{name: "container_security_context", kind: mapping},
	{name: "pod_security_context", kind: mapping},
	{name: "service_account", kind: nullable(str)},
	{name: "automount_service_account_token", kind: nullable(boolean)},
	{name: "node_selector", kind: stringMap},
	{name: "tolerations", kind: objectList, list: true},
	{name: "node_affinity_preferred", kind: objectList, list: true},
	{name: "node_affinity_required", kind: objectList, list: true},
	{name: "pod_affinity_preferred", kind: objectList, list: true},
	{name: "pod_affinity_required", kind: objectList, list: true},
	{name: "pod_anti_affinity_preferred", kind: objectList, list: true},
	{name: "pod_anti_affinity_required", kind: objectList, list: true},
	{name: "priority_class_name", kind: str},
	{name: "scheduler_name", kind: nullable(str)},
	{name: "init_containers", kind: objectList, list: true},
	{name: "extra_containers", kind: objectList, list: true},
	{name: "extra_container_config", kind: mapping},
	{name: "extra_pod_config", kind: mapping},
	{name: "services_enabled", kind: boolean},
	{name: "pod_connect_ip", kind: str},
	{name: "secret_mount_path", kind: folder, initial: "/etc/jupyterhub/ssl/"},
	{name: "start_timeout", kind: integerIn(1, maxSeconds), initial: int64(60)},
	{name: "delete_grace_period", kind: integerIn(0, maxSeconds)},
	{name: "delete_stopped_pods", kind: boolean, initial: true},
	{name: "events_enabled", kind: boolean, initial: true},
	{name: "slow_spawn_message_threshold", kind: integerIn(0, maxSeconds), initial: int64(60)},
	{name: "slow_spawn_message_frequency", kind: integerIn(1, maxSeconds), initial: int64(5)},
	{name: "slow_spawn_message", kind: str, initial: "The server is still starting after {seconds} seconds."},
	{name: "k8s_api_request_timeout", kind: integerIn(1, maxSeconds), initial: int64(10)},
	{name: "k8s_api_request_retry_timeout", kind: integerIn(1, maxSeconds), initial: int64(30)},
	{name: "profile_list", kind: objectList},

	{name: "modify_pod_hook", kind: pythonOnly, idle: true}, // pod_overlay does that
	{name: "after_pod_created_hook", kind: pythonOnly, idle: true},
	{name: "get_pod_url", kind: pythonOnly, idle: true},

	{name: "internal_ssl", kind: nullable(boolean)}, // no option of KubeSpawner; the hub's client always sends it
	{name: "homes", kind: homesKind},
	{name: "shared", kind: sharedKind},
	{name: "ready_containers", kind: oneOf(ReadyNotebook, ReadyAll), initial: ReadyNotebook},
	{name: "pod_overlay", kind: mapping}, // a strategic merge patch on the finished pod
}

// unread are further idle options, of which any value is accepted.
var unread = []string{
	"k8s_api_host", "k8s_api_ssl_ca_cert", "k8s_api_verify_ssl", "k8s_api_threadpool_workers",
	"profile_form_template", "additional_profile_form_template_paths",
	"pre_spawn_hook", "post_stop_hook", "auth_state_hook", "progress_ready_hook",
	"http_timeout", "poll_interval", "poll_jitter", "consecutive_failure_limit",
	"hub_connect_url", "hub_connect_ip", "hub_connect_port", // the address that the hub sends wins
	"oauth_client_allowed_scopes", "oauth_roles", "server_token_scopes", "group_overrides",
	"apply_user_options", "options_form", "options_from_form", "ssl_alt_names", "ssl_alt_names_include_local",
}

// byName is table, and what is unread, by name.
var byName = func() map[string]option {
	m := make(map[string]option, len(table)+len(unread))
	for _, name := range unread {
		m[name] = option{name: name, idle: true}
	}
	for _, o := range table {
		m[o.name] = o
	}
	return m
}()

// currentNames are the names of all options, in alphabetical order.
var currentNames = slices.Sorted(maps.Keys(byName))

// Names returns the names of all options, in alphabetical order, and image_spec, the only old one that is accepted.
func Names() []string {
	names := append(slices.Clone(currentNames), "image_spec")
	slices.Sort(names)
	return names
}

// Idle returns the names of the options that have no effect in an outpost, in alphabetical order.
func Idle() []string {
	return slices.DeleteFunc(slices.Clone(currentNames), func(name string) bool { return !byName[name].idle })
}

// oldNames are names of earlier KubeSpawners. Only image_spec is still accepted; for the others the error says what to
// use instead.
var oldNames = map[string]string{
	"image_spec":                            "image",
	"singleuser_image_spec":                 "image",
	"singleuser_working_dir":                "working_dir",
	"singleuser_service_account":            "service_account",
	"singleuser_extra_labels":               "extra_labels",
	"singleuser_extra_annotations":          "extra_annotations",
	"singleuser_image_pull_policy":          "image_pull_policy",
	"singleuser_image_pull_secrets":         "image_pull_secrets",
	"singleuser_node_selector":              "node_selector",
	"singleuser_uid":                        "uid",
	"singleuser_fs_gid":                     "fs_gid",
	"singleuser_supplemental_gids":          "supplemental_gids",
	"singleuser_privileged":                 "privileged",
	"singleuser_extra_pod_config":           "extra_pod_config",
	"singleuser_init_containers":            "init_containers",
	"singleuser_extra_container_config":     "extra_container_config",
	"singleuser_extra_containers":           "extra_containers",
	"user_storage_class":                    "storage_class",
	"user_storage_pvc_ensure":               "storage_pvc_ensure",
	"user_storage_capacity":                 "storage_capacity",
	"user_storage_extra_labels":             "storage_extra_labels",
	"user_storage_access_modes":             "storage_access_modes",
	"singleuser_lifecycle_hooks":            "lifecycle_hooks",
	"singleuser_allow_privilege_escalation": "allow_privilege_escalation",
}

// Check notes every wrong or unknown option of one layer of the operator's, its profiles with every choice included,
// each by its key below values. It returns the others as [CheckLayer] does.
func Check(values map[string]any, p *Problems) map[string]any {
	checked := CheckLayer(values, p)
	list, ok := checked["profile_list"]
	if plain, err := canonical(values); !ok && err == nil { // the profiles beside a wrong one
		list = plain["profile_list"]
	}
	checkProfiles(list, p)
	return checked
}

// CheckLayer returns values, decoded JSON or YAML, with each option in its one form; wrong ones are noted and left out.
func CheckLayer(values map[string]any, p *Problems) map[string]any {
	plain, err := canonical(values)
	if err != nil {
		p.Addf("options", "cannot be written as JSON: %v", err)
		return nil
	}
	out := make(map[string]any, len(plain))
	for _, name := range slices.Sorted(maps.Keys(plain)) {
		value := plain[name]
		if name == "image_spec" {
			if _, both := plain["image"]; both {
				continue
			}
			name = "image"
		}
		if o := byName[name]; CheckName(name, p) && o.kind != nil {
			checked, err := o.kind(value)
			if err != nil {
				p.Addf(name, "%v", err)
			} else if !o.idle {
				out[name] = checked
			}
		}
	}
	return out
}

// CheckName reports whether there is an option of this name, and notes one that there is not.
func CheckName(name string, p *Problems) bool {
	_, known := byName[name]
	switch {
	case known || name == "image_spec":
		return true
	case oldNames[name] != "":
		p.Addf(name, "renamed; use %s", oldNames[name])
	default:
		p.Addf(name, "unknown option%s", suggest.Or(name, currentNames, ""))
	}
	return false
}

// canonical turns values from YAML or JSON into decoded JSON with int64 for integers.
func canonical(values map[string]any) (map[string]any, error) {
	data, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var out map[string]any
	if err := dec.Decode(&out); err != nil {
		return nil, err
	}
	return numbers(out).(map[string]any), nil
}

// numbers replaces each json.Number inside v.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case map[string]any:
		for k, e := range v {
			v[k] = numbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = numbers(e)
		}
	}
	return v
}

// MergeLayer puts over on top of base: maps are merged one level deep, anything else is replaced.
func MergeLayer(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for name, value := range over {
		below, ok1 := out[name].(map[string]any)
		above, ok2 := value.(map[string]any)
		if ok1 && ok2 {
			merged := maps.Clone(below)
			maps.Copy(merged, above)
			value = merged
		}
		out[name] = value
	}
	return out
}

// limits are the options of which null means no limit, or nothing guaranteed.
var limits = []string{"cpu_guarantee", "cpu_limit", "mem_guarantee", "mem_limit"}

// LimitOptions are the options that limit what a server may use.
var LimitOptions = []string{"cpu_limit", "mem_limit", "extra_resource_limits"}

// Raises reports whether a value of one of LimitOptions allows more than another one, both as they are written; of a
// map, whether one of its amounts does. 0 limits nothing; what cannot be read is noted elsewhere.
func Raises(option string, from, to any) bool {
	below := amounts(option, from)
	for name, amount := range amounts(option, to) {
		if limit := below[name]; limit != 0 && (amount == 0 || amount > limit) {
			return true
		}
	}
	return false
}

// amounts are the amounts of a limit by the names of resources, "" for the one of an option of a number.
func amounts(option string, value any) map[string]float64 {
	made := map[string]float64{}
	switch v := CheckLayer(map[string]any{option: value}, &Problems{})[option].(type) {
	case float64:
		made[""] = v
	case int64:
		made[""] = float64(v)
	case map[string]any:
		for name, amount := range v {
			if q, err := resource.ParseQuantity(fmt.Sprint(amount)); err == nil {
				made[name] = q.AsApproximateFloat64()
			}
		}
	}
	return made
}

// CheckLimits notes each limit below that null would lift: it is also what remains of a value that is commented out or
// missing. over is the layer of the operator's that comes next.
func CheckLimits(below, over map[string]any, p *Problems) {
	for _, name := range limits {
		value, set := over[name]
		if lower := below[name]; set && value == nil && lower != nil && lower != 0.0 && lower != int64(0) {
			p.Addf(name, "is null, which would lift a limit; write 0 to lift it, or leave the key out to keep it")
		}
	}
}

// Decode reads the raw values of misc or user options; one that is not JSON is noted.
func Decode(raw map[string]json.RawMessage, p *Problems) map[string]any {
	out := make(map[string]any, len(raw))
	for name, data := range raw {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			p.Addf(name, "not JSON")
			continue
		}
		out[name] = numbers(v)
	}
	return out
}

// typeName names the JSON type of v for messages.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "true or false"
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "a map"
	}
	return fmt.Sprintf("%T", v)
}
