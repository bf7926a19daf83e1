package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server"
	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kube"
	"github.com/outposts-dev/outposts/server/outpost"
)

// BenchmarkCatalog asks an outpost with 1,000 services, 20 profiles and 50 flavors, each for a group of its own, for
// the catalog of a user in 300 groups, over HTTP, on SQLite. The processor time is that of outpost and client together.
func BenchmarkCatalog(b *testing.B) {
	dir := b.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		return path
	}
	cfg, err := config.FromEnv(environment(dir, map[string]string{
		"OUTPOST_CONFIG_FILE":  write("config.yaml", benchConfig()),
		"OUTPOST_FLAVORS_PATH": write("flavors.yaml", benchFlavors()),
	}))
	if err != nil {
		b.Fatal(err)
	}
	fill(b, cfg)
	client, err := kube.Connect(cluster(b, "bench"), "", "bench")
	if err != nil {
		b.Fatal(err)
	}
	spawner, err := kube.New(client, cfg.Namespace, kube.Options{Spawner: cfg.Spawner})
	if err != nil {
		b.Fatal(err)
	}
	s, err := server.New(b.Context(), cfg, spawner, server.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	groups := make([]string, 300)
	for i := range groups {
		groups[i] = fmt.Sprintf(`"urn:geant:example.org:group:project-%d"`, i)
	}
	body := `{"user_id":7,"authentication":{"name":"ann","groups":[` + strings.Join(groups, ",") + `]}}`
	b.ReportAllocs()
	begin := cpuTime(b)
	size := 0
	for b.Loop() {
		size = ask(b, "http://"+s.Addr().String()+"/catalog", body)
	}
	b.ReportMetric(float64((cpuTime(b)-begin).Microseconds())/float64(b.N)/1000, "cpu-ms/op")
	b.ReportMetric(float64(size), "bytes")
}

func benchConfig() string {
	var text strings.Builder
	text.WriteString("spawner:\n  homes: {}\n  profile_list:\n")
	for i := range 20 {
		fmt.Fprintf(&text, `  - display_name: Profile %d
    description: What it is for, in a line or two.
    allowed_groups: ["urn:*:project-%d", other]
    denied_text: Ask for access at https://example.org.
    kubespawner_override: {image: "quay.io/jupyter/base-notebook:%d", mem_limit: 2G}
    profile_options:
      image:
        display_name: Image
        choices:
          a: {display_name: A, kubespawner_override: {image: a}}
          b: {display_name: B, kubespawner_override: {image: b}}
        unlisted_choice: {enabled: true, validation_regex: "^quay.io/", kubespawner_override: {image: "{value}"}}
      size:
        display_name: Size
        choices:
          small: {display_name: Small, kubespawner_override: {mem_limit: 1G}}
          large: {display_name: Large, kubespawner_override: {mem_limit: 8G}}
`, i, i*20, i)
	}
	return text.String()
}

func benchFlavors() string {
	var text strings.Builder
	text.WriteString("flavors:\n")
	for i := range 50 {
		fmt.Fprintf(&text, "  flavor-%d: {max: 100, maxPerUser: 2, description: A flavor, runtime: {hours: %d}, "+
			"allowedGroups: ['urn:*:project-%d', other], deniedText: Ask for access.}\n", i, i+1, i*10)
	}
	return text.String()
}

// fill puts 1,000 services of 400 users into the database.
func fill(b *testing.B, cfg config.Config) {
	b.Helper()
	db, err := server.OpenStore(b.Context(), cfg, newLogger(io.Discard, 0, "json"), nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		now := time.Now().UTC()
		service := outpost.Service{Summary: outpost.Summary{
			Key:    outpost.Key{Hub: "jupyterhub", Name: fmt.Sprint("lab-", i), StartID: "1"},
			UserID: i % 400, Flavor: fmt.Sprint("flavor-", i%50), StartDate: now, LastUpdate: now,
			EndDate: outpost.NoEnd,
		}}
		if err := db.Insert(b.Context(), service, func(flavor.Usage) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}

// ask posts a body as the hub and returns how long the answer is.
func ask(b *testing.B, url, body string) int {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.SetBasicAuth("jupyterhub", "planted-password")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		b.Fatalf("%d %s %v", answer.StatusCode, text, err)
	}
	return len(text)
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
