//go:build e2e

package failures

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// endIn is how soon the hub must know that a server has ended: sooner than its next poll may come, which is after up
// to 30 s. The aim is a second.
const endIn = 10 * time.Second

// TestE2EAnEndIsKnownAtOnce holds that the hub learns of a killed server from its watch.
func TestE2EAnEndIsKnownAtOnce(t *testing.T) {
	d := deployed.Open(t)
	for _, system := range d.Systems {
		server := "ended-" + system
		d.Start(t.Context(), t, d.Hub, d.User, server, map[string]any{"system": system})
		cluster := map[string]deployed.Cluster{"local": d.Local, "remote": d.Remote}[system]
		pod, err := cluster.ServerPod(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), endIn)
		defer cancel()
		began := time.Now()
		err = cluster.API.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name,
			metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if err != nil {
			t.Fatal(err)
		}
		for {
			servers, err := d.Hub.Servers(ctx, d.User)
			if err != nil {
				t.Fatalf("the hub does not know that the server on %s has ended: %v", system, err)
			}
			if s, there := servers[server]; !there || s.Stopped {
				break
			}
		}
		t.Logf("%s: the end is known after %.2f s", system, time.Since(began).Seconds())
	}
}
