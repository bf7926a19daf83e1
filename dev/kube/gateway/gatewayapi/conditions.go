package gatewayapi

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// problem is why a condition is not as it should be: its reason and its message. The zero problem is none.
type problem struct{ reason, message string }

func (p problem) is() bool { return p.reason != "" }

// condition makes one whose status is true unless there is a problem.
func condition[T, R ~string](kind T, good R, p problem, generation int64) metav1.Condition {
	c := metav1.Condition{
		Type: string(kind), Status: metav1.ConditionTrue, Reason: string(good), ObservedGeneration: generation,
	}
	if p.is() {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, p.reason, p.message
	}
	return c
}

// merge returns the conditions now, of which those that did not change keep their time. Conditions that are no longer
// among them are dropped.
func merge(before []metav1.Condition, now ...metav1.Condition) []metav1.Condition {
	before = slices.DeleteFunc(slices.Clone(before), func(c metav1.Condition) bool {
		return !slices.ContainsFunc(now, func(n metav1.Condition) bool { return n.Type == c.Type })
	})
	for _, c := range now {
		meta.SetStatusCondition(&before, c)
	}
	return before
}

func same(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

// Features are what is claimed, and what the conformance tests hold.
var Features = []features.FeatureName{
	features.SupportGateway,
	features.SupportGatewayAddressEmpty,
	features.SupportGatewayHTTPListenerIsolation,
	features.SupportGatewayHTTPSListenerDetectMisdirectedRequests,
	features.SupportGatewayPort8080,
	features.SupportGatewayStaticAddresses,
	features.SupportHTTPRoute,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
	features.SupportHTTPRouteBackendProtocolH2C,
	features.SupportHTTPRouteBackendProtocolWebSocket,
	features.SupportHTTPRouteBackendRequestHeaderModification,
	features.SupportHTTPRouteBackendTimeout,
	features.SupportHTTPRouteHostRewrite,
	features.SupportHTTPRouteMethodMatching,
	features.SupportHTTPRouteNamedRouteRule,
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRoutePathRedirect,
	features.SupportHTTPRoutePathRewrite,
	features.SupportHTTPRoutePortRedirect,
	features.SupportHTTPRouteQueryParamMatching,
	features.SupportHTTPRouteRequestMirror,
	features.SupportHTTPRouteRequestMultipleMirrors,
	features.SupportHTTPRouteRequestPercentageMirror,
	features.SupportHTTPRouteRequestTimeout,
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportHTTPRouteSchemeRedirect,
	features.SupportReferenceGrant,
	features.SupportTCPRoute,
	features.SupportTLSRoute,
	features.SupportTLSRouteModeMixed,
	features.SupportTLSRouteModeTerminate,
}

// class accepts a GatewayClass and publishes the features.
func (t *translation) class(class *gw.GatewayClass) {
	changed := class.DeepCopy()
	changed.Status.SupportedFeatures = nil
	for _, feature := range Features {
		changed.Status.SupportedFeatures = append(changed.Status.SupportedFeatures,
			gw.SupportedFeature{Name: gw.FeatureName(feature)})
	}
	slices.SortFunc(changed.Status.SupportedFeatures, func(a, b gw.SupportedFeature) int {
		return cmpString(a.Name, b.Name)
	})
	var refused problem
	if class.Spec.ParametersRef != nil {
		refused = problem{string(gw.GatewayClassReasonInvalidParameters), "parametersRef: there are no parameters"}
	}
	changed.Status.Conditions = merge(changed.Status.Conditions,
		condition(gw.GatewayClassConditionStatusAccepted, gw.GatewayClassReasonAccepted, refused, class.Generation),
		condition(gw.GatewayClassConditionStatusSupportedVersion, gw.GatewayClassReasonSupportedVersion, problem{},
			class.Generation))
	if !same(changed.Status, class.Status) {
		t.result.Classes = append(t.result.Classes, changed)
	}
}
