package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
)

// The hubs that ask, and the password of each.
const apiHubs, apiPassword = 100, "Sj3Vb0kQ1xWmT8eYp6uL4hZr9cDfGnAa"

func hubOf(i int) string { return fmt.Sprintf("hub-%03d", i%apiHubs) }

// apiServer is a server in a process of its own.
type apiServer struct {
	address string
	pid     int
}

// apiRequest is one request of a hub, and what its answer must begin with; the status must be 200.
type apiRequest struct {
	hub                      int
	method, path, body, want string
}

type loadResult struct {
	took     time.Duration
	cpu      time.Duration   // of the server
	times    []time.Duration // of each request, sorted
	p50, p99 time.Duration
}

// load sends n requests on some connections, each waiting for its answer. With perSecond they are sent at that pace,
// and the time of each counts from when it was due, so that a stall counts for all that it holds up.
func (s apiServer) load(connections, n, perSecond int, request func(i int) apiRequest) (loadResult, error) {
	var next atomic.Int64
	var group sync.WaitGroup
	times := make([][]time.Duration, connections)
	errs := make([]error, connections)
	before, begin := process.CPU(s.pid), time.Now()
	for c := range connections {
		group.Go(func() {
			conn, err := net.Dial("tcp", s.address)
			if err != nil {
				errs[c] = err
				return
			}
			defer conn.Close()
			a := newAPIConn(conn)
			for i := int(next.Add(1)) - 1; i < n && errs[c] == nil; i = int(next.Add(1)) - 1 {
				due := time.Now()
				if perSecond > 0 {
					due = begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
					time.Sleep(time.Until(due))
				}
				errs[c] = a.ask(request(i))
				times[c] = append(times[c], time.Since(due))
			}
		})
	}
	group.Wait()
	result := loadResult{took: time.Since(begin), cpu: process.CPU(s.pid) - before}
	if err := errors.Join(errs...); err != nil {
		return result, err
	}
	result.times = slices.Concat(times...)
	slices.Sort(result.times)
	result.p50, result.p99 = result.times[n/2], result.times[n*99/100]
	return result, nil
}

// apiConn sends requests as the hub's client does, on one connection.
type apiConn struct {
	conn   net.Conn
	reader *bufio.Reader
	sent   bytes.Buffer
}

func newAPIConn(conn net.Conn) *apiConn { return &apiConn{conn: conn, reader: bufio.NewReader(conn)} }

// apiHeads are the headers of each hub.
var apiHeads = func() (heads [apiHubs]string) {
	for i := range heads {
		heads[i] = "Host: outpost.outpost.svc:8080\r\nAccept: application/json\r\nContent-Type: " +
			"application/json\r\nUser-Agent: Tornado/6.5.5\r\n" +
			"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(hubOf(i)+":"+apiPassword)) + "\r\n"
	}
	return heads
}()

// send sends a request and returns what came back.
func (a *apiConn) send(r apiRequest) (status int, body string, err error) {
	a.sent.Reset()
	fmt.Fprintf(&a.sent, "%s %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", r.method, r.path,
		apiHeads[r.hub%apiHubs], len(r.body), r.body)
	if _, err := a.conn.Write(a.sent.Bytes()); err != nil {
		return 0, "", err
	}
	answer, err := http.ReadResponse(a.reader, nil)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// ask sends a request and refuses any other answer than the right one.
func (a *apiConn) ask(r apiRequest) error {
	status, body, err := a.send(r)
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if status != http.StatusOK || !strings.HasPrefix(body, r.want) {
		return fmt.Errorf("%s %s: %d %.300s", r.method, r.path, status, body)
	}
	return nil
}
