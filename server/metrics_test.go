package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/offer"
	"github.com/outposts-dev/outposts/server/outpost"
)

var _ outpost.Observer = (*metrics)(nil)

var (
	metricName = regexp.MustCompile(`\b(outpost|process)_[a-z_]+`)
	grouping   = regexp.MustCompile(`\bby \(([a-z_, ]+)\)`)
)

// counted is what a Manager counts with one service of each kind.
type counted struct{}

func (counted) Counts() []lifecycle.Count {
	return []lifecycle.Count{{Hub: "a", State: "running", Services: 1}}
}

func (counted) FlavorUse() []offer.FlavorUse {
	return []offer.FlavorUse{{Hub: "a", Flavor: "gpu", Used: 1, Limit: new(2)}}
}
func (counted) ServersOf(string) *int   { return new(3) }
func (counted) Watches() map[string]int { return map[string]int{"a": 1} }
func (counted) Unseen() []string        { return []string{"gpu"} }

// Every metric that the chart's dashboard shows exists, and so does every label that it groups by.
func TestDashboardShowsMetricsThatExist(t *testing.T) {
	m := newMetrics()
	m.watchManager(counted{}, func() time.Duration { return time.Second })
	failed := errors.New("failed")
	ofA := outpost.Subject{Key: outpost.Key{Hub: "a"}}
	m.ServiceStarted(ofA, time.Second, "")
	m.ServiceStarted(ofA, time.Second, "image")
	m.StartRefused(ofA, "quota")
	m.ServiceStopped(ofA, time.Second, lifecycle.StopAsked)
	m.StopRetried("a")
	m.HubCalled("a", "event", failed)
	m.database("get", time.Millisecond, failed)
	m.reloaded("flavors", failed)
	m.watchMaintenance(func() int { return 1 })
	c := &certificate{}
	c.current.Store(&tls.Certificate{Leaf: &x509.Certificate{}})
	m.watchCertificate(c)
	m.dials.WithLabelValues("https://hub.example.org", "ok").Inc()
	m.dialled.WithLabelValues("https://hub.example.org").Set(1)
	m.ssh.Handshake("ok", time.Millisecond)
	m.ssh.Connection("a", 1)
	m.ssh.Channel("a", 1)
	m.ssh.Refused("a", "target")
	m.ssh.Dialled("a", time.Millisecond, failed)
	m.ssh.Copied("a", 1, 2)
	m.ssh.Reloaded(nil)
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names, labels := map[string]bool{}, map[string]bool{"le": true}
	for _, f := range families {
		names[f.GetName()] = true
		for _, metric := range f.GetMetric() {
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = true
			}
		}
	}
	text, err := os.ReadFile("../charts/outpost/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(text) {
		t.Fatal("the dashboard is not JSON")
	}
	shown := metricName.FindAllString(string(text), -1)
	if len(shown) < 10 {
		t.Fatalf("only %d metrics are shown", len(shown))
	}
	for _, name := range shown {
		if !names[strings.TrimSuffix(name, "_bucket")] {
			t.Errorf("%s is shown, but the process has no such metric", name)
		}
	}
	for _, by := range grouping.FindAllStringSubmatch(string(text), -1) {
		for _, label := range strings.Split(by[1], ", ") {
			if !labels[label] {
				t.Errorf("it groups by %s, but no metric has such a label", label)
			}
		}
	}
}

// The manual has every metric of this process, and no other.
func TestMetricsAreInTheManual(t *testing.T) {
	m := newMetrics()
	m.watchManager(counted{}, func() time.Duration { return time.Second })
	m.watchMaintenance(func() int { return 1 })
	m.watchCertificate(&certificate{})
	m.watchBackups(func(context.Context) (time.Time, error) { return time.Unix(1, 0), nil })
	m.watchConnections(func() (newcomers, loggedIn int) { return 1, 1 })
	descriptions := make(chan *prometheus.Desc, 1000)
	m.registry.Describe(descriptions)
	close(descriptions)
	var have []string
	for d := range descriptions {
		if name := regexp.MustCompile(`fqName: "(outpost_\w+)"`).FindStringSubmatch(d.String()); name != nil {
			have = append(have, name[1])
		}
	}
	slices.Sort(have)
	text, err := os.ReadFile("../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Of the outpost\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var told []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)`").FindAllStringSubmatch(section, -1) {
		told = append(told, row[1])
	}
	if diff := cmp.Diff(slices.Compact(have), told); diff != "" {
		t.Errorf("docs/reference/metrics.md (-registered +told):\n%s", diff)
	}
}
