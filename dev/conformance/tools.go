//go:build tools

package conformance

// The image of the backends, which the tests name echo-basic.
import _ "sigs.k8s.io/gateway-api/conformance/echo-basic"
