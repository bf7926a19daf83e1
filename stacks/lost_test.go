package main

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestVolumesAreNotReplaced holds each way to a claim that cannot be changed into the one there is.
func TestVolumesAreNotReplaced(t *testing.T) {
	changed := func(v volume, change func(*volume)) volume {
		change(&v)
		return v
	}
	class := func(name string) func(*volume) { return func(v *volume) { v.storageClass = &name } }
	const (
		ofHub     = "volume jupyter/hub-db-dir holds data and would be replaced: outposts:"
		ofOutpost = "volume outpost/outpost-data holds data and would be replaced: outposts:"
		wayOut    = "; nothing was changed. To let the data go, first run `pulumi up` with "
		hubOut    = wayOut + `"jupyter/hub-db-dir" in outposts:allowDataLoss and without this change`
		outpost   = wayOut + `"outpost/outpost-data" in outposts:allowDataLoss and without this change`
		standard  = "the cluster's default storage class"
	)
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		changes map[string]string
		before  []volume
		want    []string
	}{
		{"nothing new", nil, []volume{hubVolume, outpostVolume}, nil},
		{"larger", map[string]string{"outpost.persistence.size": "2Gi"}, []volume{outpostVolume}, nil},
		{
			"smaller",
			map[string]string{"hub.values": "{hub: {db: {pvc: {storage: 500Mi}}}}", "outpost.persistence.size": "1Mi"},
			[]volume{hubVolume, outpostVolume},
			[]string{ofHub + "hub.values.hub.db.pvc.storage asks for 500Mi, but it has 1Gi" + hubOut, ofOutpost + "outpost.persistence.size asks for 1Mi, but it has 1Gi" + outpost},
		},
		{
			"smaller by the key being gone", nil,
			[]volume{changed(outpostVolume, func(v *volume) { v.size = "5Gi" })},
			[]string{ofOutpost + "outpost.persistence.size asks for 1Gi, but it has 5Gi" + outpost},
		},
		{
			"another storage class",
			map[string]string{"outpost.persistence.storageClass": "fast"},
			[]volume{outpostVolume},
			[]string{ofOutpost + "outpost.persistence.storageClass asks for storage class fast, but it has " + standard + outpost},
		},
		{
			"storage class given up", nil,
			[]volume{changed(outpostVolume, class("fast"))},
			[]string{ofOutpost + "outpost.persistence.storageClass asks for " + standard + ", but it has storage class fast" + outpost},
		},
		{"the same storage class", map[string]string{"outpost.persistence.storageClass": "fast"}, []volume{changed(outpostVolume, class("fast"))}, nil},
		{"no storage class, again", map[string]string{"outpost.persistence.storageClass": `"-"`}, []volume{changed(outpostVolume, class(""))}, nil},
		{
			"no storage class",
			map[string]string{"outpost.persistence.storageClass": `"-"`},
			[]volume{outpostVolume},
			[]string{ofOutpost + "outpost.persistence.storageClass asks for no storage class, but it has " + standard + outpost},
		},
		{
			"among the outpost's values",
			map[string]string{"outpost.values": "{persistence: {storageClass: fast, accessModes: [ReadWriteMany], size: 1Mi}}"},
			[]volume{outpostVolume},
			[]string{
				ofOutpost + "outpost.values.persistence.storageClass asks for storage class fast, but it has " + standard + outpost,
				ofOutpost + "outpost.values.persistence.accessModes asks for access modes ReadWriteMany, but it has ReadWriteOnce" + outpost,
				ofOutpost + "outpost.values.persistence.size asks for 1Mi, but it has 1Gi" + outpost,
			},
		},
		{
			"among the hub's values",
			map[string]string{"hub.values": "{hub: {db: {pvc: {storageClassName: '', accessModes: [ReadWriteMany], selector: {matchLabels: {a: b}}}}}}"},
			[]volume{hubVolume},
			[]string{
				ofHub + "hub.values.hub.db.pvc.storageClassName asks for no storage class, but it has " + standard + hubOut,
				ofHub + "hub.values.hub.db.pvc.accessModes asks for access modes ReadWriteMany, but it has ReadWriteOnce" + hubOut,
				ofHub + "hub.values.hub.db.pvc.selector asks for another selector, but it has its own" + hubOut,
			},
		},
		{
			"the same selector",
			map[string]string{"hub.values": "{hub: {db: {pvc: {selector: {matchLabels: {a: b}}}}}}"},
			[]volume{changed(hubVolume, func(v *volume) { v.selector = map[string]any{"matchLabels": map[string]any{"a": "b"}} })},
			nil,
		},
		{"the data may go", map[string]string{"outpost.persistence.storageClass": "fast", "allowDataLoss": "[outpost/outpost-data]"}, []volume{outpostVolume}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			c := loaded(t, localConfig, tt.changes)
			for _, err := range c.lostVolumes(stateOf(made("a", tt.before...))) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// TestKeysOfDataAreNotLost holds that a key which data are sealed with is not taken away before another one seals them.
func TestKeysOfDataAreNotLost(t *testing.T) {
	const (
		missing = "; nothing was changed. Add a new word in front of it, " +
			"and remove it after the `pulumi up` that introduced the new one"
		either = " did not finish, so outpost/outpost-data may be sealed with either; nothing was changed. " +
			"Put it back, and remove it after a `pulumi up` that finishes"
	)
	through := [2]sealing{{with: "1", by: "1", seeds: []string{"1"}}, {with: "2", by: "2", seeds: []string{"2", "1"}}}
	killed := [2]sealing{through[0], {with: "2", by: "1", seeds: []string{"2", "1"}}}
	firstKilled := [2]sealing{through[0], {with: "2", seeds: []string{"2", "1"}}}
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name    string
		before  [2]sealing // of hub and outpost
		changes map[string]string
		want    []string
	}{
		{"replaced at once", through, map[string]string{"hub.rotation": "{authStateKey: new}", "outpost.rotation": `{cryptKey: ["3", "1"]}`}, []string{
			`outposts:hub.rotation.authStateKey: "1" is missing: jupyter/hub-db-dir is sealed with it` + missing,
			`outposts:outpost.rotation.cryptKey: "2" is missing: outpost/outpost-data is sealed with it` + missing,
		}},
		{"behind a new one", through, map[string]string{"outpost.rotation": `{cryptKey: ["3", "2"]}`}, nil},
		{"alone", through, map[string]string{"outpost.rotation": `{cryptKey: "2"}`}, nil},
		{"data may go", through, map[string]string{"outpost.rotation": `{cryptKey: "3"}`, "allowDataLoss": "[outpost/outpost-data]"}, nil},
		{"all data may go", through, map[string]string{"outpost.rotation": `{cryptKey: "3"}`, "allowDataLoss": "['outpost/*']"}, nil},
		{
			"new one alone after a killed rotation", killed,
			map[string]string{"outpost.rotation": `{cryptKey: "2"}`},
			[]string{"outposts:outpost.rotation.cryptKey: \"1\" is missing: the `pulumi up` that introduced \"2\"" + either},
		},
		{
			"old one alone after a killed rotation", killed,
			map[string]string{"outpost.rotation": `{cryptKey: "1"}`},
			[]string{"outposts:outpost.rotation.cryptKey: \"2\" is missing: the `pulumi up` that introduced \"2\"" + either},
		},
		{
			"a third in front after a killed rotation", killed,
			map[string]string{"outpost.rotation": `{cryptKey: ["3", "2", "1"]}`},
			[]string{"outposts:outpost.rotation.cryptKey: \"2\" must be first: the `pulumi up` that introduced it did not finish, so outpost/outpost-data may be sealed with it in part; " +
				"nothing was changed. Keep it first until a `pulumi up` finishes"},
		},
		{"killed rotation carried on with", killed, map[string]string{"outpost.rotation": `{cryptKey: ["2", "1"]}`}, nil},
		{
			"nothing has ever come through", firstKilled,
			map[string]string{"outpost.rotation": `{cryptKey: "2"}`},
			[]string{"outposts:outpost.rotation.cryptKey: \"1\" is missing: the `pulumi up` that introduced \"2\"" + either},
		},
		{"nothing has ever come through, carried on with", firstKilled, map[string]string{"outpost.rotation": `{cryptKey: ["3", "2", "1"]}`}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changes := map[string]string{"outpost.rotation": `{cryptKey: ["2", "1"]}`}
			maps.Copy(changes, tt.changes)
			var got []string
			for _, err := range loaded(t, localConfig, changes).lostKeys(stateOf(madeKeys(tt.before))) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

// madeKeys is the state of a stack with keys of hub and outpost.
func madeKeys(keys [2]sealing) map[string]any {
	resources := made("a", hubVolume, outpostVolume)
	for i, kind := range []struct{ credentials, seeds, component string }{
		{"Hub", "hub-auth-state-key-", "hub:Hub"}, {"Store", "outpost-crypt-key-", "outpost:Outpost"},
	} {
		resources["urn:pulumi:local::outposts::outposts:credentials:"+kind.credentials+"::x"] = map[string]any{
			"type": "outposts:credentials:" + kind.credentials, "outputs": map[string]any{"sealsWith": keys[i].with},
		}
		resources["urn:pulumi:local::outposts::outposts:"+kind.component+"::x"] = map[string]any{
			"type": "outposts:" + kind.component, "outputs": map[string]any{"sealedBy": keys[i].by},
		}
		for _, word := range keys[i].seeds {
			urn := "urn:pulumi:local::outposts::outposts:credentials:" + kind.credentials +
				"$random:index/randomBytes:RandomBytes::" + kind.seeds + word
			resources[urn] = map[string]any{"type": "random:index/randomBytes:RandomBytes", "outputs": map[string]any{}}
		}
	}
	return resources
}

// madeBy is the state of a stack whose outpost some hubs may use.
func madeBy(namespace, hubs string) map[string]any {
	resources := made("a")
	urn := "urn:pulumi:local::outposts::outposts:outpost:Outpost$kubernetes:core/v1:Secret::outpost-users"
	resources[urn] = map[string]any{
		"type": "kubernetes:core/v1:Secret",
		"outputs": map[string]any{"metadata": map[string]any{
			"namespace": namespace, "name": "outpost-users", "annotations": map[string]any{"outposts.dev/hubs": hubs},
		}},
	}
	return resources
}

// withSystem adds a system of the hub to a state.
func withSystem(resources map[string]any, name string, former []any) map[string]any {
	resources["urn:pulumi:local::outposts::outposts:credentials:Pair::"+name] = map[string]any{
		"type": "outposts:credentials:Pair", "outputs": map[string]any{"issuedTo": name, "formerNames": former},
	}
	return resources
}

// renamed is a state whose system remote has become north.
func renamed(resources map[string]any) map[string]any {
	delete(resources, "urn:pulumi:local::outposts::outposts:credentials:Pair::remote")
	return withSystem(resources, "north", []any{"remote"})
}

// madeWithServersIn adds a namespace of servers to a state.
func madeWithServersIn(namespace string, resources map[string]any) map[string]any {
	resources["urn:pulumi:local::outposts::kubernetes:core/v1:Namespace::cluster-"+namespace] = madeNamespace(namespace)
	return resources
}

// TestServersAreNotLost holds every way in which running servers would be forgotten to a message with their number.
func TestServersAreNotLost(t *testing.T) {
	const (
		atRemote = "[{name: remote, address: 10.0.0.3, " +
			"exposure: {type: nodePort, apiNodePort: 30080, sshNodePort: 30022}}]"
		unnamed   = " (it is neither outposts:hub.name nor in outposts:hubs), but "
		wayOut    = " of its servers are running there; nothing was changed. Stop them, or add "
		noOutpost = "system remote is no longer in outposts:outposts, but 2 of its servers are running; " +
			"nothing was changed. Stop them, or add \"remote\" to outposts:allowServerLoss; " +
			"if the system has another name now, add \"remote\" to its formerNames"
	)
	//nolint:lll // a case a line
	for _, tt := range []struct {
		name, config string
		changes      map[string]string
		pods         map[string]map[string]int
		before       map[string]any
		want         []string
	}{
		{"first time", localConfig, nil, map[string]map[string]int{"outpost": {"jupyterhub": 3}}, nil, nil},
		{"nothing new", localConfig, map[string]string{"hubs": otherHub}, map[string]map[string]int{"outpost": {"other": 3}}, madeBy("outpost", "jupyterhub;other"), nil},
		{
			"hub taken out", localConfig, nil,
			map[string]map[string]int{"outpost": {"other": 3, "jupyterhub": 4}},
			madeBy("outpost", "jupyterhub;other"),
			[]string{`hub other may no longer use the outpost in namespace outpost` + unnamed + "3" + wayOut + `"other" to outposts:allowServerLoss`},
		},
		{
			"hub taken out, its servers in a namespace of their own", localConfig,
			map[string]string{"outpost.serverNamespace": "labs"},
			map[string]map[string]int{"labs": {"other": 3}},
			madeWithServersIn("labs", madeBy("outpost", "jupyterhub;other")),
			[]string{`hub other may no longer use the outpost in namespace outpost` + unnamed + "3" + wayOut + `"other" to outposts:allowServerLoss`},
		},
		{"hub taken out, none of its servers runs", localConfig, nil, map[string]map[string]int{"outpost": {"jupyterhub": 4}}, madeBy("outpost", "jupyterhub;other"), nil},
		{"hub taken out, servers may go", localConfig, map[string]string{"allowServerLoss": "[other]"}, map[string]map[string]int{"outpost": {"other": 3}}, madeBy("outpost", "jupyterhub;other"), nil},
		{
			"hub called otherwise", localConfig,
			map[string]string{"hub.name": "another"},
			map[string]map[string]int{"outpost": {"jupyterhub": 4}},
			madeBy("outpost", "jupyterhub"),
			[]string{`hub jupyterhub may no longer use the outpost in namespace outpost` + unnamed + "4" + wayOut + `"jupyterhub" to outposts:allowServerLoss`},
		},
		{
			"hub of another stack called otherwise", remoteConfig,
			map[string]string{"hubs.0.name": "another"},
			map[string]map[string]int{"outpost": {"jupyterhub": 1}},
			madeBy("outpost", "jupyterhub"),
			[]string{`hub jupyterhub may no longer use the outpost in namespace outpost (it is not in outposts:hubs), but 1` + wayOut + `"jupyterhub" to outposts:allowServerLoss`},
		},
		{
			"outpost gone with its other hubs, where it was", localConfig,
			map[string]string{"outposts": atRemote},
			map[string]map[string]int{"elsewhere": {"other": 3, "jupyterhub": 4}},
			madeBy("elsewhere", "jupyterhub;other"),
			[]string{`hub other may no longer use the outpost in namespace elsewhere` + unnamed + "3" + wayOut + `"other" to outposts:allowServerLoss`},
		},
		{
			"system in this cluster gone, where it was", localConfig,
			map[string]string{"outposts": strings.ReplaceAll(atRemote, "remote", "third")},
			map[string]map[string]int{"elsewhere": {"remote": 2}},
			madeBy("elsewhere", "jupyterhub"),
			[]string{noOutpost},
		},
		{
			"system called otherwise", localConfig,
			map[string]string{"outposts.1.name": "north", "outposts.1.formerNames": "[remote]"},
			map[string]map[string]int{"outpost": {"remote": 2}},
			madeBy("outpost", "jupyterhub"), nil,
		},
		{
			"former name forgotten while servers have it", localConfig,
			map[string]string{"outposts.1.name": "north"},
			map[string]map[string]int{"outpost": {"remote": 2}},
			renamed(madeBy("outpost", "jupyterhub")),
			[]string{noOutpost},
		},
		{
			"former name of a system that is there", localConfig,
			map[string]string{"outposts.1.name": "north", "outposts.1.formerNames": "[remote]", "allowServerLoss": "[north]"},
			nil, withSystem(madeBy("outpost", "jupyterhub"), "north", nil),
			[]string{"outposts:outposts[1].formerNames[0]: remote and north are two systems of this stack; nothing was changed. A system can get the name of another one only after that is gone"},
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
	got := loaded(t, localConfig, nil).lostServers(t.Context(), fakeCluster{podsErr: errors.New("403 Forbidden")},
		stateOf(madeBy("outpost", "jupyterhub;other")))
	if len(got) != 1 || got[0].Error() != "count the servers in namespace outpost: 403 Forbidden" {
		t.Errorf("errors %v", got)
	}
}

// TestRenamedHub holds that a hub keeps its name while servers run on remotes: their outposts know them by it.
func TestRenamedHub(t *testing.T) {
	const refused = "outposts:hub.name: hub jupyterhub gets another name, but 25 of its servers are running on " +
		"systems in other clusters, whose outposts know them by that name; nothing was changed. Stop them, or add " +
		"\"jupyterhub\" to outposts:allowServerLoss"
	for _, tt := range []struct {
		name    string
		changes map[string]string
		running map[string]int
		want    string
	}{
		{"servers run", map[string]string{"hub.name": "another"}, map[string]int{"remote": 25}, refused},
		{
			"under a former name of their system",
			map[string]string{"hub.name": "another", "outposts.1.name": "north", "outposts.1.formerNames": "[remote]"},
			map[string]int{"remote": 20, "north": 5},
			refused,
		},
		{"the same name", nil, map[string]int{"remote": 25}, ""},
		{"none runs", map[string]string{"hub.name": "another"}, nil, ""},
		{
			"they may go",
			map[string]string{"hub.name": "another", "allowServerLoss": "[jupyterhub]"},
			map[string]int{"remote": 25},
			"",
		},
		{
			"known by a user of its own there",
			map[string]string{
				"hub.name": "another", "outposts.1.user": "ours", "outposts.1.password": "0123456789abcdef",
			},
			map[string]int{"remote": 25},
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, got := loaded(t, localConfig, tt.changes), ""
			before := stateOf(map[string]any{"urn": map[string]any{
				"type": "pulumi:pulumi:Stack", "outputs": map[string]any{outputHubName: "jupyterhub"},
			}})
			for _, err := range c.lostServers(t.Context(), fakeCluster{services: tt.running}, before) {
				got += err.Error()
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
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
	before := stateOf(map[string]any{
		"urn": map[string]any{"type": users.Type, "outputs": resource.PropertyMap(users.Inputs).Mappable()},
	})
	if before.outpost.namespace != "outpost" || !cmp.Equal(before.outpost.hubs, []string{"jupyterhub", "other"}) {
		t.Errorf("read back: %+v", before.outpost)
	}
}

// TestAllowedLossIsSaid holds what each run says of the entries of allowDataLoss: those that stay, and those that name
// nothing of this stack.
func TestAllowedLossIsSaid(t *testing.T) {
	const whole = "lets the namespace go with everything in it; remove the entry when that is done"
	const nothing = "names no volume and no namespace of this stack, so it allows nothing; correct or remove it"
	const ofVolume = "lets this volume go; remove the entry when that is done"
	for _, tt := range []struct{ entry, want string }{
		{"outpost/outpost-data", ofVolume},
		{"jupyter/*", whole},
		{"left/*", whole},
		{"left/outpost-data", ofVolume},
		{"typo/*", nothing},
		{"outpost/typo", nothing},
	} {
		t.Run(tt.entry, func(t *testing.T) {
			c := loaded(t, localConfig, map[string]string{"allowDataLoss": `["` + tt.entry + `"]`})
			left := outpostVolume
			left.Namespace = "left"
			got := c.warnOfLoss(state{namespaces: map[string]string{"left": ""}, volumes: []volume{left}})
			want := []string{`outposts:allowDataLoss[0]: "` + tt.entry + `" ` + tt.want}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}
