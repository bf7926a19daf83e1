//go:build e2e

package failures

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
	"github.com/outposts-dev/outposts/e2e/sshkey"
)

// TestE2EHostKeyChanged holds that the hub sends nothing to an outpost with another host key, says so to users and in
// its log, and that everything works again once the key is put back, the server that ran meanwhile included.
func TestE2EHostKeyChanged(t *testing.T) {
	d := deployed.Open(t)
	ctx := t.Context()
	d.Start(ctx, t, d.Hub, d.User, "behind-key", map[string]any{"system": "remote"})
	if err := d.Hub.WaitReachable(ctx, d.User, "behind-key"); err != nil {
		t.Fatal(err)
	}
	began := metav1.Now()
	putBack := changeHostKey(t, d.Remote)
	start := func(ctx context.Context, server string) error {
		if err := d.Hub.Start(ctx, d.User, server, map[string]any{"system": "remote"}); err != nil {
			return err
		}
		return d.Hub.Progress(ctx, d.User, server, nil)
	}

	t.Run("a start is refused in words", func(t *testing.T) {
		const server = "other-key"
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			if err := errors.Join(d.Hub.Stop(ctx, d.User, server), d.Hub.WaitGone(ctx, d.User, server)); err != nil {
				t.Error(err)
			}
		})
		var err error
		for range 5 { // the outpost's new pod may not be behind its node port yet
			ctx, cancel := context.WithTimeout(ctx, reasonIn)
			err = start(ctx, server)
			cancel()
			if err == nil || !strings.Contains(err.Error(), "cannot be reached at the moment") {
				break
			}
			time.Sleep(2 * time.Second)
		}
		const want = "The SSH host key of Remote cluster is not the one that this hub knows, so nothing is sent " +
			"there. Tell the administrators of the hub."
		var refused *hubapi.StartError
		if !errors.As(err, &refused) || !strings.Contains(refused.Message, want) {
			t.Errorf("the start ended with %v, want %q", err, want)
		}
	})
	t.Run("a running server is not reached", func(t *testing.T) {
		if _, err := d.Hub.Get(ctx, d.User, "behind-key", "api/status"); err == nil {
			t.Error("it answers")
		}
	})
	t.Run("the log names the reason", func(t *testing.T) {
		hub, err := d.Local.Pod(ctx, deployed.HubNamespace, deployed.HubPod)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		err = deployed.Eventually(ctx, func(ctx context.Context) error {
			log, err := d.Local.API.CoreV1().Pods(deployed.HubNamespace).GetLogs(hub,
				&corev1.PodLogOptions{SinceTime: &began}).DoRaw(ctx)
			if err == nil && !bytes.Contains(log, []byte("the tunnels refuse the host key of remote")) {
				err = fmt.Errorf("its end:\n%s", log[max(0, len(log)-2000):])
			}
			return err
		})
		if err != nil {
			t.Errorf("it does not: %v", err)
		}
	})

	putBack()
	back := time.Now()
	reach, cancel := context.WithTimeout(ctx, aim)
	defer cancel()
	if err := d.Hub.WaitReachable(reach, d.User, "behind-key"); err != nil {
		t.Fatalf("the server is not reachable after %s: %v", aim, err)
	}
	t.Logf("reachable %.1f s after the key was put back", time.Since(back).Seconds())
	// Each replica of the tunnels tries again by itself, some seconds later than the other, and a start may ask either.
	deployed.StopAtEnd(t, d.Hub, d.User, "right-key")
	err := deployed.Eventually(reach, func(ctx context.Context) error { return start(ctx, "right-key") })
	if err != nil {
		t.Errorf("no server starts in the %s after the key was put back: %v", aim, err)
	}
}

// changeHostKey gives the outpost of a cluster a new host key; the function puts the old one back. The end of the test
// does so too.
func changeHostKey(t *testing.T, c deployed.Cluster) func() {
	t.Helper()
	const name, entry = "outpost-host-keys", "ssh_host_ed25519_key"
	secrets := c.API.CoreV1().Secrets(deployed.OutpostNamespace)
	before, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := sshkey.New()
	if err != nil {
		t.Fatal(err)
	}
	set := func(text []byte, mark any) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		changed := before.DeepCopy()
		changed.Data[entry] = text
		if err := deployed.Replace(ctx, secrets.Update, changed); err != nil {
			t.Fatal(err)
		}
		if err := roll(ctx, c, mark); err != nil {
			t.Fatal(err)
		}
	}
	changed := true
	putBack := func() {
		if changed {
			changed = false
			set(before.Data[entry], nil)
		}
	}
	t.Cleanup(putBack)
	set(other, t.Name())
	return putBack
}

// roll gives the pods of an outpost's Deployment a mark, or takes it away, and waits until none is left as it was.
func roll(ctx context.Context, c deployed.Cluster, word any) error {
	if err := mark(ctx, c, deployed.OutpostNamespace, "outpost", word); err != nil {
		return err
	}
	return c.RolledOut(ctx, deployed.OutpostNamespace, "outpost")
}

// mark gives the pods of a Deployment a mark, or takes it away, which has them replaced.
func mark(ctx context.Context, c deployed.Cluster, namespace, name string, word any) error {
	text := "null"
	if word != nil {
		text = fmt.Sprintf("%q", word)
	}
	patch := fmt.Sprintf(`{"spec": {"template": {"metadata": {"annotations": {"outposts.dev/e2e": %s}}}}}`, text)
	_, err := c.API.AppsV1().Deployments(namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch),
		metav1.PatchOptions{})
	return err
}
