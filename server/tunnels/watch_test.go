package tunnels

import (
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

// A port rests after each Service that has had it, one that was never served included: nodes have led to it all the
// same.
func TestFreedPorts(t *testing.T) {
	changes := 0
	watcher, err := newWatcher(fake.NewClientset(), namespace, owner, func() { changes++ })
	if err != nil {
		t.Fatal(err)
	}
	w := &world{}
	want := func(what string, want ...uint16) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(watcher.freed)); !slices.Equal(got, want) {
			t.Errorf("%s: freed are %v, want %v", what, got, want)
		}
		clear(watcher.freed)
	}
	const target = "lab-1.ns.svc:8888"
	older, younger := w.service("older", "remote", target, 20001), w.service("younger", "remote", target, 20001)
	watcher.put(older)
	watcher.put(younger)
	want("two claims")
	watcher.remove(younger)
	want("a claim that did not hold is gone", 20001)
	moved := older.DeepCopy()
	moved.Annotations[targetAnnotation] = "lab-2.ns.svc:8888"
	watcher.put(moved)
	want("another target")
	moved = moved.DeepCopy()
	moved.Spec.Ports[0].TargetPort = intstr.FromInt32(20002)
	watcher.put(moved)
	want("another port", 20001)
	anew := moved.DeepCopy()
	anew.UID = types.UID("another")
	watcher.put(anew)
	want("made anew under the same name", 20002)
	malformed := anew.DeepCopy()
	malformed.Annotations = nil
	watcher.put(malformed)
	watcher.remove(cache.DeletedFinalStateUnknown{Key: "jupyter/older", Obj: malformed})
	want("a malformed one is gone, unseen", 20002)
	if changes != 8 {
		t.Errorf("%d changes were told, want 8", changes)
	}
}
