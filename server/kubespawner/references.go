package kubespawner

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// The resources that a pod can read or run as, as they stand in the names of objects such as "secrets/outpost-users".
const (
	ClaimResource   = "persistentvolumeclaims"
	SecretResource  = "secrets"
	ConfigResource  = "configmaps"
	AccountResource = "serviceaccounts"
	DevicesResource = "resourceclaims"
)

// defaultAccount is the account of a pod that names none.
const defaultAccount = "default"

// Reference is an object of its namespace that the pod uses because of what the hub says: the name of a user or a
// server in a template, an option in misc, or a value that a user writes into a profile. What the operator's options
// alone lead to, whoever starts which server, is the operator's to share.
type Reference struct {
	Resource string // such as [ClaimResource]
	Name     string
	Literal  bool // what the operator lets the hub or its users write names it, and no template of names
}

// OtherOwnerOf is [Objects.OtherOwner] for an object that the pod refers to. One without any mark is for all hubs that
// may name it, but not if a template yields its name: another hub's user or pod may have that name.
func (o *Objects) OtherOwnerOf(r Reference, there metav1.Object) string {
	other := o.OtherOwner(o.Pod, there, false)
	if other == UnnamedHub && r.Literal && OwnerOf(there) == (Owner{}) {
		return ""
	}
	return other
}

// refer notes what the pod uses because of what the hub says, but for what the start makes; see [Objects.References].
// The outpost's own objects are refused, under whatever names, also as what the outpost would make for the user.
func (b *Builder) refer(
	o *Objects, installation string, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor, p *options.Problems,
) {
	const ours = "which belongs to the outpost itself"
	used := objectsUsedBy(o.Pod)
	if o.Claim != nil {
		if b.isOwn(o.Claim.Namespace, ClaimResource+"/"+o.Claim.Name) {
			p.Addf("pvc_name_template", "yields the name %q, "+ours, quoted(o.Claim.Name))
		}
		delete(used, ClaimResource+"/"+o.Claim.Name)
	}
	for _, secret := range o.Secrets() {
		option := map[bool]string{true: "pod_name_template", false: "secret_name_template"}[secret == o.Pull]
		if b.isOwn(secret.Namespace, SecretResource+"/"+secret.Name) {
			p.Addf(option, "yields the name %q, "+ours, quoted(secret.Name))
		}
		delete(used, SecretResource+"/"+secret.Name)
	}
	if len(used) == 0 {
		return
	}
	usedBy := func(r outpost.StartRequest) map[string]bool {
		other := b.objects(installation, hub, r, flavor, "", &options.Problems{})
		if other == nil || !samePlace(o.Settings, other.Settings) {
			return nil
		}
		return objectsUsedBy(other.Pod)
	}
	another := b.ofAnother(r)
	unsaid := another // by the hub
	unsaid.Body.Misc, unsaid.Body.UserOptions = nil, options.WithoutOwnValues(r.Body.UserOptions)
	without(used, usedBy(unsaid))
	if len(used) == 0 {
		return
	}
	another.Body.Misc = maps.Clone(r.Body.Misc)
	for _, option := range naming {
		delete(another.Body.Misc, option)
	}
	literal := usedBy(another)
	for _, object := range slices.Sorted(maps.Keys(used)) {
		if used[object] && b.isOwn(o.Pod.Namespace, object) {
			p.Addf("misc or a name", "no server may use %s, "+ours, object)
		}
		_, isLiteral := literal[object]
		resource, name, _ := strings.Cut(object, "/")
		o.References = append(o.References, Reference{Resource: resource, Name: name, Literal: isLiteral})
	}
}

// naming are the options that fields of templates come from, and those that say where the objects are.
var naming = []string{
	"pod_name_template", "pvc_name_template", "secret_name_template", "slug_scheme",
	"namespace", "enable_user_namespaces", "user_namespace_template",
}

// without takes the keys of others out of used.
func without(used, others map[string]bool) {
	maps.DeleteFunc(used, func(object string, _ bool) bool {
		_, found := others[object]
		return found
	})
}

// isOwn reports whether an object such as "secrets/outpost-users" is one of the outpost's own pod.
func (b *Builder) isOwn(namespace, object string) bool {
	return namespace == b.namespace && b.own[object]
}

// ofAnother is the request of another server of another user, of whose names no template makes the same.
func (b *Builder) ofAnother(r outpost.StartRequest) outpost.StartRequest {
	sub := b.subjectOf(r.Key, r.Body)
	r.Name, r.Body.Env = anotherName(r.Name), maps.Clone(r.Body.Env)
	r.Body.Env["JUPYTERHUB_USER"] = anotherName(sub.User)
	r.Body.Env["JUPYTERHUB_USER_ID"] = strconv.Itoa(sub.UserID + 1)
	return r
}

// samePlace reports whether the same options put the pods of two starts into their namespaces: where a hub chooses the
// namespace, a name means another object.
func samePlace(a, b options.Settings) bool {
	return a.Namespace == b.Namespace && a.EnableUserNamespaces == b.EnableUserNamespaces &&
		a.UserNamespaceTemplate == b.UserNamespaceTemplate
}

// objectsUsedBy are the objects of its namespace that a pod reads or runs as; false stands for Secrets for pulling
// images, which the node reads and no container sees. Each kind of volume has fields of its own for them, so they are
// found by the names of fields, which say what they refer to.
func objectsUsedBy(pod *corev1.Pod) map[string]bool {
	found := map[string]bool{}
	data, err := json.Marshal(pod.Spec)
	var spec map[string]any
	if err != nil || json.Unmarshal(data, &spec) != nil {
		return found // never: a spec is plain data
	}
	account := AccountResource + "/" + cmp.Or(pod.Spec.ServiceAccountName, defaultAccount)
	if mount := pod.Spec.AutomountServiceAccountToken; mount == nil || *mount {
		found[account] = true
	}
	collectObjects(spec, account, found)
	for _, secret := range pod.Spec.ImagePullSecrets {
		if object := SecretResource + "/" + secret.Name; !found[object] {
			found[object] = false
		}
	}
	return found
}

// collectObjects adds what the fields of value, at any depth, refer to.
func collectObjects(value any, account string, found map[string]bool) {
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			collectObjects(one, account, found)
		}
	case map[string]any:
		for field, one := range v {
			if field == "serviceAccountToken" {
				found[account] = true
			}
			if resource := resourceOf(field); resource != "" {
				name, ok := one.(string)
				if m, isMap := one.(map[string]any); isMap {
					name, ok = m["name"].(string)
				}
				if ok {
					found[resource+"/"+name] = true
				}
			}
			collectObjects(one, account, found)
		}
	}
}

// resourceOf returns what a field of a pod's spec refers to, "" if to none of the resources here.
func resourceOf(field string) string {
	switch lower := strings.ToLower(field); {
	case strings.Contains(lower, "secret"):
		return SecretResource
	case strings.Contains(lower, "configmap"):
		return ConfigResource
	case lower == "claimname", lower == "datasource", lower == "datasourceref":
		return ClaimResource
	case lower == "serviceaccountname", lower == "serviceaccount":
		return AccountResource
	case lower == "resourceclaimname":
		return DevicesResource
	}
	return ""
}
