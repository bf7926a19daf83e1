package kubespawner

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/server/outpost"
)

// own are the objects of an outpost whose chart has the release name north.
var own = []string{
	"persistentvolumeclaims/north-data", "secrets/users", "secrets/host-keys", "configmaps/north-config",
	"serviceaccounts/north", "serviceaccounts/default",
}

// No way that a pod has to read an object leads to the outpost's own ones, unless the operator's options take it.
func TestNoServerUsesTheOutpostsOwnObjects(t *testing.T) {
	volume := func(source string) string { return `{"volumes": [{"name": "v", ` + source + `}]}` }
	container := func(fields string) string {
		return `{"extra_containers": [{"name": "c", "image": "i", ` + fields + `}]}`
	}
	const ours = "which belongs to the outpost itself"
	for _, c := range []struct{ name, options, want string }{
		{
			"a claim", volume(`"persistentVolumeClaim": {"claimName": "north-data"}`),
			"persistentvolumeclaims/north-data",
		},
		{
			"a copy of a claim", volume(`"ephemeral": {"volumeClaimTemplate": {"spec": {
				"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
				"dataSource": {"kind": "PersistentVolumeClaim", "name": "north-data"}}}}`),
			"persistentvolumeclaims/north-data",
		},
		{"a Secret", volume(`"secret": {"secretName": "users"}`), "secrets/users"},
		{"a projected Secret", volume(`"projected": {"sources": [{"secret": {"name": "users"}}]}`), "secrets/users"},
		{
			"a Secret of a driver", volume(`"csi": {"driver": "d", "nodePublishSecretRef": {"name": "users"}}`),
			"secrets/users",
		},
		{"a Secret of a share", volume(`"azureFile": {"secretName": "users", "shareName": "s"}`), "secrets/users"},
		{"a ConfigMap", volume(`"configMap": {"name": "north-config"}`), "configmaps/north-config"},
		{
			"a variable", container(`"env": [{"name": "X", "valueFrom": {"secretKeyRef": {
				"name": "users", "key": "k"}}}]`), "secrets/users",
		},
		{"all variables", container(`"envFrom": [{"secretRef": {"name": "host-keys"}}]`), "secrets/host-keys"},
		{
			"variables of a ConfigMap", container(`"envFrom": [{"configMapRef": {"name": "north-config"}}]`),
			"configmaps/north-config",
		},
		{
			"an init container", `{"init_containers": [{"name": "c", "image": "i",
				"envFrom": [{"secretRef": {"name": "users"}}]}]}`, "secrets/users",
		},
		{
			"an overlay", `{"pod_overlay": {"spec": {"volumes": [{"name": "v", "secret": {"secretName": "users"}}]}}}`,
			"secrets/users",
		},
		{
			"a variable of the notebook", `{"extra_container_config": {"envFrom": [{"secretRef": {"name": "users"}}]}}`,
			"secrets/users",
		},
		{"an account", `{"service_account": "north"}`, "serviceaccounts/north"},
		{"an account by its old name", `{"extra_pod_config": {"serviceAccount": "north"}}`, "serviceaccounts/north"},
		{"the account that is not named", `{"automount_service_account_token": true}`, "serviceaccounts/default"},
		{
			"a token of the account that is not named",
			volume(`"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}`), "serviceaccounts/default",
		},
		{"nothing of the outpost", volume(`"secret": {"secretName": "users-of-mine"}`), ""},
		{"another namespace", `{"namespace": "elsewhere", "service_account": "north"}`, ""},
		{
			"a home", `{"storage_pvc_ensure": true, "storage_capacity": "1Gi", "pvc_name_template": "north-data"}`,
			`pvc_name_template: yields the name "north-data", ` + ours,
		},
		{
			"a Secret that the outpost would make", `{"internal_ssl": true, "secret_name_template": "users"}`,
			`secret_name_template: yields the name "users", ` + ours,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want != "" && !strings.Contains(want, ours) {
				want = "misc or a name: no server may use " + want + ", " + ours
			}
			if got := problemOf(buildFrom(t, nil, c.options)); got != want {
				t.Errorf("sent by the hub:\ngot  %s\nwant %s", got, want)
			}
			if strings.Contains(c.want, ours) { // the objects that the outpost makes are never its own
				if got := problemOf(buildFrom(t, decodeOptions(t, c.options), "{}")); got != c.want {
					t.Errorf("set by the operator:\ngot  %s\nwant %s", got, c.want)
				}
				return
			}
			if got := problemOf(buildFrom(t, decodeOptions(t, c.options), "{}")); got != "" {
				t.Errorf("set by the operator: %s", got)
			}
		})
	}
}

// A template of the operator's leads to whatever a user or a server is called, which is for the hub to say.
func TestNoNameLeadsToTheOutpostsOwnObjects(t *testing.T) {
	for _, c := range []struct{ options, user, server, want string }{
		{
			`{"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "{username}-data"}}]}`, "north", "",
			"persistentvolumeclaims/north-data",
		},
		{`{"service_account": "{username}"}`, "north", "", "serviceaccounts/north"},
		{`{"service_account": "{servername}"}`, "alice", "north", "serviceaccounts/north"},
		{
			`{"environment": {"X": {"valueFrom": {"secretKeyRef": {"name": "{unescaped_username}", "key": "k"}}}}}`,
			"users", "", "secrets/users",
		},
		{`{"service_account": "{username}"}`, "alice", "", ""},
	} {
		b, err := NewBuilder("outpost", own, decodeOptions(t, c.options), 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Build(installation, outpost.Hub{Name: "h"}, outpost.StartRequest{
			Key:  outpost.Key{Hub: "h", Name: c.server, StartID: "s1"},
			Body: outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": c.user}},
		}, nil)
		want := c.want
		if want != "" {
			want = "misc or a name: no server may use " + want + ", which belongs to the outpost itself"
		}
		if got := problemOf(err); got != want {
			t.Errorf("%s, %q, %q:\ngot  %s\nwant %s", c.options, c.user, c.server, got, want)
		}
	}
}

// buildFrom builds a start at an outpost whose operator has set options and allows everything.
func buildFrom(t *testing.T, options map[string]any, misc string) error {
	t.Helper()
	b, err := NewBuilder("outpost", own, options, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(misc), &raw); err != nil {
		t.Fatal(err)
	}
	_, err = b.Build(installation, outpost.Hub{Name: "h", AllowedOptions: []string{"*"}}, outpost.StartRequest{
		Key:   outpost.Key{Hub: "h", StartID: "s1"},
		Body:  outpost.Body{Env: map[string]string{"JUPYTERHUB_USER": "alice"}, Misc: raw},
		Certs: map[string]string{"keyfile": "KEY", "certfile": "CERT", "cafile": "CA"},
	}, nil)
	return err
}

func decodeOptions(t *testing.T, text string) (options map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &options); err != nil {
		t.Fatal(err)
	}
	return options
}

func problemOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What a chart of any release has made is known by its labels, whatever the values say; what a hub labels so is not.
func TestTheChartsObjectsAreTheOutpostsOwn(t *testing.T) {
	claim := func(labels, annotations map[string]string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: labels, Annotations: annotations},
		}
	}
	wanted := claim(nil, map[string]string{HubKey: "h", UsernameKey: "alice", InstallationKey: installation})
	const itself = "the outpost itself"
	for _, c := range []struct {
		name  string
		there *corev1.PersistentVolumeClaim
		want  string
	}{
		{"a chart without overrides", claim(map[string]string{
			"app.kubernetes.io/name": "outpost", "helm.sh/chart": "outpost-0.1.0",
		}, nil), itself},
		{"a chart with nameOverride", claim(map[string]string{
			"app.kubernetes.io/name": "north", "helm.sh/chart": "outpost-0.2.0-rc.1_build",
		}, nil), itself},
		{"the name alone", claim(map[string]string{"app.kubernetes.io/name": "outpost"}, nil), itself},
		{"another chart", claim(map[string]string{"helm.sh/chart": "nfs-1.0.0"}, nil), ""},
		{"a home with a hub's labels", claim(map[string]string{
			"app.kubernetes.io/name": "outpost", "helm.sh/chart": "outpost-0.1.0",
		}, map[string]string{HubKey: "h", UsernameKey: "alice"}), ""},
	} {
		if got := (&Objects{}).OtherOwner(wanted, c.there, false); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What the operator's options alone lead to is theirs to share. Anything else has an owner to be looked for, and what a
// name makes is not meant for several users.
func TestWhatAHubLeadsToIsLookedFor(t *testing.T) {
	claim := func(name string) string {
		return `{"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "` + name + `"}}]}`
	}
	secret := func(name string) string {
		return `{"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "` + name + `"}}]}}]}`
	}
	profile := func(choice string) string {
		return `{"profile_list": [{"display_name": "p", "profile_options": {"data": {` + choice + `}}}]}`
	}
	const ensure = `"storage_pvc_ensure": true, "storage_capacity": "1Gi"`
	home := Reference{ClaimResource, "claim-alice", false}
	//nolint:lll // a case a line
	for _, c := range []struct {
		name, options, misc, userOptions string
		want                             []Reference
	}{
		{"a claim of the operator's", claim("data"), "{}", "{}", nil},
		{"a claim of each hub", claim("data-{hub}"), "{}", "{}", nil},
		{"a claim of a user", claim("claim-{username}"), "{}", "{}", []Reference{home}},
		{"a claim by the name that the outpost would give", claim("{pvc_name}"), "{}", "{}", []Reference{home}},
		{"a claim by the number", claim("claim-{userid}"), "{}", "{}", []Reference{{ClaimResource, "claim-7", false}}},
		{"a claim by the pod's name", claim("{pod_name}"), "{}", "{}", []Reference{{ClaimResource, "jupyter-alice", false}}},
		{"a claim by a part of the name", claim("claim-{username:.2}"), "{}", "{}", []Reference{{ClaimResource, "claim-al", false}}},
		{"the home that the start makes", `{` + ensure + `, ` + claim("{pvc_name}")[1:], "{}", "{}", nil},
		{"another home beside it", `{` + ensure + `, "pvc_name_template": "own-{username}", ` + claim("claim-{username}")[1:], "{}", "{}", []Reference{home}},
		{"a claim that the hub sends", "{}", claim("data"), "{}", []Reference{{ClaimResource, "data", true}}},
		{"a name that the hub sends", claim("{pod_name}"), `{"pod_name_template": "data"}`, "{}", []Reference{{ClaimResource, "data", false}}},
		{"a home that the hub sends", "{}", claim("claim-{username}"), "{}", []Reference{home}},
		{"a claim of the operator's in a namespace that the hub sends", claim("data"), `{"namespace": "elsewhere"}`, "{}", []Reference{{ClaimResource, "data", false}}},
		{"a Secret of a user", secret("{username}"), "{}", "{}", []Reference{{SecretResource, "alice", false}}},
		{"a Secret in a variable", `{"environment": {"X": {"valueFrom": {"secretKeyRef": {"name": "{username}", "key": "k"}}}}}`, "{}", "{}", []Reference{{SecretResource, "alice", false}}},
		{"all variables of a ConfigMap", `{"extra_containers": [{"name": "c", "image": "i", "envFrom": [{"configMapRef": {"name": "{username}"}}]}]}`, "{}", "{}", []Reference{{ConfigResource, "alice", false}}},
		{"a Secret for images that the hub sends", "{}", `{"image_pull_secrets": ["registry"]}`, "{}", []Reference{{SecretResource, "registry", true}}},
		{"a Secret for images of the operator's", `{"image_pull_secrets": ["registry"]}`, "{}", "{}", nil},
		{"an account of a user", `{"service_account": "{username}"}`, "{}", "{}", []Reference{{AccountResource, "alice", false}}},
		{"devices of a user", `{"extra_pod_config": {"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu-{username}"}]}}`, "{}", "{}", []Reference{{DevicesResource, "gpu-alice", false}}},
		{"devices that the hub sends", "{}", `{"extra_pod_config": {"resourceClaims": [{"name": "gpu", "resourceClaimName": "gpu"}]}}`, "{}", []Reference{{DevicesResource, "gpu", true}}},
		{"devices made for each pod", `{"extra_pod_config": {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpu-{username}"}]}}`, "{}", "{}", nil},
		{"a choice of the operator's", profile(`"choices": {"a": {"display_name": "A", "default": true, "kubespawner_override": ` + claim("data") + `}}`), "{}", "{}", nil},
		{
			"a value of the user's own", profile(`"unlisted_choice": {"enabled": true, "kubespawner_override": ` + claim("{value}") + `}`), "{}",
			`{"data--unlisted-choice": "data"}`,
			[]Reference{{ClaimResource, "data", true}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := NewBuilder("outpost", own, decodeOptions(t, c.options), 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			var misc, userOptions map[string]json.RawMessage
			if err := errors.Join(
				json.Unmarshal([]byte(c.misc), &misc), json.Unmarshal([]byte(c.userOptions), &userOptions),
			); err != nil {
				t.Fatal(err)
			}
			o, err := b.Build(installation, outpost.Hub{Name: "h", Several: true}, outpost.StartRequest{
				Key: outpost.Key{Hub: "h", StartID: "s1"},
				Body: outpost.Body{
					Env:  map[string]string{"JUPYTERHUB_USER": "alice", "JUPYTERHUB_USER_ID": "7"},
					Misc: misc, UserOptions: userOptions,
				},
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, o.References); diff != "" {
				t.Errorf("references (-want +got):\n%s", diff)
			}
		})
	}
}
