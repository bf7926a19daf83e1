package kube

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/outpost"
)

// startStopVector is one trace of KubeSpawner.
type startStopVector struct {
	ID          string         `json:"id"`
	Config      map[string]any `json:"config"`
	UserOptions map[string]any `json:"user_options"`
	Result      any            `json:"result"`
	Error       string         `json:"error"`
	Calls       []struct {
		Verb, Kind, Name, Namespace string
		Grace                       *int `json:"gracePeriodSeconds"`
	} `json:"api_calls"`
	After outpost.State `json:"state_after"`
}

// trace is what an outpost does where KubeSpawner left one of its traces.
type trace struct {
	prepare func(*cluster) // before the start, or before the stop
	limit   int            // start_timeout in seconds; zero means 30
	differs string         // why; empty if the requests are the same
	calls   []string       // instead of KubeSpawner's, if it differs
	works   bool           // where KubeSpawner fails
	url     string         // instead of KubeSpawner's
}

var (
	createService = []string{"create pods/jupyter-user", "create services/jupyter-user"}
	createTwice   = []string{"create pods/jupyter-user", "create pods/jupyter-user"}
)

const inTheWay = "nothing is deleted before it is in the way"

var startTraces = map[string]trace{
	"service": {differs: inTheWay, calls: createService},
	"internal-ssl": {
		differs: inTheWay + "; the client ignores the scheme", url: "http://jupyter-user.jhub.svc.cluster.local:8888",
		calls: []string{
			"create secrets/jupyter-user", "create pods/jupyter-user", "patch secrets/jupyter-user",
			"create services/jupyter-user",
		},
	},
	"pvc-exists": {prepare: func(c *cluster) { c.add(claimOf("claim-user", nil)) }},
	"pvc-quota-missing": {
		prepare: func(c *cluster) { c.errors["create persistentvolumeclaims"] = []error{errForbidden} },
	},
	"pvc-timeout-retry": {
		prepare: func(c *cluster) { c.errors["create persistentvolumeclaims"] = []error{errTimeout} },
	},
	"pvc-422": {
		prepare: func(c *cluster) { c.errors["create persistentvolumeclaims"] = []error{errUnprocessed} },
	},
	"pvc-remembered": {
		differs: "a claim that was deleted by hand comes back; names come from templates",
		calls:   []string{"create persistentvolumeclaims/claim-user", "create pods/jupyter-user"},
	},
	"pod-create-timeout-but-created": {
		prepare: func(c *cluster) { c.doneThen["create pods"] = []error{errTimeout} },
		differs: "our own pod is adopted, not killed", calls: createTwice, url: "http://10.0.0.1:8888",
	},
	"pod-create-500": {
		prepare: func(c *cluster) { c.errors["create pods"] = []error{errServer} },
		differs: "repeated", calls: createTwice, works: true, url: "http://10.0.0.1:8888",
	},
	"pod-create-429": {
		prepare: func(c *cluster) { c.errors["create pods"] = []error{errThrottled} },
		differs: "repeated", calls: createTwice, works: true, url: "http://10.0.0.1:8888",
	},
	"pod-create-403-quota": {prepare: func(c *cluster) { c.errors["create pods"] = []error{errQuota} }},
	"pod-never-ready": {
		prepare: func(c *cluster) { c.status = func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending } }, limit: 1,
	},
	"service-create-fails": {
		prepare: func(c *cluster) { c.errors["create services"] = []error{errUnprocessed} },
		differs: inTheWay + "; the Manager stops what a failed start has left", calls: createService,
	},
	"user-namespace": {differs: inTheWay, calls: append([]string{"create namespaces/jhub-user"}, createService...)},
	"user-namespace-exists": {prepare: func(c *cluster) {
		c.errors["create namespaces"] = []error{apierrors.NewAlreadyExists(podResource.GroupResource(), "jhub-user")}
	}},
	"user-namespace-forbidden": {prepare: func(c *cluster) { c.errors["create namespaces"] = []error{errForbidden} }},
	"profile-changes-namespace": {
		differs: "the DNS name follows the namespace", calls: createService,
		url: "http://jupyter-user.other-ns.svc.cluster.local:8888",
	},
	"pod-conflict":         {prepare: func(c *cluster) { c.old("user", "") }},
	"pod-conflict-running": {prepare: func(c *cluster) { c.old("user", "") }},
	"pod-conflict-stuck":   {prepare: func(c *cluster) { c.old("user", ""); c.stuckForEver = true }, limit: 1},
}

var stopTraces = map[string]trace{
	"stop-timeout-retry": {prepare: func(c *cluster) { c.errors["delete pods"] = []error{errTimeout} }},
	"stop-error": {
		prepare: func(c *cluster) { c.errors["delete pods"] = []error{errServer} }, differs: "repeated", works: true,
		calls: []string{"delete pods/jupyter-user grace 1", "delete pods/jupyter-user grace 1"},
	},
}

// skippedTraces says why a trace is of nothing that an outpost does.
var skippedTraces = map[string]string{
	"pvc-legacy-upgrade":           "claims of KubeSpawner 6 under its names: slug_scheme escape",
	"pod-conflict-invisible":       "nothing is invisible: the pod is read, not looked for in a filtered cache",
	"pod-create-timeout-exhausted": "TestStartGivesUpWhenKubernetesIsAway",
	"restored-pod-name":            "a state is where a start left its objects, never where the next one makes them",
	"stop-now":                     "the protocol has no such request",
}

// traces are KubeSpawner's of starts or of stops.
func traces(t *testing.T, ofStops bool) []startStopVector {
	t.Helper()
	var v lifecycleVectors
	kubespawnertest.Load(t, "lifecycle-vectors", &v)
	return slices.DeleteFunc(v.StartStop, func(v startStopVector) bool {
		// No request of the protocol removes a user for good.
		return skippedTraces[v.ID] != "" || strings.HasPrefix(v.ID, "delete-forever") ||
			strings.HasPrefix(v.ID, "stop") != ofStops
	})
}

// options are those of the trace with short limits.
func (v startStopVector) options(limit int) Options {
	options := map[string]any{"k8s_api_request_retry_timeout": 1}
	maps.Copy(options, v.Config)
	if options["start_timeout"] = limit; limit == 0 {
		options["start_timeout"] = 30
	}
	return Options{Spawner: options}
}

// check compares an error and requests with the trace. Requests that only read are not compared.
func (v startStopVector) check(t *testing.T, tr trace, err error, calls []string) {
	t.Helper()
	if fails := v.Error != "" && !tr.works; (err != nil) != fails {
		t.Fatalf("error %v, KubeSpawner's is %q", err, v.Error)
	}
	want := tr.calls
	if tr.differs == "" {
		for _, call := range v.Calls {
			if call.Verb != "get" {
				want = append(want, callText(call.Verb, call.Kind, call.Name, call.Grace))
			}
		}
	}
	if diff := cmp.Diff(want, writes(calls)); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

func TestStartsAreKubeSpawners(t *testing.T) {
	starts := traces(t, false)
	if len(starts) < 17 {
		t.Errorf("only %d traces", len(starts))
	}
	for _, v := range starts {
		t.Run(v.ID, func(t *testing.T) {
			tr, cl := startTraces[v.ID], newCluster()
			if tr.prepare != nil {
				tr.prepare(cl)
			}
			s := cl.run(t, v.options(tr.limit))
			p := planOf(t, s, aliceKey, v.UserOptions)
			if v.ID == "internal-ssl" {
				p = planWithCerts(t, s)
			}
			started, err := s.Start(t.Context(), p, nil)
			v.check(t, tr, err, cl.taken())
			url, _ := v.Result.(string)
			if tr.url != "" {
				url = tr.url
			}
			if err == nil && started.Address != url {
				t.Errorf("address %s, want %s", started.Address, url)
			}
		})
	}
}

func TestStopsAreKubeSpawners(t *testing.T) {
	stops := traces(t, true)
	if len(stops) < 3 {
		t.Errorf("only %d traces", len(stops))
	}
	for _, v := range stops {
		t.Run(v.ID, func(t *testing.T) {
			tr, cl := stopTraces[v.ID], newCluster()
			s := cl.run(t, v.options(tr.limit))
			p := planOf(t, s, aliceKey, v.UserOptions)
			if _, err := s.Start(t.Context(), p, nil); err != nil {
				t.Fatal(err)
			}
			cl.taken()
			if tr.prepare != nil {
				tr.prepare(cl)
			}
			v.check(t, tr, s.Stop(t.Context(), aliceKey, p.State), cl.taken())
		})
	}
}

func callText(verb, kind, name string, grace *int) string {
	resource := map[string]string{
		"pod": "pods", "pvc": "persistentvolumeclaims", "service": "services", "secret": "secrets",
		"namespace": "namespaces",
	}[kind]
	text := verb + " " + resource + "/" + name
	if grace != nil {
		text += " grace " + string(rune('0'+*grace))
	}
	return text
}
