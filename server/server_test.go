package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/outpost/outposttest"
	"github.com/outposts-dev/outposts/server/sshtest"
)

const (
	cryptKey = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="
	otherKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	password = "planted-hub-password"
	token    = "planted-api-token"
)

// logBuffer is where a process under test writes its log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// outpostProcess is a whole outpost on free ports, with pods in memory.
type outpostProcess struct {
	*Server
	t       *testing.T
	cfg     config.Config
	spawner *outposttest.Spawner
	log     *logBuffer
	client  *http.Client
	scheme  string
	end     func() error // ends it and returns what Run returned
}

// settings are those of an outpost that keeps everything in one folder.
func settings(t *testing.T) config.Config {
	t.Helper()
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Listen, cfg.MetricsListen, cfg.SSHListen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.HostKeysDir, cfg.AuthorizedKeysDir = filepath.Join(dir, "host_keys"), filepath.Join(dir, "authorized_keys")
	cfg.UsersDir, cfg.HubCAFile = filepath.Join(dir, "users"), filepath.Join(dir, "ca.crt")
	cfg.Database.Path = filepath.Join(dir, "outpost.sqlite")
	cfg.CryptKeys = []outpost.Secret{cryptKey}
	cfg.Users = []config.User{{Name: "hub-a", Password: password}, {Name: "hub-b", Password: "other"}}
	for _, d := range []string{
		cfg.AuthorizedKeysDir, cfg.UsersDir,
	} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// limited names files of flavors and credits in folders of their own and returns the folders.
func limited(t *testing.T, cfg *config.Config) (flavors, credits *mount) {
	t.Helper()
	flavors, credits = &mount{t: t, dir: t.TempDir()}, &mount{t: t, dir: t.TempDir()}
	cfg.FlavorsPath = filepath.Join(flavors.dir, "flavors.yaml")
	cfg.CreditsPath = filepath.Join(credits.dir, "credits.yaml")
	return flavors, credits
}

// up runs an outpost until the end of the test. It returns when polls are answered in full.
func up(t *testing.T, cfg config.Config, spawner *outposttest.Spawner, opts Options) *outpostProcess {
	t.Helper()
	return upFollower(t, cfg, spawner, opts).reconciled()
}

// reconciled waits until polls are answered in full; until then every one is answered "running".
func (p *outpostProcess) reconciled() *outpostProcess {
	select {
	case <-p.manager.Reconciled():
	case <-p.t.Context().Done():
	}
	return p
}

// upFollower is up without waiting: another process may have to do that work.
func upFollower(t *testing.T, cfg config.Config, spawner *outposttest.Spawner, opts Options) *outpostProcess {
	t.Helper()
	return run(t, cfg, spawner, opts, patience)
}

// run is upFollower with a time for requests that are under way at the end.
func run(
	t *testing.T, cfg config.Config, spawner *outposttest.Spawner, opts Options, drain time.Duration,
) *outpostProcess {
	t.Helper()
	p := &outpostProcess{t: t, cfg: cfg, spawner: spawner, log: &logBuffer{}, client: &http.Client{}, scheme: "http"}
	opts.Logger = slog.New(slog.NewJSONHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	opts.HubAPI = outposttest.NewHubAPI()
	var err error
	if p.Server, err = New(t.Context(), cfg, spawner, opts); err != nil {
		t.Fatal(err)
	}
	p.notice, p.drain = 0, drain
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.end = sync.OnceValue(func() error {
		cancel()
		err := <-done
		p.client.CloseIdleConnections()
		return err
	})
	t.Cleanup(func() {
		if err := p.end(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return p
}

// ask sends a request as a hub and returns status and body.
func (p *outpostProcess) ask(method, path, hub, word, body string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.scheme+"://"+p.Addr().String()+path,
		strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.SetBasicAuth(hub, word)
	return p.do(r)
}

func (p *outpostProcess) do(r *http.Request) (int, string) {
	p.t.Helper()
	answer, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// probe asks the listener of metrics and probes.
func (p *outpostProcess) probe(path string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.MetricsAddr().String()+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.do(r)
}

// patience is how long a test waits for what must come; only a fault makes it wait as long.
const patience = 5 * time.Minute

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startBody is what a hub sends to start a server.
func startBody(t *testing.T, name string) string {
	t.Helper()
	r := outposttest.Request(name)
	env := r.Body.Env
	env["JUPYTERHUB_API_TOKEN"] = token
	env["JUPYTERHUB_USER_ID"] = "42"
	text, err := json.Marshal(map[string]any{
		"name": name, "env": env, "misc": r.Body.Misc,
		"user_options": map[string]string{"system": "north", "start_id": r.StartID},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const labPath = "/services/lab/0f3c"

// address is where the pod of startBody(t, "lab") is: at the port that its hub chose.
var address = "http://" + outposttest.Host(outposttest.Key("lab")) + ":41234"

func TestStartPollStopAndRestart(t *testing.T) {
	cfg, spawner := settings(t), outposttest.NewSpawner()
	p := up(t, cfg, spawner, Options{})
	key := outposttest.Key("lab")

	if status, body := p.ask("GET", labPath, "hub-a", password, ""); status != 404 {
		t.Errorf("poll before the start: %d %s", status, body)
	}
	status, body := p.ask("POST", "/services", "hub-a", password, startBody(t, "lab"))
	if want := `{"service":"` + address + `"}`; status != 200 || !sameJSON(body, want) {
		t.Fatalf("start: %d %s, want 200 %s", status, body, want)
	}
	if status, body := p.ask("GET", labPath, "hub-b", "other", ""); status != 404 {
		t.Errorf("poll by another hub: %d %s", status, body)
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}

	p = up(t, cfg, spawner, Options{})
	status, body = p.ask("GET", labPath, "hub-a", password, "")
	if status != 200 || !strings.Contains(body, `"status":null`) && !strings.Contains(body, `"status": null`) {
		t.Errorf("poll after a restart: %d %s, want a running service", status, body)
	}
	if status, body := p.ask("DELETE", labPath, "hub-a", password, ""); status != 200 {
		t.Errorf("stop: %d %s", status, body)
	}
	if status, body := p.ask("GET", labPath, "hub-a", password, ""); status != 404 {
		t.Errorf("poll after the stop: %d %s", status, body)
	}
	if got := spawner.Pods(); len(got) != 0 {
		t.Errorf("pods that are left: %v", got)
	}
	if got := spawner.Starts(key); got != 1 {
		t.Errorf("the pod was made %d times", got)
	}
}

// sameJSON compares two strings as JSON.
func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && cmp.Equal(x, y)
}

func TestReadinessNamesWhatDoesNotWork(t *testing.T) {
	p := up(t, settings(t), outposttest.NewSpawner(), Options{})
	eventually(t, "ready", func() bool { status, _ := p.probe("/readyz"); return status == 200 })
	if status, body := p.probe("/readyz"); status != 200 ||
		body != "stopping: ok\ndatabase: ok\nkubernetes: ok\nservices: ok\nnamespaces: ok\nssh: ok\n" {
		t.Errorf("ready: %d %q", status, body)
	}
	p.spawner.Down(errors.New("planted-cause"))
	status, body := p.probe("/readyz")
	if status != 503 || !strings.Contains(body, "kubernetes: not ready\n") ||
		!strings.Contains(body, "database: ok\n") || strings.Contains(body, "planted-cause") {
		t.Errorf("without Kubernetes: %d %q, want 503 and the name of what does not work, not the cause", status, body)
	}
	if status, _ := p.probe("/healthz"); status != 200 {
		t.Errorf("alive: %d; a restart would not bring Kubernetes back", status)
	}
	if !strings.Contains(p.log.String(), "planted-cause") {
		t.Error("the cause is not in the log")
	}
	p.spawner.Down(nil)
	eventually(t, "ready again", func() bool { status, _ := p.probe("/readyz"); return status == 200 })
}

// One namespace that cannot be read is said, and keeps no hub from the others.
func TestReadyWithoutOneNamespace(t *testing.T) {
	spawner := outposttest.NewSpawner()
	spawner.Hide("closed")
	p := up(t, settings(t), spawner, Options{})
	eventually(t, "degraded", func() bool {
		status, body := p.probe("/readyz")
		return status == 200 && strings.Contains(body, "kubernetes: ok\n") &&
			strings.Contains(body, "namespaces: degraded\n")
	})
	if _, body := p.probe("/metrics"); !strings.Contains(body, "outpost_unseen_namespaces 1") {
		t.Error("the metric does not count it")
	}
	if status, body := p.ask("POST", "/services", "hub-a", password, startBody(t, "lab")); status != 200 {
		t.Errorf("start: %d %s", status, body)
	}
	if !strings.Contains(p.log.String(), "closed") {
		t.Error("the log does not name the namespace")
	}
}

func TestMetricsTellWhatHappened(t *testing.T) {
	p := up(t, settings(t), outposttest.NewSpawner(),
		Options{InformerAge: func() time.Duration { return 3 * time.Second }})
	p.spawner.OnStart = func(_ context.Context, k outpost.Key, _ func(outpost.Event)) error {
		if k.Name == "bad" {
			return &outpost.Error{Kind: outpost.KindFailed, Reason: "image", Message: "The image cannot be pulled."}
		}
		return nil
	}
	if status, body := p.ask("POST", "/services", "hub-a", password, startBody(t, "lab")); status != 200 {
		t.Fatalf("start: %d %s", status, body)
	}
	if status, body := p.ask("POST", "/services", "hub-a", password, startBody(t, "bad")); status != 419 {
		t.Fatalf("a start that fails: %d %s", status, body)
	}
	for _, want := range []string{
		`outpost_starts_total{hub="hub-a"} 1`,
		`outpost_start_failures_total{hub="hub-a",reason="image"} 1`,
		`outpost_start_seconds_count{hub="hub-a"} 1`,
		`outpost_services{hub="hub-a",state="running"} 1`,
		`outpost_informer_age_seconds 3`,
		`outpost_leader 1`,
		`outpost_database_seconds_count{operation=`,
		`go_goroutines `,
	} {
		eventually(t, want, func() bool { _, body := p.probe("/metrics"); return strings.Contains(body, want) })
	}
}

func TestMetricsTellHowFullFlavorsAre(t *testing.T) {
	cfg := settings(t)
	flavors, _ := limited(t, &cfg)
	cfg.CreditsPath = config.Default().CreditsPath
	flavors.put(map[string]string{"flavors.yaml": `
flavors: {tiny: {max: 3}, free: {}}
hubs: {b: {jupyterhub_name: [hub-b], flavors: [tiny], flavorsOverride: {tiny: {max: 1}}}}
`})
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	body := strings.Replace(startBody(t, "lab"), `"user_options":{`, `"user_options":{"flavor":"tiny",`, 1)
	if status, answer := p.ask("POST", "/services", "hub-a", password, body); status != 200 {
		t.Fatalf("start: %d %s", status, answer)
	}
	told := func(want string) func() bool {
		return func() bool {
			_, body := p.probe("/metrics")
			var lines []string
			for line := range strings.Lines(body) {
				if strings.HasPrefix(line, "outpost_flavor_") {
					lines = append(lines, line)
				}
			}
			return strings.Join(lines, "") == want
		}
	}
	const used = `outpost_flavor_limit{flavor="tiny",hub="hub-a"} 3
outpost_flavor_limit{flavor="tiny",hub="hub-b"} 1
outpost_flavor_used{flavor="free",hub="hub-a"} 0
outpost_flavor_used{flavor="tiny",hub="hub-a"} 1
outpost_flavor_used{flavor="tiny",hub="hub-b"} 0
`
	eventually(t, used, told(used))
	if status, answer := p.ask("DELETE", labPath, "hub-a", password, ""); status != 200 {
		t.Fatalf("stop: %d %s", status, answer)
	}
	unused := strings.Replace(used, `tiny",hub="hub-a"} 1`, `tiny",hub="hub-a"} 0`, 1)
	eventually(t, unused, told(unused))
}

func TestNoSecretIsLoggedOrMeasured(t *testing.T) {
	cfg := settings(t)
	cfg.Database.Password = "planted-database-password"
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	p.ask("POST", "/services", "hub-a", password, startBody(t, "lab"))
	p.ask("POST", "/services", "hub-a", password, `{"env": {"JUPYTERHUB_API_TOKEN": "`+token+`"}, "name": 5`)
	p.ask("GET", labPath, "hub-a", "planted-wrong-password", "")
	p.ask("DELETE", labPath, "hub-a", password, "")
	_, measured := p.probe("/metrics")
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{password, token, cryptKey, "planted-wrong-password", "planted-database-password"} {
		if strings.Contains(p.log.String(), planted) {
			t.Errorf("%s is in the log", planted)
		}
		if strings.Contains(measured, planted) {
			t.Errorf("%s is in the metrics", planted)
		}
	}
}

func TestAStopEndsAStartThatIsUnderWayAndKeepsItsRow(t *testing.T) {
	cfg, spawner := settings(t), outposttest.NewSpawner()
	begun := make(chan struct{})
	spawner.OnStart = func(ctx context.Context, _ outpost.Key, _ func(outpost.Event)) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}
	p := run(t, cfg, spawner, Options{}, 200*time.Millisecond).reconciled()
	body := startBody(t, "lab")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		r, err := http.NewRequest("POST", "http://"+p.Addr().String()+"/services", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		r.SetBasicAuth("hub-a", password)
		if answer, err := http.DefaultClient.Do(r); err == nil {
			_ = answer.Body.Close()
		}
	}()
	<-begun
	if err := p.end(); err != nil { // the start would never end by itself
		t.Fatal(err)
	}
	<-answered
	spawner.OnStart = nil
	p = up(t, cfg, spawner, Options{})
	eventually(t, "the next process has dealt with the row", func() bool {
		status, _ := p.ask("GET", labPath, "hub-a", password, "")
		return status == 404 || status == 200
	})
}

// sshKey makes a key pair and the line of its public half.
func sshKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	signer := sshtest.NewKey(t)
	return signer, string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

func TestSSHOpensOnlyWhatTheManagerPermits(t *testing.T) {
	cfg := settings(t)
	signer, line := sshKey(t)
	write(t, filepath.Join(cfg.AuthorizedKeysDir, "hub-a"), line)
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	if status, body := p.ask("POST", "/services", "hub-a", password, startBody(t, "lab")); status != 200 {
		t.Fatalf("start: %d %s", status, body)
	}
	client, err := ssh.Dial("tcp", p.SSHAddr().String(), &ssh.ClientConfig{
		User: "jhuboutpost", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reason := func(address string) ssh.RejectionReason {
		conn, err := client.Dial("tcp", address)
		if err == nil {
			conn.Close()
			return 0
		}
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) {
			t.Fatalf("%s: %v", address, err)
		}
		return refused.Reason
	}
	permitted := strings.TrimPrefix(address, "http://")
	if got := reason(permitted); got != ssh.ConnectionFailed {
		t.Errorf("the address of its own service: reason %v, want %v: permitted, and no such name here", got,
			ssh.ConnectionFailed)
	}
	for _, address := range []string{
		p.Addr().String(), "10.0.0.1:443",
		outposttest.Host(outposttest.Key("other")) + ":8888",
	} {
		if got := reason(address); got != ssh.Prohibited {
			t.Errorf("%s: reason %v, want %v", address, got, ssh.Prohibited)
		}
	}
	stranger, _ := sshKey(t)
	if _, err := ssh.Dial("tcp", p.SSHAddr().String(), &ssh.ClientConfig{
		User: "jhuboutpost", Auth: []ssh.AuthMethod{ssh.PublicKeys(stranger)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	}); err == nil {
		t.Error("a key that is not there was taken")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mount makes a folder as Kubernetes mounts a ConfigMap: files are links through ..data, which is swapped.
type mount struct {
	t   *testing.T
	dir string
	n   int
}

func (m *mount) put(files map[string]string) {
	m.t.Helper()
	m.n++
	version := filepath.Join(m.dir, "..version"+string(rune('0'+m.n)))
	if err := os.Mkdir(version, 0o700); err != nil {
		m.t.Fatal(err)
	}
	for name, text := range files {
		write(m.t, filepath.Join(version, name), text)
		link := filepath.Join(m.dir, name)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink(filepath.Join("..data", name), link); err != nil {
			m.t.Fatal(err)
		}
	}
	next := filepath.Join(m.dir, "..data_tmp")
	if err := os.Symlink(filepath.Base(version), next); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(m.dir, "..data")); err != nil {
		m.t.Fatal(err)
	}
}

func TestChangedFlavorsAreUsedAndBrokenOnesAreNot(t *testing.T) {
	cfg := settings(t)
	m, credits := limited(t, &cfg)
	m.put(map[string]string{"flavors.yaml": "flavors: {tiny: {display_name: Tiny}}"})
	credits.put(map[string]string{"credits.yaml": "credits: {tiny: {}}"})
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	flavors := func() string { _, body := p.ask("GET", "/flavors/", "hub-a", password, ""); return body }
	if got := flavors(); !sameJSON(got, `{"tiny":{"display_name":"Tiny","current":0}}`) {
		t.Errorf("at start: %s", got)
	}
	m.put(map[string]string{"flavors.yaml": "flavors: {huge: {display_name: Huge}}"})
	eventually(t, "the new flavors",
		func() bool { return sameJSON(flavors(), `{"huge":{"display_name":"Huge","current":0}}`) })
	for i, broken := range []struct{ text, message string }{
		{"flavors: [broken", "did not find expected"},
		{
			"flavors: {tiny: {resources: {cpu_limit: two}}}",
			"line 1: flavors.tiny.resources.cpu_limit: must be a number",
		},
		{
			"flavors: {tiny: {resources: {volumes: [{name: a, nfs: {}, n: 1}]}}}",
			`resources.volumes[0]: unknown key \"n\"`,
		},
		{"flavors: {tiny: {maxPerUsr: 1}}", "line 1: flavors.tiny.maxPerUsr: unknown key"},
	} {
		m.put(map[string]string{"flavors.yaml": broken.text})
		metric := fmt.Sprintf(`outpost_reloads_total{result="error",what="flavors"} %d`+"\n", i+1)
		eventually(t, metric, func() bool {
			_, text := p.probe("/metrics")
			return strings.Contains(text, metric)
		})
		if !strings.Contains(p.log.String(), broken.message) {
			t.Errorf("no %q in the log:\n%s", broken.message, p.log.String())
		}
		if got := flavors(); !sameJSON(got, `{"huge":{"display_name":"Huge","current":0}}`) {
			t.Errorf("after a broken file: %s", got)
		}
	}
}

// Without limits everything is open, so a file that loses them by a mistake must not be believed.
func TestLimitsThatAreLostStayInUse(t *testing.T) {
	const tiny = `{"tiny":{"display_name":"Tiny","current":0}}`
	for _, test := range []struct {
		name    string
		content map[string]string
	}{
		{"gone", map[string]string{"another.yaml": "flavors: {}"}},
		{"empty", map[string]string{"flavors.yaml": ""}},
		{"a comment alone", map[string]string{"flavors.yaml": "# flavors:\n#   tiny: {}\n"}},
		{"null", map[string]string{"flavors.yaml": "null\n"}},
		{"another key", map[string]string{"flavors.yaml": "flavours: {huge: {}}\n"}},
		{"no flavors", map[string]string{"flavors.yaml": "flavors: {}\n"}},
		{"a list", map[string]string{"flavors.yaml": "- tiny\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := settings(t)
			flavors, credits := limited(t, &cfg)
			flavors.put(map[string]string{"flavors.yaml": "flavors: {tiny: {display_name: Tiny}}"})
			credits.put(map[string]string{"credits.yaml": "credits: {tiny: {display_name: Tiny}}"})
			p := up(t, cfg, outposttest.NewSpawner(), Options{})
			_, before := p.ask("GET", "/credits/", "hub-a", password, "")
			flavors.put(test.content)
			lost := map[string]string{}
			for name, text := range test.content {
				lost[strings.ReplaceAll(name, "flavors", "credits")] = strings.ReplaceAll(text, "flavors", "credits")
			}
			credits.put(lost)
			for _, what := range []string{"flavors", "credits"} {
				metric := `outpost_reloads_total{result="error",what="` + what + `"} 1` + "\n"
				eventually(t, metric, func() bool {
					_, text := p.probe("/metrics")
					return strings.Contains(text, metric)
				})
			}
			if _, got := p.ask("GET", "/flavors/", "hub-a", password, ""); !sameJSON(got, tiny) {
				t.Errorf("flavors: %s, want %s", got, tiny)
			}
			if _, got := p.ask("GET", "/credits/", "hub-a", password, ""); got != before {
				t.Errorf("credits: %s, want %s", got, before)
			}
			if !strings.Contains(p.log.String(), "reload failed, keeping the previous version") {
				t.Error("the log does not say so")
			}
		})
	}
}

// The logins in use may be others than those of the start, which must not come back.
func TestLoginsThatAreLostStayInUse(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"gone": {"another": ""}, "no passwords": {"usernames": "hub-a"}, "empty": {"usernames": "", "passwords": ""},
		"empty passwords": {"usernames": "hub-a", "passwords": ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := settings(t)
			m := &mount{t: t, dir: cfg.UsersDir}
			m.put(map[string]string{"usernames": "hub-a", "passwords": password})
			p := up(t, cfg, outposttest.NewSpawner(), Options{})
			status := func(word string) int {
				status, _ := p.ask("GET", "/services/", "hub-a", word, "")
				return status
			}
			m.put(map[string]string{"usernames": "hub-a", "passwords": "next"})
			eventually(t, "the next password", func() bool { return status("next") == 200 })
			m.put(files)
			const metric = `outpost_reloads_total{result="error",what="users"} 1` + "\n"
			eventually(t, metric, func() bool { _, text := p.probe("/metrics"); return strings.Contains(text, metric) })
			if got := status("next"); got != 200 {
				t.Errorf("the password in use: %d", got)
			}
			if got := status(password); got != 401 {
				t.Errorf("the password of the start: %d", got)
			}
		})
	}
}

func TestChangedPasswordsAreUsed(t *testing.T) {
	cfg := settings(t)
	m := &mount{t: t, dir: cfg.UsersDir}
	m.put(map[string]string{"usernames": "hub-a", "passwords": password})
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	status := func(hub, word string) int { status, _ := p.ask("GET", "/services/", hub, word, ""); return status }
	if got := status("hub-a", password); got != 200 {
		t.Fatalf("first password: %d", got)
	}
	m.put(map[string]string{"usernames": "hub-a;hub-c", "passwords": "next;new"})
	eventually(t, "the next password", func() bool { return status("hub-a", "next") == 200 })
	if got := status("hub-a", password); got != 401 {
		t.Errorf("the first password after the change: %d", got)
	}
	if got := status("hub-c", "new"); got != 200 {
		t.Errorf("a new hub: %d", got)
	}
	m.put(map[string]string{"usernames": "", "passwords": ""})
	eventually(t, "the message",
		func() bool { return strings.Contains(p.log.String(), "reload failed, keeping the previous version") })
	if got := status("hub-a", "next"); got != 200 {
		t.Errorf("after an empty file: %d, want the old password to work", got)
	}
}

// A maintenance of the configuration file is used without a restart, and a broken file leaves the one in use. Hubs that
// watch hear of it.
func TestChangedMaintenanceIsUsed(t *testing.T) {
	cfg := settings(t)
	m := &mount{t: t, dir: t.TempDir()}
	cfg.ConfigFile = filepath.Join(m.dir, "config.yaml")
	m.put(map[string]string{"config.yaml": "failEarly: true"})
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	said := func() string {
		status, body := p.ask("POST", "/catalog", "hub-a", password, "{}")
		var c struct{ Maintenance json.RawMessage }
		if err := json.Unmarshal([]byte(body), &c); status != 200 || err != nil {
			t.Fatalf("%d %s", status, body)
		}
		return string(c.Maintenance)
	}
	if got := said(); got != "null" {
		t.Errorf("at start: %s", got)
	}
	const plan = "maintenance: {from: 2999-05-04T18:00:00Z, text: New disks., evict: true}"
	const want = `{"from":"2999-05-04T18:00:00Z","until":null,"text":"New disks.","evict":true,"active":false}`
	m.put(map[string]string{"config.yaml": plan})
	eventually(t, "the maintenance", func() bool { return said() == want })
	gauge := func(value string) {
		t.Helper()
		eventually(t, "the metric", func() bool {
			_, text := p.probe("/metrics")
			return strings.Contains(text, "\noutpost_maintenance "+value+"\n")
		})
	}
	gauge("1")
	m.put(map[string]string{"config.yaml": "maintenance: {from: soon}"})
	eventually(t, "the message", func() bool {
		return strings.Contains(p.log.String(), "is not a time such as 2026-05-04T18:00:00Z")
	})
	if got := said(); got != want {
		t.Errorf("after a broken file: %s", got)
	}
	m.put(map[string]string{"config.yaml": "maintenance: {from: 2020-05-04T18:00:00Z}"})
	gauge("2")
	m.put(map[string]string{"config.yaml": "failEarly: true"})
	eventually(t, "the end", func() bool { return said() == "null" })
	gauge("0")
}

// selfSigned makes a certificate for 127.0.0.1 with a serial number.
func selfSigned(t *testing.T, serial int64) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "outpost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Duration(serial) * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return string(certPEM), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})), pool
}

func TestRenewedCertificateIsUsedWithoutARestart(t *testing.T) {
	cfg := settings(t)
	m := &mount{t: t, dir: t.TempDir()}
	cfg.TLSCertFile, cfg.TLSKeyFile = filepath.Join(m.dir, "tls.crt"), filepath.Join(m.dir, "tls.key")
	cert, key, _ := selfSigned(t, 1)
	m.put(map[string]string{"tls.crt": cert, "tls.key": key})
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	serial := func() int64 {
		conn, err := tls.Dial("tcp", p.Addr().String(),
			&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the serial number is looked at
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	shown := func(text string) {
		t.Helper()
		block, _ := pem.Decode([]byte(text))
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		families, err := p.metrics.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			if name, ok := strings.CutPrefix(f.GetName(), "outpost_certificate_"); ok {
				got[name] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		want := map[string]float64{
			"begin_timestamp_seconds": float64(c.NotBefore.Unix()), "end_timestamp_seconds": float64(c.NotAfter.Unix()),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
	}
	if got := serial(); got != 1 {
		t.Errorf("at start: certificate %d", got)
	}
	shown(cert)
	next, nextKey, pool := selfSigned(t, 2)
	m.put(map[string]string{"tls.crt": next, "tls.key": nextKey})
	eventually(t, "the renewed certificate", func() bool { return serial() == 2 })
	shown(next)
	m.put(map[string]string{"tls.crt": next, "tls.key": key})
	eventually(t, "the message",
		func() bool { return strings.Contains(p.log.String(), "reload failed, keeping the previous version") })
	if got := serial(); got != 2 {
		t.Errorf("after a key that does not fit: certificate %d", got)
	}
	p.scheme, p.client = "https", &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	if status, body := p.ask("GET", "/ping", "", "", ""); status != 200 {
		t.Errorf("verified by its own CA: %d %s", status, body)
	}
	answer, err := http.Get("http://" + p.Addr().String() + "/ping")
	if err == nil {
		defer answer.Body.Close()
		if answer.StatusCode == 200 {
			t.Error("the port answers without TLS too")
		}
	}
}

func TestRekeySealsEverythingAnew(t *testing.T) {
	cfg, spawner := settings(t), outposttest.NewSpawner()
	p := up(t, cfg, spawner, Options{})
	p.ask("POST", "/services", "hub-a", password, startBody(t, "lab"))
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	old := func(want string) {
		t.Helper()
		eventually(t, "the metric", func() bool {
			_, text := p.probe("/metrics")
			return strings.Contains(text, "\noutpost_leader 1\n") &&
				strings.Contains(text, "\noutpost_old_key_services "+want+"\n")
		})
	}
	cfg.CryptKeys = []outpost.Secret{otherKey, cryptKey}
	p = up(t, cfg, spawner, Options{})
	old("1")
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	cfg.Rekey = true
	p = up(t, cfg, spawner, Options{})
	old("0")
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	cfg.CryptKeys, cfg.Rekey = []outpost.Secret{otherKey}, false
	p = up(t, cfg, spawner, Options{})
	if status, body := p.ask("GET", labPath, "hub-a", password, ""); status != 200 {
		t.Errorf("with the new key alone: %d %s", status, body)
	}
}

// A database that the Python outpost wrote, with its key and its hub's login, is carried on with.
func TestDatabaseOfThePythonServerIsCarriedOn(t *testing.T) {
	text, err := os.ReadFile("store/testdata/python-db/outpost.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	rowsText, err := os.ReadFile("store/testdata/python-db/rows.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Name    string `json:"name"`
		StartID string `json:"start_id"`
	}
	if err := json.Unmarshal(rowsText, &rows); err != nil || len(rows) == 0 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	cfg, spawner := settings(t), outposttest.NewSpawner()
	cfg.Users = []config.User{{Name: "jupyterhub", Password: password}}
	cfg.CryptKeys = []outpost.Secret{"5cPS8zP0y4mY2l2v2b6bqf3vV1Q9n1nVnUuF0V4m1nA="}
	write(t, cfg.Database.Path, string(text))
	for _, row := range rows {
		spawner.AddPod(outpost.Key{Hub: "jupyterhub", Name: row.Name, StartID: row.StartID})
	}
	p := up(t, cfg, spawner, Options{})
	running := 0
	for _, row := range rows {
		status, body := p.ask("GET", "/services/"+row.Name+"/"+row.StartID, "jupyterhub", password, "")
		switch {
		case status == 200 && strings.Contains(body, "null"):
			running++
		case status != 404: // one that was starting or stopping when the Python outpost ended
			t.Errorf("poll of %s: %d %s", row.Name, status, body)
		}
	}
	status, body := p.ask("GET", "/services/", "jupyterhub", password, "")
	var list []any
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 || len(list) != running || running < 3 {
		t.Errorf("list: %d, %d services of which %d run, %v", status, len(list), running, err)
	}
	for _, row := range rows {
		status, body := p.ask("DELETE", "/services/"+row.Name+"/"+row.StartID, "jupyterhub", password, "")
		if status != 200 && status != 404 {
			t.Errorf("stop of %s: %d %s", row.Name, status, body)
		}
	}
	if left := spawner.Pods(); len(left) > 0 {
		t.Errorf("pods that are left: %v", left)
	}
}

// The Python outpost writes dates without a zone into SQLite, and its check of what hubs know fails on them.
func TestHubsAreAskedAboutServicesWithDatesWithoutZone(t *testing.T) {
	text, err := os.ReadFile("store/testdata/python-db/outpost.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	cfg, spawner := settings(t), outposttest.NewSpawner()
	cfg.Users = []config.User{{Name: "jupyterhub", Password: password}}
	cfg.CryptKeys = []outpost.Secret{"5cPS8zP0y4mY2l2v2b6bqf3vV1Q9n1nVnUuF0V4m1nA="}
	hub := config.Hub{Hub: outpost.Hub{Name: "jupyterhub"}}
	hub.Servers = &outpost.HubCall{URL: "https://hub.example.org/hub/api/servers", Token: token}
	cfg.File.Hubs = map[string]config.Hub{"jupyterhub": hub}
	write(t, cfg.Database.Path, string(text))
	p := up(t, cfg, spawner, Options{})
	eventually(t, "the old services, none of which the hub lists, are gone", func() bool {
		status, body := p.ask("GET", "/services/", "jupyterhub", password, "")
		return status == 200 && body == "[]"
	})
}

func TestNewRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		name   string
		change func(*config.Config)
		want   []string
	}{
		{
			"a malformed key", func(c *config.Config) { c.CryptKeys = []outpost.Secret{"short"} },
			[]string{"OUTPOST_CRYPT_KEY: "},
		},
		{
			"a taken port", func(c *config.Config) { c.Listen = taken.Addr().String() },
			[]string{"OUTPOST_LISTEN: ", "address already in use"},
		},
		{
			"a broken flavors file", func(c *config.Config) { limited(t, c); write(t, c.FlavorsPath, "flavors: [") },
			[]string{"OUTPOST_FLAVORS_PATH: "},
		},
		{
			"a broken credits file", func(c *config.Config) {
				c.CreditsPath = filepath.Join(t.TempDir(), "credits.yaml")
				write(t, c.CreditsPath, "credits: [")
			},
			[]string{"OUTPOST_CREDITS_PATH: "},
		},
		{
			"an empty flavors file", func(c *config.Config) { limited(t, c); write(t, c.FlavorsPath, "# none\n") },
			[]string{"OUTPOST_FLAVORS_PATH: ", "has no content"},
		},
		{
			"a flavors file that is not there", func(c *config.Config) { limited(t, c) },
			[]string{"OUTPOST_FLAVORS_PATH: ", "no such file"},
		},
		{
			"a credits file that is not there", func(c *config.Config) { c.CreditsPath = "/nonexistent/credits.yaml" },
			[]string{"OUTPOST_CREDITS_PATH: ", "no such file"},
		},
		{
			"no certificate", func(c *config.Config) { c.TLSCertFile, c.TLSKeyFile = "/nonexistent", "/nonexistent" },
			[]string{"OUTPOST_TLS_CERT_FILE: "},
		},
		{
			"a CA that is none", func(c *config.Config) { write(t, c.HubCAFile, "hello") },
			[]string{"OUTPOST_HUB_CA_FILE: no certificate"},
		},
		{"a hub's CA that is not there", func(c *config.Config) {
			c.File.Hubs = map[string]config.Hub{"hub-a": {CallbackCAFile: "/nonexistent"}}
		}, []string{"hubs.hub-a.callbackCaFile: "}},
		{
			"no folder for the database", func(c *config.Config) { c.Database.Path = "/nonexistent/outpost.sqlite" },
			[]string{"/nonexistent"},
		},
		{
			"no place for a host key", func(c *config.Config) { c.HostKeysDir = "/proc/nowhere" },
			[]string{"OUTPOST_HOST_KEYS_DIR: no file ssh_host_*_key in /proc/nowhere, and none can be created"},
		},
		{"keys of one hub among several", func(c *config.Config) {
			_, line := sshKey(t)
			write(t, filepath.Join(c.AuthorizedKeysDir, "authorized_keys"), line)
		}, []string{"OUTPOST_AUTHORIZED_KEYS_DIR"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := settings(t)
			c.change(&cfg)
			_, err := New(t.Context(), cfg, outposttest.NewSpawner(), Options{})
			if err == nil {
				t.Fatal("made")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestCheckTellsEverythingAtOnceAndChangesNothing(t *testing.T) {
	cfg := settings(t)
	if _, err := Check(cfg); err != nil {
		t.Errorf("good settings: %v", err)
	}
	cfg.CryptKeys = []outpost.Secret{"short"}
	cfg.TLSCertFile, cfg.TLSKeyFile = "/nonexistent", "/nonexistent"
	limited(t, &cfg)
	write(t, cfg.FlavorsPath, "flavors: [")
	write(t, cfg.HubCAFile, "hello")
	_, err := Check(cfg)
	for _, want := range []string{
		"OUTPOST_CRYPT_KEY", "OUTPOST_TLS_CERT_FILE", "OUTPOST_FLAVORS_PATH",
		"OUTPOST_HUB_CA_FILE",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
	for _, path := range []string{cfg.HostKeysDir, cfg.Database.Path} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was made", path)
		}
	}
}

func TestHostKeyIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	log := slog.New(slog.DiscardHandler)
	if err := ensureHostKey(dir, log); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ssh_host_ed25519_key")
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ssh.ParsePrivateKey(first); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	if err := ensureHostKey(dir, log); err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the key was made again (%v)", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the folder: %v, %v", entries, err)
	}
}

func TestWithoutKeysOfHubsThereIsNoSSH(t *testing.T) {
	cfg := settings(t)
	cfg.AuthorizedKeysDir = "/nonexistent"
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	if p.SSHAddr() != nil {
		t.Errorf("SSH listens at %v", p.SSHAddr())
	}
	if !strings.Contains(p.log.String(), "OUTPOST_AUTHORIZED_KEYS_DIR") {
		t.Error("nobody is told")
	}
}

func TestAPartThatFailsEndsTheProcess(t *testing.T) {
	cfg := settings(t)
	p := up(t, cfg, outposttest.NewSpawner(), Options{})
	if err := p.listeners.api.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process ends",
		func() bool { return strings.Contains(p.log.String(), "a part of the outpost has failed") })
	if err := p.end(); err == nil || !strings.Contains(err.Error(), "api: ") {
		t.Errorf("run returned %v, want it to name the part", err)
	}
	p.end = func() error { return nil }
}
