package hub

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestRoute holds the route of a hub by Gateway, with the time that a request may take and without a word of it, and
// that no other exposure makes one.
func TestRoute(t *testing.T) {
	const kind = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
	unsaid := ""
	for name, e := range map[string]Exposure{
		"route": {
			Type: exposure.Gateway, Host: "hub.example.org", Annotations: map[string]string{"example.org/a": "b"},
			Gateway: &exposure.GatewayRef{Name: "public", Namespace: "gateways", SectionName: "https"},
		},
		"route-without-timeout": {
			Type: exposure.Gateway, Host: "hub.example.org", Gateway: &exposure.GatewayRef{Name: "public"},
			RequestTimeout: &unsaid,
		},
		"": {Type: exposure.Ingress, Host: "hub.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			a := soundArgs()
			a.Exposure = e
			r := &infratest.Recorder{}
			err := r.Run("test", func(ctx *pulumi.Context) error {
				_, err := New(ctx, "hub", a)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if name == "" {
				for _, made := range r.Resources() {
					if made.Type == kind {
						t.Errorf("%s %s is made", made.Type, made.Name)
					}
				}
				return
			}
			infratest.Golden(t, name+".golden.json", infratest.JSON(t, r.Find(t, kind, "hub-route").Inputs))
			chart := r.Find(t, "kubernetes:helm.sh/v4:Chart", "hub")
			want := []string{"hub-auth", "hub-route", "hub-sshkey", "hub-trust"}
			if diff := cmp.Diff(want, chart.DependsOn); diff != "" {
				t.Errorf("the chart comes after (-want +got):\n%s", diff)
			}
		})
	}
}
