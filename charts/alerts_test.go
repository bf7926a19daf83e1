package charts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"sigs.k8s.io/yaml"
)

// prometheusRule is the part of the operator's PrometheusRule that Prometheus itself reads.
type prometheusRule struct {
	Kind string
	Spec struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				For         string            `json:"for,omitempty"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	}
}

// alertTests are what promtool reads, as far as it is looked at here.
type alertTests struct {
	Tests []struct {
		AlertRuleTest []struct {
			Alertname string
			ExpAlerts []any `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	}
}

// alertsOf renders the alerts of a chart in namespace outpost.
func alertsOf(t *testing.T, folder string) prometheusRule {
	t.Helper()
	release := chartutil.ReleaseOptions{Name: "outpost", Namespace: "outpost", Revision: 1, IsInstall: true}
	files, err := renderChart(load(t, folder), readValues(t, folder+"/ci/everything.yaml"), release)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		var rule prometheusRule
		if filepath.Base(name) == "prometheusrule.yaml" {
			if err := yaml.Unmarshal([]byte(text), &rule); err != nil {
				t.Fatal(err)
			}
			return rule
		}
	}
	t.Fatal("there is no PrometheusRule")
	return prometheusRule{}
}

// TestAlerts holds that Prometheus takes the alerts of each chart, and that each one fires and clears.
func TestAlerts(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not on PATH; Debian has it in package prometheus")
	}
	for _, folder := range []string{"outpost", "outposts-hub"} {
		t.Run(folder, func(t *testing.T) {
			rules, err := yaml.Marshal(map[string]any{"groups": alertsOf(t, folder).Spec.Groups})
			if err != nil {
				t.Fatal(err)
			}
			tests, err := os.ReadFile("testdata/alerts-" + folder + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			work := t.TempDir()
			for name, text := range map[string][]byte{"rules.yaml": rules, "tests.yaml": tests} {
				if err := os.WriteFile(filepath.Join(work, name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "tests.yaml"}} {
				run := exec.Command(promtool, args...)
				run.Dir = work
				if out, err := run.CombinedOutput(); err != nil {
					t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
				}
			}
		})
	}
}

// TestAlertsAreTestedAndExplained holds that each alert has a test in which it fires and one in which it does not, a
// section in the manual, and an address of that.
func TestAlertsAreTestedAndExplained(t *testing.T) {
	manual, err := os.ReadFile("../docs/howto/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, folder := range []string{"outpost", "outposts-hub"} {
		text, err := os.ReadFile("testdata/alerts-" + folder + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var tests alertTests
		if err := yaml.Unmarshal(text, &tests); err != nil {
			t.Fatal(err)
		}
		fires, clear := map[string]bool{}, map[string]bool{}
		for _, test := range tests.Tests {
			for _, one := range test.AlertRuleTest {
				fires[one.Alertname] = fires[one.Alertname] || len(one.ExpAlerts) > 0
				clear[one.Alertname] = clear[one.Alertname] || len(one.ExpAlerts) == 0
			}
		}
		for _, group := range alertsOf(t, folder).Spec.Groups {
			for _, rule := range group.Rules {
				count++
				if !fires[rule.Alert] || !clear[rule.Alert] {
					t.Errorf("%s: fires in a test: %v, does not in another: "+
						"%v", rule.Alert, fires[rule.Alert], clear[rule.Alert])
				}
				if !strings.Contains(string(manual), "\n## "+rule.Alert+"\n") {
					t.Errorf("docs/howto/alerts.md has no section %s", rule.Alert)
				}
				want := "https://wiki.example.org/alerts#" + strings.ToLower(rule.Alert)
				if got := rule.Annotations["runbook_url"]; got != want {
					t.Errorf("%s: runbook_url is %q, want %q", rule.Alert, got, want)
				}
			}
		}
	}
	if count < 15 {
		t.Errorf("there are %d alerts", count)
	}
}
