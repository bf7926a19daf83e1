package podspec

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkSource notes a volume of two sources, and a source that does not say where it is.
func checkSource(v corev1.Volume, p *options.Problems) {
	const option = "volumes"
	var sources []string
	for fields, i := reflect.ValueOf(v.VolumeSource), 0; i < fields.NumField(); i++ {
		if !fields.Field(i).IsNil() {
			name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
			sources = append(sources, name)
		}
	}
	if len(sources) > 1 {
		p.Addf(option, "volume %q is both %s; leave one of them out", quoted(v.Name), strings.Join(sources, " and "))
		return
	}
	needs := func(field, value string) {
		if value == "" {
			p.Addf(option, "volume %q needs %s.%s", quoted(v.Name), sources[0], field)
		}
	}
	switch s := v.VolumeSource; {
	case s.PersistentVolumeClaim != nil:
		needs("claimName", s.PersistentVolumeClaim.ClaimName)
	case s.Secret != nil:
		needs("secretName", s.Secret.SecretName)
	case s.ConfigMap != nil:
		needs("name", s.ConfigMap.Name)
	case s.CSI != nil:
		needs("driver", s.CSI.Driver)
	case s.NFS != nil:
		needs("server", s.NFS.Server)
		if !strings.HasPrefix(s.NFS.Path, "/") {
			p.Addf(option, "volume %q needs an absolute path at nfs.path, not %q", quoted(v.Name), quoted(s.NFS.Path))
		}
	case s.HostPath != nil:
		needs("path", s.HostPath.Path)
		if slices.Contains(strings.Split(s.HostPath.Path, "/"), "..") {
			p.Addf(option, "volume %q must not have .. in hostPath.path", quoted(v.Name))
		}
	case s.EmptyDir != nil && s.EmptyDir.SizeLimit != nil && s.EmptyDir.SizeLimit.Sign() < 0:
		p.Addf(option, "volume %q must not have a negative emptyDir.sizeLimit", quoted(v.Name))
	}
}

// leavesVolume reports whether a folder inside a volume may lead out of it.
func leavesVolume(folder string) bool {
	return strings.HasPrefix(folder, "/") || slices.Contains(strings.Split(folder, "/"), "..")
}
