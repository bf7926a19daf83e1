package kubespawner

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// The resources that a pod can read or run as, as they stand in the names of objects such as "secrets/outpost-users".
const (
	claimResource   = "persistentvolumeclaims"
	secretResource  = "secrets"
	configResource  = "configmaps"
	accountResource = "serviceaccounts"
)

// defaultAccount is the account of a pod that names none.
const defaultAccount = "default"

// checkOwn notes the outpost's own objects that a start would use. Those that the operator's options alone lead to,
// whoever starts which server, are theirs to share, but for what the outpost makes for a user.
func (b *Builder) checkOwn(
	o *Objects, installation string, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor, p *options.Problems,
) {
	const ours = "which belongs to the outpost itself"
	if o.Claim != nil && b.isOwn(o.Claim.Namespace, claimResource+"/"+o.Claim.Name) {
		p.Addf("pvc_name_template", "yields the name %q, "+ours, quoted(o.Claim.Name))
	}
	if o.Secret != nil && b.isOwn(o.Secret.Namespace, secretResource+"/"+o.Secret.Name) {
		p.Addf("secret_name_template", "yields the name %q, "+ours, quoted(o.Secret.Name))
	}
	used := b.ownUsed(o)
	if len(used) == 0 || p.Err() != nil {
		return
	}
	r.Body.Misc, r.Body.Env, r.Name = nil, maps.Clone(r.Body.Env), r.Name+"."
	r.Body.Env["JUPYTERHUB_USER"] += "."
	delete(r.Body.Env, "JUPYTERHUB_USER_ID")
	shared := b.ownUsed(b.objects(installation, hub, r, flavor, "", &options.Problems{}))
	for _, object := range used {
		if !slices.Contains(shared, object) {
			p.Addf("misc or a name", "no server may use %s, "+ours, object)
		}
	}
}

// isOwn reports whether an object such as "secrets/outpost-users" is one of the outpost's own pod.
func (b *Builder) isOwn(namespace, object string) bool {
	return namespace == b.namespace && b.own[object]
}

// ownUsed lists the outpost's own objects that the pod of a start uses, sorted.
func (b *Builder) ownUsed(o *Objects) (used []string) {
	if o == nil || o.Pod == nil || o.Pod.Namespace != b.namespace || len(b.own) == 0 {
		return nil
	}
	for _, object := range slices.Sorted(maps.Keys(objectsUsedBy(o.Pod))) {
		if b.own[object] {
			used = append(used, object)
		}
	}
	return used
}

// objectsUsedBy are the objects of its namespace that a pod reads or runs as. Each kind of volume has fields of its own
// for them, so they are found by the names of fields, which say what they refer to.
func objectsUsedBy(pod *corev1.Pod) map[string]bool {
	found := map[string]bool{}
	data, err := json.Marshal(pod.Spec)
	var spec map[string]any
	if err != nil || json.Unmarshal(data, &spec) != nil {
		return found // never: a spec is plain data
	}
	account := accountResource + "/" + cmp.Or(pod.Spec.ServiceAccountName, defaultAccount)
	if mount := pod.Spec.AutomountServiceAccountToken; mount == nil || *mount {
		found[account] = true
	}
	collectObjects(spec, account, found)
	return found
}

// collectObjects adds what the fields of value, at any depth, refer to. Secrets for pulling images are left out: the
// node reads them, and no container sees them.
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
		return secretResource
	case strings.Contains(lower, "configmap"):
		return configResource
	case lower == "claimname", lower == "datasource", lower == "datasourceref":
		return claimResource
	case lower == "serviceaccountname", lower == "serviceaccount":
		return accountResource
	}
	return ""
}
