package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestPolicy holds what happens to each kind of object.
func TestPolicy(t *testing.T) {
	meta := func(namespace, name string, annotations pulumi.Map) pulumi.Map {
		m := pulumi.Map{"namespace": pulumi.String(namespace), "name": pulumi.String(name)}
		if annotations != nil {
			m["annotations"] = annotations
		}
		return pulumi.Map{"metadata": m}
	}
	ours := pulumi.Map{fieldManager: pulumi.String("outposts-local")}
	unawaited := pulumi.Map{fieldManager: pulumi.String("outposts-local"), skipAwait: pulumi.String("true")}
	adopted := pulumi.Map{fieldManager: pulumi.String("outposts-local"), patchForce: pulumi.String("true")}
	labelled := func(props pulumi.Map, labels pulumi.Map) pulumi.Map {
		return with(props, "metadata", with(plainMap(props["metadata"]), "labels", labels))
	}
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name      string
		kind      string
		custom    bool
		props     pulumi.Map
		want      pulumi.Map
		protected bool
	}{
		{"component", "kubernetes:helm.sh/v4:Chart", false, pulumi.Map{"chart": pulumi.String("c")}, nil, false},
		{"not of Kubernetes", "random:index/randomBytes:RandomBytes", true, pulumi.Map{"length": pulumi.Int(32)}, nil, false},
		{"config map", "kubernetes:core/v1:ConfigMap", true, meta("n", "a", nil), meta("n", "a", ours), false},
		{
			"other annotations stay", "kubernetes:core/v1:ConfigMap", true, meta("n", "a", pulumi.Map{"x": pulumi.String("y")}),
			meta("n", "a", pulumi.Map{"x": pulumi.String("y"), fieldManager: pulumi.String("outposts-local")}), false,
		},
		{"service", "kubernetes:core/v1:Service", true, meta("n", "a", nil), meta("n", "a", unawaited), false},
		{"ingress", "kubernetes:networking.k8s.io/v1:Ingress", true, meta("n", "a", nil), meta("n", "a", unawaited), false},
		{"claim", "kubernetes:core/v1:PersistentVolumeClaim", true, meta("outpost", "outpost-data", nil), meta("outpost", "outpost-data", unawaited), true},
		{"claim whose data may go", "kubernetes:core/v1:PersistentVolumeClaim", true, meta("jupyter", "hub-db-dir", nil), meta("jupyter", "hub-db-dir", unawaited), false},
		{"another claim there", "kubernetes:core/v1:PersistentVolumeClaim", true, meta("jupyter", "other", nil), meta("jupyter", "other", unawaited), true},
		{"claim in a namespace that may go", "kubernetes:core/v1:PersistentVolumeClaim", true, meta("gone", "any", nil), meta("gone", "any", unawaited), false},
		{
			"claim of a version of a chart", "kubernetes:core/v1:PersistentVolumeClaim", true,
			labelled(meta("n", "a", nil), pulumi.Map{"app": pulumi.String("jupyterhub"), "chart": pulumi.String("jupyterhub-4.4.0"), "helm.sh/chart": pulumi.String("jupyterhub-4.4.0"), "app.kubernetes.io/version": pulumi.String("5.5.0")}),
			labelled(meta("n", "a", unawaited), pulumi.Map{"app": pulumi.String("jupyterhub")}), true,
		},
		{
			"other object of a version of a chart", "kubernetes:core/v1:ConfigMap", true,
			labelled(meta("n", "a", nil), pulumi.Map{"chart": pulumi.String("jupyterhub-4.4.0")}),
			labelled(meta("n", "a", ours), pulumi.Map{"chart": pulumi.String("jupyterhub-4.4.0")}), false,
		},
		{"adopted", "kubernetes:core/v1:ConfigMap", true, meta("taken", "a", nil), meta("taken", "a", adopted), false},
		{"adopted namespace", "kubernetes:core/v1:Namespace", true, meta("", "taken", nil), meta("", "taken", adopted), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transform := policy(Config{AllowDataLoss: []string{"jupyter/hub-db-dir", "gone/*"}, Adopt: []string{"taken"}}, "outposts-local")
			got := transform(t.Context(), &pulumi.ResourceTransformArgs{Type: tt.kind, Custom: tt.custom, Props: tt.props})
			if tt.want == nil {
				if got != nil {
					t.Errorf("changed: %v", got)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got.Props); diff != "" {
				t.Errorf("object (-want +got):\n%s", diff)
			}
			if got.Opts.Protect != tt.protected {
				t.Errorf("protected %v, want %v", got.Opts.Protect, tt.protected)
			}
		})
	}
}

// TestAnnotatedOutputs holds that nothing is lost of metadata, and of annotations, that are outputs.
func TestAnnotatedOutputs(t *testing.T) {
	meta := pulumi.Map{
		"namespace": pulumi.String("n"), "name": pulumi.String("a"), "annotations": pulumi.Map{"x": pulumi.String("y")},
	}
	want := map[string]any{"metadata": map[string]any{
		"namespace": "n", "name": "a", "annotations": map[string]any{"x": "y", "key": "value"},
	}}
	for name, props := range map[string]pulumi.Map{
		"metadata": {"metadata": pulumi.ToSecret(meta)},
		"annotations": {"metadata": pulumi.Map{
			"namespace": meta["namespace"], "name": meta["name"], "annotations": pulumi.ToSecret(meta["annotations"]),
		}},
	} {
		r := &infratest.Recorder{}
		err := r.Run("test", func(ctx *pulumi.Context) error {
			got, err := infratest.Await(ctx, annotated(props, "key", "value").ToMapOutput())
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: object (-want +got):\n%s", name, diff)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
