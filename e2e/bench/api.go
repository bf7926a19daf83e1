package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
)

// pollPace is how fast polls are sent where their latency is taken: the polls of 30,000 servers, one each in 30 s.
const pollPace = 1000

// measureAPI takes what hubs ask for, and what the process needs, with few and with many services: the shipped
// program on SQLite, a hundred hubs, and a simulated cluster whose pods are ready as soon as they are made, so that
// what is left is the outpost's own. Beside it, the least that a poll costs in Go: a gorilla/mux handler with the
// same login and nothing behind it.
func measureAPI(ctx context.Context, r *run) (err error) {
	o, err := newOutpost(ctx, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	cluster, address, err := process.StartSelf("api-cluster")
	if err != nil {
		return err
	}
	defer cluster.Stop()
	if err := o.useCluster(address); err != nil {
		return err
	}
	o.env = []string{"OUTPOST_NAMESPACE=bench"}
	b := &apiBench{outpost: o, run: r, cluster: address}
	for _, n := range pick(r, []int{0, 10, 1000, 10000}, []int{0, 10, 1000}) {
		r.say("api: %d services", n)
		if err := b.size(ctx, n); err != nil {
			return fmt.Errorf("%d services: %w; %s", n, err, firstLines(o.process.Stderr()))
		}
	}
	b.growth()
	return nil
}

// apiBench is the outpost of measureAPI and how many services it has.
type apiBench struct {
	*outpost
	run      *run
	cluster  string // address of the simulated cluster
	services int
	serial   int
}

// size brings the number of services to n and takes every figure there.
func (b *apiBench) size(ctx context.Context, n int) error {
	at := func(what string) string { return fmt.Sprintf("api/%s/%d services", what, n) }
	if n > b.services {
		if err := b.fill(n, at); err != nil {
			return err
		}
	}
	for range pick(b.run, 3, 2) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.restart(ctx, at); err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if err := errors.Join(b.watches(at), b.polls(at), b.plain(at), b.lists(at), b.starts(at)); err != nil {
			return err
		}
	}
	return nil
}

// restart starts the process and takes how long that takes and what it holds after two seconds of polls.
func (b *apiBench) restart(ctx context.Context, at func(string) string) error {
	answers, reconciled, err := b.start(ctx)
	if err != nil {
		return err
	}
	b.add(at("process/first answer"), "s", "less", answers.Seconds())
	b.add(at("process/reconciled"), "s", "less", reconciled.Seconds())
	if b.services > 0 {
		if _, err := b.load(16, 2*pollPace, pollPace, b.poll); err != nil {
			return err
		}
	} else if err := settle(ctx); err != nil {
		return err
	}
	all, err := process.Memory(b.pid)
	if err != nil {
		return err
	}
	own, err := process.OwnMemory(b.pid)
	if err != nil {
		return err
	}
	b.add(at("process/memory"), "MiB", "less", all)
	b.add(at("process/memory without the program's file"), "MiB", "less", own)
	return nil
}

func (b *apiBench) add(name, unit, better string, sample float64) {
	b.run.add(name, outpostSubject, unit, better, sample)
}

// poll asks for each service in turn, as its hub does.
func (b *apiBench) poll(i int) apiRequest {
	i %= b.services
	return apiRequest{
		hub: i, method: http.MethodGet, path: fmt.Sprintf("/services/lab-%d/s", i),
		want: `{"status":null,"logs":[]}`,
	}
}

// fill starts services until there are n, 64 at once.
func (b *apiBench) fill(n int, at func(string) string) error {
	asked, err := b.asked()
	if err != nil {
		return err
	}
	have, count := b.services, n-b.services
	result, err := b.load(min(64, count), count, 0,
		func(i int) apiRequest { return startRequest(have+i, fmt.Sprintf("lab-%d", have+i)) })
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	b.services = n
	after, err := b.asked()
	if err != nil {
		return err
	}
	if count >= 100 { // fewer say nothing
		b.add(at("starts/per second, 64 at once"), "starts/s", "more", float64(count)/result.took.Seconds())
		b.add(at("starts/CPU for each"), "ms", "less", milliseconds(result.cpu)/float64(count))
		b.add(at("starts/requests to Kubernetes for each"), "requests", "less", float64(after-asked)/float64(count))
	}
	return nil
}

// startRequest is a start as the hub's client sends it.
func startRequest(i int, name string) apiRequest {
	body := fmt.Sprintf(`{"name":%q,"env":{"JUPYTERHUB_USER":"user-%d","JUPYTERHUB_USER_ID":"%d",`+
		`"JUPYTERHUB_API_TOKEN":"0123456789abcdef0123456789abcdef"},`+
		`"user_options":{"start_id":"s","system":["north"]},`+
		`"misc":{"port":8888,"ip":"0.0.0.0","services_enabled":true,`+
		`"pod_name_template":"jupyter-{username}--{servername}"}}`, name, i, i)
	return apiRequest{hub: i, method: http.MethodPost, path: "/services", body: body}
}

func stopRequest(i int, name string) apiRequest {
	return apiRequest{hub: i, method: http.MethodDelete, path: "/services/" + name + "/s", want: `{"logs":[`}
}

// polls polls at the pace of many hubs, and as fast as it goes.
func (b *apiBench) polls(at func(string) string) error {
	asked, err := b.asked()
	if err != nil {
		return err
	}
	paced, err := b.load(16, pick(b.run, 5000, 2000), pollPace, b.poll)
	if err != nil {
		return err
	}
	after, err := b.asked()
	if err != nil {
		return err
	}
	b.add(at("polls/p50 at 1000 per s"), "ms", "less", milliseconds(paced.p50))
	b.add(at("polls/p99 at 1000 per s"), "ms", "less", milliseconds(paced.p99))
	b.add(at("polls/busy at 1000 per s"), "% of a core", "less", paced.cpu.Seconds()/paced.took.Seconds()*100)
	b.add(at("polls/requests to Kubernetes"), "requests", "less", float64(after-asked))
	return fastPolls(b.run, b.apiServer, outpostSubject, b.poll, at)
}

// fastPolls takes what a poll costs.
func fastPolls(r *run, s apiServer, subject string, poll func(int) apiRequest, at func(string) string) error {
	n := pick(r, 60000, 20000)
	fast, err := s.load(16, n, 0, poll)
	if err != nil {
		return err
	}
	r.add(at("polls/for each CPU-second"), subject, "polls/CPU-s", "more", float64(n)/fast.cpu.Seconds())
	r.add(at("polls/per second"), subject, "polls/s", "more", float64(n)/fast.took.Seconds())
	return nil
}

// plain asks the plain handler the same, under the same load of the machine.
func (b *apiBench) plain(at func(string) string) error {
	p, address, err := process.StartSelf("api-plain")
	if err != nil {
		return err
	}
	defer p.Stop()
	s := apiServer{address: address, pid: p.Pid()}
	if _, err := s.load(16, 2*pollPace, 0, b.poll); err != nil { // warm, as the outpost is
		return err
	}
	return fastPolls(b.run, s, "plain handler", b.poll, at)
}

// lists asks for all services of a hub, as its clean-up does.
func (b *apiBench) lists(at func(string) string) error {
	n := pick(b.run, 1000, 300)
	result, err := b.load(1, n, 0, func(i int) apiRequest {
		return apiRequest{hub: i, method: http.MethodGet, path: "/services/", want: "["}
	})
	if err != nil {
		return err
	}
	b.add(at("lists/p50"), "ms", "less", milliseconds(result.p50))
	b.add(at("lists/CPU for each"), "ms", "less", milliseconds(result.cpu)/float64(n))
	return nil
}

// starts starts servers one after another and 200 at once, then stops 200 at once while others
// start, and polls meanwhile.
func (b *apiBench) starts(at func(string) string) error {
	const alone, together, meanwhile = 50, 200, 64
	b.serial++
	name := func(i int) string { return fmt.Sprintf("new-%d-%d", b.serial, i) }
	user := func(i int) int { return 1000000 + i } // not the users of the services that stay
	start := func(from int) func(int) apiRequest {
		return func(i int) apiRequest { return startRequest(user(from+i), name(from+i)) }
	}
	stop := func(from int) func(int) apiRequest {
		return func(i int) apiRequest { return stopRequest(user(from+i), name(from+i)) }
	}
	one, err := b.load(1, alone, 0, start(0))
	if err != nil {
		return err
	}
	b.add(at("starts/one alone"), "ms", "less", milliseconds(one.p50))
	gone, err := b.load(1, alone, 0, stop(0))
	if err != nil {
		return err
	}
	b.add(at("stops/one alone"), "ms", "less", milliseconds(gone.p50))
	class, err := b.load(together, together, 0, start(0))
	if err != nil {
		return err
	}
	b.add(at("starts/200 at once"), "ms", "less", milliseconds(class.took))

	var work sync.WaitGroup
	var stopErr, startErr error
	begin := time.Now()
	work.Go(func() { _, stopErr = b.load(together, together, 0, stop(0)) })
	work.Go(func() { _, startErr = b.load(meanwhile, meanwhile, 0, start(together)) })
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	slowest, pollErr := b.pollUntil(done)
	<-done
	took := time.Since(begin)
	if err := errors.Join(stopErr, startErr, pollErr); err != nil {
		return err
	}
	b.add(at("stops/200 at once, and 64 starts"), "ms", "less", milliseconds(took))
	b.add(at("stops/slowest poll meanwhile"), "ms", "less", milliseconds(slowest))
	_, err = b.load(16, meanwhile, 0, stop(together))
	return err
}

// pollUntil polls every 5 ms until done is closed, and returns how long the slowest took.
func (b *apiBench) pollUntil(done <-chan struct{}) (slowest time.Duration, err error) {
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	a := newAPIConn(conn)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		asked := time.Now()
		if err := a.ask(b.poll(i)); err != nil {
			return 0, err
		}
		slowest = max(slowest, time.Since(asked))
		select {
		case <-tick.C:
		case <-done:
			return slowest, nil
		}
	}
}

// growth is what one more service costs.
func (b *apiBench) growth() {
	memoryAt := func(n int) float64 {
		// 0 if it was not taken
		r, _ := of(b.run.subjects(fmt.Sprintf("api/process/memory/%d services", n)), outpostSubject)
		return r.median()
	}
	if most := memoryAt(b.services); b.services > 0 && most > 0 {
		b.add("api/process/memory for each service", "KiB", "less", (most-memoryAt(0))*1024/float64(b.services))
	}
}

// asked counts the requests that the cluster has got.
func (b *apiBench) asked() (sum int, err error) {
	answer, err := http.Get("http://" + b.cluster + "/requests")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	var counts map[string]int
	if err := json.Unmarshal(text, &counts); err != nil {
		return 0, err
	}
	for _, n := range counts {
		sum += n
	}
	return sum, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
