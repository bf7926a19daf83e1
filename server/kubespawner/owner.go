package kubespawner

import (
	"cmp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Owner is whom an object was made for. What an object does not say is empty: KubeSpawner's say the user only.
type Owner struct {
	Installation string // id of the outpost's database
	Hub          string
	User         string
}

// Labels of what the outpost's chart makes. The values of an installation may change the name, but not the name of the
// chart, which a version follows.
const (
	nameLabel   = "app.kubernetes.io/name"
	outpostName = "outpost"
	chartLabel  = "helm.sh/chart"
	chartPrefix = "outpost-"
)

// ofTheChart reports whether the outpost's chart has made an object. A hub may give its own objects any label, but they
// name the hub.
func ofTheChart(object metav1.Object) bool {
	labels := object.GetLabels()
	return object.GetAnnotations()[HubKey] == "" &&
		(labels[nameLabel] == outpostName || strings.HasPrefix(labels[chartLabel], chartPrefix))
}

// OwnerOf reads whom an object was made for. A label of the hub, which people set by hand, counts without the
// annotation; it may be a slug.
func OwnerOf(object metav1.Object) Owner {
	a := object.GetAnnotations()
	return Owner{
		Installation: a[InstallationKey], Hub: cmp.Or(a[HubKey], object.GetLabels()[HubKey]), User: a[UsernameKey],
	}
}

// UnnamedHub is whose an object is that can be of any hub.
const UnnamedHub = "a hub that it does not name"

// OtherOwner says, for a message, who else an object belongs to that has the name of a wanted one, such as "another
// hub"; empty if it can be of the wanted one's owner. Of an object that names no hub nobody knows that where the
// outpost serves several hubs. anyUser lets it be of another user.
func (o *Objects) OtherOwner(wanted, there metav1.Object, anyUser bool) string {
	want, have := OwnerOf(wanted), OwnerOf(there)
	differs := func(a, b string) bool { return a != "" && a != b }
	switch {
	case ofTheChart(there):
		return "the outpost itself"
	case differs(have.Hub, want.Hub) && have.Hub != labelSlug(want.Hub):
		return "another hub"
	case differs(have.Installation, want.Installation):
		return "another outpost"
	case !anyUser && differs(have.User, want.User):
		return "another user"
	case have.Hub == "" && o.SeveralHubs:
		return UnnamedHub
	}
	return ""
}

// EarlierHomes are names of claims that may be the user's home if the claim does not exist: those that an earlier
// KubeSpawner, or one with another slug_scheme, has made of the same template. Empty for most users, whose names are
// the same in all schemes.
func (o *Objects) EarlierHomes() []string { return o.earlierHomes }

// IsHome reports whether a claim that has one of the earlier names is the home that the start would make. It must say
// that it is: of another scheme, the name may be that of another user's home.
func (o *Objects) IsHome(claim metav1.Object) bool {
	a, want := claim.GetAnnotations(), o.Claim.GetAnnotations()
	return a[UsernameKey] == want[UsernameKey] && want[UsernameKey] != "" &&
		(!o.homeOfServer || a[ServernameKey] == want[ServernameKey]) && claim.GetDeletionTimestamp() == nil &&
		o.OtherOwner(o.Claim, claim, false) == ""
}

// WithHome returns the objects of the same start with the claim of another name: wherever a template has {pvc_name},
// and in volumes that write the claim's name out. The error is that of [Builder.Build].
func (o *Objects) WithHome(name string) (*Objects, error) {
	moved, err := o.rebuild(name)
	if err != nil {
		return nil, err
	}
	for i := range moved.Pod.Spec.Volumes {
		claim := moved.Pod.Spec.Volumes[i].PersistentVolumeClaim
		if claim != nil && claim.ClaimName == o.Claim.Name {
			claim.ClaimName = name
		}
	}
	return moved, nil
}
