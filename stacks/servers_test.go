package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// madeBy is the state of a stack whose outpost some hubs may ask.
func madeBy(namespace, hubs string) map[string]any {
	resources := made("a")
	resources["urn:pulumi:local::outposts::outposts:outpost:Outpost$kubernetes:core/v1:Secret::outpost-users"] = map[string]any{
		"type": "kubernetes:core/v1:Secret",
		"outputs": map[string]any{"metadata": map[string]any{
			"namespace": namespace, "name": "outpost-users", "annotations": map[string]any{"outposts.dev/hubs": hubs},
		}},
	}
	return resources
}

// TestServersAreNotLost holds every way in which running servers would be forgotten to a message with their number.
func TestServersAreNotLost(t *testing.T) {
	const (
		peer      = "[{name: other, password: 0123456789abcdef, sshPublicKeys: [" + publicKey + "], apiUrl: 'https://other.example.org/hub/api'}]"
		atRemote  = "[{name: remote, address: 10.0.0.3, exposure: {type: nodePort, apiNodePort: 30080, sshNodePort: 30022}}]"
		unnamed   = " any more (it is neither outposts:hub.name nor in outposts:hubs), but "
		wayOut    = " of its servers run there; nothing was changed. Stop them, or add "
		noOutpost = "system remote is not in outposts:outposts any more, but 2 of its servers run; nothing was changed. Stop them, or add \"remote\" to outposts:allowServerLoss"
	)
	for _, tt := range []struct {
		name, config string
		changes      map[string]string
		pods         map[string]map[string]int
		before       map[string]any
		want         []string
	}{
		{"first time", localConfig, nil, map[string]map[string]int{"outpost": {"jupyterhub": 3}}, nil, nil},
		{"nothing new", localConfig, map[string]string{"hubs": peer}, map[string]map[string]int{"outpost": {"other": 3}}, madeBy("outpost", "jupyterhub;other"), nil},
		{
			"hub taken out", localConfig, nil,
			map[string]map[string]int{"outpost": {"other": 3, "jupyterhub": 4}},
			madeBy("outpost", "jupyterhub;other"),
			[]string{`hub other may not ask the outpost in namespace outpost` + unnamed + "3" + wayOut + `"other" to outposts:allowServerLoss`},
		},
		{"hub taken out, none of its servers runs", localConfig, nil, map[string]map[string]int{"outpost": {"jupyterhub": 4}}, madeBy("outpost", "jupyterhub;other"), nil},
		{"hub taken out, servers may go", localConfig, map[string]string{"allowServerLoss": "[other]"}, map[string]map[string]int{"outpost": {"other": 3}}, madeBy("outpost", "jupyterhub;other"), nil},
		{
			"hub called otherwise", localConfig,
			map[string]string{"hub.name": "another"},
			map[string]map[string]int{"outpost": {"jupyterhub": 4}},
			madeBy("outpost", "jupyterhub"),
			[]string{`hub jupyterhub may not ask the outpost in namespace outpost` + unnamed + "4" + wayOut + `"jupyterhub" to outposts:allowServerLoss`},
		},
		{
			"hub of another stack called otherwise", remoteConfig,
			map[string]string{"hubs.0.name": "another"},
			map[string]map[string]int{"outpost": {"jupyterhub": 1}},
			madeBy("outpost", "jupyterhub"),
			[]string{`hub jupyterhub may not ask the outpost in namespace outpost any more (it is not in outposts:hubs), but 1` + wayOut + `"jupyterhub" to outposts:allowServerLoss`},
		},
		{
			"outpost gone with its peers, where it was", localConfig,
			map[string]string{"outposts": atRemote},
			map[string]map[string]int{"elsewhere": {"other": 3, "jupyterhub": 4}},
			madeBy("elsewhere", "jupyterhub;other"),
			[]string{`hub other may not ask the outpost in namespace elsewhere` + unnamed + "3" + wayOut + `"other" to outposts:allowServerLoss`},
		},
		{
			"system in this cluster gone, where it was", localConfig,
			map[string]string{"outposts": strings.ReplaceAll(atRemote, "remote", "third")},
			map[string]map[string]int{"elsewhere": {"remote": 2}},
			madeBy("elsewhere", "jupyterhub"),
			[]string{noOutpost},
		},
		{
			"all of the namespace may go", localConfig,
			map[string]string{"outpost.namespace": "new", "allowDataLoss": "['outpost/*']"},
			map[string]map[string]int{"outpost": {"other": 3}},
			madeBy("outpost", "jupyterhub;other"), nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, err := range loaded(t, tt.config, tt.changes).lostServers(t.Context(), fakeCluster{pods: tt.pods}, stateOf(tt.before)) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// TestServersUnknown holds that a cluster which does not say what runs loses nothing.
func TestServersUnknown(t *testing.T) {
	got := loaded(t, localConfig, nil).lostServers(t.Context(), fakeCluster{podsErr: errors.New("403 Forbidden")}, stateOf(madeBy("outpost", "jupyterhub;other")))
	if len(got) != 1 || got[0].Error() != "count the servers in namespace outpost: 403 Forbidden" {
		t.Errorf("errors %v", got)
	}
}

// TestHubsAreRecorded holds that what a run registers tells the next one which hubs there are, and where.
func TestHubsAreRecorded(t *testing.T) {
	w := testWorld(committedConfig(t, "local"))
	change(t, w.config, "hubs", "[{name: other, password: 0123456789abcdef, sshPublicKeys: ["+publicKey+"]}]")
	r := &infratest.Recorder{}
	if err := runStack(t, r, "local", w); err != nil {
		t.Fatal(err)
	}
	users := r.Find(t, "kubernetes:core/v1:Secret", "outpost-users")
	before := stateOf(map[string]any{"urn": map[string]any{"type": users.Type, "outputs": resource.PropertyMap(users.Inputs).Mappable()}})
	if before.outpost.namespace != "outpost" || !cmp.Equal(before.outpost.hubs, []string{"jupyterhub", "other"}) {
		t.Errorf("read back: %+v", before.outpost)
	}
}
