package kubespawner

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Owner is whom an object was made for. What an object does not say is empty: KubeSpawner's say the user only.
type Owner struct {
	Installation string // id of the outpost's database
	Hub          string
	User         string
}

// nameLabel is the label by which the outpost's own objects are known, and outpostName its value: the chart's name.
const (
	nameLabel   = "app.kubernetes.io/name"
	outpostName = "outpost"
)

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
	case have.Hub == "" && there.GetLabels()[nameLabel] == outpostName: // a hub may give its own pods any label
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
