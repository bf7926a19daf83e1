package options

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Settings are the options of one start after merging, with defaults. Fields are called like options; pointers are nil
// where null means not set.
type Settings struct {
	Image            string           `json:"image"`
	ImagePullPolicy  *string          `json:"image_pull_policy"`
	ImagePullSecrets []map[string]any `json:"image_pull_secrets"`

	Namespace             string            `json:"namespace"`
	PodNameTemplate       string            `json:"pod_name_template"`
	DNSNameTemplate       string            `json:"dns_name_template"`
	PVCNameTemplate       string            `json:"pvc_name_template"`
	SecretNameTemplate    string            `json:"secret_name_template"`
	SlugScheme            string            `json:"slug_scheme"`
	EnableUserNamespaces  bool              `json:"enable_user_namespaces"`
	UserNamespaceTemplate string            `json:"user_namespace_template"`
	UserNamespaceLabels   map[string]any    `json:"user_namespace_labels"`
	UserNamespaceAnnots   map[string]any    `json:"user_namespace_annotations"`
	ComponentLabel        string            `json:"component_label"`
	CommonLabels          map[string]string `json:"common_labels"`
	ExtraLabels           map[string]any    `json:"extra_labels"`
	ExtraAnnotations      map[string]any    `json:"extra_annotations"`

	Cmd               []string       `json:"cmd"`
	Args              []string       `json:"args"`
	Port              int            `json:"port"`
	IP                string         `json:"ip"`
	WorkingDir        *string        `json:"working_dir"`
	Environment       map[string]any `json:"environment"`
	EnvKeep           []string       `json:"env_keep"`
	DefaultURL        string         `json:"default_url"`
	NotebookDir       string         `json:"notebook_dir"`
	Debug             bool           `json:"debug"`
	DisableUserConfig bool           `json:"disable_user_config"`
	LifecycleHooks    map[string]any `json:"lifecycle_hooks"`

	CPULimit                *float64          `json:"cpu_limit"`
	CPUGuarantee            *float64          `json:"cpu_guarantee"`
	MemLimit                *int64            `json:"mem_limit"`
	MemGuarantee            *int64            `json:"mem_guarantee"`
	ExtraResourceLimits     map[string]string `json:"extra_resource_limits"`
	ExtraResourceGuarantees map[string]string `json:"extra_resource_guarantees"`

	Volumes                 []any          `json:"volumes"`
	VolumeMounts            []any          `json:"volume_mounts"`
	Homes                   *Homes         `json:"-"`
	StoragePVCEnsure        bool           `json:"storage_pvc_ensure"`
	StorageCapacity         *string        `json:"storage_capacity"`
	StorageClass            *string        `json:"storage_class"`
	StorageAccessModes      []string       `json:"storage_access_modes"`
	StorageSelector         map[string]any `json:"storage_selector"`
	StorageExtraLabels      map[string]any `json:"storage_extra_labels"`
	StorageExtraAnnotations map[string]any `json:"storage_extra_annotations"`

	UID                          *int64            `json:"uid"`
	GID                          *int64            `json:"gid"`
	FSGID                        *int64            `json:"fs_gid"`
	SupplementalGIDs             []int64           `json:"supplemental_gids"`
	Privileged                   bool              `json:"privileged"`
	AllowPrivilegeEscalation     *bool             `json:"allow_privilege_escalation"`
	ContainerSecurityContext     map[string]any    `json:"container_security_context"`
	PodSecurityContext           map[string]any    `json:"pod_security_context"`
	ServiceAccount               *string           `json:"service_account"`
	AutomountServiceAccountToken *bool             `json:"automount_service_account_token"`
	NodeSelector                 map[string]string `json:"node_selector"`
	Tolerations                  []any             `json:"tolerations"`
	NodeAffinityPreferred        []any             `json:"node_affinity_preferred"`
	NodeAffinityRequired         []any             `json:"node_affinity_required"`
	PodAffinityPreferred         []any             `json:"pod_affinity_preferred"`
	PodAffinityRequired          []any             `json:"pod_affinity_required"`
	PodAntiAffinityPreferred     []any             `json:"pod_anti_affinity_preferred"`
	PodAntiAffinityRequired      []any             `json:"pod_anti_affinity_required"`
	PriorityClassName            string            `json:"priority_class_name"`
	SchedulerName                *string           `json:"scheduler_name"`

	InitContainers       []any          `json:"init_containers"`
	ExtraContainers      []any          `json:"extra_containers"`
	ExtraContainerConfig map[string]any `json:"extra_container_config"`
	ExtraPodConfig       map[string]any `json:"extra_pod_config"`
	PodOverlay           map[string]any `json:"pod_overlay"`

	InternalSSL     *bool  `json:"internal_ssl"`
	ServicesEnabled bool   `json:"services_enabled"`
	PodConnectIP    string `json:"pod_connect_ip"`
	SecretMountPath string `json:"secret_mount_path"`

	StartTimeout              int    `json:"start_timeout"`
	DeleteGracePeriod         *int64 `json:"delete_grace_period"`
	DeleteStoppedPods         bool   `json:"delete_stopped_pods"`
	ReadyContainers           string `json:"ready_containers"`
	EventsEnabled             bool   `json:"events_enabled"`
	SlowSpawnMessageThreshold int    `json:"slow_spawn_message_threshold"`
	SlowSpawnMessageFrequency int    `json:"slow_spawn_message_frequency"`
	SlowSpawnMessage          string `json:"slow_spawn_message"`
	K8sAPIRequestTimeout      int    `json:"k8s_api_request_timeout"`
	K8sAPIRequestRetryTimeout int    `json:"k8s_api_request_retry_timeout"`
}

// Slug schemes: how user and server names become parts of Kubernetes names.
const (
	SchemeSafe   = "safe"   // KubeSpawner 7: valid names stay, others are cut and hashed
	SchemeEscape = "escape" // KubeSpawner 6 and before: every byte outside a-z0-9 becomes -hex
	SchemeClient = "client" // as the hub's OutpostSpawner names its own Service: escape, but hyphens stay
)

// Values of ready_containers: whose readiness ends a start.
const (
	ReadyNotebook = "notebook" // the single-user server's container
	ReadyAll      = "all"      // every container, as KubeSpawner asks
)

const (
	// DefaultGracePeriod is how many seconds a pod has to end unless anything else is configured.
	DefaultGracePeriod = 1

	defaultPort = 8888
)

// Defaults are the values of options that nobody sets, by name: those of the table and the outpost's own namespace and
// start timeout; zero means KubeSpawner's 60 s.
func Defaults(namespace string, startTimeout time.Duration) map[string]any {
	out := map[string]any{"namespace": namespace}
	for _, o := range table {
		if o.initial != nil {
			out[o.name] = o.initial
		}
	}
	if startTimeout > 0 {
		out["start_timeout"] = int64(startTimeout / time.Second)
	}
	return out
}

// NewSettings returns merged, checked options over the defaults.
func NewSettings(merged, below map[string]any) (Settings, error) {
	all := maps.Clone(below)
	for name, value := range merged {
		if m, ok := value.(map[string]any); ok && byName[name].list {
			value = sortedValues(m)
		}
		all[name] = value
	}
	s := Settings{Homes: homesOf(all["homes"])}
	s.Homes.into(all, merged)
	data, err := json.Marshal(all)
	if err != nil {
		return Settings{}, fmt.Errorf("encode options: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return Settings{}, fmt.Errorf("decode options: %w", err)
	}
	if s.Port == 0 {
		s.Port = defaultPort
	}
	return s, nil
}

// Command is what the notebook container runs: cmd and args, or nothing (the image's own) without cmd.
func (s Settings) Command() []string {
	if len(s.Cmd) == 0 {
		return nil
	}
	return append(append([]string{}, s.Cmd...), s.Args...)
}

// Seconds is the duration of an option that is given in seconds.
func Seconds(n int) time.Duration { return time.Duration(n) * time.Second }
