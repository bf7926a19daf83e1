package cluster

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfigOf is a kubeconfig of one server, with a context for each name; the first is the current one.
func kubeconfigOf(server string, contexts ...string) string {
	text := `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "` + server + `"}}]
users: [{name: u, user: {token: t}}]
contexts:
`
	for _, name := range contexts {
		text += "- {name: " + name + ", context: {cluster: c, user: u}}\n"
	}
	return text + "current-context: " + contexts[0] + "\n"
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func writeKubeconfig(t *testing.T, server string) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "kubeconfig"), kubeconfigOf(server, "here", "there"))
}

// hermetic takes the kubeconfigs and the pod of whoever runs the test away, and returns a home folder.
func hermetic(t *testing.T) string {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	return t.TempDir()
}

func TestOpenRefuses(t *testing.T) {
	folder := hermetic(t)
	path := writeKubeconfig(t, "https://10.0.0.1:6443")
	empty := writeFile(t, filepath.Join(folder, "empty"), "apiVersion: v1\nkind: Config\n")
	broken := writeFile(t, filepath.Join(folder, "broken"), "{")
	for _, tt := range []struct {
		name   string
		access Access
		want   string
	}{
		{
			"no file",
			Access{Path: "/nowhere/kubeconfig", Context: "here"},
			"kubeconfig: no file /nowhere/kubeconfig; name one that is there",
		},
		{
			"no context",
			Access{Path: path, Context: "elsewhere"},
			"context: kubeconfig " + path + ` has no context "elsewhere"; it has: here, there`,
		},
		{
			"several contexts",
			Access{Path: path},
			"context is missing: kubeconfig " + path + " has here, there; name the one that is meant",
		},
		{"empty", Access{Path: empty}, "kubeconfig: kubeconfig " + empty + " has no context"},
		{"no kubeconfig", Access{Path: broken, Context: "here"}, "kubeconfig: read " + broken + ": "},
		{
			"nothing where kubectl looks",
			Access{},
			"kubeconfig: there is none at " + os.Getenv("KUBECONFIG") +
				", where kubectl looks; name one, or set KUBECONFIG",
		},
		{
			"content of something else",
			Access{Content: "a-password\n"},
			"kubeconfig: is neither the path nor the content of a kubeconfig",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(tt.access)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "a-password") {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// TestAccess holds how a cluster is reached, and that the provider is given the same, with nothing of this machine or
// of this user in it.
func TestAccess(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"a-uid"}}`))
	}))
	t.Cleanup(server.Close)
	folder := hermetic(t)
	t.Chdir(folder)
	other := strings.ReplaceAll(kubeconfigOf("http://127.0.0.1:1", "other"), "name: c", "name: d")
	other = strings.ReplaceAll(other, "cluster: c,", "cluster: d,")
	this := kubeconfigOf(server.URL, "this")
	writeFile(t, filepath.Join(folder, "this"), this)
	writeFile(t, filepath.Join(folder, "other"), other)
	writeFile(t, filepath.Join(folder, "current"), strings.Replace(this, "current-context: this", "", 1))
	list := strings.Join([]string{
		filepath.Join(folder, "other"), filepath.Join(folder, "missing"), filepath.Join(folder, "this"),
	}, ":")
	oidc := strings.Replace(this, "{token: t}", "{auth-provider: {name: oidc, config: {client-id: c, id-token: "+
		"eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9., idp-issuer-url: https://idp.example.org}}}", 1)
	for _, tt := range []struct {
		name, list string
		access     Access
		want       given
	}{
		{"path", "", Access{Path: "this", Context: "this"}, given{kubeconfig: "this", context: "this"}},
		{"path of one context", "", Access{Path: "this"}, given{kubeconfig: "this"}},
		{"path without a current context", "", Access{Path: "current"}, given{kubeconfig: "current", context: "this"}},
		{"list", list, Access{Context: "this"}, given{context: "this"}},
		{"list of one", filepath.Join(folder, "this"), Access{}, given{}},
		{"content", "", Access{Content: this}, given{kubeconfig: this, secret: true}},
		{"auth provider", "", Access{Content: oidc}, given{kubeconfig: oidc, secret: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.list != "" {
				t.Setenv("KUBECONFIG", tt.list)
			}
			api, err := Open(tt.access)
			if err != nil {
				t.Fatal(err)
			}
			if identity, err := api.Identity(t.Context()); identity != "a-uid" || err != nil {
				t.Errorf("identity %q, %v", identity, err)
			}
			got, err := tt.access.given()
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(given{})); diff != "" || err != nil {
				t.Errorf("for the provider, %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestHomeFolder holds that ~ stays ~ for the provider, and is the same folder here.
func TestHomeFolder(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	if got, err := expanded("~/.kube/config"); got != filepath.Join(me.HomeDir, ".kube/config") || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := (Access{Path: "~/.kube/config"}).given(); got.kubeconfig != "~/.kube/config" || err != nil {
		t.Errorf("the provider gets %+v, %v", got, err)
	}
}

// TestRelativePathsInAKubeconfig holds that paths in a kubeconfig are relative to that file, as for kubectl, for what
// is asked here and for the provider, which gets what is in the files.
func TestRelativePathsInAKubeconfig(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"a-uid"}}`))
	}))
	t.Cleanup(server.Close)
	folder := hermetic(t)
	write := func(name, content string) string { return writeFile(t, filepath.Join(folder, name), content) }
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	write("certs/ca.crt", ca)
	write("keys/u.crt", "certificate of u")
	write("keys/u.key", "key of u")
	kubeconfig := func(authority, keys string) string {
		return `
apiVersion: v1
kind: Config
clusters:
  - {name: c, cluster: {server: "` + server.URL + `", certificate-authority: ` + authority + `}}
  - {name: other, cluster: {server: "https://other.example"}}
contexts:
  - {name: here, context: {cluster: c, user: u}}
  - {name: other, context: {cluster: other, user: v}}
users:
  - {name: u, user: {` + keys + `}}
  - {name: v, user: {token: other-token}}
`
	}
	path := write("kubeconfig", kubeconfig("certs/ca.crt", "client-certificate: keys/u.crt, client-key: keys/u.key"))
	got, err := Access{Path: path, Context: "here"}.given()
	if err != nil || !got.secret || got.context != "here" {
		t.Fatalf("secret %t, context %s, %v", got.secret, got.context, err)
	}
	config, err := clientcmd.Load([]byte(got.kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	want := api.NewConfig()
	want.CurrentContext = "here"
	want.Clusters["c"] = &api.Cluster{Server: server.URL, CertificateAuthorityData: []byte(ca)}
	want.Contexts["here"] = &api.Context{Cluster: "c", AuthInfo: "u"}
	want.AuthInfos["u"] = &api.AuthInfo{
		ClientCertificateData: []byte("certificate of u"), ClientKeyData: []byte("key of u"),
	}
	if diff := cmp.Diff(want, config, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("kubeconfig of the provider (-want +got):\n%s", diff)
	}

	opened, err := Open(Access{Path: write("kubeconfig", kubeconfig("certs/ca.crt", "token: t")), Context: "here"})
	if err != nil {
		t.Fatal(err)
	}
	if identity, err := opened.Identity(t.Context()); identity != "a-uid" || err != nil {
		t.Errorf("identity %q, %v", identity, err)
	}

	absolute := write("absolute", kubeconfig(filepath.Join(folder, "certs/ca.crt"), "token: t"))
	for _, path := range []string{absolute, "/nowhere/kubeconfig"} {
		got, err := Access{Path: path, Context: "here"}.given()
		want := given{kubeconfig: path, context: "here"}
		if got != want || err != nil {
			t.Errorf("%s: provider gets %+v, %v", path, got, err)
		}
	}
	file := write("file", kubeconfig("certs/ca.crt", "tokenFile: keys/token"))
	if got, err := (Access{Path: file, Context: "here"}).given(); err == nil {
		t.Errorf("the provider gets %+v", got)
	}
}

// TestSlowCredentials holds that the time in which a cluster must answer does not count that which credentials take,
// such as a browser that a plugin opens.
func TestSlowCredentials(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/namespaces/slow" {
			<-block
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"a-uid"}}`))
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(block) })
	// On a busy machine the server may not answer in time either: then all is tried again, with more of it.
	var api *API
	for limit := time.Second; ; limit *= 2 {
		plugin := writeFile(t, filepath.Join(t.TempDir(), "plugin"), fmt.Sprintf(`#!/bin/sh
sleep %v
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'
`, 1.5*limit.Seconds()))
		if err := os.Chmod(plugin, 0o700); err != nil {
			t.Fatal(err)
		}
		exec := "{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: " + plugin + "}}"
		content := strings.Replace(kubeconfigOf(server.URL, "here"), "{token: t}", exec, 1)
		var err error
		if api, err = open(Access{Content: content}, limit); err != nil {
			t.Fatal(err)
		}
		identity, err := api.Identity(t.Context())
		if identity == "a-uid" && err == nil {
			break
		}
		if limit > time.Minute {
			t.Fatalf("identity %q, %v", identity, err)
		}
	}
	if _, err := api.HasNamespace(t.Context(), "slow"); err == nil {
		t.Error("a cluster that does not answer")
	}
}
