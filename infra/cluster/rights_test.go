package cluster

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMissing holds which rights are missing, and that a user who may do everything is asked one question.
func TestMissing(t *testing.T) {
	pods := Right{Namespace: "a", Resource: "pods", Verb: "get"}
	logs := Right{Namespace: "a", Resource: "pods/log", Verb: "get"}
	role := Right{Namespace: "a", Group: "rbac.authorization.k8s.io", Resource: "roles", Name: "r", Verb: "patch"}
	for _, tt := range []struct {
		name       string
		everything bool
		want       []Right
		asked      int
	}{
		{"everything", true, nil, 1},
		{"some", false, []Right{logs, role}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			type attributes struct{ Namespace, Group, Resource, Subresource, Name, Verb string }
			asked := make(chan attributes, 10)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var review struct {
					Spec struct{ ResourceAttributes attributes }
				}
				if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
					t.Error(err)
				}
				of := review.Spec.ResourceAttributes
				asked <- of
				allowed := of == attributes{Namespace: "a", Resource: "pods", Verb: "get"}
				if of.Verb == "*" {
					allowed = tt.everything
				}
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(map[string]any{
					"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
					"status": map[string]any{"allowed": allowed},
				})
			}))
			t.Cleanup(server.Close)
			api, err := Open(Access{Content: kubeconfigOf(server.URL, "here")})
			if err != nil {
				t.Fatal(err)
			}
			missing, err := api.Missing(t.Context(), []Right{pods, logs, role})
			if diff := cmp.Diff(tt.want, missing); diff != "" || err != nil {
				t.Errorf("missing, %v (-want +got):\n%s", err, diff)
			}
			close(asked)
			var all []attributes
			for of := range asked {
				all = append(all, of)
			}
			if len(all) != tt.asked {
				t.Errorf("asked %v, want %d questions", all, tt.asked)
			}
		})
	}
}
