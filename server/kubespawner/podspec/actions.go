package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// handler is what a hook or probe does: one of these.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

// checkActions notes hooks and probes of a container that Kubernetes would refuse; grace is how many seconds the pod
// has to end.
func checkActions(of containerOptions, c corev1.Container, initial bool, grace int64, p *options.Problems) {
	ends := initial && value(c.RestartPolicy) != corev1.ContainerRestartPolicyAlways
	if ends && (c.Lifecycle != nil || c.LivenessProbe != nil || c.ReadinessProbe != nil || c.StartupProbe != nil) {
		p.Addf(of.rest, "container %q has hooks or probes, which need restartPolicy Always among init containers",
			quoted(c.Name))
		return
	}
	if hooks := c.Lifecycle; hooks != nil && !p.Noted(of.hooks) {
		for _, hook := range []struct {
			name string
			does *corev1.LifecycleHandler
		}{{"postStart", hooks.PostStart}, {"preStop", hooks.PreStop}} {
			if h := hook.does; h != nil {
				what := fmt.Sprintf("%s of container %q", hook.name, quoted(c.Name))
				checkHandler(of.hooks, what, handler{h.Exec, h.HTTPGet, h.TCPSocket, nil, h.Sleep}, grace, p)
			}
		}
	}
	for _, probe := range []struct {
		name string
		does *corev1.Probe
	}{{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe}} {
		if h := probe.does; h != nil {
			what := fmt.Sprintf("%s of container %q", probe.name, quoted(c.Name))
			checkHandler(of.rest, what, handler{h.Exec, h.HTTPGet, h.TCPSocket, h.GRPC, nil}, grace, p)
			checkTimes(of.rest, what, *h, probe.name == "readinessProbe", p)
		}
	}
}

// checkHandler notes a hook or probe that has no handler or several, or one that cannot work.
func checkHandler(option, what string, h handler, grace int64, p *options.Problems) {
	n := 0
	for _, set := range []bool{h.exec != nil, h.http != nil, h.tcp != nil, h.grpc != nil, h.sleep != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		p.Addf(option, "%s must have one handler, such as exec, and has %d", what, n)
		return
	}
	port := func(kind string, port intstr.IntOrString) {
		faults := validation.IsValidPortNum(port.IntValue())
		if port.Type == intstr.String {
			faults = validation.IsValidPortName(port.StrVal)
		}
		if len(faults) > 0 {
			p.Addf(option, "%s.port of %s: %s", kind, what, faults[0])
		}
	}
	switch {
	case h.exec != nil && len(h.exec.Command) == 0:
		p.Addf(option, "%s needs exec.command", what)
	case h.http != nil:
		port("httpGet", h.http.Port)
		checkWord(option, h.http.Scheme, p, "", corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
		for _, header := range h.http.HTTPHeaders {
			if faults := validation.IsHTTPHeaderName(header.Name); len(faults) > 0 {
				p.Addf(option, "header %q of %s: %s", quoted(header.Name), what, faults[0])
			}
		}
	case h.tcp != nil:
		port("tcpSocket", h.tcp.Port)
	case h.grpc != nil:
		port("grpc", intstr.FromInt32(h.grpc.Port))
	case h.sleep != nil && (h.sleep.Seconds < 0 || h.sleep.Seconds > grace):
		p.Addf(option, "sleep of %s must be from 0 to the %d seconds of terminationGracePeriodSeconds", what, grace)
	}
}

// checkTimes notes periods and counts of a probe that Kubernetes refuses.
func checkTimes(option, what string, probe corev1.Probe, readiness bool, p *options.Problems) {
	for _, number := range []struct {
		name  string
		value int32
	}{
		{"initialDelaySeconds", probe.InitialDelaySeconds},
		{"timeoutSeconds", probe.TimeoutSeconds},
		{"periodSeconds", probe.PeriodSeconds},
		{"successThreshold", probe.SuccessThreshold},
		{"failureThreshold", probe.FailureThreshold},
	} {
		if number.value < 0 {
			p.Addf(option, "%s of %s must not be negative", number.name, what)
		}
	}
	if !readiness && probe.SuccessThreshold > 1 { // 0 is the default, 1
		p.Addf(option, "successThreshold of %s must be 1", what)
	}
	switch grace := probe.TerminationGracePeriodSeconds; {
	case grace == nil:
	case readiness:
		p.Addf(option, "%s must not have terminationGracePeriodSeconds, since it ends nothing", what)
	case *grace < 1:
		p.Addf(option, "terminationGracePeriodSeconds of %s must be 1 or more", what)
	}
}
