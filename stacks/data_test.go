package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
		wayOut    = "; nothing was changed. To let the data go, first run `up` with "
		hubOut    = wayOut + `"jupyter/hub-db-dir" in outposts:allowDataLoss and without this change`
		outpost   = wayOut + `"outpost/outpost-data" in outposts:allowDataLoss and without this change`
		standard  = "the cluster's default storage class"
	)
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
			[]string{ofHub + "hub.values.hub.db.pvc.storage asks for 500Mi, it has 1Gi" + hubOut, ofOutpost + "outpost.persistence.size asks for 1Mi, it has 1Gi" + outpost},
		},
		{
			"smaller by the key being gone", nil,
			[]volume{changed(outpostVolume, func(v *volume) { v.size = "5Gi" })},
			[]string{ofOutpost + "outpost.persistence.size asks for 1Gi, it has 5Gi" + outpost},
		},
		{
			"another storage class",
			map[string]string{"outpost.persistence.storageClass": "fast"},
			[]volume{outpostVolume},
			[]string{ofOutpost + "outpost.persistence.storageClass asks for storage class fast, it has " + standard + outpost},
		},
		{
			"storage class given up", nil,
			[]volume{changed(outpostVolume, class("fast"))},
			[]string{ofOutpost + "outpost.persistence.storageClass asks for " + standard + ", it has storage class fast" + outpost},
		},
		{"the same storage class", map[string]string{"outpost.persistence.storageClass": "fast"}, []volume{changed(outpostVolume, class("fast"))}, nil},
		{"no storage class, again", map[string]string{"outpost.persistence.storageClass": `"-"`}, []volume{changed(outpostVolume, class(""))}, nil},
		{
			"no storage class",
			map[string]string{"outpost.persistence.storageClass": `"-"`},
			[]volume{outpostVolume},
			[]string{ofOutpost + "outpost.persistence.storageClass asks for no storage class, it has " + standard + outpost},
		},
		{
			"among the outpost's values",
			map[string]string{"outpost.values": "{persistence: {storageClass: fast, accessModes: [ReadWriteMany], size: 1Mi}}"},
			[]volume{outpostVolume},
			[]string{
				ofOutpost + "outpost.values.persistence.storageClass asks for storage class fast, it has " + standard + outpost,
				ofOutpost + "outpost.values.persistence.accessModes asks for access modes ReadWriteMany, it has ReadWriteOnce" + outpost,
				ofOutpost + "outpost.values.persistence.size asks for 1Mi, it has 1Gi" + outpost,
			},
		},
		{
			"own keys win over values",
			map[string]string{"outpost.persistence": "{storageClass: fast, size: 1Gi}", "outpost.values": "{persistence: {storageClass: slow, size: 1Mi}}"},
			[]volume{changed(outpostVolume, class("fast"))},
			nil,
		},
		{
			"among the hub's values",
			map[string]string{"hub.values": "{hub: {db: {pvc: {storageClassName: '', accessModes: [ReadWriteMany], selector: {matchLabels: {a: b}}}}}}"},
			[]volume{hubVolume},
			[]string{
				ofHub + "hub.values.hub.db.pvc.storageClassName asks for no storage class, it has " + standard + hubOut,
				ofHub + "hub.values.hub.db.pvc.accessModes asks for access modes ReadWriteMany, it has ReadWriteOnce" + hubOut,
				ofHub + "hub.values.hub.db.pvc.selector asks for another selector, it has its own" + hubOut,
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
