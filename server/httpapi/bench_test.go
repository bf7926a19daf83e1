package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// benchServices is how many services there are while polls are measured.
const benchServices = 1000

// BenchmarkPoll polls the services of one hub in turn over real HTTP with Basic auth, from a process of its own, so
// that the CPU time of this one is the server's. "plain" is the least that gorilla/mux and the same login cost.
func BenchmarkPoll(b *testing.B) {
	w := outposttest.NewWorld(b, lifecycle.Options{}).Up(b)
	for i := range benchServices {
		if _, err := w.Start(b.Context(), outposttest.Request(fmt.Sprintf("lab-%d", i))); err != nil {
			b.Fatal(err)
		}
	}
	server, err := New(w, Options{Users: testUsers})
	if err != nil {
		b.Fatal(err)
	}
	for _, handler := range benchHandlers(server) {
		b.Run(handler.name, func(b *testing.B) {
			s := httptest.NewServer(handler)
			defer s.Close()
			measure(b, loadTest{Address: s.Listener.Addr().String(), Connections: 16, Requests: b.N})
		})
	}
	b.Run("outpost at 1000 polls/s", func(b *testing.B) {
		s := httptest.NewServer(server)
		defer s.Close()
		measure(b, loadTest{Address: s.Listener.Addr().String(), Connections: 16, Requests: b.N, PerSecond: 1000})
	})
}

// benchHandlers are what is measured side by side.
func benchHandlers(server *Server) []namedHandler {
	return []namedHandler{{"outpost", server}, {"plain", plainHandler()}}
}

type namedHandler struct {
	name string
	http.Handler
}

func measure(b *testing.B, load loadTest) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	result := load.fromAnotherProcess(b)
	cpu = cpuTime(b) - cpu
	b.StopTimer()
	b.ReportMetric(float64(b.N)/cpu.Seconds(), "polls/cpu-s")
	b.ReportMetric(float64(b.N)/result.Seconds, "polls/s")
	b.ReportMetric(result.P50*1e3, "p50-ms")
	b.ReportMetric(result.P99*1e3, "p99-ms")
}

// BenchmarkPollHandler is a poll without the network.
func BenchmarkPollHandler(b *testing.B) {
	server, err := New(&running{}, Options{Users: testUsers})
	if err != nil {
		b.Fatal(err)
	}
	for _, handler := range benchHandlers(server) {
		b.Run(handler.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/services/lab-1/0f3c", nil)
			r.SetBasicAuth("hub-a", testUsers["hub-a"].Reveal())
			b.ReportAllocs()
			for b.Loop() {
				w := discard{}
				handler.ServeHTTP(w, r)
			}
		})
	}
}

// running is a Manager whose services all run.
type running struct{ fake }

func (*running) Poll(context.Context, outpost.Key, bool) (outpost.PollResult, error) {
	return outpost.PollResult{}, nil
}

type discard map[string][]string

func (d discard) Header() http.Header         { return http.Header(d) }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// plainHandler is a poll as anybody would write it with gorilla/mux, without a manager behind it.
func plainHandler() http.Handler {
	digest := sha256.Sum256([]byte(testUsers["hub-a"].Reveal()))
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.HandleFunc("/services/{name}/{start_id}", func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		given := sha256.Sum256([]byte(password))
		if !ok || user != "hub-a" || subtle.ConstantTimeCompare(given[:], digest[:]) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if vars := mux.Vars(r); vars["name"] == "" || vars["start_id"] == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":null,"logs":[]}`)
	}).Methods("GET")
	return router
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// loadTest is what the other process is told, loadResult what it tells.
type loadTest struct {
	Address     string
	Connections int
	Requests    int
	PerSecond   int // 0 is as fast as possible
}

type loadResult struct{ Seconds, P50, P99 float64 }

// loadVariable makes the test binary a client instead.
const loadVariable = "OUTPOST_TEST_LOAD"

func TestMain(m *testing.M) {
	if text := os.Getenv(loadVariable); text != "" {
		if err := runLoad(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

func (l loadTest) fromAnotherProcess(b *testing.B) (result loadResult) {
	b.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), loadVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out, &result); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return result
}

func runLoad(text string) error {
	var l loadTest
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	var next atomic.Int64
	var group sync.WaitGroup
	times := make([][]time.Duration, l.Connections)
	errs := make([]error, l.Connections)
	begin := time.Now()
	for i := range l.Connections {
		group.Go(func() { times[i], errs[i] = pollInTurn(l, &next) })
	}
	group.Wait()
	seconds := time.Since(begin).Seconds()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	result := loadResult{seconds, all[len(all)/2].Seconds(), all[len(all)*99/100].Seconds()}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// pollInTurn polls on one connection until all requests are sent.
func pollInTurn(l loadTest, next *atomic.Int64) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", l.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	login := basic("hub-a", testUsers["hub-a"].Reveal())
	reader := bufio.NewReader(conn)
	var times []time.Duration
	var sent bytes.Buffer
	start := time.Now()
	for {
		i := next.Add(1)
		if i > int64(l.Requests) {
			return times, nil
		}
		if l.PerSecond > 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(l.PerSecond))))
		}
		sent.Reset()
		fmt.Fprintf(&sent, "GET /services/lab-%d/0f3c HTTP/1.1\r\nHost: outpost.outpost.svc:8080\r\n"+
			"Accept: application/json\r\n"+
			"Content-Type: application/json\r\nUser-Agent: Tornado/6.5.5\r\n%s\r\n\r\n", i%benchServices, login)
		begin := time.Now()
		if _, err := conn.Write(sent.Bytes()); err != nil {
			return nil, err
		}
		if err := readAnswer(reader); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
	}
}

// readAnswer reads one answer and refuses all but that of a running service.
func readAnswer(r *bufio.Reader) error {
	length := 0
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			return err
		}
		if value, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return err
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if string(body) != `{"status":null,"logs":[]}` {
		return fmt.Errorf("answer %q", body)
	}
	return nil
}
