package kubespawner

import (
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

// OwnerOf reads whom an object was made for.
func OwnerOf(object metav1.Object) Owner {
	a := object.GetAnnotations()
	return Owner{Installation: a[InstallationKey], Hub: a[HubKey], User: a[UsernameKey]}
}

// OtherOwner says, for a message, who else an object belongs to that has the name of a wanted one, such as "another
// hub"; empty if it can be of the wanted one's owner. Of an object that names no hub nobody knows that where the
// outpost serves several hubs. anyUser lets it be of another user.
func (o *Objects) OtherOwner(wanted, there metav1.Object, anyUser bool) string {
	want, have := OwnerOf(wanted), OwnerOf(there)
	differs := func(a, b string) bool { return a != "" && a != b }
	switch {
	case ofTheChart(there):
		return "the outpost itself"
	case differs(have.Hub, want.Hub):
		return "another hub"
	case differs(have.Installation, want.Installation):
		return "another outpost"
	case !anyUser && differs(have.User, want.User):
		return "another user"
	case have.Hub == "" && o.severalHubs:
		return "a hub that it does not name"
	}
	return ""
}
