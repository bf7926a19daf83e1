//go:build e2e

package stacks

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// takeSecrets are the keys of config that take a secret of the operator's, each with what stands before it in the
// value.
var takeSecrets = map[string]string{
	"outposts:outposts[1].password":                                     "",
	"outposts:hubs[0].password":                                         "",
	"outposts:outpost.cryptKeys[0]":                                     "",
	"outposts:hub.values.custom.planted":                                "",
	"outposts:hub.values.hub.config.GitHubOAuthenticator.client_secret": "",
	"outposts:hub.values.hub.extraConfig.planted":                       "# ",
	"outposts:hub.values.hub.services.planted.apiToken":                 "",
}

// takeNone are keys at which a secret would end in clear.
var takeNone = []string{
	"outposts:hub.values.hub.extraEnv.PLANTED",
	"outposts:outpost.config.spawner.environment.PLANTED",
	"outposts:outpost.values.podAnnotations.planted",
	"outposts:outposts[0].description",
}

// plantedSecrets sets a secret of the operator's at each key that takes one, and finds it in nothing but Secrets; at
// keys that take none it is refused without being shown. Then all are taken away again.
func plantedSecrets(t *testing.T, s *site) {
	before := s.read(t, "local")
	other := newHub(t)
	hubs := []any{map[string]any{"name": other.user, "sshPublicKeys": []any{other.publicKey}}}
	s.set(t, "local", hubs, "outposts:hubs")
	withHub := s.read(t, "local")

	refused := s.plant(t, slices.Sorted(slices.Values(takeNone)), nil)
	out, _, err := s.try(t, "local", upArgs...)
	if err == nil {
		t.Errorf("up was not refused:\n%s", out)
	}
	refused.search(t, "the refusal", out)
	for _, at := range takeNone {
		if !strings.Contains(out, at+": is set as secret, but is in clear text") {
			t.Errorf("%s is not refused:\n%s", at, out)
		}
	}

	s.write(t, "local", withHub)
	secrets := s.plant(t, slices.Sorted(maps.Keys(takeSecrets)), takeSecrets)
	secrets.addBase64()
	for _, args := range [][]string{{"preview", "--diff", "--show-sames", "--non-interactive"}, upArgs} {
		out, _ := s.pulumi(t, "local", args...)
		secrets.search(t, args[0], out)
	}
	secrets.search(t, "stack export", s.exportText(t, "local", false))
	secrets.search(t, "outputs", s.ask(t, "local", "stack", "output", "--json"))
	secrets.searchFiles(t, filepath.Join(s.dir, ".state", "pulumi"))
	for path, text := range s.hub.everything(t) {
		secrets.search(t, path, text)
	}
	for name, text := range s.hub.logs(t, deployed.HubNamespace, deployed.OutpostNamespace) {
		secrets.search(t, "log of "+name, text)
	}
	// A system with a password of the operator's has none of the stack's: the next one is new.
	s.write(t, "local", before)
	s.up(t, "local")
	s.up(t, "remote")
	if err := s.hub.RolledOut(t.Context(), deployed.HubNamespace, "hub"); err != nil {
		t.Fatal(err)
	}
	remote := s.system(t, "remote")
	s.mounted(t, "auth/remote", remote.Hub+":"+remote.Password)
	s.remote.Arrives(t, deployed.OutpostNamespace, "the new password", func(ctx context.Context) error {
		return remote.login().gets(ctx, "/services/", http.StatusOK)
	})
}

// plant sets a random secret at each key, behind what prefixes has for it.
func (s *site) plant(t *testing.T, keys []string, prefixes map[string]string) secretTexts {
	t.Helper()
	args, planted := []string{"config", "set-all", "--path"}, secretTexts{}
	for _, key := range keys {
		random := make([]byte, 32)
		_, _ = rand.Read(random) // never fails
		text := base64.URLEncoding.EncodeToString(random)
		args, planted[text] = append(args, "--secret", key+"="+prefixes[key]+text), key
	}
	s.pulumi(t, "local", args...)
	planted.search(t, "the stack's file", s.read(t, "local"))
	return planted
}

// logs are what the containers of some namespaces have written, by pod and container.
func (c cluster) logs(t *testing.T, namespaces ...string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, namespace := range namespaces {
		pods, err := c.API.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods.Items {
			for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
				name := fmt.Sprintf("%s/%s %s", namespace, pod.Name, container.Name)
				text, err := c.API.CoreV1().Pods(namespace).GetLogs(pod.Name,
					&corev1.PodLogOptions{Container: container.Name}).DoRaw(t.Context())
				if err != nil && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil {
					t.Errorf("log of %s: %v", name, err)
				}
				texts[name] = string(text)
			}
		}
	}
	return texts
}
