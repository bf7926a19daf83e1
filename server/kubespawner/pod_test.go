package kubespawner

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
)

// podVectors is pod-vectors.json.
type podVectors struct {
	MakePod       []makePodVector `json:"make_pod"`
	MakePodErrors []makePodVector `json:"make_pod_errors"`
	MakePVC       []struct {
		ID    string `json:"id"`
		Input struct {
			Name        string            `json:"name"`
			Class       *string           `json:"storage_class"`
			Modes       []string          `json:"access_modes"`
			Selector    map[string]any    `json:"selector"`
			Storage     *string           `json:"storage"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"input"`
		PVC json.RawMessage `json:"pvc"`
	} `json:"make_pvc"`
	MakeService []struct {
		ID    string `json:"id"`
		Input struct {
			Name        string            `json:"name"`
			Port        int32             `json:"port"`
			Selector    map[string]string `json:"selector"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"input"`
		Service json.RawMessage `json:"service"`
	} `json:"make_service"`
	MakeSecret []struct {
		ID    string `json:"id"`
		Input struct {
			Name        string            `json:"name"`
			Key         string            `json:"keyfile"`
			Cert        string            `json:"certfile"`
			CA          string            `json:"cafile"`
			HubCA       string            `json:"hub_ca"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"input"`
		Secret json.RawMessage `json:"secret"`
	} `json:"make_secret"`
	MakeNamespace []struct {
		Input struct {
			Name        string         `json:"name"`
			Labels      map[string]any `json:"labels"`
			Annotations map[string]any `json:"annotations"`
		} `json:"input"`
		Namespace json.RawMessage `json:"namespace"`
	} `json:"make_namespace"`
	OwnerReference json.RawMessage `json:"owner_reference"`
	Spawner        []spawnerVector `json:"spawner"`
	Outpost        []outpostVector `json:"outpost"`
}

type makePodVector struct {
	ID    string          `json:"id"`
	Input map[string]any  `json:"input"`
	Pod   json.RawMessage `json:"pod"`
}

// build runs one make_pod vector through options and buildPod. Its input is named like options, but for a few.
func (v makePodVector) build(p *options.Problems) *corev1.Pod {
	values, in := map[string]any{}, podInput{}
	texts := func(value any) map[string]string {
		out := map[string]string{}
		for key, text := range value.(map[string]any) {
			out[key] = text.(string)
		}
		return out
	}
	for name, value := range v.Input {
		switch name {
		case "name":
			in.Name = value.(string)
		case "labels":
			in.Labels = texts(value)
		case "annotations":
			in.Annotations = texts(value)
		case "env":
			in.Env = value.(map[string]any)
		case "ssl_secret_name":
			in.SSLSecret = value.(string)
		case "ssl_secret_mount_path":
			values["secret_mount_path"] = value
		default:
			values[name] = value
		}
	}
	st, err := options.NewSettings(options.CheckLayer(values, p), options.Defaults("jhub", 0))
	if err != nil {
		p.Addf("settings", "%v", err)
	}
	in.Settings = st
	if in.SSLSecret != "" {
		if in.Env == nil {
			in.Env = map[string]any{}
		}
		for name, file := range sslVariables {
			in.Env[name] = st.SecretMountPath + file
		}
	}
	return buildPod(in, p)
}

// withKubeSpawnersMode sets the mode of the certificates to KubeSpawner's, which lets everybody do everything.
func withKubeSpawnersMode(pod *corev1.Pod) *corev1.Pod {
	for i, v := range pod.Spec.Volumes {
		if v.Name == sslVolume {
			pod.Spec.Volumes[i].Secret.DefaultMode = new(int32(0o777))
		}
	}
	return pod
}

func TestPodsAreKubeSpawners(t *testing.T) {
	var v podVectors
	kubespawnertest.Load(t, "pod-vectors", &v)
	if len(v.MakePod) < 20 {
		t.Fatalf("only %d vectors", len(v.MakePod))
	}
	for _, c := range v.MakePod {
		t.Run(c.ID, func(t *testing.T) {
			var p options.Problems
			got := c.build(&p)
			if err := p.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(
				kubespawnertest.Decode[corev1.Pod](t, c.Pod),
				withKubeSpawnersMode(got),
				kubespawnertest.SameObject,
			); diff != "" {
				t.Errorf("pod (-want +got)\n%s", diff)
			}
		})
	}
}

func TestPodsThatKubeSpawnerRefuses(t *testing.T) {
	var v podVectors
	kubespawnertest.Load(t, "pod-vectors", &v)
	if len(v.MakePodErrors) < 9 {
		t.Fatalf("only %d vectors", len(v.MakePodErrors))
	}
	for _, c := range v.MakePodErrors {
		var p options.Problems
		if c.build(&p); p.Err() == nil {
			t.Errorf("%s: no error", c.ID)
		}
	}
}

func TestHelpersAreKubeSpawners(t *testing.T) {
	var v podVectors
	kubespawnertest.Load(t, "pod-vectors", &v)
	for _, c := range v.MakePVC {
		var p options.Problems
		in := pvcInput{
			Name: c.Input.Name, StorageClass: c.Input.Class, AccessModes: c.Input.Modes, Selector: c.Input.Selector,
			Labels: c.Input.Labels, Annotations: c.Input.Annotations,
		}
		if c.Input.Storage != nil {
			in.Storage = *c.Input.Storage
		}
		got := buildPVC(in, &p)
		// Without a size KubeSpawner sends null, and the API server refuses it.
		if err := p.Err(); (err == nil) != (c.Input.Storage != nil) {
			t.Errorf("%s: error %v", c.ID, err)
		}
		if diff := cmp.Diff(
			kubespawnertest.Decode[corev1.PersistentVolumeClaim](t, c.PVC),
			got,
			kubespawnertest.SameObject,
		); diff != "" {
			t.Errorf("claim %s (-want +got)\n%s", c.ID, diff)
		}
	}
	var owner metav1.OwnerReference
	if err := json.Unmarshal(v.OwnerReference, &owner); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(owner, OwnerReference(owner.Name, owner.UID)); diff != "" {
		t.Errorf("owner (-want +got)\n%s", diff)
	}
	owners := []metav1.OwnerReference{owner}
	for _, c := range v.MakeService {
		got := buildService(c.Input.Name, "", c.Input.Port, c.Input.Selector, c.Input.Labels, c.Input.Annotations)
		got.OwnerReferences, got.APIVersion = owners, ""
		if diff := cmp.Diff(
			kubespawnertest.Decode[corev1.Service](t, c.Service),
			got,
			kubespawnertest.SameObject,
		); diff != "" {
			t.Errorf("service %s (-want +got)\n%s", c.ID, diff)
		}
	}
	for _, c := range v.MakeSecret {
		got := buildSecret(
			c.Input.Name,
			"",
			certificates{c.Input.Key, c.Input.Cert, c.Input.CA, c.Input.HubCA},
			c.Input.Labels,
			c.Input.Annotations,
		)
		got.OwnerReferences = owners
		if diff := cmp.Diff(
			kubespawnertest.Decode[corev1.Secret](t, c.Secret),
			got,
			kubespawnertest.SameObject,
		); diff != "" {
			t.Errorf("secret %s (-want +got)\n%s", c.ID, diff)
		}
	}
	for _, c := range v.MakeNamespace {
		var p options.Problems
		got := buildNamespace(
			c.Input.Name,
			options.Settings{UserNamespaceLabels: c.Input.Labels, UserNamespaceAnnots: c.Input.Annotations},
			fields{}.expander(),
			&p,
		)
		if diff := cmp.Diff(
			kubespawnertest.Decode[corev1.Namespace](t, c.Namespace),
			got,
			kubespawnertest.SameObject,
		); diff != "" {
			t.Errorf("namespace (-want +got)\n%s", diff)
		}
	}
}
