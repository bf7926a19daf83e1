//go:build conformance

// Package conformance runs the Gateway API's own conformance tests against a local cluster, for the features that the
// status of its GatewayClass claims, and writes the report. `make conformance` brings what they need.
package conformance

import (
	"os"
	"testing"

	gw "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// TestConformance holds that what is claimed is true. CONFORMANCE_RUN names one test, REPORT the file for the
// report, and USABLE and UNUSABLE are addresses of which a Gateway may ask for the first only.
func TestConformance(t *testing.T) {
	options := conformance.DefaultOptions(t)
	options.GatewayClassName = "outposts"
	options.ConformanceProfiles = []suite.ConformanceProfileName{
		suite.GatewayHTTPConformanceProfileName, suite.GatewayTLSConformanceProfileName,
		suite.GatewayTCPConformanceProfileName,
	}
	options.CleanupBaseResources = true
	options.RunTest = os.Getenv("CONFORMANCE_RUN")
	options.ReportOutputPath = os.Getenv("REPORT")
	options.Implementation = confv1.Implementation{
		Organization: "outposts-dev", Project: "outposts", URL: "https://github.com/outposts-dev/outposts",
		Version: "dev", Contact: []string{"https://github.com/outposts-dev/outposts/issues"},
	}
	address := func(variable string) []gw.GatewaySpecAddress {
		kind := gw.IPAddressType
		return []gw.GatewaySpecAddress{{Type: &kind, Value: os.Getenv(variable)}}
	}
	options.UsableNetworkAddresses, options.UnusableNetworkAddresses = address("USABLE"), address("UNUSABLE")
	conformance.RunConformanceWithOptions(t, options)
}
