package homes

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/outposts-dev/outposts/server/kubespawner"
)

const installation = "0123456789abcdef0123456789abcdef"

var day = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// claim is a claim of a hub's user.
func claim(namespace, name, hub, user, of string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID("uid-of-" + name), CreationTimestamp: metav1.NewTime(day),
			Annotations: map[string]string{
				kubespawner.HubKey: hub, kubespawner.UsernameKey: user, kubespawner.InstallationKey: of,
			},
		},
		Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
		}},
	}
}

func world() *fake.Clientset {
	byHand := claim("servers", "by-hand", "a", "ann", installation)
	byHand.Annotations = nil
	return fake.NewClientset(
		claim("servers", "claim-b-ann", "b", "ann", installation),
		claim("servers", "claim-a-bob", "a", "bob", installation),
		claim("gpu", "claim-a-ann", "a", "ann", installation),
		claim("servers", "claim-of-another", "a", "ann", "ffffffffffffffffffffffffffffffff"),
		claim("elsewhere", "claim-a-eve", "a", "eve", installation),
		byHand,
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "servers", Name: "bob"},
			Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "home", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "claim-a-bob"},
			}}}},
		},
	)
}

func TestList(t *testing.T) {
	home := func(namespace, name, hub, user string, used time.Time, inUse bool) Home {
		return Home{
			Name: Name{Namespace: namespace, Name: name}, Hub: hub, User: user, Size: "10Gi", Made: day, Used: used,
			InUse: inUse,
		}
	}
	week := 7 * 24 * time.Hour
	ofAnn := home("gpu", "claim-a-ann", "a", "ann", day.Add(week), false)
	ofBob := home("servers", "claim-a-bob", "a", "bob", time.Time{}, true)
	another := home("servers", "claim-b-ann", "b", "ann", time.Time{}, false)
	for name, c := range map[string]struct {
		filter Filter
		want   []Home
	}{
		"used before that was noted": {Filter{UnusedSince: day.Add(time.Hour)}, nil},
		"all":                        {Filter{}, []Home{ofAnn, ofBob, another}},
		"of a hub":                   {Filter{Hub: "a"}, []Home{ofAnn, ofBob}},
		"of a user of a hub":         {Filter{Hub: "a", User: "ann"}, []Home{ofAnn}},
		"of nobody":                  {Filter{User: "eve"}, nil},
		"unused, but for that used":  {Filter{UnusedSince: day.Add(week)}, []Home{another}},
		"unused for less":            {Filter{UnusedSince: day.Add(week + 1)}, []Home{ofAnn, another}},
		"made later":                 {Filter{UnusedSince: day}, nil},
	} {
		got, err := List(t.Context(), world(), []string{"gpu", "servers"}, installation,
			map[Name]time.Time{ofAnn.Name: ofAnn.Used}, day.Add(time.Hour), c.filter)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(Home{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWho(t *testing.T) {
	for user, want := range map[string]string{
		"ann": "ann", "zoë x": "zoë x", "a\nhub  b": `"a\nhub  b"`, "\x1b[2J": `"\x1b[2J"`, "a\u202eb": `"a\u202eb"`,
	} {
		if got := (Home{User: user}).Who(); got != want {
			t.Errorf("%q: %s", user, got)
		}
	}
}

// A home is removed only as the one that was listed, and not while it is in use (protocol 2.15).
func TestRemove(t *testing.T) {
	client := world()
	list, err := List(t.Context(), client, []string{"servers"}, installation, nil, day, Filter{})
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	client.ClearActions()
	if err := Remove(t.Context(), client, list[0]); err == nil || err.Error() !=
		"servers/claim-a-bob is in use; stop the servers of bob first" {
		t.Errorf("in use: %v", err)
	}
	if err := Remove(t.Context(), client, list[1]); err != nil {
		t.Error(err)
	}
	if err := Remove(t.Context(), client, list[1]); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
	var deleted []string
	for _, action := range client.Actions() {
		if action.Matches("list", "pods") {
			continue
		}
		d, ok := action.(clienttesting.DeleteActionImpl)
		if !ok || d.DeleteOptions.Preconditions == nil {
			t.Fatalf("action %v", action)
		}
		deleted = append(deleted, d.Name+" "+string(*d.DeleteOptions.Preconditions.UID))
	}
	want := []string{"claim-b-ann uid-of-claim-b-ann", "claim-b-ann uid-of-claim-b-ann"}
	if diff := cmp.Diff(want, deleted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	started := list[1]
	started.Name.Name = "claim-a-bob"
	if err := Remove(t.Context(), client, started); err == nil || err.Error() !=
		"servers/claim-a-bob is in use; stop the servers of ann first" {
		t.Errorf("in use since it was listed: %v", err)
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "x", errors.New("no"))
	client.PrependReactor("*", "persistentvolumeclaims", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, forbidden
	})
	if err := Remove(t.Context(), client, list[1]); !apierrors.IsForbidden(errors.Unwrap(err)) {
		t.Errorf("without the right: %v", err)
	}
	if _, err := List(t.Context(), client, []string{"servers"}, installation, nil, day, Filter{}); err == nil {
		t.Error("no error without the right to list")
	}
}
