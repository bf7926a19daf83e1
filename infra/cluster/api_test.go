package cluster

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newAPI is an API of a cluster that answers with fixed texts, by path and label selector; everything else is
// forbidden.
// notFound is the answer for an object that does not exist.
const notFound = "not found"

func newAPI(t *testing.T, answers map[string]string) *API {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		review := strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/")
		if r.Method != http.MethodGet && !review {
			t.Errorf("%s %s: the API is only to be read", r.Method, r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		answer, known := answers[strings.TrimSuffix(r.URL.Path+" "+r.URL.Query().Get("labelSelector"), " ")]
		if !known {
			w.WriteHeader(http.StatusForbidden)
			answer = `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403,` +
				`"message":"you may not"}`
		}
		if answer == notFound {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}`
		}
		_, _ = w.Write([]byte(answer)) // the client notices
	}))
	t.Cleanup(server.Close)
	api, err := Open(Access{Path: writeKubeconfig(t, server.URL), Context: "here"})
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func TestAPI(t *testing.T) {
	//nolint:lll // an answer a line
	api := newAPI(t, map[string]string{
		"/api/v1/namespaces/kube-system": `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kube-system","uid":"a-uid"}}`,
		"/api/v1/namespaces/servers":     `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"servers"}}`,
		"/api/v1/namespaces/missing":     notFound,
		"/api/v1/services": `{"apiVersion":"v1","kind":"ServiceList","items":[
			{"metadata":{"namespace":"a","name":"web"},"spec":{"ports":[{"port":80,"nodePort":30080},{"port":22,"nodePort":30022}]}},
			{"metadata":{"namespace":"a","name":"inside"},"spec":{"ports":[{"port":80}]}}]}`,
		"/api/v1/namespaces/jupyter/services component=singleuser-server,x": `{"apiVersion":"v1","kind":"ServiceList","items":[{},{}]}`,
		"/api/v1/namespaces/outpost/pods x=y":                               `{"apiVersion":"v1","kind":"PodList","items":[]}`,
		"/api/v1/namespaces/outpost/pods x": `{"apiVersion":"v1","kind":"PodList","items":[{"metadata":{"annotations":{"x":"a:b","y":"c"}}},
			{"metadata":{"annotations":{"x":"d"}}},{"metadata":{"annotations":{"x":"a:b"}}}]}`,
	})
	if identity, err := api.Identity(t.Context()); identity != "a-uid" || err != nil {
		t.Errorf("identity %q, %v", identity, err)
	}
	for name, want := range map[string]bool{"servers": true, "missing": false, "nobody-may-look": true} {
		if exists, err := api.HasNamespace(t.Context(), name); exists != want || err != nil {
			t.Errorf("namespace %s exists: %v, %v; want %v", name, exists, err, want)
		}
	}
	holders, known, err := api.NodePorts(t.Context())
	want := map[int]Object{30080: {"a", "web"}, 30022: {"a", "web"}}
	if diff := cmp.Diff(want, holders); diff != "" || !known || err != nil {
		t.Errorf("node ports, known %v, %v (-want +got):\n%s", known, err, diff)
	}
	if n, err := api.CountServices(t.Context(), "jupyter", "component=singleuser-server,x"); n != 2 || err != nil {
		t.Errorf("%d services, %v", n, err)
	}
	if n, err := api.CountPods(t.Context(), "outpost", "x=y"); n != 0 || err != nil {
		t.Errorf("%d pods, %v", n, err)
	}
	by, err := api.CountPodsBy(t.Context(), "outpost", "x")
	if diff := cmp.Diff(map[string]int{"a:b": 2, "d": 1}, by); diff != "" || err != nil {
		t.Errorf("pods by x, %v (-want +got):\n%s", err, diff)
	}
}

// TestOwner holds by what a namespace is found to be a stack's: its annotation, or a mark in it.
func TestOwner(t *testing.T) {
	const namespace = `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"`
	const by = `,"annotations":{"outposts.dev/stack":"`
	const role = `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"outposts-stack"`
	for _, tt := range []struct {
		name, namespace, role, owner string // empty: may not be read
		exists                       bool
	}{
		{"annotation", namespace + by + `o/p/s"}}}`, notFound, "o/p/s", true},
		{"mark", namespace + `}}`, role + by + `o/p/s"}}}`, "o/p/s", true},
		{"mark alone may be read", "", role + by + `o/p/s"}}}`, "o/p/s", true},
		{"none", namespace + `}}`, notFound, "", true},
		{"a Role of somebody else", namespace + `}}`, role + `}}`, "", true},
		{"not there", notFound, notFound, "", false},
		{"nothing may be read", "", "", "", false},
	} {
		answers := map[string]string{}
		for path, answer := range map[string]string{
			"/api/v1/namespaces/a": tt.namespace,
			"/apis/rbac.authorization.k8s.io/v1/namespaces/a/roles/outposts-stack": tt.role,
		} {
			if answer != "" {
				answers[path] = answer
			}
		}
		owner, exists, err := newAPI(t, answers).Owner(t.Context(), "a")
		if owner != tt.owner || exists != tt.exists || err != nil {
			t.Errorf("%s: %q, %v, %v; want %q, %v", tt.name, owner, exists, err, tt.owner, tt.exists)
		}
	}
}

// TestAPIRefused holds what happens to a user who may not look, and to a cluster that is not there.
func TestAPIRefused(t *testing.T) {
	api := newAPI(t, nil)
	if identity, err := api.Identity(t.Context()); identity != "" || err != nil {
		t.Errorf("identity %q, %v; want unknown without error", identity, err)
	}
	if uid, err := api.NamespaceUID(t.Context(), "a"); uid != "" || err != nil {
		t.Errorf("uid %q, %v; want unknown without error", uid, err)
	}
	missing, err := api.Missing(t.Context(), []Right{{Resource: "pods", Verb: "get"}})
	if missing != nil || err != nil {
		t.Errorf("missing %v, %v; want unknown without error", missing, err)
	}
	if holders, known, err := api.NodePorts(t.Context()); holders != nil || known || err != nil {
		t.Errorf("node ports %v, known %v, %v; want unknown without error", holders, known, err)
	}
	gone, err := Open(Access{Path: writeKubeconfig(t, "http://127.0.0.1:1"), Context: "here"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.HasNamespace(t.Context(), "a"); err == nil {
		t.Error("a namespace of a cluster that is not there")
	}
	_, err = gone.Identity(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "no answer from the cluster at http://127.0.0.1:1") {
		t.Errorf("a cluster that is not there: %v", err)
	}
}

func TestPresent(t *testing.T) {
	api := newAPI(t, map[string]string{
		"/api/v1/namespaces/n/secrets/hub": `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"hub"}}`,
		"/apis/apps/v1/namespaces/n/deployments/hub": `{"kind":"Deployment","apiVersion":"apps/v1",` +
			`"metadata":{"name":"hub"}}`,
		"/api/v1/namespaces/n/persistentvolumeclaims/d": `{"kind":"PersistentVolumeClaim","apiVersion":"v1",` +
			`"metadata":{"name":"d"}}`,
	})
	want := []Part{{Secret, "hub"}, {Deployment, "hub"}, {Claim, "d"}}
	got, err := api.Present(t.Context(), "n", append(want, Part{Secret, "closed"}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("present (-want +got):\n%s", diff)
	}
}

func TestHelmRelease(t *testing.T) {
	object := func(kind, annotations string) string {
		return `{"kind":"` + kind + `","apiVersion":"v1","metadata":{"name":"hub","annotations":{` + annotations + `}}}`
	}
	list := func(kind string, items ...string) string {
		return `{"kind":"` + kind + `","apiVersion":"v1","items":[` + strings.Join(items, ",") + `]}`
	}
	const of = `"meta.helm.sh/release-name":"jhub"`
	api := newAPI(t, map[string]string{
		"/api/v1/namespaces/new/secrets/hub":                       object("Secret", ""),
		"/api/v1/namespaces/free/persistentvolumeclaims/db":        object("PersistentVolumeClaim", of),
		"/api/v1/namespaces/free/secrets owner=helm,name=jhub":     list("SecretList"),
		"/api/v1/namespaces/free/configmaps owner=helm,name=jhub":  list("ConfigMapList"),
		"/api/v1/namespaces/recorded/persistentvolumeclaims/db":    object("PersistentVolumeClaim", of),
		"/api/v1/namespaces/recorded/secrets owner=helm,name=jhub": list("SecretList", object("Secret", "")),
		"/api/v1/namespaces/data/secrets/hub": `{"kind":"Secret","apiVersion":"v1","metadata":{},` +
			`"data":{"a":"Yg=="}}`,
	})
	type answer struct {
		release  string
		recorded bool
	}
	for namespace, want := range map[string]answer{
		"new": {"", false}, "free": {"jhub", false}, "recorded": {"jhub", true}, "closed": {"", false},
	} {
		release, recorded, err := api.HelmRelease(t.Context(), namespace, []Part{{Secret, "hub"}, {Claim, "db"}})
		if got := (answer{release, recorded}); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", namespace, got, err, want)
		}
	}
	data, err := api.SecretData(t.Context(), Object{"data", "hub"})
	if err != nil || !cmp.Equal(data, map[string]string{"a": "Yg=="}) {
		t.Errorf("data %v, %v", data, err)
	}
	if data, err := api.SecretData(t.Context(), Object{"closed", "hub"}); data != nil || err != nil {
		t.Errorf("closed: %v, %v", data, err)
	}
}

func TestStorageClasses(t *testing.T) {
	type answer struct {
		names             []string
		hasDefault, known bool
	}
	const path = "/apis/storage.k8s.io/v1/storageclasses"
	list := func(items string) map[string]string {
		return map[string]string{
			path: `{"kind":"StorageClassList","apiVersion":"storage.k8s.io/v1","items":[` + items + `]}`,
		}
	}
	const fast = `{"metadata":{"name":"fast","annotations":{"storageclass.kubernetes.io/is-default-class":"false"}}}`
	const slow = `{"metadata":{"name":"slow","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}`
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    answer
	}{
		{"a default", list(fast + "," + slow), answer{[]string{"fast", "slow"}, true, true}},
		{"no default", list(fast), answer{[]string{"fast"}, false, true}},
		{"none", list(""), answer{nil, false, true}},
		{"closed", nil, answer{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			names, hasDefault, known, err := newAPI(t, tt.answers).StorageClasses(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := answer{names, hasDefault, known}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
