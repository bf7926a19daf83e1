package kubespawner

import (
	"encoding/json"
	"maps"
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// Names in a pod.
const (
	NotebookContainer = "notebook"
	NotebookPort      = "notebook-port"
	sslVolume         = "jupyterhub-internal-certs"
)

// podInput is what a pod is made of. Everything in it is expanded already.
type podInput struct {
	Name, Namespace string
	Labels          map[string]string
	Annotations     map[string]string
	Env             map[string]any
	SSLSecret       string // name of the Secret with certificates; empty without internal TLS
	Settings        options.Settings
}

// buildPod makes the pod as KubeSpawner's make_pod does, in the same order of merging: extra_container_config on the
// notebook container, then other containers and affinity, extra_pod_config, and last pod_overlay, which KubeSpawner
// does not have. What cannot be built is noted by option.
func buildPod(in podInput, p *options.Problems) *corev1.Pod {
	s := in.Settings
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: in.Name, Namespace: in.Namespace, Labels: in.Labels, Annotations: in.Annotations,
		},
	}
	spec := &pod.Spec
	spec.RestartPolicy = corev1.RestartPolicyOnFailure
	for i, ref := range s.ImagePullSecrets {
		var secret corev1.LocalObjectReference
		decodeInto(&secret, ref, "image_pull_secrets["+strconv.Itoa(i)+"]", p)
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, secret)
	}
	spec.SecurityContext = podSecurity(s, p)
	serviceAccount(spec, s)
	if len(s.NodeSelector) > 0 {
		spec.NodeSelector = s.NodeSelector
	}
	if s.SchedulerName != nil {
		spec.SchedulerName = *s.SchedulerName
	}
	spec.Volumes = decodeList[corev1.Volume](s.Volumes, "volumes", p)
	spec.InitContainers = decodeList[corev1.Container](s.InitContainers, "init_containers", p)
	spec.Tolerations = decodeList[corev1.Toleration](s.Tolerations, "tolerations", p)

	notebook := buildNotebook(in, p)
	if in.SSLSecret != "" {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: sslVolume, VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{SecretName: in.SSLSecret, DefaultMode: sslMode(spec)},
		}})
	}
	replaceFields(&notebook, s.ExtraContainerConfig, "extra_container_config", p)
	spec.Containers = append([]corev1.Container{notebook},
		decodeList[corev1.Container](s.ExtraContainers, "extra_containers", p)...)
	spec.Affinity = affinity(s, p)
	spec.PriorityClassName = s.PriorityClassName
	replaceFields(spec, s.ExtraPodConfig, "extra_pod_config", p)
	requireNames(spec.Containers, "extra_containers", p)
	requireNames(spec.InitContainers, "init_containers", p)
	overlay(pod, s.PodOverlay, p)
	if notebookOf(pod) == nil {
		p.Addf("extra_container_config, extra_pod_config or pod_overlay",
			"leaves no container named %s", NotebookContainer)
	}
	return pod
}

// notebookOf returns the container that is the single-user server, nil if there is none.
func notebookOf(pod *corev1.Pod) *corev1.Container {
	for i, c := range pod.Spec.Containers {
		if c.Name == NotebookContainer {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

// buildNotebook makes the container that is the single-user server.
func buildNotebook(in podInput, p *options.Problems) corev1.Container {
	s := in.Settings
	c := corev1.Container{
		Name:         NotebookContainer,
		Image:        s.Image,
		Args:         s.Command(),
		Ports:        []corev1.ContainerPort{{Name: NotebookPort, ContainerPort: int32(s.Port)}},
		Env:          orderEnvironment(in.Env, p),
		VolumeMounts: decodeList[corev1.VolumeMount](s.VolumeMounts, "volume_mounts", p),
		Resources: corev1.ResourceRequirements{
			Limits:   resources(s.CPULimit, s.MemLimit, s.ExtraResourceLimits),
			Requests: resources(s.CPUGuarantee, s.MemGuarantee, s.ExtraResourceGuarantees),
		},
		SecurityContext: containerSecurity(s, p),
	}
	if s.WorkingDir != nil {
		c.WorkingDir = *s.WorkingDir
	}
	if s.ImagePullPolicy != nil {
		c.ImagePullPolicy = corev1.PullPolicy(*s.ImagePullPolicy)
	}
	if s.LifecycleHooks != nil {
		c.Lifecycle = &corev1.Lifecycle{}
		decodeInto(c.Lifecycle, s.LifecycleHooks, "lifecycle_hooks", p)
	}
	if in.SSLSecret != "" {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: sslVolume, MountPath: s.SecretMountPath})
	}
	return c
}

// sslMode is the mode of key and certificate. It differs from KubeSpawner's 0777: the group of the pod's volumes may
// read them, and without such a group everybody in the pod's containers.
func sslMode(spec *corev1.PodSpec) *int32 {
	if spec.SecurityContext != nil && spec.SecurityContext.FSGroup != nil {
		return new(int32(0o440))
	}
	return new(int32(0o444))
}

// resources makes one list of amounts; 0 is not set, and extra ones win.
func resources(cores *float64, bytes *int64, extra map[string]string) corev1.ResourceList {
	list := corev1.ResourceList{}
	if cores != nil && *cores != 0 {
		list[corev1.ResourceCPU] = resource.MustParse(strconv.FormatFloat(*cores, 'f', -1, 64))
	}
	if bytes != nil && *bytes != 0 {
		list[corev1.ResourceMemory] = *resource.NewQuantity(*bytes, resource.BinarySI)
	}
	for name, amount := range extra {
		list[corev1.ResourceName(name)] = resource.MustParse(amount) // checked by the option's kind
	}
	return list
}

func containerSecurity(s options.Settings, p *options.Problems) *corev1.SecurityContext {
	m := map[string]any{}
	if s.UID != nil {
		m["runAsUser"] = *s.UID
	}
	if s.GID != nil {
		m["runAsGroup"] = *s.GID
	}
	if s.Privileged {
		m["privileged"] = true
	}
	if s.AllowPrivilegeEscalation != nil {
		m["allowPrivilegeEscalation"] = *s.AllowPrivilegeEscalation
	}
	return security[corev1.SecurityContext](m, s.ContainerSecurityContext, "container_security_context", p)
}

func podSecurity(s options.Settings, p *options.Problems) *corev1.PodSecurityContext {
	m := map[string]any{}
	if s.FSGID != nil {
		m["fsGroup"] = *s.FSGID
	}
	if len(s.SupplementalGIDs) > 0 {
		m["supplementalGroups"] = s.SupplementalGIDs
	}
	return security[corev1.PodSecurityContext](m, s.PodSecurityContext, "pod_security_context", p)
}

// security puts the explicit context over the single options; nil if nothing is set. Keys are camelCase only.
func security[T any](m, explicit map[string]any, option string, p *options.Problems) *T {
	dst := new(T)
	for key, value := range explicit {
		if name, ok := jsonNames(reflect.TypeFor[T]())[key]; ok && name.json != key {
			p.Addf(option, "unknown key %q; keys are camelCase", key)
			continue
		}
		m[key] = value
	}
	if len(m) == 0 {
		return nil
	}
	decodeInto(dst, m, option, p)
	return dst
}

// serviceAccount mounts no token unless an account or the option asks for it.
func serviceAccount(spec *corev1.PodSpec, s options.Settings) {
	automount := s.AutomountServiceAccountToken
	if s.ServiceAccount != nil {
		spec.ServiceAccountName = *s.ServiceAccount
	} else if automount == nil {
		automount = new(bool)
	}
	spec.AutomountServiceAccountToken = automount
}

func affinity(s options.Settings, p *options.Problems) *corev1.Affinity {
	a := &corev1.Affinity{}
	if len(s.NodeAffinityPreferred)+len(s.NodeAffinityRequired) > 0 {
		a.NodeAffinity = &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: decodeList[corev1.PreferredSchedulingTerm](
				s.NodeAffinityPreferred, "node_affinity_preferred", p),
		}
	}
	if len(s.NodeAffinityRequired) > 0 {
		terms := decodeList[corev1.NodeSelectorTerm](s.NodeAffinityRequired, "node_affinity_required", p)
		a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution = &corev1.NodeSelector{NodeSelectorTerms: terms}
	}
	preferred := decodeList[corev1.WeightedPodAffinityTerm](s.PodAffinityPreferred, "pod_affinity_preferred", p)
	required := decodeList[corev1.PodAffinityTerm](s.PodAffinityRequired, "pod_affinity_required", p)
	if len(preferred)+len(required) > 0 {
		a.PodAffinity = &corev1.PodAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: preferred,
			RequiredDuringSchedulingIgnoredDuringExecution:  required,
		}
	}
	preferred = decodeList[corev1.WeightedPodAffinityTerm](s.PodAntiAffinityPreferred, "pod_anti_affinity_preferred", p)
	required = decodeList[corev1.PodAffinityTerm](s.PodAntiAffinityRequired, "pod_anti_affinity_required", p)
	if len(preferred)+len(required) > 0 {
		a.PodAntiAffinity = &corev1.PodAntiAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: preferred,
			RequiredDuringSchedulingIgnoredDuringExecution:  required,
		}
	}
	if *a == (corev1.Affinity{}) {
		return nil
	}
	return a
}

// requireNames notes containers without a name, which Kubernetes would refuse only after the Service was made.
func requireNames(containers []corev1.Container, option string, p *options.Problems) {
	for i, c := range containers {
		if c.Name == "" {
			p.Addf(option, "container %d has no name", i)
		}
	}
}

// overlay applies pod_overlay as a strategic merge patch, as kubectl patch does: lists of named things are merged
// by name, so one container or volume can be changed without repeating the others. It adds labels, and changes none.
// What is wrong with the patch is found in the patch alone: errors of the merge quote the pod, with the tokens in it.
func overlay(pod *corev1.Pod, patch map[string]any, p *options.Problems) {
	if len(patch) == 0 {
		return
	}
	var wrong options.Problems
	if !decodeInto(new(corev1.Pod), withoutDirectives(patch).(map[string]any), "pod_overlay", &wrong) {
		for _, one := range wrong.All() {
			p.Addf(one.Name, "%s", one.Text)
		}
		return
	}
	before, err1 := json.Marshal(pod)
	change, err2 := json.Marshal(patch)
	if err1 != nil || err2 != nil {
		p.Addf("pod_overlay", "cannot be written as JSON")
		return
	}
	after, err := strategicpatch.StrategicMergePatch(before, change, corev1.Pod{})
	var object map[string]any
	if err != nil || json.Unmarshal(after, &object) != nil {
		p.Addf("pod_overlay", "cannot be merged: each entry of a list needs the key that such entries are merged by, "+
			"as containers, volumes and variables need name; $patch must be replace, merge or delete")
		return
	}
	name, namespace, own, labels := pod.Name, pod.Namespace, pod.Annotations, pod.Labels
	*pod = corev1.Pod{}
	decodeInto(pod, object, "pod_overlay", p)
	if pod.Name != name || pod.Namespace != namespace {
		p.Addf("pod_overlay", "must not change name or namespace")
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	maps.Copy(pod.Labels, labels) // its Service selects by all of them
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	for _, key := range facts { // it is found again by these
		if value, ok := own[key]; ok {
			pod.Annotations[key] = value
		} else {
			delete(pod.Annotations, key)
		}
	}
}

// withoutDirectives is a strategic merge patch without the keys that say how it is merged.
func withoutDirectives(patch any) any {
	switch v := patch.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			if !strings.HasPrefix(key, "$") {
				out[key] = withoutDirectives(value)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = withoutDirectives(value)
		}
		return out
	}
	return patch
}
