package options

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
)

const sharedList = `
- {name: datasets, claim: datasets-claim, mount: /data}
- {name: lab, nfs: {server: nas, path: /lab}, mount: /lab, readOnly: false, allowedGroups: ["urn:*:lab"]}
`

// What a catalog tells is what a server gets.
func TestSharedDataOfGroups(t *testing.T) {
	var list any
	if err := yaml.Unmarshal([]byte(sharedList), &list); err != nil {
		t.Fatal(err)
	}
	volume := func(name, kind string, source map[string]any) any {
		return map[string]any{"name": name, kind: source}
	}
	mount := func(name, path string, readOnly bool) any {
		return map[string]any{"name": name, "mountPath": path, "readOnly": readOnly}
	}
	own := volume("own", "emptyDir", map[string]any{})
	datasets := volume("shared-datasets", "persistentVolumeClaim", map[string]any{"claimName": "datasets-claim"})
	lab := volume("shared-lab", "nfs", map[string]any{"server": "nas", "path": "/lab"})
	for name, c := range map[string]struct {
		groups access.Groups
		told   []catalog.Shared
		want   map[string]any
	}{
		"of no group": {
			nil,
			[]catalog.Shared{{Name: "datasets", Mount: "/data", ReadOnly: true}},
			map[string]any{
				"volumes": []any{own, datasets}, "volume_mounts": []any{mount("shared-datasets", "/data", true)},
			},
		},
		"of the group": {
			access.Groups{"urn:x:lab"},
			[]catalog.Shared{{Name: "datasets", Mount: "/data", ReadOnly: true}, {Name: "lab", Mount: "/lab"}},
			map[string]any{
				"volumes": []any{own, datasets, lab},
				"volume_mounts": []any{
					mount("shared-datasets", "/data", true), mount("shared-lab", "/lab", false),
				},
			},
		},
	} {
		var p Problems
		merged := Check(map[string]any{"shared": list, "volumes": map[string]any{"a": own}}, &p)
		if err := p.Err(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.told, PublishShared(merged["shared"], c.groups)); diff != "" {
			t.Errorf("%s: told (-want +got):\n%s", name, diff)
		}
		ApplyShared(merged, userOf(c.groups))
		delete(merged, "shared")
		if diff := cmp.Diff(c.want, merged); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSharedDataRefused(t *testing.T) {
	const either = "element 0 needs either a claim, by its name, or nfs: {server, path}"
	//nolint:lll // a case a line
	for text, want := range map[string]string{
		"data":                               "must be a list of objects, not a string",
		"[a]":                                "element 0 must be an object, not a string",
		"[{claim: c, mount: /c}]":            "element 0 needs a name of lower-case letters, digits and hyphens",
		"[{name: A_b, claim: c, mount: /c}]": "element 0 needs a name of lower-case letters, digits and hyphens",
		"[{name: a, claim: c}]":              "element 0 needs a mount such as /data",
		"[{name: a, claim: c, mount: c}]":    "element 0 needs a mount such as /data",
		"[{name: a, mount: /c}]":             either,
		"[{name: a, mount: /c, claim: c, nfs: {server: s, path: /}}]":          either,
		"[{name: a, mount: /c, nfs: {server: s}}]":                             "element 0 needs server and path in nfs, and nothing else",
		"[{name: a, mount: /c, claim: c, readOnly: 1}]":                        "element 0 must have true or false as readOnly",
		"[{name: a, mount: /c, claim: c, allowedGroups: []}]":                  "element 0 has allowedGroups that must be a list of names of groups, at least one",
		"[{name: a, mount: /c, claim: c, groups: [x]}]":                        "element 0 has the unknown key groups; known keys: name, claim, nfs, mount, readOnly, allowedGroups",
		"[{name: a, mount: /c, claim: c}, {name: a, mount: /d, claim: d}, {}]": "element 1 has a name that is listed twice; element 2 needs a name of lower-case letters, digits and hyphens",
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := checkAll(map[string]any{"shared": value}); err == nil || err.Error() != "shared: "+want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
