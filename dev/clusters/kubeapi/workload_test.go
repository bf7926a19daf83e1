package kubeapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRolledOut(t *testing.T) {
	for _, test := range []struct {
		name, deployment string
		want             bool
		why              string
	}{
		{
			"done", `{"metadata": {"generation": 2}, "spec": {"replicas": 1},
			"status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}}`,
			true, "",
		},
		{
			"not seen", `{"metadata": {"generation": 3}, "spec": {"replicas": 1},
			"status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}}`,
			false, "its controller has not seen it yet",
		},
		{
			"ended, not begun", `{"spec": {"replicas": 1}, "status": {}}`, false, "0 of 1 pods are new, 0 available",
		},
		{
			"begun",
			`{"spec": {"replicas": 2}, "status": {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}}`,
			false, "2 of 2 pods are new, 1 available",
		},
		{
			"old ones left",
			`{"spec": {"replicas": 2}, "status": {"replicas": 3, "updatedReplicas": 2, "availableReplicas": 3}}`,
			false, "1 old pods are still there",
		},
		{"switched off", `{"spec": {"replicas": 0}, "status": {}}`, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/apis/apps/v1/namespaces/ns/deployments/d" {
					w.WriteHeader(http.StatusNotFound)
				}
				_, _ = io.WriteString(w, test.deployment)
			})
			d, err := client.Deployment(t.Context(), "ns", "d")
			if err != nil {
				t.Fatal(err)
			}
			if got, why := d.RolledOut(); got != test.want || why != test.why {
				t.Errorf("%v, %q; want %v, %q", got, why, test.want, test.why)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	var got string
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = strings.Join([]string{r.Method, r.URL.String(), r.Header.Get("Content-Type"), string(body)}, " ")
	})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	if err := client.Restart(t.Context(), "ns", "d", at); err != nil {
		t.Fatal(err)
	}
	const want = "PATCH /apis/apps/v1/namespaces/ns/deployments/d?fieldManager=clusters " +
		`application/strategic-merge-patch+json {"spec":{"template":{"metadata":{"annotations":` +
		`{"kubectl.kubernetes.io/restartedAt":"2026-01-02T02:04:05Z"}}}}}`
	if got != want {
		t.Errorf("request %q, want %q", got, want)
	}
}
