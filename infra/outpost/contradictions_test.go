package outpost

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/values"
)

// TestContradictionsAreRefused breaks each rule of the chart's templates/_validate.tpl: the chart alone stops, and the
// values are refused by name before, or are what the program sets. A rule without a case fails.
func TestContradictionsAreRefused(t *testing.T) {
	off := false
	local := func(a *Args) { a.Exposure, a.TLS, a.Address = Exposure{}, nil, "" }
	withoutVolume := func(a *Args) { a.Settings.Persistence.Enabled = &off }
	gateway := func(a *Args) {
		at := &exposure.GatewayRef{Name: "g"}
		a.Address, a.TLS, a.Exposure = "outpost.example.org", nil, Exposure{
			Type: exposure.Gateway, Gateway: at, SSHGateway: at,
		}
	}
	loadBalancer := func(a *Args) { a.Exposure = Exposure{Type: exposure.LoadBalancer, SSHAddress: "10.0.0.4"} }

	text, err := os.ReadFile("../../charts/outpost/templates/_validate.tpl")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]*regexp.Regexp{} // by the message
	for _, found := range regexp.MustCompile(`append \$wrong (?:\(printf )?("(?:[^"\\]|\\.)*")`).
		FindAllStringSubmatch(string(text), -1) {
		message := strings.ReplaceAll(strings.Trim(found[1], `"`), `\"`, `"`)
		pattern := regexp.MustCompile(`%[svq]`).ReplaceAllString(regexp.QuoteMeta(message), ".*")
		rules[message] = regexp.MustCompile("(?m)^- " + pattern + "$")
	}
	if n := strings.Count(string(text), "append $wrong"); len(rules) != n {
		t.Fatalf("%d messages were read of %d", len(rules), n)
	}
	c, err := loader.Load("../../charts/outpost")
	if err != nil {
		t.Fatal(err)
	}
	sound := map[string]any{"cryptSecret": "keys", "outpostUsers": "users"}
	//nolint:lll // a case a line
	for _, tt := range []struct {
		document string
		change   func(*Args)
		want     string // where the program refuses the document; empty where it sets what the rule wants
	}{
		{`outpostConfig: "c.X = 1"`, local, "values.outpostConfig"},
		{`extraPythonPackages: [a]`, local, "values.extraPythonPackages"},
		{`cryptSecret: ""`, local, ""},
		{`outpostUsers: ""`, local, ""},
		{"dialOut: {urls: ['https://a/b'], proxy: 'http://p:3128', proxySecret: s}", local, "values.dialOut.proxy"},
		{"dialOut: {proxy: 'http://p:3128'}", local, "values.dialOut.proxy"},
		{`replicaCount: 2`, local, "values.replicaCount"},
		{`persistence: {enabled: false}`, local, "values.persistence.enabled"},
		{`persistence: {enabled: false}`, withoutVolume, "values.persistence.enabled"},
		{"persistence: {enabled: false}\nextraEnvVarsSecrets: [sql]", withoutVolume, ""},
		{"sshPublicKeys: [a]\nhubSshPublicKeys: {h: [b]}", local, "values.sshPublicKeys"},
		{"authorizedKeysConfigMap: a\nhubSshPublicKeys: {h: [b]}", local, "values.authorizedKeysConfigMap"},
		{"hubCaSecret: a\nhubCaConfigMap: b", local, "values.hubCaSecret"},
		{`ingress: {enabled: true}`, local, "values.ingress.enabled"},
		{`httpRoute: {enabled: true, parentRefs: [{name: g}]}`, local, "values.httpRoute.enabled"},
		{`httpRoute: {enabled: true, hostnames: [a]}`, local, "values.httpRoute.enabled"},
		{`httpRoute: {enabled: true, hostnames: [a.example.org], parentRefs: [{name: g}, {name: g, sectionName: a}]}`, gateway, "values.httpRoute.parentRefs"},
		{`httpRoute: {enabled: true, hostnames: [a.example.org], parentRefs: [{name: h}], timeouts: {request: 10s, backendRequest: 1m}}`, gateway, "values.httpRoute.timeouts.backendRequest"},
		{`tcpRoute: {enabled: true, parentRefs: [{name: g, sectionName: a}, {name: g, sectionName: b}, {name: g, sectionName: a}]}`, gateway, "values.tcpRoute.parentRefs"},
		{`httpRoute: {enabled: true, hostnames: [a.example.org], parentRefs: [{name: g}, {name: g, namespace: outpost, sectionName: x}]}`, gateway, "values.httpRoute.parentRefs"},
		{`httpRoute: {enabled: true, hostnames: [a.example.org], parentRefs: [{name: g}, {name: g, kind: Gateway, sectionName: x}]}`, gateway, "values.httpRoute.parentRefs"},
		{`httpRoute: {enabled: true, hostnames: [a.example.org], parentRefs: [{name: h, sectionName: x}, {name: h, sectionName: ''}]}`, gateway, "values.httpRoute.parentRefs"},
		{`tcpRoute: {enabled: true}`, gateway, ""},
		{"servicessh: {enabled: false}\ntcpRoute: {enabled: true, parentRefs: [{name: g}]}", gateway, "values.servicessh.enabled"},
		{`service: {ports: {nodePort: 30080}}`, local, "values.service.ports.nodePort"},
		{`service: {loadBalancerIP: 192.0.2.1}`, local, "values.service.loadBalancerIP"},
		{`servicessh: {externalTrafficPolicy: Local}`, local, "values.servicessh.externalTrafficPolicy"},
		{"service: {type: LoadBalancer, ports: {nodePort: 30080}}\nservicessh: {type: LoadBalancer, ports: {nodePort: 30080}}", loadBalancer, "values.servicessh.ports.nodePort"},
		{`backup: {enabled: true}`, local, "values.backup.enabled"},
		{`{backup: {enabled: true, claim: c}, persistence: {accessModes: [ReadWriteOncePod]}}`, local, "values.persistence.accessModes"},
		{`prePuller: {enabled: true}`, local, "values.prePuller.enabled"},
		{`{prePuller: {enabled: true, fromProfiles: true}, config: {spawner: {image: '{username}'}}}`, local, "values.prePuller.enabled"},
		{`config: {spawner: {enable_user_namespaces: true}}`, local, "values.config.spawner.enable_user_namespaces"},
		{`config: {hubs: {jupyterhub: {allowedOptions: [enable_user_namespaces]}}}`, local, "values.config.hubs.jupyterhub.allowedOptions"},
		{`config: {spawner: {profile_list: [{display_name: P, profile_options: {o: {display_name: O, unlisted_choice: {enabled: true, kubespawner_override: {namespace: '{value}'}}}}}]}}`, local, "values.config.spawner.profile_list[0].profile_options.o.unlisted_choice.kubespawner_override.namespace"},
	} {
		document := values.Parse(tt.document)
		_, _, err := render(c, values.Merge(sound, document))
		if err == nil {
			t.Errorf("%s: the chart takes it", tt.document)
			continue
		}
		for message, rule := range rules {
			if rule.MatchString(err.Error()) {
				delete(rules, message)
			}
		}
		a := soundArgs()
		tt.change(&a)
		a.Settings.Values = document
		faults := a.CheckValues()
		var keys []string
		for _, fault := range faults {
			keys = append(keys, fault.Key())
		}
		if tt.want != "" && !slices.Contains(keys, tt.want) || tt.want == "" && len(keys) > 0 {
			t.Errorf("%s: faults %v, want one at %q", tt.document, faults, tt.want)
		}
		if tt.want == "" {
			if _, _, err := render(c, a.values()); err != nil {
				t.Errorf("%s: accepted, but the chart stops: %v", tt.document, err)
			}
		}
	}
	for message := range rules {
		t.Errorf("no case breaks the rule %q", message)
	}
	a := soundArgs()
	withoutVolume(&a)
	if faults := a.CheckValues(); len(faults) != 1 || faults[0].Key() != "persistence.enabled" {
		t.Errorf("no volume and no database: %v", faults)
	}
}
