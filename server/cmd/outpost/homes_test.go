package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/outposts-dev/outposts/server/outpost"
)

// homesAPI is the API server of a namespace "servers" with claims, of which one is mounted.
type homesAPI struct {
	mu      sync.Mutex
	claims  []corev1.PersistentVolumeClaim
	mounted string
	deleted []string // name and uid
}

func (a *homesAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	const claims = "/api/v1/namespaces/servers/persistentvolumeclaims"
	w.Header().Set("Content-Type", "application/json")
	name, one := strings.CutPrefix(r.URL.Path, claims+"/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == claims:
		answer(w, http.StatusOK, corev1.PersistentVolumeClaimList{
			TypeMeta: metav1.TypeMeta{Kind: "PersistentVolumeClaimList", APIVersion: "v1"}, Items: a.claims,
		})
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/namespaces/servers/pods":
		volume := corev1.Volume{Name: "home"}
		volume.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: a.mounted}
		answer(w, http.StatusOK, corev1.PodList{
			TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"},
			Items:    []corev1.Pod{{Spec: corev1.PodSpec{Volumes: []corev1.Volume{volume}}}},
		})
	case r.Method == http.MethodDelete && one:
		a.remove(w, r, name)
	default:
		answer(w, http.StatusForbidden, metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: r.Method + " is forbidden",
		})
	}
}

func answer(w http.ResponseWriter, code int, object any) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// taken returns what was deleted since the last call.
func (a *homesAPI) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	deleted := a.deleted
	a.deleted = nil
	return deleted
}

// remove deletes the claim whose uid the request names.
func (a *homesAPI) remove(w http.ResponseWriter, r *http.Request, name string) {
	var options metav1.DeleteOptions
	body, _ := io.ReadAll(r.Body)
	_, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &options)
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
		Reason: metav1.StatusReasonConflict, Code: http.StatusConflict, Message: "the UID is another one",
	}
	for i, claim := range a.claims {
		wanted := options.Preconditions
		if claim.Name == name && err == nil && wanted != nil && wanted.UID != nil && *wanted.UID == claim.UID {
			a.claims = slices.Delete(a.claims, i, i+1)
			a.deleted = append(a.deleted, fmt.Sprintf("%s %s", name, claim.UID))
			status = metav1.Status{
				TypeMeta: status.TypeMeta, Status: metav1.StatusSuccess, Code: http.StatusOK,
			}
			break
		}
	}
	answer(w, int(status.Code), status)
}

// homeOf is the claim of a user's home, which the outpost with a database of this id has made.
func homeOf(name, user, installation string) corev1.PersistentVolumeClaim {
	return corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "servers", Name: name, UID: types.UID("uid-of-" + name),
			CreationTimestamp: metav1.NewTime(time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC)),
			Annotations: map[string]string{
				"outposts.dev/hub": "jupyterhub", "hub.jupyter.org/username": user,
				"outposts.dev/installation": installation,
			},
		},
		Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
		}},
	}
}

// Homes are listed; rm says what it would remove and removes it with --yes alone, but for what is in use; and the
// database forgets what is gone.
func TestHomes(t *testing.T) {
	env := environment(t.TempDir(), nil)
	db := openAs(t, env)
	api := &homesAPI{mounted: "claim-bob", claims: []corev1.PersistentVolumeClaim{
		homeOf("claim-eve", "eve\nroot", db.Installation()), homeOf("claim-ann", "ann", db.Installation()),
		homeOf("claim-of-another-outpost", "ann", "ffffffffffffffffffffffffffffffff"),
		homeOf("claim-bob", "bob", db.Installation()),
	}}
	ofAnn := outpost.Home{Namespace: "servers", Name: "claim-ann"}
	if err := db.UseHome(t.Context(), ofAnn, time.Date(2020, 5, 4, 12, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	const (
		all = `HUB         USER         HOME               SIZE  MADE        LAST USED
jupyterhub  ann          servers/claim-ann  10Gi  2020-01-01  2020-05-04
jupyterhub  bob          servers/claim-bob  10Gi  2020-01-01  in use
jupyterhub  "eve\nroot"  servers/claim-eve  10Gi  2020-01-01  not since it is noted
`
		none   = "HUB  USER  HOME  SIZE  MADE  LAST USED\n"
		header = "HUB         USER  HOME               SIZE  MADE        LAST USED\n"
		ann    = header + "jupyterhub  ann   servers/claim-ann  10Gi  2020-01-01  2020-05-04\n"
		bob    = header + "jupyterhub  bob   servers/claim-bob  10Gi  2020-01-01  in use\n"
		would  = "%d homes would be removed, with all that is in them; --yes removes them\n"
		busy   = "outpost: homes:\n  servers/claim-bob is in use; stop the servers of bob first\n"
	)
	kubeconfig := apiServer(t, api)
	for _, c := range []struct {
		name          string
		args          string
		code          int
		stdout, fault string
		deleted       []string
	}{
		{"all", "homes", 0, all, "", nil},
		{"all, by the word", "homes list", 0, all, "", nil},
		{"of a user", "homes list --hub jupyterhub --user ann", 0, ann, "", nil},
		{"unused, as far as is noted", "homes list --unused-since 90d", 0, ann, "", nil},
		{"of a hub without any", "homes list --hub theirs", 0, none, "", nil},
		{"what would be removed", "homes rm --unused-since 90d", 0, ann + fmt.Sprintf(would, 1), "", nil},
		{"nothing is removed by that", "homes rm --hub jupyterhub", 0, all + fmt.Sprintf(would, 3), "", nil},
		{
			"removed, but for one in use", "homes rm --hub jupyterhub --yes", 1,
			all + "2 of 3 homes removed\n", busy,
			[]string{"claim-ann uid-of-claim-ann", "claim-eve uid-of-claim-eve"},
		},
		{"what is left", "homes list", 0, bob, "", nil},
		{"one in use alone", "homes rm --user bob --yes", 1, bob + "0 of 1 homes removed\n", busy, nil},
	} {
		args := append(strings.Fields(c.args), "--kubeconfig", kubeconfig)
		code, stdout, stderr := typed(t, env, args...)
		if code != c.code || !strings.HasSuffix(stderr, c.fault) {
			t.Errorf("%s: exit code %d, %s", c.name, code, stderr)
		}
		if diff := cmp.Diff(c.stdout, stdout); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.deleted, api.taken()); diff != "" {
			t.Errorf("%s: deleted (-want +got):\n%s", c.name, diff)
		}
	}
	if used, err := db.Homes(t.Context()); err != nil || len(used) > 0 {
		t.Errorf("the database knows %v, error %v", used, err)
	}
}

// A home that was made anew since it was listed stays, and so does what the outpost knows of it.
func TestHomesThatAreOthersByNow(t *testing.T) {
	env := environment(t.TempDir(), nil)
	db := openAs(t, env)
	claim := homeOf("claim-ann", "ann", db.Installation())
	api := &homesAPI{claims: []corev1.PersistentVolumeClaim{claim}}
	kubeconfig := apiServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			api.mu.Lock()
			api.claims[0].UID = "uid-of-another"
			api.mu.Unlock()
		}
		api.ServeHTTP(w, r)
	}))
	home := outpost.Home{Namespace: "servers", Name: "claim-ann"}
	if err := db.UseHome(t.Context(), home, time.Now()); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := typed(t, env, "homes", "rm", "--user", "ann", "--yes", "--kubeconfig", kubeconfig)
	if deleted := api.taken(); code != 1 || deleted != nil ||
		!strings.HasSuffix(stdout, "\n0 of 1 homes removed\n") ||
		!strings.HasSuffix(stderr, "  delete servers/claim-ann: the UID is another one\n") {
		t.Errorf("exit code %d, deleted %v\n%s%s", code, deleted, stdout, stderr)
	}
	if used, err := db.Homes(t.Context()); err != nil || len(used) != 1 {
		t.Errorf("the database knows %v, error %v", used, err)
	}
}

func TestHomesWithoutTheRightToListThem(t *testing.T) {
	env := environment(t.TempDir(), map[string]string{"OUTPOST_NAMESPACE": "elsewhere"})
	code, stdout, stderr := typed(t, env, "homes", "list", "--kubeconfig", apiServer(t, &homesAPI{}))
	if code != 1 || stdout != "" || !strings.Contains(stderr, "outpost: homes:\n  list claims in elsewhere: ") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}
