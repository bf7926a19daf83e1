package podspec

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// claimOptions are the options that parts of a claim for storage come from.
type claimOptions struct{ class, modes, selector string }

// CheckHome notes what Kubernetes would refuse of the claim for a user's home, except for its size.
func CheckHome(claim corev1.PersistentVolumeClaimSpec, p *options.Problems) {
	const selector = "storage_selector"
	if p.Noted(selector) {
		claim.Selector = nil // what is missing in it may be what could not be read
	}
	checkClaim(claimOptions{"storage_class", "storage_access_modes", selector}, claim, p)
}

// checkClaim notes a class that cannot be one, access modes that are missing, unknown or exclude each other, and what
// is wrong with a selector.
func checkClaim(of claimOptions, claim corev1.PersistentVolumeClaimSpec, p *options.Problems) {
	if class := value(claim.StorageClassName); class != "" {
		if faults := validation.IsDNS1123Subdomain(class); len(faults) > 0 {
			p.Addf(of.class, "%q cannot be the name of a storage class: %s", quoted(class), faults[0])
		}
	}
	if len(claim.AccessModes) == 0 {
		p.Addf(of.modes, "needs an access mode, such as ReadWriteOnce")
	}
	alone := slices.Contains(claim.AccessModes, corev1.ReadWriteOncePod)
	for _, mode := range claim.AccessModes {
		checkWord(of.modes, mode, p, corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany,
			corev1.ReadWriteOncePod)
		if alone && mode != corev1.ReadWriteOncePod {
			p.Addf(of.modes, "ReadWriteOncePod cannot be combined with %q", quoted(string(mode)))
		}
	}
	checkSelector(of.selector, "selector", claim.Selector, p)
}
