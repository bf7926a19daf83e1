package podspec

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// volumesOption is the option that volumes come from.
const volumesOption = "volumes"

// checkSource notes a volume of two sources, and a source that does not say where it is or how it is mounted.
func checkSource(v corev1.Volume, p *options.Problems) {
	sources := fieldsSet(v.VolumeSource)
	if len(sources) > 1 {
		p.Addf(volumesOption, "volume %q is both %s; leave one of them out",
			quoted(v.Name), strings.Join(sources, " and "))
		return
	}
	needs := func(field, value string) {
		if value == "" {
			p.Addf(volumesOption, "volume %q needs %s.%s", quoted(v.Name), sources[0], field)
		}
	}
	switch s := v.VolumeSource; {
	case s.PersistentVolumeClaim != nil:
		needs("claimName", s.PersistentVolumeClaim.ClaimName)
	case s.Secret != nil:
		needs("secretName", s.Secret.SecretName)
		checkFiles(v.Name, s.Secret.DefaultMode, s.Secret.Items, p)
	case s.ConfigMap != nil:
		needs("name", s.ConfigMap.Name)
		checkFiles(v.Name, s.ConfigMap.DefaultMode, s.ConfigMap.Items, p)
	case s.Projected != nil:
		checkProjected(v.Name, *s.Projected, p)
	case s.Ephemeral != nil:
		checkEphemeral(v.Name, s.Ephemeral.VolumeClaimTemplate, p)
	case s.CSI != nil:
		needs("driver", s.CSI.Driver)
	case s.NFS != nil:
		needs("server", s.NFS.Server)
		if !strings.HasPrefix(s.NFS.Path, "/") {
			p.Addf(volumesOption, "volume %q needs an absolute path at nfs.path, not %q",
				quoted(v.Name), quoted(s.NFS.Path))
		}
	case s.HostPath != nil:
		needs("path", s.HostPath.Path)
		if slices.Contains(strings.Split(s.HostPath.Path, "/"), "..") {
			p.Addf(volumesOption, "volume %q must not have .. in hostPath.path", quoted(v.Name))
		}
		checkWord(volumesOption, value(s.HostPath.Type), p, corev1.HostPathUnset, corev1.HostPathDirectoryOrCreate,
			corev1.HostPathDirectory, corev1.HostPathFileOrCreate, corev1.HostPathFile, corev1.HostPathSocket,
			corev1.HostPathCharDev, corev1.HostPathBlockDev)
	case s.EmptyDir != nil && s.EmptyDir.SizeLimit != nil && s.EmptyDir.SizeLimit.Sign() < 0:
		p.Addf(volumesOption, "volume %q must not have a negative emptyDir.sizeLimit", quoted(v.Name))
	}
}

// checkFiles notes modes and paths of the files of a volume that Kubernetes refuses; mode is that of all others.
func checkFiles(volume string, mode *int32, items []corev1.KeyToPath, p *options.Problems) {
	checkMode(volume, "defaultMode", mode, p)
	for i, item := range items {
		if item.Key == "" {
			p.Addf(volumesOption, "items[%d] of volume %q needs a key", i, quoted(volume))
		}
		checkPath(volume, fmt.Sprintf("items[%d].path", i), item.Path, p)
		checkMode(volume, fmt.Sprintf("items[%d].mode", i), item.Mode, p)
	}
}

// checkPath notes a file that is not in its volume.
func checkPath(volume, field, path string, p *options.Problems) {
	if path == "" || leavesVolume(path) || strings.HasPrefix(path, "..") {
		p.Addf(volumesOption, "%s of volume %q must be a relative path without .., not %q",
			field, quoted(volume), quoted(path))
	}
}

// checkMode notes rights of files that there cannot be: often 777 in a format that has no octal numbers.
func checkMode(volume, field string, mode *int32, p *options.Problems) {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		p.Addf(volumesOption, "%s of volume %q must be from 0 to 511, which is 0777 in octal, not %d",
			field, quoted(volume), *mode)
	}
}

// checkProjected notes a part of a projected volume that is several, or that does not say what it is of.
func checkProjected(volume string, projected corev1.ProjectedVolumeSource, p *options.Problems) {
	checkMode(volume, "defaultMode", projected.DefaultMode, p)
	for i, source := range projected.Sources {
		kinds := fieldsSet(source)
		if len(kinds) > 1 {
			p.Addf(volumesOption, "sources[%d] of volume %q is both %s; give each an entry of its own",
				i, quoted(volume), strings.Join(kinds, " and "))
			continue
		}
		needsName := func(name string) {
			if name == "" {
				p.Addf(volumesOption, "sources[%d] of volume %q needs %s.name", i, quoted(volume), kinds[0])
			}
		}
		switch {
		case source.Secret != nil:
			needsName(source.Secret.Name)
			checkFiles(volume, nil, source.Secret.Items, p)
		case source.ConfigMap != nil:
			needsName(source.ConfigMap.Name)
			checkFiles(volume, nil, source.ConfigMap.Items, p)
		case source.ServiceAccountToken != nil:
			token := source.ServiceAccountToken
			checkPath(volume, "serviceAccountToken.path", token.Path, p)
			if s := token.ExpirationSeconds; s != nil && (*s < minTokenSeconds || *s > maxTokenSeconds) {
				p.Addf(volumesOption, "serviceAccountToken.expirationSeconds of volume %q must be from %d to %d",
					quoted(volume), minTokenSeconds, int64(maxTokenSeconds))
			}
		}
	}
}

// The life of a token in a volume that Kubernetes accepts, in seconds.
const (
	minTokenSeconds = 600
	maxTokenSeconds = 1 << 32
)

// checkEphemeral notes what is wrong with the claim of a volume that lives as long as its pod.
func checkEphemeral(volume string, template *corev1.PersistentVolumeClaimTemplate, p *options.Problems) {
	if template == nil {
		p.Addf(volumesOption, "volume %q needs ephemeral.volumeClaimTemplate", quoted(volume))
		return
	}
	checkClaim(claimOptions{volumesOption, volumesOption, volumesOption}, template.Spec, p)
	if size := template.Spec.Resources.Requests[corev1.ResourceStorage]; size.Sign() <= 0 {
		p.Addf(volumesOption, "volume %q needs resources.requests.storage of more than 0, such as 10Gi, "+
			"in its volumeClaimTemplate", quoted(volume))
	}
}

// leavesVolume reports whether a folder inside a volume may lead out of it.
func leavesVolume(folder string) bool {
	return strings.HasPrefix(folder, "/") || slices.Contains(strings.Split(folder, "/"), "..")
}
