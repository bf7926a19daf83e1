//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/cluster"
)

// needs holds that the rights which a stack asks for are enough for every object that it has written, and for
// everything that its Roles give.
func (e *engine) needs(t *testing.T, stack string) {
	t.Helper()
	c, err := LoadConfig(e.configs[stack], e.dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.settleServers(t.Context(), fakeCluster{}, state{}); err != nil {
		t.Fatal(err)
	}
	asked := map[cluster.Right]bool{}
	for namespace, rules := range c.rights(state{}, c.exposures()...) {
		for _, r := range rules {
			for _, right := range r.each(namespace) {
				asked[right] = true
			}
		}
	}
	need := func(what string, right cluster.Right) {
		named := right
		right.Name = ""
		if !asked[right] && !asked[named] {
			t.Errorf("%s: %s needs %+v", stack, what, named)
		}
	}
	files, err := filepath.Glob(filepath.Join(e.dir, "cluster", stack, "1-manifest", "*.yaml"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var object rbacv1.Role // or another object, as far as the fields of all are concerned
		if err := yaml.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		group, _, grouped := strings.Cut(object.APIVersion, "/")
		if !grouped {
			group = ""
		}
		what := fmt.Sprintf("%s %s/%s", object.Kind, object.Namespace, object.Name)
		for _, verb := range manage {
			need(what, cluster.Right{
				Namespace: object.Namespace, Group: group, Resource: plural(object.Kind), Verb: verb,
			})
		}
		for _, given := range object.Rules {
			names := given.ResourceNames
			if len(names) == 0 {
				names = []string{""}
			}
			for _, name := range names {
				for _, resource := range given.Resources {
					for _, verb := range given.Verbs {
						need(what, cluster.Right{
							Namespace: object.Namespace, Group: given.APIGroups[0], Resource: resource,
							Name: name, Verb: verb,
						})
					}
				}
			}
		}
	}
}

// plural is the resource of a kind.
func plural(kind string) string {
	resource := strings.ToLower(kind)
	if stem, y := strings.CutSuffix(resource, "y"); y {
		return stem + "ies"
	}
	if strings.HasSuffix(resource, "s") {
		return resource + "es"
	}
	return resource + "s"
}
