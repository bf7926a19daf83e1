//go:build e2e

package stacks

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// leastSecret is the length from which on a part of a Secret is searched for: what is shorter is no secret of ours but
// the name of a hub or of a system.
const leastSecret = 16

// noSecretInClear searches what Pulumi shows and keeps, and everything in both clusters but Secrets, for each generated
// secret: the random bytes, and each line and part of what is in the Secrets.
func noSecretInClear(t *testing.T, s *site) {
	secrets := map[string]string{} // text to where it is from
	for _, stack := range []string{"local", "remote"} {
		for _, r := range s.export(t, stack) {
			if r.Type != "random:index/randomBytes:RandomBytes" {
				continue
			}
			for _, form := range []string{"base64", "hex"} {
				value, _ := r.Outputs[form].(map[string]any)
				text, _ := value["plaintext"].(string)
				if text == "" {
					t.Errorf("%s: %s is not kept as a secret", r.URN, form)
				}
				secrets[strings.Trim(text, `"`)] = r.URN
			}
		}
	}
	// What is derived from those bytes and stands in a Secret only within a document, such as the login's password.
	var shown, hidden map[string]any
	for flag, into := range map[string]*map[string]any{"--show-secrets": &shown, "--json": &hidden} {
		if err := json.Unmarshal([]byte(s.ask(t, "local", "stack", "output", "--json", flag)), into); err != nil {
			t.Fatal(err)
		}
	}
	derived := 0
	for name, value := range shown {
		if text, isText := value.(string); isText && hidden[name] != value {
			secrets[text] = "output " + name
			derived++
		}
	}
	if derived < 2 {
		t.Fatalf("only %d secret texts found in the outputs", derived)
	}
	if len(secrets) < 20 {
		t.Fatalf("only %d random texts found in the states", len(secrets))
	}
	for _, c := range []cluster{s.hub, s.remote} {
		for _, namespace := range []string{deployed.HubNamespace, deployed.OutpostNamespace} {
			found, err := c.API.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range found.Items {
				for key, value := range secret.Data {
					if slices.Contains([]string{"tls.crt", "values.yaml", "outpost_hub"}, key) {
						continue // public, but for what is in other keys too
					}
					for _, part := range strings.FieldsFunc(string(value), func(r rune) bool { return strings.ContainsRune(" \n:;", r) }) {
						if len(part) >= leastSecret {
							secrets[part] = fmt.Sprintf("%s %s/%s %s", c.context, namespace, secret.Name, key)
						}
					}
				}
			}
		}
	}
	for text, from := range secrets {
		secrets[base64.StdEncoding.EncodeToString([]byte(text))] = from
	}
	t.Logf("searching for %d texts", len(secrets))
	search := func(where, text string) {
		for secret, from := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the secret of %s in clear", where, from)
			}
		}
	}
	for _, stack := range []string{"local", "remote"} {
		search("stack export of "+stack, s.exportText(t, stack, false))
		// Without --skip-preview it is the preview too.
		out, _ := s.pulumi(t, stack, "up", "--yes", "--diff", "--refresh", "--show-sames", "--non-interactive")
		search("preview and up of "+stack, out)
	}
	for _, c := range []cluster{s.hub, s.remote} {
		for path, text := range c.everything(t) {
			search(path+" of "+c.context, text)
		}
	}
	err := filepath.WalkDir(filepath.Join(s.dir, ".state", "pulumi"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		search(path, string(text))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// everything is all that the API of a cluster lists, but Secrets, by path.
func (c cluster) everything(t *testing.T) map[string]string {
	t.Helper()
	_, lists, err := c.API.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists) {
		path := "/apis/" + list.GroupVersion
		if list.GroupVersion == "v1" {
			path = "/api/v1"
		}
		for _, kind := range list.APIResources {
			if kind.Name == "secrets" {
				continue
			}
			text, err := c.API.CoreV1().RESTClient().Get().AbsPath(path + "/" + kind.Name).DoRaw(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Errorf("list %s/%s: %v", path, kind.Name, err)
			}
			texts[path+"/"+kind.Name] = string(text)
		}
	}
	if len(texts) < 20 {
		t.Errorf("only %d kinds of objects found", len(texts))
	}
	return texts
}
