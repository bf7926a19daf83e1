package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/footprint"
)

// buffer is an output that is read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// environment returns a lookup over variables of an outpost that keeps everything in dir, with changes.
func environment(dir string, changes map[string]string) func(string) (string, bool) {
	env := map[string]string{
		"OUTPOST_CRYPT_KEY": "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM=", "usernames": "jupyterhub",
		"passwords": "planted-password", "OUTPOST_USERS_DIR": filepath.Join(dir, "users"),
		"SQL_DATABASE_URL":      filepath.Join(dir, "outpost.sqlite"),
		"OUTPOST_HOST_KEYS_DIR": filepath.Join(dir, "keys"), "OUTPOST_AUTHORIZED_KEYS_DIR": dir + "/none",
		"OUTPOST_NAMESPACE": "servers", "OUTPOST_LISTEN": "127.0.0.1:0",
		"OUTPOST_METRICS_LISTEN": "127.0.0.1:0", "OUTPOST_SSH_LISTEN": "",
	}
	for name, value := range changes {
		env[name] = value
	}
	return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

func TestClusterAddressesAreRefusedToHubs(t *testing.T) {
	p := &process{
		cfg: config.Config{NodeAddresses: "192.0.2.7, 2001:db8::7"},
		lookup: func(name string) (string, bool) {
			return map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1"}[name], true
		},
	}
	want := []netip.Prefix{
		netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::7/128"),
		netip.MustParsePrefix("10.96.0.1/32"),
	}
	if got := p.refusedAddresses(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	p = &process{lookup: func(string) (string, bool) { return "", false }}
	if got := p.refusedAddresses(); len(got) != 0 {
		t.Errorf("outside of a cluster: %v", got)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // what they say, among other things
	}{
		{"help", []string{"--help"}, 0, "check-config", ""},
		{"help of a command", []string{"serve", "-h"}, 0, "OUTPOST_CRYPT_KEY", ""},
		{"version", []string{"version"}, 0, "outpost development (go1.", ""},
		{"version as a flag", []string{"--version"}, 0, "outpost development", ""},
		{"help of tunnels", []string{"tunnels", "--help"}, 0, "OUTPOST_TUNNELS_SYSTEMS_FILE", ""},
		{"tunnels without settings", []string{"tunnels"}, 2, "", "OUTPOST_TUNNELS_NAME: is empty"},
		{"an unknown command", []string{"server"}, 2, "", `unknown command "server"`},
		{
			"an unknown flag",
			[]string{"--listen=:80"},
			2, "",
			"not defined: -listen\nRun `outpost --help` for usage; settings are environment variables.",
		},
		{"two commands", []string{"serve", "rekey"}, 2, "", "only one command may be given, got serve and rekey"},
		{"a flag without a value", []string{"--kubeconfig"}, 2, "", "flag needs an argument: -kubeconfig"},
		{
			"flags before and after the command",
			[]string{"--kubeconfig=/k", "version", "-context", "x"},
			0,
			"outpost development", "",
		},
		{"a context without a kubeconfig", []string{"--context", "x"}, 2, "", "--context needs --kubeconfig"},
		{"manifests to serve", []string{"serve", "--manifests=x"}, 2, "", "--manifests is for check-config"},
		{"a user to serve", []string{"--groups=x"}, 2, "", "--groups is for explain"},
		{"no manifests", []string{"check-config", "--manifests=/no"}, 2, "", "open /no: no such file"},
		{"good settings", []string{"check-config"}, 0, "settings are valid; hubs: jupyterhub; database: sqlite", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr buffer
			if got := run(t.Context(), c.args, environment(t.TempDir(), nil), &stdout, &stderr); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
			if !strings.Contains(stdout.String(), c.stdout) || c.stdout == "" && stdout.String() != "" {
				t.Errorf("standard output: %q, want %q in it", stdout.String(), c.stdout)
			}
			if !strings.Contains(stderr.String(), c.stderr) || c.stderr == "" && stderr.String() != "" {
				t.Errorf("standard error: %q, want %q in it", stderr.String(), c.stderr)
			}
		})
	}
}

func TestHelpNamesEveryVariable(t *testing.T) {
	var stdout, stderr buffer
	run(t.Context(), []string{"help"}, environment(t.TempDir(), nil), &stdout, &stderr)
	for _, v := range config.Variables() {
		if !strings.Contains(stdout.String(), "  "+v.Name) || !strings.Contains(stdout.String(), v.Help) {
			t.Errorf("%s is not in the help text", v.Name)
		}
	}
}

func TestHelpShowsAFileThatIsTaken(t *testing.T) {
	var stdout, stderr buffer
	run(t.Context(), []string{"help"}, environment(t.TempDir(), nil), &stdout, &stderr)
	_, file, found := strings.Cut(stdout.String(), "all of it optional:\n")
	if !found {
		t.Fatal("no example of the file")
	}
	_, problems := config.ParseFile("config.yaml",
		[]byte(strings.ReplaceAll(file, "/mnt/hub_tokens/jupyterhub", os.DevNull)), os.ReadFile)
	if len(problems) > 0 {
		t.Error(problems)
	}
}

// A configuration that is right by itself and wrong with a flavor is refused, in either file's words.
func TestCheckConfigReadsFilesTogether(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ config, flavors, want string }{
		"a profile lifts the limit of a flavor": {
			"spawner: {profile_list: [{display_name: P, kubespawner_override: {mem_limit: null}}]}",
			"flavors: {small: {resources: {mem_limit: 1G}}}",
			"with these flavors, config.yaml: spawner.profile_list[0].kubespawner_override.mem_limit: " +
				"is null, which would lift a limit",
		},
		"a flavor guarantees more than the limit": {
			"spawner: {cpu_limit: 1}",
			"flavors: {big: {resources: {cpu_guarantee: 4}}}",
			`with these flavors, config.yaml: spawner.cpu_limit: limits cpu of container "notebook" to 1, ` +
				"less than the 4 that are guaranteed",
		},
		"a flavor limits to less than is guaranteed": {
			"spawner: {mem_guarantee: 2G}",
			"flavors: {small: {resources: {mem_limit: 1G}}}",
			`line 1: flavors.small.resources.mem_limit: limits memory of container "notebook" to 1Gi, ` +
				"less than the 2Gi that are guaranteed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"config.yaml": c.config, "flavors.yaml": c.flavors}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			settings := map[string]string{
				"OUTPOST_CONFIG_FILE":  filepath.Join(dir, "config.yaml"),
				"OUTPOST_FLAVORS_PATH": filepath.Join(dir, "flavors.yaml"),
			}
			var stdout, stderr buffer
			code := run(t.Context(), []string{"check-config"}, environment(dir, settings), &stdout, &stderr)
			if code != 1 || !strings.Contains(stderr.String(), c.want) {
				t.Errorf("exit code %d, want 1 and %q:\n%s", code, c.want, stderr.String())
			}
		})
	}
}

// Every fault is named with its place in the file, whatever else is wrong.
func TestCheckConfigTellsEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	settings := map[string]string{
		"OUTPOST_CONFIG_FILE": write("config.yaml", `spawner:
  imgae: x
  uid: many
  volumes:
    - {name: h, persistent_volume_claim: {claim_name: x}}
hubs:
  jupyterhub:
    spawner: {cpu_limit: [1]}
`),
		"OUTPOST_FLAVORS_PATH": write("flavors.yaml", `flavors:
  small: {resources: {mem_limit: 1 G}}
  big: {user: a}
`),
		"OUTPOST_CREDITS_PATH": write("credits.yaml", "credits:\n  gpu: {cap: many}\n"),
	}
	const memory = `must be a number of bytes or a string such as "512M", "1.5G" or "2Gi"`
	want := []string{
		"config.yaml: spawner.imgae: unknown option; did you mean image? (line 2)",
		"config.yaml: spawner.uid: must be an integer, not a string (line 3)",
		`config.yaml: spawner.volumes[0]: unknown field "persistentVolumeClaim.claim_name" (line 5)`,
		"config.yaml: hubs.jupyterhub.spawner.cpu_limit: must be a number of cores, not a list (line 8)",
		"OUTPOST_FLAVORS_PATH: " + dir + "/flavors.yaml: line 2: flavors.small.resources.mem_limit: " + memory,
		"line 3: flavors.big.user: restricts nobody; ",
		"OUTPOST_CREDITS_PATH: " + dir + "/credits.yaml: line 2: credits.gpu.cap: must be a number",
	}
	for name, c := range map[string]struct {
		settings map[string]string
		code     int
		want     string
	}{
		"a key that is too short": {map[string]string{"OUTPOST_CRYPT_KEY": "short"}, 1, "OUTPOST_CRYPT_KEY: "},
		"a wrong setting":         {map[string]string{"OUTPOST_LOG_LEVEL": "loud"}, 2, "OUTPOST_LOG_LEVEL: "},
	} {
		t.Run(name, func(t *testing.T) {
			maps.Copy(c.settings, settings)
			var stdout, stderr buffer
			code := run(t.Context(), []string{"check-config"}, environment(dir, c.settings), &stdout, &stderr)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range append(want, c.want) {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("no %q in\n%s", want, stderr.String())
				}
			}
		})
	}
}

// What has no effect in any file is told, and refuses nothing.
func TestCheckConfigShowsWarnings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	flavors, credits := filepath.Join(dir, "flavors.yaml"), filepath.Join(dir, "credits.yaml")
	for path, text := range map[string]string{
		file:    "spawner: {group_overrides: {a: {}}, http_timeout: null}\nhubs: {jupyterhub: {allowedImages: [x]}}\n",
		flavors: "flavors: {a: {resources: {poll_interval: 5}}, b: null}\nhubs: {h: {jupyterhub_name: [jupiterhub]}}\n",
		credits: "credits: {a: {cap: 1}}\nusers: {u: {hubs: [], authentication: {name: x}}}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr buffer
	code := run(t.Context(), []string{"check-config"}, environment(dir, map[string]string{
		"OUTPOST_CONFIG_FILE": file, "OUTPOST_FLAVORS_PATH": flavors, "OUTPOST_CREDITS_PATH": credits,
	}), &stdout, &stderr)
	//nolint:lll // as it is printed
	want := `warning: config.yaml: spawner.group_overrides: has no effect in an outpost (line 1)
warning: flavors.yaml: flavors.a.resources.poll_interval: has no effect in an outpost (line 1)
warning: config.yaml: hubs.jupyterhub.allowedImages: has no effect while allowedOptions does not list image (line 2)
warning: flavors.yaml: flavors.b: is null, so it is not offered (line 1)
warning: flavors.yaml: hubs.h.jupyterhub_name: no hub of the name jupiterhub may log in; did you mean jupyterhub? (line 2)
warning: credits.yaml: users.u.hubs: is an empty list, which nothing matches (line 2)
settings are valid; hubs: jupyterhub; database: sqlite
`
	if code != 0 || !strings.HasSuffix(stdout.String(), want) {
		t.Errorf("exit code %d\n%s%s\nwant\n%s", code, stdout.String(), stderr.String(), want)
	}
}

func TestExplain(t *testing.T) {
	dir := t.TempDir()
	config, flavors := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "flavors.yaml")
	for path, text := range map[string]string{
		config: `spawner:
  shared:
    - {name: courses, claim: courses, mount: /courses}
    - {name: scratch, claim: scratch, mount: /scratch, readOnly: false, allowedGroups: [staff, "urn:*:gpu"]}
  profile_list:
    - {slug: base, kubespawner_override: {cpu_limit: 1}}
    - {slug: gpu, allowed_groups: ["urn:*:gpu"], kubespawner_override: {cpu_limit: 2}}
hubs:
  jupyterhub: {allowedGroups: [lab, staff], allowedOptions: [image], allowedImages: ["quay.io/*"]}
`,
		flavors: `flavors:
  small: {}
  large: {allowedGroups: [staff], deniedText: Ask Bob.}
  none: {}
users:
  ann: {authentication: {name: ann}, flavors: [small, large]}
`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	//nolint:lll // as it is printed
	for _, c := range []struct {
		name         string
		args         []string
		code         int
		stdout, fail string
	}{
		{"a user of two", []string{"--user", "ann", "--groups", "lab, urn:x:gpu"}, 0, `WHAT     NAME       MAY START  WHY
system   -          yes        in an allowed group: lab
flavor   small      yes        users.ann offers it
flavor   large      no         in none of the allowed groups: staff
flavor   none       no         users.ann does not offer it
profile  base       yes        open to everybody
profile  gpu        yes        in an allowed group: urn:*:gpu
data     courses    yes        open to everybody
data     scratch    yes        in an allowed group: urn:*:gpu
image    quay.io/*  yes        allowedImages of the hub has it
`, ""},
		{"a user of none", []string{"--hub", "jupyterhub"}, 0, `WHAT     NAME       MAY START  WHY
system   -          no         in none of the allowed groups: lab, staff
flavor   small      yes        the file offers it
flavor   large      no         in none of the allowed groups: staff
flavor   none       yes        the file offers it
profile  base       yes        open to everybody
profile  gpu        no         in none of the allowed groups: urn:*:gpu
data     courses    yes        open to everybody
data     scratch    no         in none of the allowed groups: staff, urn:*:gpu
image    quay.io/*  yes        allowedImages of the hub has it
`, ""},
		{
			"another hub",
			[]string{"--hub", "hub-b"},
			1, "",
			"outpost: explain:\n  no hub of the name \"hub-b\" may log in; there are jupyterhub\n",
		},
	} {
		var stdout, stderr buffer
		code := run(t.Context(), append([]string{"explain"}, c.args...), environment(dir, map[string]string{
			"OUTPOST_CONFIG_FILE": config, "OUTPOST_FLAVORS_PATH": flavors,
		}), &stdout, &stderr)
		if code != c.code || stdout.String() != c.stdout || stderr.String() != c.fail {
			t.Errorf("%s: exit code %d\n%s%s", c.name, code, stdout.String(), stderr.String())
		}
	}
}

// What drain says stays in the database until undrain, and status tells it.
func TestDrain(t *testing.T) {
	env := environment(t.TempDir(), nil)
	for _, c := range []struct {
		args       []string
		code       int
		out, fault string // patterns
	}{
		{[]string{"status"}, 0, `servers are started\njupyterhub: 0 servers\n`, ""},
		{[]string{"drain", "--from", "18:00"}, 1, "", `(?s).*--from: "18:00" is neither a time such as .*`},
		{
			[]string{"drain", "--until", "9999-12-31T23:00:00-01:00"},
			1, "",
			`(?s).*--until: .* is neither a time such as .*`,
		},
		{
			[]string{"drain", "--from", "0001-01-01T00:00:00+01:00"},
			1, "",
			`(?s).*--from: .* is neither a time such as .*`,
		},
		{[]string{"drain", "--until", "2020-01-01T00:00:00Z"}, 1, "", `(?s).*--until: is not after the beginning.*`},
		{
			[]string{"drain", "--from", "2h", "--until", "1h", "--text", "x"},
			1, "",
			`(?s).*--until: is not after the beginning.*`,
		},
		{[]string{"status"}, 0, `servers are started\njupyterhub: 0 servers\n`, ""},
		{
			[]string{"drain", "--text", "New disks."},
			0,
			"no servers are started; maintenance from [-0-9T:]+Z until `outpost undrain`: New disks.\n", "",
		},
		{[]string{"status"}, 0, "no servers are started; .*: New disks.\njupyterhub: 0 servers\n", ""},
		{
			[]string{"drain", "--from=2100-01-01T19:00:00+01:00", "--until", "2100-01-02T00:00:00Z"},
			0,
			`servers are started; maintenance from 2100-01-01T18:00:00Z until 2100-01-02T00:00:00Z\n`, "",
		},
		{
			[]string{"drain", "--from=2100-01-01T19:00:00Z", "--evict", "--text", "Disks."},
			0,
			"servers are started; maintenance from 2100-01-01T19:00:00Z until `outpost undrain`, " +
				"servers that run are stopped when it begins: Disks.\n", "",
		},
		{[]string{"status", "--evict"}, 2, "", `(?s)outpost: --evict is for drain.*`},
		{[]string{"undrain"}, 0, `servers are started\n`, ""},
		{[]string{"status"}, 0, `servers are started\njupyterhub: 0 servers\n`, ""},
		{[]string{"undrain", "--text", "x"}, 2, "", `(?s)outpost: --text is for drain.*`},
	} {
		var stdout, stderr buffer
		code := run(t.Context(), c.args, env, &stdout, &stderr)
		if code != c.code || !regexp.MustCompile("^"+c.out+"$").MatchString(stdout.String()) ||
			c.fault != "" && !regexp.MustCompile("^"+c.fault+"$").MatchString(stderr.String()) {
			t.Errorf("%v: exit code %d\n%s%s", c.args, code, stdout.String(), stderr.String())
		}
	}
}

// What the file announces holds beside what drain says, and after undrain.
func TestDrainBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text := "maintenance: {from: 2020-05-04T18:00:00Z, text: New disks.}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := environment(dir, map[string]string{"OUTPOST_CONFIG_FILE": file})
	const held = "no servers are started; maintenance from 2020-05-04T18:00:00Z until the configuration says " +
		"otherwise: New disks.\n"
	const hub = "jupyterhub: 0 servers\n"
	const said = "no servers are started; maintenance from 2020-05-04T19:00:00Z until `outpost undrain`: Network.\n"
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"status"}, held + hub},
		{[]string{"drain", "--from", "2020-05-04T19:00:00Z", "--text", "Network."}, said},
		{[]string{"status"}, held + hub},
		{[]string{"undrain"}, held},
		{[]string{"status"}, held + hub},
	} {
		var stdout, stderr buffer
		if code := run(t.Context(), c.args, env, &stdout, &stderr); code != 0 || stdout.String() != c.want {
			t.Errorf("%v: exit code %d\n%s%s\nwant\n%s", c.args, code, stdout.String(), stderr.String(), c.want)
		}
	}
}

func TestHomesAreNotRemovedByMistake(t *testing.T) {
	hubs := map[string]string{"usernames": "a;b", "passwords": "planted-password;planted-password"}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"homes", "rm", "--user", "ann", "--yes"}, 1, "--hub: say whose user is meant; hubs are a, b"},
		{[]string{"homes", "rm", "--yes"}, 1, "say which homes are to be removed: --hub, --user or --unused-since"},
		{[]string{"homes", "rm", "--unused-since", "ninety days"}, 1, "--unused-since: \"ninety days\" is neither"},
		{[]string{"homes", "--unused-since=-1h"}, 1, "--unused-since: \"-1h\" is neither"},
		{[]string{"homes", "remove"}, 2, `unknown command "remove"`},
		{[]string{"explain", "--yes"}, 2, "--yes is for homes"},
		{[]string{"check-config", "--user", "ann"}, 2, "--user is for explain and homes"},
	} {
		var stdout, stderr buffer
		code := run(t.Context(), c.args, environment(t.TempDir(), hubs), &stdout, &stderr)
		if code != c.code || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, code, stderr.String())
		}
	}
}

// What check-config refuses does not begin to serve.
func TestServeRefusesWrongFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	text := "spawner: {profile_list: [{display_name: P, kubespawner_override: {mem_limt: 1G}}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr buffer
	args := []string{"serve", "--kubeconfig", cluster(t, "north")}
	code := run(t.Context(), args, environment(dir, map[string]string{"OUTPOST_CONFIG_FILE": file}), &stdout, &stderr)
	want := "config.yaml: spawner.profile_list[0].kubespawner_override.mem_limt: " +
		"unknown option; did you mean mem_limit? (line 1)"
	if code != 1 || !strings.Contains(stderr.String(), want) {
		t.Errorf("exit code %d, want 1 and %q in\n%s", code, want, stderr.String())
	}
}

// cluster is an API server with some pods, as far as the outpost asks it. uid is that of each namespace; empty forbids
// to read them.
func cluster(t testing.TB, uid string, pods ...string) (kubeconfig string) {
	t.Helper()
	var resource atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		kind := map[string]string{"pods": "Pod", "events": "Event"}[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]
		switch {
		case r.URL.Path == "/version":
			fmt.Fprint(w, `{"major":"1","minor":"34","gitVersion":"v1.34.4"}`)
		case r.URL.Path == "/api/v1/namespaces/servers" && uid != "":
			fmt.Fprintf(w, `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"servers","uid":%q}}`, uid)
		case r.URL.Path == "/api/v1/namespaces/servers":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403}`)
		case r.URL.Query().Get("watch") != "" && kind != "":
			w.(http.Flusher).Flush()
			fmt.Fprintf(w, `{"type":"BOOKMARK","object":{"kind":%q,"apiVersion":"v1","metadata":`+
				`{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n", kind)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case kind != "":
			items := ""
			if kind == "Pod" {
				items = strings.Join(pods, ",")
			}
			fmt.Fprintf(w, `{"kind":"%sList","apiVersion":"v1","metadata":{"resourceVersion":"%d"},"items":[%s]}`,
				kind, resource.Add(1), items)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`)
		}
	})
	return apiServer(t, handler)
}

// apiServer serves a handler as Kubernetes.
func apiServer(t testing.TB, handler http.Handler) (kubeconfig string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.CloseClientConnections)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"x",` +
		`"clusters":[{"name":"x","cluster":{"server":"` + server.URL +
		`"}}],"contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],"users":[{"name":"x","user":{}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

var servingAt = regexp.MustCompile(`"api":"([^"]+)".*"metrics":"([^"]+)"`)

func TestServeAnswersAndEnds(t *testing.T) {
	var stdout, stderr buffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	exit, args := make(chan int, 1), []string{"--kubeconfig", cluster(t, "north"), "serve"}
	go func() { exit <- run(ctx, args, environment(t.TempDir(), nil), &stdout, &stderr) }()
	var at []string
	eventually(t, "the process serves", func() bool {
		at = servingAt.FindStringSubmatch(stderr.String())
		return at != nil
	})
	eventually(t, "it is ready", func() bool { status, _ := get(t, "http://"+at[2]+"/readyz"); return status == 200 })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at[1]+"/services/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("jupyterhub", "planted-password")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var list []any
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil || answer.StatusCode != 200 || len(list) != 0 {
		t.Errorf("services: %d %v %v", answer.StatusCode, list, err)
	}
	cancel()
	select {
	case code := <-exit:
		if code != 0 {
			t.Errorf("exit code %d\n%s", code, stderr.String())
		}
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
	if strings.Contains(stderr.String(), "planted-password") {
		t.Error("a password is in the log")
	}
	for _, line := range strings.Split(strings.TrimSpace(stderr.String()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is not JSON: %s", line)
		}
	}
}

// Without the right to read its namespace the outpost serves as before, and says so.
func TestServeWithoutTheNamespace(t *testing.T) {
	var stdout, stderr buffer
	ctx, cancel := context.WithCancel(t.Context())
	exit := make(chan int, 1)
	go func() {
		exit <- run(ctx, []string{"--kubeconfig", cluster(t, "")}, environment(t.TempDir(), nil), &stdout, &stderr)
	}()
	eventually(t, "the process serves", func() bool { return servingAt.MatchString(stderr.String()) })
	cancel()
	if code := <-exit; code != 0 || !strings.Contains(stderr.String(), "the outpost's namespace cannot be read") {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
}

// A database is of one namespace of one cluster; another one gets it when the operator says so.
func TestServeRefusesTheDatabaseOfAnotherCluster(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		uid, movedFrom string
		want           string // in the error; empty: it serves
	}{
		{"north", "", ""},
		{"south", "", "belong to an outpost in namespace servers (uid north)"},
		{"south", "west", "set OUTPOST_MOVED_FROM"},
		{"south", "north", ""},
		{"north", "", "(uid south)"},
	} {
		var stdout, stderr buffer
		ctx, cancel := context.WithCancel(t.Context())
		exit := make(chan int, 1)
		go func() {
			exit <- run(ctx, []string{"--kubeconfig", cluster(t, c.uid)},
				environment(dir, map[string]string{"OUTPOST_MOVED_FROM": c.movedFrom}), &stdout, &stderr)
		}()
		if c.want == "" {
			eventually(t, "the process serves", func() bool { return servingAt.MatchString(stderr.String()) })
			cancel()
		}
		if code := <-exit; code == 0 != (c.want == "") || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: exit code %d\n%s", c, code, stderr.String())
		}
		cancel()
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// patience is how long a test waits for what must come; only a fault makes it wait as long.
const patience = 5 * time.Minute

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

func TestRekeyOfAnEmptyDatabase(t *testing.T) {
	var stdout, stderr buffer
	if code := run(t.Context(), []string{"rekey"}, environment(t.TempDir(), nil), &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	if want := "0 rows, 0 of them sealed anew\n"; stdout.String() != want {
		t.Errorf("told %q, want %q", stdout.String(), want)
	}
}

func TestProgramLivesOnWithoutThePagesOfItsStart(t *testing.T) {
	footprint.DropStartupPages(newLogger(io.Discard, slog.LevelInfo, "json"))
	var stdout, stderr buffer
	if code := run(t.Context(), []string{"check-config"}, environment(t.TempDir(), nil), &stdout, &stderr); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
