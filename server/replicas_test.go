package server

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// limitsInTime are for how long is waited, and ofProduct what they are where no test runs.
var (
	limitsInTime = []*time.Duration{
		&databaseTimeout, &probeTimeout, &lastBackupTimeout, &apiPatience, &headerTime, &requestTime,
		&metricsLimits.newcomerTime, &apiLimits.newcomerTime, &apiLimits.writeTime,
		&dialOutLimits.newcomerTime, &dialOutLimits.writeTime,
	}
	ofProduct = func() (list []time.Duration) {
		for _, limit := range limitsInTime {
			list = append(list, *limit)
		}
		return list
	}()
)

// inTime runs a test under a clock of its own, with the limits of the product.
func inTime(t *testing.T, test func(t *testing.T)) {
	for i, limit := range limitsInTime {
		before := *limit
		*limit = ofProduct[i]
		defer func() { *limit = before }()
	}
	synctest.Test(t, test)
}

func TestMain(m *testing.M) {
	// Nothing is given up because time passes, however rarely a busy machine lets a test run. A test of such a limit
	// has a clock of its own, and those of the product: see inTime.
	for _, limit := range limitsInTime {
		*limit = time.Hour
	}
	code := m.Run()
	if err := storetest.RemoveShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// replicas runs two outposts on one PostgreSQL and one cluster; one of them leads.
func replicas(t *testing.T, change func(*config.Config)) (both [2]*outpostProcess, spawner *outposttest.Spawner) {
	t.Helper()
	postgres := storetest.SharedPostgres(t)
	name := postgres.NewDatabase(t)
	lease := make(chan struct{}, 1)
	lead := func(ctx context.Context, work func(context.Context)) error {
		select {
		case lease <- struct{}{}:
			work(ctx)
			<-lease
		case <-ctx.Done():
		}
		return nil
	}
	spawner = outposttest.NewSpawner()
	for i := range both {
		cfg := settings(t)
		cfg.Database = config.Database{
			Type: config.PostgreSQL, Host: postgres.Host, Port: 5432, User: postgres.User,
			Password: outpost.Secret(storetest.Password), Name: name,
		}
		change(&cfg)
		both[i] = upFollower(t, cfg, spawner, Options{Lead: lead})
	}
	return both, spawner
}

// together sends requests to the replicas in turn, all at once, and counts the answers' statuses.
func together(both [2]*outpostProcess, n int, ask func(p *outpostProcess, i int) int) map[int]int {
	statuses := make([]int, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { statuses[i] = ask(both[i%2], i) })
	}
	all.Wait()
	counted := map[int]int{}
	for _, s := range statuses {
		counted[s]++
	}
	return counted
}

func TestTwoReplicasKeepTheQuotaUnderParallelStarts(t *testing.T) {
	both, spawner := replicas(t, func(c *config.Config) { c.GlobalMaxPerUser = 10 })
	bodies := make([]string, 64)
	for i := range bodies {
		bodies[i] = startBody(t, fmt.Sprintf("lab-%d", i))
	}
	got := together(both, len(bodies), func(p *outpostProcess, i int) int {
		status, body := p.ask("POST", "/services", "hub-a", password, bodies[i])
		if status != 200 && status != 419 {
			t.Logf("start %d: %d %s", i, status, body)
		}
		return status
	})
	if diff := cmp.Diff(map[int]int{200: 10, 419: 54}, got); diff != "" {
		t.Errorf("statuses of 64 starts of one user (-want +got):\n%s", diff)
	}
	pods := spawner.Pods()
	if len(pods) != 10 {
		t.Errorf("%d pods, want 10", len(pods))
	}
	for _, k := range pods {
		for i, p := range both {
			if status, body := p.ask("GET", "/services/"+k.Name+"/"+k.StartID, "hub-a", password, ""); status != 200 ||
				!strings.Contains(body, "null") {
				t.Errorf("poll of %s by replica %d: %d %s", k.Name, i, status, body)
			}
		}
	}
	stopped := together(both, len(pods), func(p *outpostProcess, i int) int {
		status, _ := p.ask("DELETE", "/services/"+pods[i].Name+"/"+pods[i].StartID, "hub-a", password, "")
		return status
	})
	if diff := cmp.Diff(map[int]int{200: 10}, stopped); diff != "" {
		t.Errorf("statuses of the stops, whoever started (-want +got):\n%s", diff)
	}
	if left := spawner.Pods(); len(left) > 0 {
		t.Errorf("pods that are left: %v", left)
	}
}

// No connection to the database is held while servers start: more starts than connections hold up nothing.
func TestStartsHoldNoConnection(t *testing.T) {
	both, spawner := replicas(t, func(*config.Config) {})
	release, started := make(chan struct{}), make(chan struct{}, 100)
	spawner.OnStart = func(context.Context, outpost.Key, func(outpost.Event)) error {
		started <- struct{}{}
		<-release
		return nil
	}
	bodies := make([]string, 60)
	for i := range bodies {
		bodies[i] = startBody(t, fmt.Sprintf("lab-%d", i))
	}
	var statuses map[int]int
	var starts sync.WaitGroup
	starts.Go(func() {
		statuses = together(both, len(bodies), func(p *outpostProcess, i int) int {
			status, _ := p.ask("POST", "/services", "hub-a", password, bodies[i])
			return status
		})
	})
	for range bodies {
		<-started
	}
	for i, p := range both {
		if status, body := p.ask("GET", "/services/", "hub-a", password, ""); status != 200 ||
			strings.Count(body, `"start_pending":true`) != len(bodies) {
			t.Errorf("list of replica %d while %d servers start: %d %s", i, len(bodies), status, body)
		}
	}
	close(release)
	starts.Wait()
	if diff := cmp.Diff(map[int]int{200: len(bodies)}, statuses); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestTwoReplicasRunNoStartTwice(t *testing.T) {
	both, spawner := replicas(t, func(*config.Config) {})
	body := startBody(t, "lab")
	got := together(both, 16, func(p *outpostProcess, _ int) int {
		status, _ := p.ask("POST", "/services", "hub-a", password, body)
		return status
	})
	if got[200] < 1 || got[200]+got[419] != 16 {
		t.Errorf("statuses of one start sent 16 times: %v, "+
			"want 200 for the one and 419 for the others, or 200 for those that joined it", got)
	}
	if n := spawner.Starts(outposttest.Key("lab")); n != 1 {
		t.Errorf("the pod was made %d times", n)
	}
}
