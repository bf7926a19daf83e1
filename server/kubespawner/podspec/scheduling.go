package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// checkScheduling notes what Kubernetes would refuse of where a pod may run.
func checkScheduling(spec *corev1.PodSpec, p *options.Problems) {
	for _, key := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		value := spec.NodeSelector[key]
		if faults := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(faults) > 0 {
			p.Addf("node_selector", "label %s=%q: %s", quoted(key), quoted(value), faults[0])
		}
	}
	checkTolerations(spec.Tolerations, p)
	if a := spec.Affinity; a != nil {
		checkNodeAffinity(a.NodeAffinity, p)
		if a.PodAffinity != nil {
			checkPodTerms("pod_affinity", a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution,
				a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution, p)
		}
		if a.PodAntiAffinity != nil {
			checkPodTerms("pod_anti_affinity", a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution,
				a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution, p)
		}
	}
	checkSpread(spec.TopologySpreadConstraints, p)
}

// checkSpread notes what is wrong with constraints of how pods are spread; two must differ in key or action.
func checkSpread(constraints []corev1.TopologySpreadConstraint, p *options.Problems) {
	type kind struct {
		key    string
		action corev1.UnsatisfiableConstraintAction
	}
	listed := map[kind]bool{}
	for i, c := range constraints {
		option := fmt.Sprintf("extra_pod_config.topologySpreadConstraints[%d]", i)
		if c.MaxSkew < 1 {
			p.Addf(option, "maxSkew must be 1 or more")
		}
		if c.MinDomains != nil && (*c.MinDomains < 1 || c.WhenUnsatisfiable != corev1.DoNotSchedule) {
			p.Addf(option, "minDomains must be 1 or more, and needs whenUnsatisfiable DoNotSchedule")
		}
		one := kind{c.TopologyKey, c.WhenUnsatisfiable}
		if listed[one] {
			p.Addf(option, "topologyKey %q with whenUnsatisfiable %q is listed twice",
				quoted(one.key), quoted(string(one.action)))
		}
		listed[one] = true
		checkWord(option, c.WhenUnsatisfiable, p, corev1.DoNotSchedule, corev1.ScheduleAnyway)
		checkTopologyKey(option, c.TopologyKey, p)
		checkSelector(option, "labelSelector", c.LabelSelector, p)
	}
}

// checkTolerations notes words that Kubernetes does not know, and fields that exclude each other.
func checkTolerations(tolerations []corev1.Toleration, p *options.Problems) {
	const option = "tolerations"
	for _, t := range tolerations {
		checkWord(option, t.Operator, p, "", corev1.TolerationOpEqual, corev1.TolerationOpExists, "Gt", "Lt")
		checkWord(option, t.Effect, p, "",
			corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
		exists := t.Operator == corev1.TolerationOpExists
		switch {
		case exists && t.Value != "":
			p.Addf(option, "the value of %q must be empty with operator Exists", quoted(t.Key))
		case !exists && t.Key == "":
			p.Addf(option, "without a key, the operator must be Exists")
		case t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute:
			p.Addf(option, "tolerationSeconds of %q needs effect NoExecute", quoted(t.Key))
		}
		faults := validation.IsValidLabelValue(t.Value)
		if t.Key != "" {
			faults = append(validation.IsQualifiedName(t.Key), faults...)
		}
		if len(faults) > 0 {
			p.Addf(option, "%s=%q: %s", quoted(t.Key), quoted(t.Value), faults[0])
		}
	}
}

func checkNodeAffinity(a *corev1.NodeAffinity, p *options.Problems) {
	if a == nil {
		return
	}
	if option := "node_affinity_preferred"; !p.Noted(option) { // else what is missing may be what could not be read
		for i, preferred := range a.PreferredDuringSchedulingIgnoredDuringExecution {
			at := fmt.Sprintf("%s[%d]", option, i)
			checkWeight(at, preferred.Weight, p)
			checkNodeTerm(at, preferred.Preference, p)
		}
	}
	required := a.RequiredDuringSchedulingIgnoredDuringExecution
	if option := "node_affinity_required"; required != nil && !p.Noted(option) {
		for i, term := range required.NodeSelectorTerms {
			checkNodeTerm(fmt.Sprintf("%s[%d]", option, i), term, p)
		}
	}
}

// nodeOperators are the operators of node affinity, as those of labels.
var nodeOperators = map[corev1.NodeSelectorOperator]selection.Operator{
	corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn,
	corev1.NodeSelectorOpExists: selection.Exists, corev1.NodeSelectorOpDoesNotExist: selection.DoesNotExist,
	corev1.NodeSelectorOpGt: selection.GreaterThan, corev1.NodeSelectorOpLt: selection.LessThan,
}

func checkNodeTerm(option string, term corev1.NodeSelectorTerm, p *options.Problems) {
	for i, r := range term.MatchExpressions {
		at := fmt.Sprintf("%s.matchExpressions[%d]", option, i)
		operator, known := nodeOperators[r.Operator]
		if !known {
			checkWord(at, r.Operator, p, slices.Sorted(maps.Keys(nodeOperators))...)
			continue
		}
		if _, err := labels.NewRequirement(r.Key, operator, r.Values); err != nil {
			p.Addf(at, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	for i, r := range term.MatchFields {
		at := fmt.Sprintf("%s.matchFields[%d]", option, i)
		checkWord(at, r.Operator, p, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn)
		if r.Key != metav1.ObjectNameField || len(r.Values) != 1 {
			p.Addf(at, "needs the key %s and one value", metav1.ObjectNameField)
		}
	}
}

// checkPodTerms notes what is wrong with the terms of an option and of its two forms.
func checkPodTerms(
	option string, preferred []corev1.WeightedPodAffinityTerm, required []corev1.PodAffinityTerm, p *options.Problems,
) {
	if option := option + "_preferred"; !p.Noted(option) {
		for i, weighted := range preferred {
			at := fmt.Sprintf("%s[%d]", option, i)
			checkWeight(at, weighted.Weight, p)
			checkPodTerm(at, weighted.PodAffinityTerm, p)
		}
	}
	if option := option + "_required"; !p.Noted(option) {
		for i, term := range required {
			checkPodTerm(fmt.Sprintf("%s[%d]", option, i), term, p)
		}
	}
}

func checkPodTerm(option string, term corev1.PodAffinityTerm, p *options.Problems) {
	checkTopologyKey(option, term.TopologyKey, p)
	checkSelector(option, "labelSelector", term.LabelSelector, p)
	checkSelector(option, "namespaceSelector", term.NamespaceSelector, p)
	for _, namespace := range term.Namespaces {
		if faults := validation.IsDNS1123Label(namespace); len(faults) > 0 {
			p.Addf(option, "%q cannot be the name of a namespace: %s", quoted(namespace), faults[0])
		}
	}
}

func checkWeight(option string, weight int32, p *options.Problems) {
	if weight < 1 || weight > 100 {
		p.Addf(option, "weight must be from 1 to 100")
	}
}

// checkTopologyKey notes a label of nodes that is missing or cannot be one.
func checkTopologyKey(option, key string, p *options.Problems) {
	if key == "" {
		p.Addf(option, "needs a topologyKey, such as kubernetes.io/hostname")
	} else if faults := validation.IsQualifiedName(key); len(faults) > 0 {
		p.Addf(option, "topologyKey %q: %s", quoted(key), faults[0])
	}
}

// checkSelector notes what is wrong with a selector of labels, by Kubernetes' own words.
func checkSelector(option, name string, selector *metav1.LabelSelector, p *options.Problems) {
	for _, fault := range metavalidation.ValidateLabelSelector(
		selector, metavalidation.LabelSelectorValidationOptions{}, field.NewPath(name),
	) {
		p.Addf(option, "%v", fault)
	}
}
