package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// apiSubject is a server that is asked over HTTP.
type apiSubject struct {
	name string
	role string
}

// apiSubjects are the outpost, whole but for Kubernetes, and the least that a poll costs in Go: a gorilla/mux handler
// with the same login and nothing behind it. (The Python server answered 140 polls for each CPU-second, 160/s at most.)
var apiSubjects = []apiSubject{{"outpost", "api-outpost"}, {"plain handler", "api-plain"}}

// measureAPI measures what hubs ask: polls, lists, starts and stops, and what the process needs for it.
func measureAPI(ctx context.Context, r *run) error {
	for _, services := range []int{10, 1000, 10000} {
		if r.quick && services > 1000 {
			continue
		}
		for range pick(r, 5, 2) {
			for _, s := range apiSubjects {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := measureSubject(r, s, services); err != nil {
					return fmt.Errorf("%s with %d services: %w", s.name, services, err)
				}
			}
		}
	}
	return nil
}

func measureSubject(r *run, s apiSubject, services int) error {
	r.say("api: %s with %d services", s.name, services)
	// Rows are made in memory, so that the disk of this machine does not count.
	dir, err := os.MkdirTemp("/dev/shm", "outpost-bench-")
	if err != nil {
		if dir, err = os.MkdirTemp("", "outpost-bench-"); err != nil {
			return err
		}
	}
	defer os.RemoveAll(dir)
	p, line, err := startSelf(s.role, dir, fmt.Sprint(services))
	if err != nil {
		return err
	}
	defer p.stop()
	var address string
	var ready float64
	if _, err := fmt.Sscan(line, &address, &ready); err != nil {
		return fmt.Errorf("%q: %w", line, err)
	}
	name := func(what string) string { return fmt.Sprintf("api/%s/%d services", what, services) }
	server := apiServer{address: address, pid: p.cmd.Process.Pid}
	if s.role == "api-outpost" {
		before, err := memory(server.pid)
		if err != nil {
			return err
		}
		r.add(name("ready"), s.name, "s", "less", "<= 2 at 1,000", ready)
		r.add(name("memory"), s.name, "MiB", "less", "<= 25 + 0.035 for each", before)
	}
	if err := measurePolls(r, s, server, services, name); err != nil {
		return err
	}
	if s.role != "api-outpost" {
		return nil
	}
	if err := measureLists(r, s, server, name); err != nil {
		return err
	}
	return measureStarts(r, s, server, name)
}

// measurePolls polls as fast as it goes, then at the pace of 30,000 servers with the client's 30 s between polls.
func measurePolls(r *run, s apiSubject, server apiServer, services int, name func(string) string) error {
	poll := func(i int) apiRequest {
		return apiRequest{method: "GET", path: fmt.Sprintf("/services/lab-%d/0f3c", i%services), want: `{"status":null,"logs":[]}`}
	}
	if _, err := server.load(16, 2000, 0, poll); err != nil { // warm
		return err
	}
	n := pick(r, 100000, 20000)
	fast, err := server.load(16, n, 0, poll)
	if err != nil {
		return err
	}
	r.add(name("polls per CPU-second"), s.name, "polls/CPU-s", "more", ">= 35000, >= 0.7 of plain", float64(n)/fast.cpu.Seconds())
	r.add(name("polls per second"), s.name, "polls/s", "more", "", float64(n)/fast.took.Seconds())
	paced, err := server.load(16, pick(r, 5000, 2000), 1000, poll)
	if err != nil {
		return err
	}
	r.add(name("poll p50 at 1000 per s"), s.name, "ms", "less", "", milliseconds(paced.p50))
	r.add(name("poll p99 at 1000 per s"), s.name, "ms", "less", "< 5", milliseconds(paced.p99))
	return nil
}

func measureLists(r *run, s apiSubject, server apiServer, name func(string) string) error {
	list := func(int) apiRequest { return apiRequest{method: "GET", path: "/services/"} }
	n := pick(r, 50, 20)
	result, err := server.load(1, n, 0, list)
	if err != nil {
		return err
	}
	r.add(name("list p50"), s.name, "ms", "less", "", milliseconds(result.p50))
	r.add(name("list CPU"), s.name, "ms", "less", "", milliseconds(result.cpu)/float64(n))
	return nil
}

// measureStarts starts and stops services whose pods are ready at once: what is left is the outpost's own time.
func measureStarts(r *run, s apiSubject, server apiServer, name func(string) string) error {
	const starts = 256
	var started, stopped loadResult
	var err error
	if started, err = server.load(16, starts, 0, func(i int) apiRequest {
		return apiRequest{method: "POST", path: "/services", body: startBody(fmt.Sprintf("new-%d", i))}
	}); err != nil {
		return err
	}
	if stopped, err = server.load(16, starts, 0, func(i int) apiRequest {
		return apiRequest{method: "DELETE", path: fmt.Sprintf("/services/new-%d/0f3c", i), want: `{"logs":[]}`}
	}); err != nil {
		return err
	}
	r.add(name("start p50"), s.name, "ms", "less", "<= 50", milliseconds(started.p50))
	r.add(name("start p99"), s.name, "ms", "less", "", milliseconds(started.p99))
	r.add(name("start CPU"), s.name, "ms", "less", "", milliseconds(started.cpu)/starts)
	r.add(name("stop p50"), s.name, "ms", "less", "", milliseconds(stopped.p50))
	return nil
}

func startBody(name string) string {
	return `{"name":"` + name + `","env":{"JUPYTERHUB_USER":"maria","JUPYTERHUB_USER_ID":"42","JUPYTERHUB_API_TOKEN":"5d0c"},` +
		`"user_options":{"start_id":"0f3c","system":["north"]},"misc":{"port":41234,"ip":"0.0.0.0","internal_ssl":false}}`
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// waitFor asks until a server answers one request.
func waitFor(address string, request apiRequest) error {
	deadline := time.Now().Add(time.Minute)
	var last error
	for time.Now().Before(deadline) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			err = errors.Join(newAPIConn(conn).ask(request), conn.Close())
		}
		if err == nil {
			return nil
		}
		last = err
		time.Sleep(5 * time.Millisecond)
	}
	return last
}
