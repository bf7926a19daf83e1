package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

const (
	runningLine = `{"service":{"name":"lab","start_id":"0f3c","status":null}}`
	syncedLine  = `{"synced":{"services":%d,"heartbeat":10}}`
)

// watch opens a watch of hub-a.
func (p *outpostProcess) watch() *bufio.Reader {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, p.scheme+"://"+p.Addr().String()+"/watch", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.SetBasicAuth("hub-a", password)
	answer, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		p.t.Fatalf("watch: %d", answer.StatusCode)
	}
	return bufio.NewReader(answer.Body)
}

// wantLine reads until a line comes.
func wantLine(t *testing.T, lines *bufio.Reader, want string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%v before %s", err, want)
		}
		if line == want+"\n" {
			return
		}
	}
}

func TestWatchOfAProcess(t *testing.T) {
	cfg := settings(t)
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	lines := p.watch()
	wantLine(t, lines, fmt.Sprintf(syncedLine, 0))
	if status, body := p.ask("POST", "/services", "hub-a", password, startBody(t, "lab")); status != 200 {
		t.Fatalf("start: %d %s", status, body)
	}
	wantLine(t, lines, runningLine)
	if _, body := p.probe("/metrics"); !strings.Contains(body, `outpost_watches{hub="hub-a"} 1`) {
		t.Error("the metric does not count it")
	}
	p.spawner.Log(outposttest.Key("lab"), "boom")
	p.spawner.End(outposttest.Key("lab"), 1, "")
	wantLine(t, lines, `{"service":{"name":"lab","start_id":"0f3c","status":1,"logs":["boom"]}}`)
	known := `{"services":[["lab","0f3c"]]}`
	if status, body := p.ask("POST", "/watch/known", "hub-a", password, known); status != 204 {
		t.Errorf("known: %d %s", status, body)
	}
	begin := time.Now()
	if err := p.end(); err != nil { // by itself, the watch would go on
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(lines); err != nil {
		t.Errorf("the end of the process cut the watch off: %v after %q", err, rest)
	}
	if took := time.Since(begin); took >= p.drain {
		t.Errorf("the end took %v", took)
	}

	p = up(t, cfg, p.spawner, Options{})
	lines = p.watch()
	wantLine(t, lines, fmt.Sprintf(syncedLine, 1))
}

// A reader that takes nothing loses its connection, and holds up neither the process nor its end.
func TestWatchThatNobodyReads(t *testing.T) {
	before := apiLimits.writeTime
	t.Cleanup(func() { apiLimits.writeTime = before })
	apiLimits.writeTime = time.Second
	p := up(t, settings(t), outposttest.NewSpawner(), Options{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://outpost/watch", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("hub-a", password)
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	eventually(t, "open", func() bool { return p.manager.Watches()["hub-a"] == 1 })
	log := strings.Repeat("x", 60<<10)
	for i := range 200 { // 12 MB, more than what waits in between
		key := outposttest.Key(fmt.Sprint("lab-", i))
		if status, body := p.ask("POST", "/services", "hub-a", password, startBody(t, key.Name)); status != 200 {
			t.Fatalf("start: %d %s", status, body)
		}
		p.spawner.Log(key, log)
		p.spawner.End(key, 1, "")
	}
	eventually(t, "cut off", func() bool { return p.manager.Watches()["hub-a"] == 0 })
}
