// Package podspec finds what Kubernetes would refuse of the pod of a server, by the options that it comes from: before
// anything is made for it.
package podspec

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// quoted is what a problem says of a name or value.
func quoted(text string) string { return excerpt.Of(text, excerpt.Name) }

// containerOptions are the options that parts of a container come from.
type containerOptions struct{ mounts, image, pullPolicy, cpu, memory, otherResources string }

var notebookOptions = containerOptions{
	"volume_mounts", "image", "image_pull_policy", "cpu_limit", "mem_limit", "extra_resource_limits",
}

// optionsOf are the options of a container in a list, which has all of it.
func optionsOf(list string) containerOptions {
	return containerOptions{list, list, list, list, list, list}
}

// Check notes what Kubernetes would refuse of a pod: names of volumes and containers, mounts of nothing, images,
// resources and tolerations. notebook is the container that has options of its own for these; of the others,
// the list that they are in is named.
func Check(spec *corev1.PodSpec, notebook string, p *options.Problems) {
	volumes := map[string]bool{}
	for _, v := range spec.Volumes {
		checkPart("volumes", "volume", v.Name, volumes, p)
	}
	names := map[string]bool{}
	for _, list := range []struct {
		option     string
		containers []corev1.Container
	}{{"extra_containers", spec.Containers}, {"init_containers", spec.InitContainers}} {
		for _, c := range list.containers {
			checkPart(list.option, "container", c.Name, names, p)
			of := optionsOf(list.option)
			if c.Name == notebook {
				of = notebookOptions
			}
			checkMounts(of.mounts, c, volumes, p)
			checkImage(of, c, p)
			checkResources(of, c, p)
		}
	}
	checkTolerations(spec.Tolerations, p)
}

// checkPart notes a name of a part of the pod that is not one or is taken.
func checkPart(option, kind, name string, taken map[string]bool, p *options.Problems) {
	if name == "" && kind == "container" {
		return // noted by requireNames
	}
	if faults := validation.IsDNS1123Label(name); len(faults) > 0 {
		p.Addf(option, "%q cannot be the name of a %s: %s", quoted(name), kind, faults[0])
	} else if taken[name] {
		p.Addf(option, "%s %q is listed twice", kind, quoted(name))
	}
	taken[name] = true
}

// checkMounts notes mounts of volumes that the pod does not have, and several in one place.
func checkMounts(option string, c corev1.Container, volumes map[string]bool, p *options.Problems) {
	paths := map[string]bool{}
	for _, m := range c.VolumeMounts {
		switch {
		case !volumes[m.Name]:
			p.Addf(option, "container %q mounts volume %q, which is not in volumes", quoted(c.Name), quoted(m.Name))
		case m.MountPath == "":
			p.Addf(option, "container %q mounts volume %q without a mountPath", quoted(c.Name), quoted(m.Name))
		case paths[m.MountPath]:
			p.Addf(option, "container %q mounts two volumes at %q", quoted(c.Name), quoted(m.MountPath))
		}
		paths[m.MountPath] = true
	}
}

// checkImage notes a missing image, and a word for when it is pulled that Kubernetes does not know.
func checkImage(of containerOptions, c corev1.Container, p *options.Problems) {
	if c.Image == "" || strings.TrimSpace(c.Image) != c.Image {
		p.Addf(of.image, "container %q has the image %q, which is not a name", quoted(c.Name), quoted(c.Image))
	}
	checkWord(of.pullPolicy, c.ImagePullPolicy, p, "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

// checkTolerations notes words that Kubernetes does not know, and fields that exclude each other.
func checkTolerations(tolerations []corev1.Toleration, p *options.Problems) {
	const option = "tolerations"
	for _, t := range tolerations {
		checkWord(option, t.Operator, p, "", corev1.TolerationOpEqual, corev1.TolerationOpExists, "Gt", "Lt")
		checkWord(option, t.Effect, p, "",
			corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
		switch exists := t.Operator == corev1.TolerationOpExists; {
		case exists && t.Value != "":
			p.Addf(option, "the value of %q must be empty with operator Exists", quoted(t.Key))
		case !exists && t.Key == "":
			p.Addf(option, "without a key, the operator must be Exists")
		}
	}
}

// CheckAccessModes notes access modes of a claim that Kubernetes does not know.
func CheckAccessModes(option string, modes []corev1.PersistentVolumeAccessMode, p *options.Problems) {
	for _, mode := range modes {
		checkWord(option, mode, p, corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany,
			corev1.ReadWriteOncePod)
	}
}

// checkWord notes a word that is not a known one; an empty one among those is Kubernetes' default.
func checkWord[T ~string](option string, word T, p *options.Problems, known ...T) {
	if slices.Contains(known, word) {
		return
	}
	var names []string
	for _, name := range known {
		if name != "" {
			names = append(names, string(name))
		}
	}
	p.Addf(option, "must be one of %s, not %q", strings.Join(names, ", "), quoted(string(word)))
}
