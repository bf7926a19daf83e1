package outpost

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/infratest"
)

const chartType = "kubernetes:helm.sh/v4:Chart"

// soundArgs are arguments that nothing is wrong with; cases change them.
func soundArgs() Args {
	return Args{
		Chart: "/project/charts/outpost", Namespace: "outpost", Address: "10.0.0.3",
		Exposure: Exposure{Type: exposure.NodePort, APINodePort: 30080, SSHNodePort: 30022},
		Hubs: []Hub{{
			Name: "jupyterhub", APIURL: "http://10.0.0.1:30000/hub/api",
			Password:      pulumi.String("a password of a hub"),
			SSHPublicKeys: pulumi.StringArray{pulumi.String("ssh-ed25519 AAAA jupyterhub")},
		}},
		CryptKeys: pulumi.StringArray{pulumi.String("a fernet key")}, KeysVersion: "a version of the keys",
		HostKey: pulumi.String("a host key"),
		TLS:     &TLS{Certificate: pulumi.String("a certificate"), Key: pulumi.String("a key")},
	}
}

func newOutpost(t *testing.T, a Args) *infratest.Recorder {
	t.Helper()
	r := &infratest.Recorder{}
	err := r.Run("test", func(ctx *pulumi.Context) error {
		_, err := New(ctx, "outpost", a)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestValues holds the values of the chart for each exposure and for many settings.
func TestValues(t *testing.T) {
	off := false
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name   string
		change func(*Args)
	}{
		{"nodeport", func(*Args) {}},
		{"nodeport-plain", func(a *Args) { a.Exposure.TLS, a.TLS = &off, nil }},
		{"local", func(a *Args) {
			a.Exposure, a.TLS, a.Address = Exposure{}, nil, ""
			a.Hubs[0].Namespace, a.Hubs[0].APIURL = "jupyter", "http://hub.jupyter.svc:8081/hub/api"
		}},
		{"dial-out", func(a *Args) {
			a.Exposure, a.TLS, a.Address = Exposure{}, nil, ""
			a.DialOut = []string{"https://hub.example.org/services/outposts/remote", "https://hub.example.org/services/outposts/north"}
			a.Settings.DialOut = DialOut{Proxy: "http://proxy.example.org:3128"}
		}},
		{"loadbalancer", func(a *Args) {
			a.Exposure = Exposure{
				Type: exposure.LoadBalancer, LoadBalancerIP: "10.0.0.3", SSHAddress: "10.0.0.4", SSHLoadBalancerIP: "10.0.0.4",
				Annotations: map[string]string{"example.org/pool": "a"}, SSHAnnotations: map[string]string{"example.org/pool": "b"},
			}
			local := map[string]any{"externalTrafficPolicy": "Local"}
			a.Settings.Values = map[string]any{
				"service": local, "servicessh": local,
				"singleuser": map[string]any{"networkPolicy": map[string]any{"clusterCIDRs": []any{"2001:db8::/56"}}},
			}
		}},
		{"ingress", func(a *Args) {
			a.Address, a.TLS = "outpost.example.org", nil
			a.Exposure = Exposure{
				Type: exposure.Ingress, ClassName: "nginx", TLSSecret: "outpost-tls-certmanager", SSHAddress: "ssh.example.org",
				Annotations: map[string]string{"cert-manager.io/cluster-issuer": "letsencrypt"},
			}
		}},
		{"gateway", func(a *Args) {
			a.Address, a.TLS = "outpost.example.org", nil
			a.Exposure = Exposure{
				Type: exposure.Gateway, Gateway: &exposure.GatewayRef{Name: "public", Namespace: "gateways", SectionName: "https"},
				SSHGateway:  &exposure.GatewayRef{Name: "public", Namespace: "gateways", SectionName: "ssh"},
				Annotations: map[string]string{"example.org/a": "b"}, SSHAnnotations: map[string]string{"example.org/c": "d"},
			}
		}},
		{"settings", func(a *Args) {
			a.CryptKeys = append(a.CryptKeys, pulumi.String("an older fernet key"))
			a.Hubs = append(a.Hubs, Hub{Name: "other", Password: pulumi.String("another password"), SSHPublicKeys: pulumi.StringArray{pulumi.String("ssh-ed25519 BBBB other")}})
			a.Settings = Settings{
				Image: Image{Repository: "registry.example.org/outpost", Digest: "sha256:" + strings.Repeat("0", 64)}, StartTimeout: 300, LogLevel: "debug",
				Config:      map[string]any{"spawner": map[string]any{"cpu_limit": 2}, "hubs": map[string]any{"jupyterhub": map[string]any{"allowedOptions": []any{"image"}}}},
				Flavors:     map[string]any{"flavors": map[string]any{"small": map[string]any{"max": 3}}},
				Credits:     map[string]any{"credits": map[string]any{"a": map[string]any{"cap": 1}}},
				Persistence: Persistence{Enabled: &off},
				Values: map[string]any{
					"extraEnvVarsSecrets": []any{"sql"}, "cryptSecret": CryptSecret, "nodeSelector": map[string]any{"a": "b"},
					"config": map[string]any{"hubs": map[string]any{"jupyterhub": map[string]any{
						"callbackUrls": []any{"http://10.0.0.9/hub/api"}, "allowedOptions": []any{"image", "cmd"},
					}}},
				},
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			tt.change(&a)
			r := newOutpost(t, a)
			infratest.Golden(t, "values-"+tt.name+".golden.json", infratest.JSON(t, r.Find(t, chartType, "outpost").Inputs))
		})
	}
}

// TestVolume holds that nothing of the chart's values of the volume is forgotten, and whose word counts.
func TestVolume(t *testing.T) {
	text, err := os.ReadFile("../../charts/outpost/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var chart struct{ Persistence map[string]any }
	if err := yaml.Unmarshal(text, &chart); err != nil {
		t.Fatal(err)
	}
	delete(chart.Persistence, "annotations") // nothing of the volume hangs on them
	chart.Persistence["keep"] = false
	if diff := cmp.Diff(chart.Persistence, Settings{}.Volume()); diff != "" {
		t.Errorf("without settings (-chart +got):\n%s", diff)
	}
	off := false
	got := Settings{
		Persistence: Persistence{Enabled: &off, Size: "2Gi"},
		Values: map[string]any{"persistence": map[string]any{
			"enabled": true, "size": "3Gi", "storageClass": "fast", "accessModes": []any{"ReadWriteMany"},
			"existingClaim": "mine",
		}},
	}.Volume()
	want := map[string]any{
		"enabled": false, "keep": false, "size": "2Gi", "storageClass": "fast",
		"accessModes": []any{"ReadWriteMany"}, "existingClaim": "mine",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("volume (-want +got):\n%s", diff)
	}
}

// TestSecrets holds the published names and keys of the Secrets, that their data are marked, and what is beside them.
func TestSecrets(t *testing.T) {
	r := newOutpost(t, soundArgs())
	all := resource.PropertyMap{}
	for _, made := range r.Resources() {
		if made.Type == "kubernetes:core/v1:Secret" {
			all[resource.PropertyKey(made.Name)] = resource.NewProperty(made.Inputs)
			if !made.Inputs["stringData"].IsSecret() {
				t.Errorf("%s is not marked secret", made.Name)
			}
		}
		if made.Type == "kubernetes:core/v1:ConfigMap" {
			all[resource.PropertyKey(made.Name)] = resource.NewProperty(made.Inputs)
		}
	}
	infratest.Golden(t, "secrets.golden.json", infratest.JSON(t, all))
}

// TestSealedByOnceReady holds that the key which seals is told of when the chart is ready, and not when it is not: what
// the stack's state has is then that of the run before.
func TestSealedByOnceReady(t *testing.T) {
	for _, fails := range []string{"", chartType} {
		var got any
		var failed error
		r := &infratest.Recorder{Fails: fails}
		err := r.Run("test", func(ctx *pulumi.Context) error {
			a := soundArgs()
			a.SealsWith = "2"
			o, err := New(ctx, "outpost", a)
			if err != nil {
				return err
			}
			got, failed = infratest.Await(ctx, o.SealedBy)
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

func TestNewRefuses(t *testing.T) {
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name   string
		change func(*Args)
		want   []string
	}{
		{"nothing", func(a *Args) { *a = Args{} }, []string{"outpost outpost: Chart is missing", "Namespace is missing", "Hubs is missing", "CryptKeys is missing", "HostKey is missing"}},
		{"no certificate", func(a *Args) { a.TLS = nil }, []string{"outpost outpost: TLS is missing"}},
		{"a hub twice", func(a *Args) { a.Hubs = append(a.Hubs, a.Hubs[0]) }, []string{"outpost outpost: hub jupyterhub is listed twice"}},
		{"exposure", func(a *Args) { a.Exposure.CA = "x" }, []string{"outpost outpost: Exposure.ca: has no effect with exposure type nodePort"}},
		{"name of a hub", func(a *Args) { a.Hubs[0].Name = "a b" }, []string{`outpost outpost: hub "a b": want letters, digits, '.', '_' and '-'`}},
		{"an output among values", func(a *Args) { a.Settings.Config = map[string]any{"failEarly": pulumi.Bool(true).ToBoolOutput()} }, []string{"outpost outpost: config: failEarly: a pulumi.BoolOutput is not a value of YAML"}},
		{"no password", func(a *Args) { a.Hubs[0].Password = nil }, []string{"outpost outpost: Password of hub jupyterhub is missing"}},
		{"settings of the chart", func(a *Args) {
			a.Settings = Settings{
				Config:      map[string]any{"globalMaxPerUsr": 3, "hubs": map[string]any{"jupyterhub": map[string]any{"allowedImages": "*"}}},
				Persistence: Persistence{Size: "big"},
				Values: map[string]any{
					"replicas": 2, "service": map[string]any{"externalTrafficPolicy": "Near"},
					"config": map[string]any{"hubs": map[string]any{"other": map[string]any{"tunnelRestart": map[string]any{}}}},
				},
			}
		}, []string{
			"config.globalMaxPerUsr: is not a setting; did you mean globalMaxPerUser?",
			"config.hubs.jupyterhub.allowedImages: must be a list of strings, not a string",
			"values.config.hubs.other: no hub of this name may log in; there are jupyterhub",
			"persistence.size: does not match ",
			"values.config.hubs.other.tunnelRestart.url is missing",
			"values.replicas: unknown key; known keys: affinity, ",
			"values.service.externalTrafficPolicy: value must be one of '', 'Local', 'Cluster'",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := soundArgs()
			tt.change(&a)
			r := &infratest.Recorder{}
			err := r.Run("test", func(ctx *pulumi.Context) error {
				_, err := New(ctx, "outpost", a)
				return err
			})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want ... %s", err, want)
				}
			}
			if got := r.List(); got != "" {
				t.Errorf("registered:\n%s", got)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	off := false
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name     string
		exposure Exposure
		address  string
		want     Endpoint
	}{
		{"node port", Exposure{Type: exposure.NodePort, APINodePort: 30080, SSHNodePort: 30022}, "10.0.0.3", Endpoint{"https://10.0.0.3:30080", "10.0.0.3", 30022}},
		{"plain", Exposure{Type: exposure.NodePort, APINodePort: 30080, SSHNodePort: 30022, TLS: &off}, "10.0.0.3", Endpoint{"http://10.0.0.3:30080", "10.0.0.3", 30022}},
		{"load balancer", Exposure{Type: exposure.LoadBalancer, SSHAddress: "10.0.0.4"}, "10.0.0.3", Endpoint{"https://10.0.0.3:8080", "10.0.0.4", 22}},
		{"gateway", Exposure{Type: exposure.Gateway, SSHGateway: &exposure.GatewayRef{}}, "o.example.org", Endpoint{"https://o.example.org", "o.example.org", 22}},
		{"gateway, other ports", Exposure{Type: exposure.Gateway, TLS: &off, APIPort: 8080, SSHGateway: &exposure.GatewayRef{}, SSHPort: 2222}, "o.example.org", Endpoint{"http://o.example.org:8080", "o.example.org", 2222}},
		{"gateway, usual port", Exposure{Type: exposure.Gateway, APIPort: 443, SSHAddress: "ssh.example.org"}, "o.example.org", Endpoint{"https://o.example.org", "ssh.example.org", 22}},
		{"ingress", Exposure{Type: exposure.Ingress, TLSSecret: "t", SSHAddress: "ssh.example.org"}, "o.example.org", Endpoint{"https://o.example.org", "ssh.example.org", 22}},
		{"ingress, SSH by node port", Exposure{Type: exposure.Ingress, TLS: &off, SSHNodePort: 30022}, "o.example.org", Endpoint{"http://o.example.org", "o.example.org", 30022}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.exposure.Endpoint(tt.address)); diff != "" {
				t.Errorf("endpoint (-want +got):\n%s", diff)
			}
		})
	}
	want := Endpoint{"http://outpost.outpost.svc:8080", "outpost.outpost.svc", 22}
	if diff := cmp.Diff(want, InCluster("outpost")); diff != "" {
		t.Errorf("published address (-want +got):\n%s", diff)
	}
}
