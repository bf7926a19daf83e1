package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/dev/clusters/kubeapi"
	"github.com/outposts-dev/outposts/dev/clusters/state"
)

// loadedImages is a program whose registry has images, given as name without host, tag and digest.
func loadedImages(t *testing.T, images ...[3]string) *app {
	t.Helper()
	a := &app{dir: state.Dir{Path: t.TempDir()}}
	for _, one := range images {
		file := filepath.Join(a.dir.Registry(), "refs", "localhost", one[0], "_tags", one[1])
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(`{"digest": "`+one[2]+`"}`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestOldNames(t *testing.T) {
	a := loadedImages(t, [3]string{"a/outpost", "dev", "sha256:new"}, [3]string{"a/hub", "1", "sha256:same"})
	got, err := a.oldNames(map[string]string{
		"localhost/a/outpost:dev":        "sha256:old",
		"localhost/a/outpost@sha256:old": "sha256:old", // always means this one
		"sha256:1":                       "sha256:old",
		"localhost/a/hub:1":              "sha256:same",
		"localhost/a/lab:1":              "sha256:lab", // not loaded here
		"quay.io/a/outpost:dev":          "sha256:other",
	})
	if diff := cmp.Diff([]string{"localhost/a/outpost:dev"}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	broken := filepath.Join(a.dir.Registry(), "refs", "localhost", "a", "hub", "_tags", "1")
	if err := os.WriteFile(broken, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.oldNames(map[string]string{"localhost/a/hub:1": "sha256:same"}); err == nil {
		t.Error("a broken registry: no error")
	}
}

// TestOldDeployments holds that users' own pods, and those that are ending, restart nothing.
func TestOldDeployments(t *testing.T) {
	a := loadedImages(t, [3]string{"a/outpost", "dev", "sha256:new"})
	pod := func(namespace, labels, owner, extra, id string) string {
		return `{"metadata": {"namespace": "` + namespace + `", "labels": {` + labels + `}` + extra +
			`, "ownerReferences": [` + owner + `]},
			"spec": {"containers": [{"name": "side", "image": "quay.io/a/side:1"},
				{"name": "outpost", "image": "localhost/a/outpost:dev"}]},
			"status": {"containerStatuses": [
				{"name": "outpost", "imageID": "` + id + `"}, {"name": "side", "imageID": ""}]}}`
	}
	const (
		hash, set = `"pod-template-hash": "5d9f"`, `{"kind": "ReplicaSet", "name": "the-outpost-5d9f"}`
		old       = "localhost/a/outpost@sha256:old"
	)
	text := "[" + strings.Join([]string{
		pod("b", hash, set, "", old), pod("a", hash, set, "", old), pod("a", hash, set, "", old),
		pod("new", hash, set, "", "localhost/a/outpost@sha256:new"),
		pod("ending", hash, set, `, "deletionTimestamp": "2026-01-02T03:04:05Z"`, old),
		pod("beginning", hash, set, "", ""),
		pod("user", `"app": "jupyterhub"`, "", "", old),
		pod("job", hash, `{"kind": "Job", "name": "the-outpost-5d9f"}`, "", old),
	}, ",") + "]"
	var pods []kubeapi.Pod
	if err := json.Unmarshal([]byte(text), &pods); err != nil {
		t.Fatal(err)
	}
	got, err := a.oldDeployments(pods)
	want := []deployment{{"a", "the-outpost"}, {"b", "the-outpost"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(deployment{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
