package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

func open(t *testing.T) (Dir, plan.Network) {
	t.Helper()
	dir, err := Open(filepath.Join(t.TempDir(), "clusters"))
	if err != nil {
		t.Fatal(err)
	}
	network, err := plan.ParseNetwork(plan.DefaultNetwork)
	if err != nil {
		t.Fatal(err)
	}
	return dir, network
}

func TestEnsureGivesPlaces(t *testing.T) {
	dir, network := open(t)
	got := map[string]int{}
	for _, name := range []string{"t1", "remote", "t2", "t1", "local"} {
		cluster, err := dir.Ensure(name, network)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = cluster.Index
	}
	if diff := cmp.Diff(map[string]int{"local": 2, "remote": 3, "t1": 4, "t2": 5}, got); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	// One that is gone gives its place back.
	if err := os.RemoveAll(dir.Cluster("t1")); err != nil {
		t.Fatal(err)
	}
	cluster, err := dir.Ensure("new", network)
	if err != nil || cluster.Index != 4 {
		t.Errorf("after a removal: %+v, %v", cluster, err)
	}
	all, err := dir.Clusters()
	want := []plan.Cluster{
		{Name: "local", Index: 2},
		{Name: "remote", Index: 3},
		{Name: "new", Index: 4},
		{Name: "t2", Index: 5},
	}
	if diff := cmp.Diff(want, all, cmpopts.IgnoreFields(plan.Cluster{}, "Network")); diff != "" || err != nil {
		t.Errorf("clusters (-want +got): %v\n%s", err, diff)
	}
}

func TestEnsureWithoutAPlaceLeft(t *testing.T) {
	dir, network := open(t)
	for i := range plan.LastIndex - plan.FirstIndex - 1 { // two are kept for local and remote
		if _, err := dir.Ensure("c"+string(rune('a'+i/26))+string(rune('a'+i%26)), network); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dir.Ensure("toomany", network); err == nil ||
		!strings.Contains(err.Error(), "no place for cluster toomany") {
		t.Errorf("one too many: %v", err)
	}
	if _, err := dir.Ensure("local", network); err != nil {
		t.Errorf("local: %v", err)
	}
	if _, err := os.Stat(dir.Cluster("toomany")); err == nil {
		t.Error("a refused cluster has a folder")
	}
}

func TestEnsureRefuses(t *testing.T) {
	dir, network := open(t)
	other, err := plan.ParseNetwork("10.9.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Ensure("one", network); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"future": `{"format": 2, "name": "future"}`, "broken": `{"format": 1,`,
		"nonet": `{"format": 1, "name": "nonet", "network": "x"}`,
	} {
		if err := os.MkdirAll(dir.Cluster(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir.Cluster(name), "cluster.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name    string
		network plan.Network
		want    string
	}{
		{"../evil", network, "cluster name"},
		{"one", other, "was made for network 10.77.0.0/16, not 10.9.0.0/16"},
		{"future", network, "format 2, this one reads 1"},
		{"broken", network, "clusters down --purge broken"},
		{"nonet", network, "not a CIDR"},
	} {
		if _, err := dir.Ensure(test.name, test.network); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Ensure(%q): %v, want %q", test.name, err, test.want)
		}
	}
}

func TestLock(t *testing.T) {
	dir, _ := open(t)
	unlock, err := dir.Lock(func() { t.Error("waited for nobody") })
	if err != nil {
		t.Fatal(err)
	}
	waited, locked := make(chan bool), make(chan bool)
	go func() {
		second, err := dir.Lock(func() { close(waited) })
		if err != nil {
			t.Error(err)
			return
		}
		close(locked)
		second()
	}()
	<-waited
	select {
	case <-locked:
		t.Fatal("two at once")
	default:
	}
	unlock()
	<-locked
}

func TestWriteFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"old", "new"} {
		if err := WriteFile(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || string(text) != "new" || info.Mode().Perm() != 0o640 {
		t.Errorf("%q %v %v %v", text, info.Mode(), err, statErr)
	}
	if left, _ := filepath.Glob(filepath.Dir(file) + "/.*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
