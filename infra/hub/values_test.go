package hub

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/values"
)

const (
	hostKey     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1Jm2f3WPTnu3iTK0AzBmmAlbGkAxv6kRaFWTRzZ0bM outpost-remote"
	nextHostKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF0nWbYp3yYcG3nMyUu2m1nVwTj8mYwZC3QZqj8nCk0q outpost-remote"
)

// soundArgs are arguments that nothing is wrong with; cases change them.
func soundArgs() Args {
	secret := func(text string) pulumi.StringOutput {
		return pulumi.ToSecret(pulumi.String(text)).(pulumi.StringOutput)
	}
	return Args{
		Name: "jupyterhub", Namespace: "jupyter", Chart: Chart{Version: ChartVersion},
		Image:    Image{Name: "registry.example.org/hub", Tag: "1"},
		Exposure: Exposure{Type: exposure.NodePort, NodePort: 30000},
		Side:     "charts/outposts-hub",
		Systems: []System{
			{
				Name: "local", URL: "http://outpost.outpost.svc:8080/services",
				HubAPIURL: "http://hub.jupyter.svc:8081/hub/api",
				Namespace: "outpost", Authorization: secret("jupyterhub:one password for local"),
			},
			{
				Name: "remote", DisplayName: "Remote cluster", Description: "Has <GPUs>.",
				URL:       "https://10.0.0.3:30080/services",
				HubAPIURL: "https://hub.example.org/hub/api", Flavor: "small", ConcurrentStarts: 10,
				SendAuthState: []string{"access_token"},
				Flavors:       []Flavor{{Name: "small", DisplayName: "Small", Description: "1 core"}},
				Profiles: []Profile{{
					Slug: "lab", DisplayName: "Lab", Description: "Python and R.", Default: true,
					Options: map[string]ProfileOption{"image": {
						DisplayName: "Image",
						Choices: map[string]ProfileChoice{
							"3.12": {DisplayName: "Python 3.12", Default: true}, "r": {},
						},
						UnlistedChoice: &UnlistedChoice{
							Enabled: true, DisplayName: "Your own", Message: "A name and a tag.",
						},
					}},
				}, {Slug: "gpu"}},
				SSH:           &SSH{Host: "10.0.0.3", Port: 30022},
				Authorization: secret("jupyterhub:one password for remote"),
				HostKeys:      pulumi.StringArray{pulumi.String(hostKey), pulumi.String(nextHostKey)},
				CAs:           pulumi.StringArray{pulumi.String("CA one\n"), pulumi.String("CA two\n")},
			},
		},
		Credentials: Credentials{
			SSHPrivateKey: secret("the private key of the hub"), CookieSecret: secret("the cookie secret"),
			ProxyToken: secret("the proxy token"), AuthStateKeys: pulumi.StringArray{secret("an auth state key")},
			LoginPassword: secret("the login password"), VerifyToken: secret("the verify token"),
			Version: "a version of all", ProxyVersion: "a version of the proxy's",
		},
	}
}

// TestValues holds the values of the chart, with placeholders for secrets, and holds them to the chart's own schema.
// The version of the module is elided.
func TestValues(t *testing.T) {
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name   string
		change func(*Args)
	}{
		{"nodeport", func(*Args) {}},
		{"ingress", func(a *Args) {
			a.Exposure = Exposure{
				Type: exposure.Ingress, ClassName: "nginx", Host: "hub.example.org", TLSSecret: "jupyterhub-tls-certmanager",
				Annotations: map[string]string{"cert-manager.io/cluster-issuer": "letsencrypt-cluster-issuer"},
			}
		}},
		{"gateway", func(a *Args) {
			a.Exposure = Exposure{Type: exposure.Gateway, Gateway: &exposure.GatewayRef{Name: "public"}, Host: "hub.example.org"}
		}},
		{"loadbalancer", func(a *Args) { a.Exposure = Exposure{Type: exposure.LoadBalancer, LoadBalancerIP: "10.0.0.9"} }},
		{"stock-image", func(a *Args) { a.Image = Image{} }},
		{"remote-only", func(a *Args) { a.Systems = a.Systems[1:] }},
		{"own-values", func(a *Args) {
			a.Values = map[string]any{
				"hub": map[string]any{
					"config":       map[string]any{"JupyterHub": map[string]any{"authenticator_class": "generic-oauth"}},
					"extraVolumes": []any{map[string]any{"name": "mine", "emptyDir": map[string]any{}}},
					"extraConfig":  map[string]any{"mine": "c.A.b = 1"},
					"extraEnv": []any{map[string]any{
						"name":      "OAUTH_CLIENT_SECRET",
						"valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "oauth", "key": "secret"}},
					}},
					"networkPolicy": map[string]any{"ingress": []any{map[string]any{
						"from":  []any{map[string]any{"namespaceSelector": map[string]any{}}},
						"ports": []any{map[string]any{"port": 9100}},
					}}},
				},
				// What holds anyway may be said.
				"prePuller":  map[string]any{"hook": map[string]any{"enabled": false}},
				"singleuser": map[string]any{"storage": map[string]any{"type": "none"}, "defaultUrl": "/lab"},
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			tt.change(&a)
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			made := a.values()
			annotations := at[map[string]any](t, made, "hub", "annotations")
			if annotations["outposts.dev/module"] != a.sideVersion() {
				t.Errorf("annotations %v", annotations)
			}
			annotations["outposts.dev/module"] = "(version)"
			text, err := yaml.Marshal(made)
			if err != nil {
				t.Fatal(err)
			}
			infratest.Golden(t, "values-"+tt.name+".golden.yaml", text)
		})
	}
}

// TestVariables holds that the hub keeps the operator's variables, written as a map or as a list, beside those of the
// stock image.
func TestVariables(t *testing.T) {
	fromSecret := map[string]any{"secretKeyRef": map[string]any{"name": "oauth", "key": "secret"}}
	asMap := map[string]any{"OAUTH_CLIENT_SECRET": map[string]any{"valueFrom": fromSecret}}
	asList := []any{map[string]any{"name": "OAUTH_CLIENT_SECRET", "valueFrom": fromSecret}}
	for _, tt := range []struct {
		name        string
		image       Image
		given, want any
	}{
		{"a list", Image{}, asList, append([]any{
			map[string]any{"name": "PYTHONUSERBASE", "value": "/opt/outpost"},
		}, asList...)},
		{"a map", Image{}, asMap, map[string]any{
			"PYTHONUSERBASE": "/opt/outpost", "OAUTH_CLIENT_SECRET": asMap["OAUTH_CLIENT_SECRET"],
		}},
		{"a list, own image", Image{Name: "a", Tag: "b"}, asList, asList},
		{"a map, own image", Image{Name: "a", Tag: "b"}, asMap, asMap},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			a.Image, a.Values = tt.image, map[string]any{"hub": map[string]any{"extraEnv": tt.given}}
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			got := values.At(a.values(), "hub", "extraEnv")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("variables (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMounted holds what the hub's pod mounts: published names, former names of systems among them, and marks on what
// is secret.
func TestMounted(t *testing.T) {
	r := &infratest.Recorder{}
	err := r.Run("test", func(ctx *pulumi.Context) error {
		a := soundArgs()
		a.Systems[1].FormerNames = []string{"north"}
		_, err := New(ctx, "hub", a)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := resource.PropertyMap{}
	for _, made := range r.Resources() {
		if strings.HasPrefix(made.Type, "kubernetes:core/v1:") {
			all[resource.PropertyKey(made.Type+" "+made.Name)] = resource.NewProperty(made.Inputs)
		}
	}
	infratest.Golden(t, "mounted.golden.json", infratest.JSON(t, all))
}

// TestDatabase holds whose word counts.
func TestDatabase(t *testing.T) {
	want := map[string]any{
		"type": "sqlite-pvc", "pvc": map[string]any{"storage": "1Gi", "accessModes": []any{"ReadWriteOnce"}},
	}
	if diff := cmp.Diff(want, Args{}.Database()); diff != "" {
		t.Errorf("without values (-want +got):\n%s", diff)
	}
	got := Args{Values: map[string]any{"hub": map[string]any{"db": map[string]any{"pvc": map[string]any{
		"accessModes": []any{"ReadWriteMany"}, "storageClassName": "",
	}}}}}.Database()
	want["pvc"] = map[string]any{"storage": "1Gi", "accessModes": []any{"ReadWriteMany"}, "storageClassName": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("database (-want +got):\n%s", diff)
	}
}

// TestVerifyService holds that a rotated token belongs to another service: the old one would stay valid with its
// service. The first word keeps the name of earlier versions.
func TestVerifyService(t *testing.T) {
	for word, want := range map[string]string{
		"": "verify", "1": "verify", "2": "verify-d4735e3a", "a b/c": "verify-539138d5",
	} {
		a := soundArgs()
		a.Credentials.VerifyWord = word
		hub := defaults(a)["hub"].(map[string]any)
		got := []any{hub["services"], hub["loadRoles"].(map[string]any)["verify"].(map[string]any)["services"]}
		token := map[string]any{want: map[string]any{"apiToken": verifyTokenPlaceholder}}
		if diff := cmp.Diff([]any{token, []any{want}}, got); diff != "" {
			t.Errorf("word %q (-want +got):\n%s", word, diff)
		}
	}
}

// TestLoginWarning holds which authenticators are warned of: those by which people log in as others, and none.
func TestLoginWarning(t *testing.T) {
	const (
		shared  = "is shared-password, the default: whoever has the password logs in as any user; set another there"
		dummy   = "is dummy, without a password: anybody who reaches the hub logs in as any user; set another there"
		dummies = "is dummy: whoever has the password logs in as any user; set another there"
		none    = "is null, so that JupyterHub lets in users of the hub's image (PAM); set one there"
	)
	for _, tt := range []struct{ config, want string }{
		{`{}`, shared},
		{`{JupyterHub: {admin_access: true}}`, shared},
		{`{JupyterHub: {authenticator_class: shared-password}}`, shared},
		{`{JupyterHub: {authenticator_class: jupyterhub.authenticators.shared.SharedPasswordAuthenticator}}`, shared},
		{`{JupyterHub: {authenticator_class: dummy}}`, dummy},
		{`{JupyterHub: {authenticator_class: dummy}, DummyAuthenticator: {password: ""}}`, dummy},
		{`{JupyterHub: {authenticator_class: jupyterhub.auth.DummyAuthenticator}}`, dummy},
		{`{JupyterHub: {authenticator_class: dummy}, DummyAuthenticator: {password: known}}`, dummies},
		{`{JupyterHub: {authenticator_class: dummy, admin_access: true}}`, shared}, // a copy of the chart's
		{`{JupyterHub: {authenticator_class: null}}`, none},
		{`{JupyterHub: null}`, none},
		{`{JupyterHub: {authenticator_class: github}}`, ""},
		{`{JupyterHub: {authenticator_class: 1}}`, ""},
		{`{JupyterHub: {authenticator_class: github, admin_access: true}}`, ""},
	} {
		a := soundArgs()
		a.Values = map[string]any{"hub": map[string]any{"config": values.Parse(tt.config)}}
		if got := a.LoginWarning(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.config, got, tt.want)
		}
	}
}

// TestSealedByOnceReady holds that the key which seals is told of when the chart is ready, and not when it is not: what
// the stack's state has is then that of the run before.
func TestSealedByOnceReady(t *testing.T) {
	for _, fails := range []string{"", "kubernetes:helm.sh/v4:Chart"} {
		var got any
		var failed error
		r := &infratest.Recorder{Fails: fails}
		err := r.Run("test", func(ctx *pulumi.Context) error {
			a := soundArgs()
			a.Credentials.SealsWith = "2"
			h, err := New(ctx, "hub", a)
			if err != nil {
				return err
			}
			got, failed = infratest.Await(ctx, h.SealedBy)
			return nil
		})
		switch {
		case fails == "" && (err != nil || got != "2"):
			t.Errorf("sealed by %v, error %v", got, err)
		case fails != "" && (err == nil || failed == nil):
			t.Errorf("the chart failed: sealed by %v, error %v", got, err)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name   string
		change func(*Args)
		want   string
	}{
		{"name", func(a *Args) { a.Name = "Hub" }, `name "Hub": want a lower-case letter, then letters, digits and '-', at most 22 characters`},
		{"no system", func(a *Args) { a.Systems = nil }, "systems are missing"},
		{"system's name", func(a *Args) { a.Systems[0].Name = "a;b" }, `system "a;b": want lower-case letters, digits and '-' between them, at most 32 characters`},
		{"a system twice", func(a *Args) { a.Systems[0].Name = "remote" }, "system remote is listed twice"},
		{"host key", func(a *Args) { a.Systems[1].HostKeys = nil }, `system "remote": the host key to trust is missing`},
		{"flavor", func(a *Args) { a.Systems[1].Flavor = "big" }, `system "remote": flavor "big" is not one of its flavors`},
		{"profile", func(a *Args) { a.Systems[1].Profiles[0].Slug = "a\n" }, `system "remote": profiles[0].slug: want printable ASCII characters, at most 256`},
		{"chart", func(a *Args) { a.Chart = Chart{} }, "chart: want either version or path"},
		{
			"repository", func(a *Args) { a.Chart.Repository = "http://charts.example.org" },
			`chart.repository: "http://charts.example.org": want https:// or oci://`,
		},
		{"exposure", func(a *Args) { a.Exposure.Host = "a" }, "exposure.host: has no effect with exposure type nodePort"},
		{
			"systems in values", func(a *Args) { a.Values = map[string]any{"custom": map[string]any{"outposts": map[string]any{}}} },
			"values.custom.outposts: is made from the systems; set those instead",
		},
		{
			"unknown value", func(a *Args) { a.Values = map[string]any{"proxy": map[string]any{"colour": "red"}} },
			"values.proxy.colour: unknown key; known keys: annotations, chp, deploymentStrategy, https, labels, secretSync, secretToken, service, traefik",
		},
		{
			"value of the wrong type", func(a *Args) {
				a.Values = map[string]any{"hub": map[string]any{"db": map[string]any{"type": "oracle"}}}
			},
			"values.hub.db.type: value must be one of 'sqlite-pvc', 'sqlite-memory', 'mysql', 'postgres', 'other'",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			tt.change(&a)
			err := a.Check()
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// TestValuesOfGoPrograms holds that a list of maps of whatever type is a list, and that what is not known before
// anything is made is refused with its place.
func TestValuesOfGoPrograms(t *testing.T) {
	run := func(r *infratest.Recorder, own map[string]any) error {
		return r.Run("test", func(ctx *pulumi.Context) error {
			a := soundArgs()
			a.Values = own
			_, err := New(ctx, "hub", a)
			return err
		})
	}
	r := &infratest.Recorder{}
	volume := map[string]any{"name": "mine", "emptyDir": map[string]any{}}
	err := run(r, map[string]any{"hub": map[string]any{"extraVolumes": []map[string]any{volume}}})
	if err != nil {
		t.Fatal(err)
	}
	made := infratest.Values(t, r.Find(t, "kubernetes:helm.sh/v4:Chart", "hub"))
	volumes, _ := values.At(made, "hub", "extraVolumes").([]any)
	if len(volumes) == 0 || !cmp.Equal(volumes[len(volumes)-1], any(volume)) {
		t.Errorf("volumes %v", volumes)
	}
	r = &infratest.Recorder{}
	err = run(r, map[string]any{"hub": map[string]any{"nodeSelector": pulumi.String("a").ToStringOutput()}})
	const want = "hub hub: values: hub.nodeSelector: a pulumi.StringOutput is not a value of YAML"
	if err == nil || !strings.Contains(err.Error(), want) || len(r.Resources()) > 0 {
		t.Errorf("error %v, %d resources", err, len(r.Resources()))
	}
}
