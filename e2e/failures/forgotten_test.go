//go:build e2e

package failures

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// lookAtOnce is the look of the hub's module for Services of servers that the hub does not have, in a process of its
// own beside the hub: it takes those that its arguments name for such, and removes them at once.
const lookAtOnce = `
import asyncio, sys
sys.path.insert(0, "/usr/local/etc/jupyterhub")
import outpost_hub, yaml
from outpost_hub import cluster, forgotten

class Known:
    def __contains__(self, name):
        return name not in sys.argv[1:]

forgotten.FORGOTTEN_SECONDS = 0
forgotten._known = lambda app: Known()
forgotten._namespace = lambda app: cluster.own_namespace()
with open("/etc/outpost/data/outposts.yaml") as file:
    outposts = outpost_hub.Outposts(yaml.safe_load(file))
print(*asyncio.run(outposts.forgotten._look(None)))
`

// TestE2EServicesOfNoServer holds that the hub may remove Services of servers that it does not have, and leaves those
// of another hub alone that uses the same tunnels.
func TestE2EServicesOfNoServer(t *testing.T) {
	d, ctx := deployed.Open(t), t.Context()
	services := d.Local.API.CoreV1().Services(deployed.HubNamespace)
	command := []string{"python3", "-c", lookAtOnce}
	// Another hub is whoever has a Service of this name.
	owners := map[string]string{"mine": "hub", "unsaid": "", "theirs": "proxy-public"}
	for role, owner := range owners {
		s := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Name:        "jupyterhub-999999-" + role,
				Labels:      map[string]string{"outposts.dev/tunnels": "outposts-hub"},
				Annotations: map[string]string{"outposts.dev/hub": owner},
			},
			// The tunnels serve none of them: there is no port.
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
		}
		if owner == "" {
			s.Annotations = nil
		}
		if _, err := services.Create(ctx, s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			err := services.Delete(context.Background(), s.Name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		})
		command = append(command, s.Name)
	}
	said, err := d.Local.Exec(ctx, deployed.HubNamespace, deployed.HubPod, command...)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(said), "proxy-public"; got != want {
		t.Errorf("the other hubs are %s, want %s", got, want)
	}
	left := map[string]string{}
	for role := range owners {
		_, err := services.Get(ctx, "jupyterhub-999999-"+role, metav1.GetOptions{})
		left[role] = fmt.Sprint(apierrors.ReasonForError(err))
	}
	want := map[string]string{"mine": "NotFound", "unsaid": "", "theirs": ""}
	if diff := cmp.Diff(want, left); diff != "" {
		t.Errorf("why a Service is not there (-want +got):\n%s", diff)
	}
}
