package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/config"
)

// example reads an example of what users may start, as an outpost has it.
func example(t *testing.T, path string) config.Config {
	t.Helper()
	var values struct{ Config, Flavors map[string]any }
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	cfg := settings(t)
	text, err = yaml.Marshal(values.Config)
	if err != nil {
		t.Fatal(err)
	}
	var problems config.Problems
	if cfg.File, problems = config.ParseFile("config.yaml", text, nil); len(problems) > 0 {
		t.Errorf("%s: %v", path, problems)
	}
	cfg.Users = []config.User{{Name: "jupyterhub"}}
	for name := range cfg.File.Hubs {
		if name != "jupyterhub" {
			cfg.Users = append(cfg.Users, config.User{Name: name})
		}
	}
	if values.Flavors != nil {
		if text, err = yaml.Marshal(values.Flavors); err != nil {
			t.Fatal(err)
		}
		cfg.FlavorsPath = filepath.Join(t.TempDir(), "flavors.yaml")
		write(t, cfg.FlavorsPath, string(text))
	}
	return cfg
}

// Each example is loaded, a start planned for each of its profiles and flavors, and its groups decide as it says.
func TestExamplesOfOffers(t *testing.T) {
	paths, err := filepath.Glob("../docs/examples/offers/*.yaml")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%d examples, error %v", len(paths), err)
	}
	decided := map[string][]struct{ hub, groups, open string }{
		"courses": {
			{"jupyterhub", "", "system, profile notebook"},
			{"jupyterhub", "course-ml-2025w", "system, profile notebook, profile ml"},
			{"jupyterhub", "teachers", "system, profile notebook, profile python-101, profile ml"},
		},
		"gpu-projects": {
			{"jupyterhub", "", "system, flavor cpu, flavor gpu-try"},
			{"jupyterhub", "project-ai", "system, flavor cpu, flavor gpu, flavor gpu-try"},
		},
		"virtual-organisations": {
			{"jupyterhub", "urn:geant:example.org:group:x", "flavor medium, flavor small"},
			{"jupyterhub", "urn:geant:dfn.de:nfdi.de:group:x", "system, flavor medium, flavor small"},
			{
				"jupyterhub", "urn:geant:helmholtz.de:group:x:gpu#login.helmholtz.de",
				"system, flavor gpu, flavor medium, flavor small",
			},
		},
		"workshop": {
			{"jupyterhub", "workshop-2025-10", "flavor seat"},
			{"jupyterhub", "workshop-staff", "system, flavor helper, flavor seat"},
		},
		"partitions": {
			{"jupyterhub", "budget-42", "system, flavor batch, flavor devel, flavor login"},
			{"jupyterhub", "budget-42,guests", "system, flavor login"},
		},
		"several-hubs": {
			{"jupyterhub", "", "system, flavor large, flavor standard"},
			{
				"partner", "pilot",
				"system, flavor standard, image quay.io/jupyter/*, image registry.partner.example/*",
			},
			{"partner", "", "flavor standard, image quay.io/jupyter/*, image registry.partner.example/*"},
		},
		"shared-data": {
			{"jupyterhub", "students", "system, data datasets"},
			{"jupyterhub", "teachers", "system, data datasets, data handouts"},
		},
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		t.Run(name, func(t *testing.T) {
			cfg := example(t, path)
			warnings, err := checkFiles(cfg)
			if err != nil || len(warnings) > 0 {
				t.Fatalf("%v, warnings %v", err, warnings)
			}
			for _, c := range decided[name] {
				groups := []any{}
				for one := range strings.SplitSeq(c.groups, ",") {
					groups = append(groups, one)
				}
				reasons, err := Explain(cfg, c.hub, map[string]any{"name": "ann", "groups": groups})
				if err != nil {
					t.Fatal(err)
				}
				var open []string
				for _, r := range reasons {
					if r.Open {
						open = append(open, strings.TrimSpace(r.Kind+" "+r.Name))
					}
				}
				if got := strings.Join(open, ", "); got != c.open {
					t.Errorf("%s, %q: %s; want %s", c.hub, c.groups, got, c.open)
				}
			}
			delete(decided, name)
		})
	}
	for name := range decided {
		t.Errorf("there is no example %s", name)
	}
}
