package outpost_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost"
)

func TestRegistryOf(t *testing.T) {
	for image, want := range map[string]string{
		"alpine": "docker.io", "alpine:3": "docker.io", "jupyter/minimal:1": "docker.io", "docker.io/a/b": "docker.io",
		"index.docker.io/a/b": "docker.io", "quay.io/jupyter/a@sha256:0": "quay.io", "localhost/a": "localhost",
		"registry:5000/a": "registry:5000", "registry.example.org:5000/a/b:c": "registry.example.org:5000",
		"": "docker.io",
	} {
		if got := outpost.RegistryOf(image); got != want {
			t.Errorf("%q: got %q, want %q", image, got, want)
		}
	}
}

// The login is for one registry, in the form that container runtimes read.
func TestDockerConfig(t *testing.T) {
	login := outpost.Login{Username: "ann", Password: `p"w:`}
	for image, key := range map[string]string{"a/b": "https://index.docker.io/v1/", "quay.io/a": "quay.io"} {
		want := `{"auths":{"` + key + `":{"auth":"YW5uOnAidzo=","password":"p\"w:","username":"ann"}}}`
		if got := string(login.DockerConfig(image)); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}

// A login is refused unless the operator lets the hub send one to the registry of an image of the user's own.
// Nothing of it is in the answer.
func TestLoginIsRefused(t *testing.T) {
	const planted = "plan7ed"
	allowed := outpost.Hub{
		Name: "hub", AllowedOptions: []string{"image"}, AllowedRegistries: []string{"*.example.org", "docker.io"},
	}
	ofImage := func(image string) map[string]json.RawMessage {
		return map[string]json.RawMessage{"image": json.RawMessage(fmt.Sprintf("%q", image))}
	}
	own := ofImage("r.example.org/a")
	for _, tc := range []struct {
		name  string
		hub   outpost.Hub
		misc  map[string]json.RawMessage
		login outpost.Login
		want  string
	}{
		{"allowed", allowed, own, outpost.Login{Username: "ann", Password: planted}, ""},
		{"of Docker Hub", allowed, ofImage("a/b"), outpost.Login{Username: "ann", Password: planted}, ""},
		{
			"of another registry", allowed, ofImage("quay.io/a"),
			outpost.Login{Username: "ann", Password: planted},
			"The hub hub may not send a login to the registry quay.io",
		},
		{
			"of none",
			outpost.Hub{Name: "hub", AllowedOptions: []string{"image"}},
			own,
			outpost.Login{Username: "ann", Password: planted},
			"The hub hub may not send a login to the registry r.example.org",
		},
		{
			"without an image", allowed, nil,
			outpost.Login{Username: "ann", Password: planted},
			"A login to a registry has no effect without an image of the user's own.",
		},
		{
			"without a password", allowed, own,
			outpost.Login{Username: planted},
			"The login to a registry needs a username and a password.",
		},
		{
			"without a username", allowed, own,
			outpost.Login{Password: planted},
			"The login to a registry needs a username and a password.",
		},
		{
			"username with a colon", allowed, own,
			outpost.Login{Username: planted + ":b", Password: planted},
			"The login to a registry has a username with a colon or a control character.",
		},
		{
			"password of two lines", allowed, own,
			outpost.Login{Username: "ann", Password: planted + "\n"},
			"The login to a registry has a password with a control character.",
		},
		{
			"long password", allowed, own,
			outpost.Login{Username: "ann", Password: outpost.Secret(planted + strings.Repeat("x", 8<<10))},
			"The login to a registry is too long.",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := outpost.StartRequest{
				Key: outpost.Key{Name: "lab"}, Login: &tc.login, Body: outpost.Body{Misc: tc.misc},
			}
			got := ""
			if err := tc.hub.CheckRequest(r); err != nil {
				got = strings.TrimPrefix(err.Error(), "lab - ")
			}
			if got != tc.want || strings.Contains(got, planted) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if printed := fmt.Sprintf("%+v %#v", tc.login, tc.login.Password); tc.login.Username == "ann" &&
				strings.Contains(printed, planted) {
				t.Errorf("a printed login has the password: %s", printed)
			}
		})
	}
}

func TestCheckRegistries(t *testing.T) {
	hub := outpost.Hub{AllowedRegistries: []string{"quay.io", "[z-a]", "quay.io/jupyter"}}
	want := []outpost.HubFault{
		{Field: "allowedRegistries[1]", Message: `"[z-a]" is not a glob of hosts, such as *.example.org`},
		{Field: "allowedRegistries[2]", Message: `"quay.io/jupyter" is not a glob of hosts, such as *.example.org`},
		{Field: "allowedRegistries", Message: "has no effect unless allowedOptions has image"},
	}
	if diff := cmp.Diff(want, hub.Check()); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if got := hub.Registries(); len(got) > 0 {
		t.Errorf("a hub that may set no image may send logins to %v", got)
	}
}
