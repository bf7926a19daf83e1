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
	"sync"
	"sync/atomic"
	"time"
)

// The login of every request.
const apiHub, apiPassword = "hub-a", "Sj3Vb0kQ1xWmT8eYp6uL4hZr9cDfGnAa"

// apiServer is a server in a process of its own.
type apiServer struct {
	address string
	pid     int
}

// apiRequest is one request, with the whole body that its answer must have; empty takes any with status 200.
type apiRequest struct{ method, path, body, want string }

type loadResult struct {
	took     time.Duration
	cpu      time.Duration // of the server
	p50, p99 time.Duration
}

// load sends n requests on some connections, each waiting for its answer, at most so many in a second if that is not 0.
func (s apiServer) load(connections, n, perSecond int, request func(i int) apiRequest) (loadResult, error) {
	var next atomic.Int64
	var group sync.WaitGroup
	times := make([][]time.Duration, connections)
	errs := make([]error, connections)
	before, begin := cpu(s.pid), time.Now()
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
				if perSecond > 0 {
					time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
				}
				sent := time.Now()
				errs[c] = a.ask(request(i))
				times[c] = append(times[c], time.Since(sent))
			}
		})
	}
	group.Wait()
	result := loadResult{took: time.Since(begin), cpu: cpu(s.pid) - before}
	if err := errors.Join(errs...); err != nil {
		return result, err
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	result.p50, result.p99 = all[len(all)/2], all[len(all)*99/100]
	return result, nil
}

// apiConn sends requests as the hub's client does, on one connection.
type apiConn struct {
	conn   net.Conn
	reader *bufio.Reader
	head   string
	sent   bytes.Buffer
}

func newAPIConn(conn net.Conn) *apiConn {
	login := base64.StdEncoding.EncodeToString([]byte(apiHub + ":" + apiPassword))
	return &apiConn{conn: conn, reader: bufio.NewReader(conn), head: "Host: outpost.outpost.svc:8080\r\nAccept: application/json\r\n" +
		"Content-Type: application/json\r\nUser-Agent: Tornado/6.5.5\r\nAuthorization: Basic " + login + "\r\n"}
}

func (a *apiConn) ask(r apiRequest) error {
	a.sent.Reset()
	fmt.Fprintf(&a.sent, "%s %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", r.method, r.path, a.head, len(r.body), r.body)
	if _, err := a.conn.Write(a.sent.Bytes()); err != nil {
		return err
	}
	answer, err := http.ReadResponse(a.reader, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || r.want != "" && string(body) != r.want {
		return fmt.Errorf("%s %s: %d %.300s", r.method, r.path, answer.StatusCode, body)
	}
	return nil
}
