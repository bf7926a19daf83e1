package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/e2e/process"
)

// watches opens a watch for each hub, and takes what they hold and what they cost while nothing happens.
func (b *apiBench) watches(at func(string) string) (err error) {
	before, err := process.OwnMemory(b.pid)
	if err != nil {
		return err
	}
	open := make([]net.Conn, apiHubs)
	defer func() {
		for _, conn := range open {
			if conn != nil {
				err = errors.Join(err, conn.Close())
			}
		}
	}()
	begin := time.Now()
	for hub := range open {
		if open[hub], err = b.watch(hub); err != nil {
			return fmt.Errorf("watch of %s: %w", hubOf(hub), err)
		}
	}
	b.add(at("watches/snapshot of each"), "ms", "less", milliseconds(time.Since(begin))/apiHubs)
	const quiet = 30 * time.Second // three heartbeats, and one look at all that runs
	busy := process.CPU(b.pid)
	time.Sleep(quiet)
	b.add(at("watches/busy while nothing happens"), "% of a core", "less",
		(process.CPU(b.pid)-busy).Seconds()/quiet.Seconds()*100)
	after, err := process.OwnMemory(b.pid)
	if err != nil {
		return err
	}
	b.add(at("watches/memory for each"), "KiB", "less", max(0, after-before)*1024/apiHubs)
	return nil
}

// watch opens a watch of a hub and reads its snapshot. What comes then is read and thrown away until it is closed.
func (b *apiBench) watch(hub int) (net.Conn, error) {
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "GET /watch HTTP/1.1\r\n%s\r\n", apiHeads[hub]); err != nil {
		return conn, err
	}
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		switch {
		case err != nil:
			return conn, err
		case strings.HasPrefix(line, `{"synced":`):
			go io.Copy(io.Discard, lines) //nolint:errcheck // it ends with the connection
			return conn, nil
		}
	}
}
