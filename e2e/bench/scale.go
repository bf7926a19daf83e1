package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	scaleHubs  = 100
	scaleAtOne = 64 // requests at once
	pollEvery  = 30 * time.Second
)

// measureScale fills a real outpost process (SQLite, 100 hubs) with services on a simulated cluster, and takes the cost of a
// start, memory, polls as hubs send them, a restart, and 200 stops at once, at each size.
func measureScale(ctx context.Context, r *run) error {
	b, err := newScaleBench(ctx, r)
	if err != nil {
		return err
	}
	defer b.close()
	for _, n := range pick(r, []int{0, 1000, 10000}, []int{0, 1000}) {
		r.say("scale: %d services", n)
		if err := b.measure(ctx, r, n); err != nil {
			return fmt.Errorf("%d services: %w", n, err)
		}
	}
	return nil
}

// scaleBench is one outpost and the cluster that it believes in.
type scaleBench struct {
	dir, binary, address string
	cluster              *process
	clusterAddress       string
	outpost              *process
	client               *http.Client
	services             int
}

func newScaleBench(ctx context.Context, r *run) (*scaleBench, error) {
	dir, err := os.MkdirTemp("", "outposts-scale-")
	if err != nil {
		return nil, err
	}
	b := &scaleBench{
		dir: dir, binary: filepath.Join(dir, "outpost"),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * scaleAtOne}, Timeout: 5 * time.Minute},
	}
	r.say("scale: build the outpost")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.binary, "./server/cmd/outpost")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.close()
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if b.cluster, b.clusterAddress, err = startSelf("scale-cluster"); err != nil {
		b.close()
		return nil, err
	}
	kubeconfig := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: s\nclusters: [{name: s, cluster: {server: 'http://%s'}}]\n"+
		"contexts: [{name: s, context: {cluster: s, user: s}}]\nusers: [{name: s, user: {}}]\n", b.clusterAddress)
	if err := os.WriteFile(b.path("kubeconfig"), []byte(kubeconfig), 0o600); err != nil {
		b.close()
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.close()
		return nil, err
	}
	b.address = l.Addr().String()
	return b, l.Close()
}

func (b *scaleBench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *scaleBench) close() {
	b.outpost.stop()
	b.cluster.stop()
	_ = os.RemoveAll(b.dir) // a folder for temporary files
}

// start runs the outpost and returns how long it took until it answered and until it had compared rows and pods.
func (b *scaleBench) start(ctx context.Context) (answers, reconciled time.Duration, err error) {
	begin := time.Now()
	cmd := exec.Command(b.binary, "--kubeconfig", b.path("kubeconfig"), "serve")
	var names, passwords []string
	for i := range scaleHubs {
		names, passwords = append(names, hubOf(i)), append(passwords, "password")
	}
	cmd.Env = []string{
		"HOME=" + b.dir, "usernames=" + strings.Join(names, ";"), "passwords=" + strings.Join(passwords, ";"),
		"OUTPOST_CRYPT_KEY=" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32)),
		"OUTPOST_NAMESPACE=scale", "OUTPOST_LISTEN=" + b.address, "OUTPOST_METRICS_LISTEN=", "OUTPOST_SSH_LISTEN=", "OUTPOST_LOG_LEVEL=warn",
		"SQL_TYPE=sqlite", "SQL_DATABASE_URL=" + b.path("outpost.sqlite"),
	}
	b.outpost = &process{cmd: cmd}
	cmd.Stderr, cmd.Stdout = &b.outpost.err, &b.outpost.err
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	if err := b.until(ctx, "/ping", http.StatusOK); err != nil {
		return 0, 0, err
	}
	answers = time.Since(begin)
	// A poll of a service that nobody has is "running" until rows and pods are compared.
	if err := b.until(ctx, "/services/nobody/0", http.StatusNotFound); err != nil {
		return 0, 0, err
	}
	return answers, time.Since(begin), nil
}

func (b *scaleBench) until(ctx context.Context, path string, want int) error {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		status, _, err := b.call(ctx, http.MethodGet, hubOf(0), path, nil)
		switch {
		case err == nil && status == want:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%s: status %d, %w; %s", path, status, err, b.outpost.err.String())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func hubOf(i int) string { return fmt.Sprintf("hub-%03d", i%scaleHubs) }

func serviceOf(i int) string { return fmt.Sprintf("lab-%d", i) }

func (b *scaleBench) call(ctx context.Context, method, hub, path string, body any) (int, string, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, "", err
		}
		payload = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.address+path, payload)
	if err != nil {
		return 0, "", err
	}
	r.SetBasicAuth(hub, "password")
	r.Header.Set("Content-Type", "application/json")
	answer, err := b.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// measure brings the number of services to n and takes every figure there.
func (b *scaleBench) measure(ctx context.Context, r *run, n int) error {
	at := func(what string) string { return fmt.Sprintf("scale/%s/%d", what, n) }
	for range pick(r, 5, 3) {
		b.outpost.stop()
		answers, reconciled, err := b.start(ctx)
		if err != nil {
			return err
		}
		if n == b.services {
			r.add(at("first-answer"), "outpost", "s", "less", "0.3 s", answers.Seconds())
			r.add(at("reconciled"), "outpost", "s", "less", "2 s at 1,000", reconciled.Seconds())
			continue
		}
		break
	}
	if n > b.services {
		if err := b.fill(ctx, r, n, at); err != nil {
			return err
		}
		return b.measure(ctx, r, n)
	}
	if err := b.polls(ctx, r, n, at); err != nil {
		return err
	}
	used, err := memory(b.outpost.cmd.Process.Pid)
	if err != nil {
		return err
	}
	r.add(at("memory"), "outpost", "MiB", "less", "25 at 0, 60 at 1,000 (Python: 127, 183 at 1,000)", used)
	if used, err = ownMemory(b.outpost.cmd.Process.Pid); err != nil {
		return err
	}
	r.add(at("memory-own"), "outpost", "MiB", "less", "", used)
	if n >= 1000 {
		return b.stops(ctx, r, at)
	}
	return nil
}

// fill starts services until there are n, many at once.
func (b *scaleBench) fill(ctx context.Context, r *run, n int, at func(string) string) error {
	asked, err := b.asked(ctx)
	if err != nil {
		return err
	}
	pid, count := b.outpost.cmd.Process.Pid, n-b.services
	used, begin := cpu(pid), time.Now()
	err = parallel(b.services, n, func(i int) error {
		status, text, err := b.call(ctx, http.MethodPost, hubOf(i), "/services", map[string]any{
			"name":         serviceOf(i),
			"env":          map[string]string{"JUPYTERHUB_USER": fmt.Sprintf("user-%d", i), "JUPYTERHUB_USER_ID": fmt.Sprint(i), "JUPYTERHUB_API_TOKEN": "0123456789abcdef0123456789abcdef"},
			"user_options": map[string]string{"start_id": "s"},
			"misc":         map[string]any{"port": 8888, "services_enabled": true, "pod_name_template": "jupyter-{username}--{servername}"},
		})
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, text)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	took, used := time.Since(begin), cpu(pid)-used
	b.services = n
	after, err := b.asked(ctx)
	if err != nil {
		return err
	}
	r.add(at("starts"), "outpost", "/s", "more", "", float64(count)/took.Seconds())
	r.add(at("start-cpu"), "outpost", "ms", "less", "", used.Seconds()*1000/float64(count))
	r.add(at("start-requests"), "outpost", "API requests", "less", "", float64(after-asked)/float64(count))
	return nil
}

// asked counts the requests that the cluster has got.
func (b *scaleBench) asked(ctx context.Context) (sum int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.clusterAddress+"/requests", nil)
	if err != nil {
		return 0, err
	}
	answer, err := b.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }()
	var counts map[string]int
	if err := json.NewDecoder(answer.Body).Decode(&counts); err != nil {
		return 0, err
	}
	for _, n := range counts {
		sum += n
	}
	return sum, nil
}

// polls asks for each service once in 30 s, evenly, as hubs do: what a poll costs, how long the slowest take, and that the
// cluster is not asked.
func (b *scaleBench) polls(ctx context.Context, r *run, n int, at func(string) string) error {
	if n == 0 {
		return nil
	}
	asked, err := b.asked(ctx)
	if err != nil {
		return err
	}
	pid := b.outpost.cmd.Process.Pid
	count := int(pick(r, pollEvery, pollEvery/3).Seconds() / pollEvery.Seconds() * float64(n))
	latencies := make([]time.Duration, count)
	used, begin := cpu(pid), time.Now()
	var work sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range count {
		next := begin.Add(time.Duration(i) * pollEvery / time.Duration(n))
		time.Sleep(time.Until(next))
		work.Go(func() {
			status, text, err := b.call(ctx, http.MethodGet, hubOf(i), "/services/"+serviceOf(i)+"/s", nil)
			if err == nil && (status != http.StatusOK || !strings.Contains(text, `"status":null`)) {
				err = fmt.Errorf("status %d: %s", status, text)
			}
			if err != nil {
				failed.Store(&err)
			}
			latencies[i] = time.Since(next) // from when it was due, so that a stall counts for all that it holds up
		})
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		return fmt.Errorf("poll: %w", *err)
	}
	used = cpu(pid) - used
	slices.Sort(latencies)
	r.add(at("poll-p50"), "outpost", "ms", "less", "", latencies[count/2].Seconds()*1000)
	r.add(at("poll-p99"), "outpost", "ms", "less", "5 ms", latencies[count*99/100].Seconds()*1000)
	r.add(at("polls-busy"), "outpost", "% of a core", "less", "", used.Seconds()/time.Since(begin).Seconds()*100)
	after, err := b.asked(ctx)
	if err != nil {
		return err
	}
	r.add(at("poll-requests"), "outpost", "API requests", "less", "0", float64(after-asked))
	return nil
}

// stops ends 200 services at once, synchronously, and starts them again.
func (b *scaleBench) stops(ctx context.Context, r *run, at func(string) string) error {
	const count = 200
	n := b.services
	polling, done := context.WithCancel(ctx)
	slowest := make(chan time.Duration, 1)
	go func() {
		var worst time.Duration
		for polling.Err() == nil {
			begin := time.Now()
			if _, _, err := b.call(polling, http.MethodGet, hubOf(0), "/services/"+serviceOf(0)+"/s", nil); err == nil {
				worst = max(worst, time.Since(begin))
			}
			time.Sleep(5 * time.Millisecond)
		}
		slowest <- worst
	}()
	begin := time.Now()
	err := all(n-count, n, func(i int) error {
		status, text, err := b.call(ctx, http.MethodDelete, hubOf(i), "/services/"+serviceOf(i)+"/s", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, text)
		}
		return err
	})
	took := time.Since(begin)
	done()
	worst := <-slowest
	if err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	b.services -= count
	r.add(at("stop-200"), "outpost", "s", "less", "all answered (Python hangs at 20)", took.Seconds())
	r.add(at("poll-during-stop-200"), "outpost", "ms", "less", "50 ms", worst.Seconds()*1000)
	return nil
}

// parallel runs f for each number in [from, to), scaleAtOne at a time.
func parallel(from, to int, f func(i int) error) error {
	slots := make(chan struct{}, scaleAtOne)
	return all(from, to, func(i int) error {
		slots <- struct{}{}
		defer func() { <-slots }()
		return f(i)
	})
}

// all runs f for each number in [from, to), all at once, and joins the errors of the first few that fail.
func all(from, to int, f func(i int) error) error {
	var work sync.WaitGroup
	failed := make(chan error, 5)
	for i := from; i < to; i++ {
		work.Go(func() {
			if err := f(i); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	work.Wait()
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
