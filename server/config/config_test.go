package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/config"
	"github.com/outposts-dev/outposts/server/outpost"
)

const (
	key1 = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="
	key2 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

// environment returns a lookup over variables that make a valid configuration, with changes.
func environment(changes map[string]string) func(string) (string, bool) {
	env := map[string]string{
		"OUTPOST_CRYPT_KEY": key1,
		"usernames":         "jupyterhub",
		"passwords":         "very-secret-word",
		"OUTPOST_USERS_DIR": "/nonexistent",
	}
	for name, value := range changes {
		env[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

// file writes a file into a temporary directory.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const notPlainURL = "is not a URL such as https://hub.example.org/hub/api: " +
	"http or https, without user, query, fragment and dot segments"

func TestFromEnvRefuses(t *testing.T) {
	yaml := file(t, "config.yaml", `
spawnr: {}
globalMaxPerUser: many
failEarly: 1
hubs:
  jupyterhub:
    allowedImges: [a]
    allowedOptions: image
    allowedImages: ["[z-a]"]
    callbackUrls: [ftp://hub, "https://user:very-secret-word@hub", "https://hub/a/../b", "https://hub/a?b"]
    servers: {url: hub, tokenFile: /nonexistent}
    spawner: [image]
    maxServers: -3
  jupiterhub: {}
unschedulableGrace: 0
perHub: {maxServers: -2}
`)
	for _, c := range []struct {
		name string
		env  map[string]string
		want config.Problems
	}{
		{"nothing given", map[string]string{"OUTPOST_CRYPT_KEY": "", "usernames": "", "passwords": ""}, config.Problems{
			{Name: "OUTPOST_CRYPT_KEY", Message: "is empty; set the key that seals the database: " +
				"32 random bytes in URL-safe Base64 (openssl rand -base64 32 | tr +/ -_)"},
			{Name: "usernames", Message: "is empty; set the names of the hubs that are allowed to use this outpost, " +
				"separated by semicolons, and their passwords in the same order in passwords"},
		}},
		{"everything wrong at once", map[string]string{
			"OUTPOST_LISTEN": "8080", "OUTPOST_SSH_LISTEN": ":99999", "OUTPOST_TLS_CERT_FILE": "/tls.crt",
			"OUTPOST_BASE_PATH": "outpost/", "OUTPOST_LOG_LEVEL": "loud", "OUTPOST_LOG_FORMAT": "xml",
			"OUTPOST_AUDIT_NAMES":    "some",
			"OUTPOST_NODE_ADDRESSES": "10.0.0.7, node-7", "OUTPOST_OWN_OBJECTS": "secrets/a,pods/b",
			"OUTPOST_START_TIMEOUT": "soon", "OUTPOST_REKEY": "perhaps", "SQL_TYPE": "mysql",
			"CHECK_ENDDATES": "2", "JUPYTERHUB_CLEANUP_SLEEP_TIMER": "0",
		}, config.Problems{
			{Name: "OUTPOST_REKEY", Message: `"perhaps" is neither true nor false`},
			{Name: "OUTPOST_START_TIMEOUT", Message: `"soon" is not a number of seconds`},
			{Name: "OUTPOST_LOG_LEVEL", Message: `"loud" is not one of debug, info, warn, error`},
			{Name: "CHECK_ENDDATES", Message: `"2" is neither true nor false`},
			{Name: "OUTPOST_LISTEN", Message: `"8080" is not an address such as :8080`},
			{Name: "OUTPOST_SSH_LISTEN", Message: `port "99999" is not a number from 0 to 65535`},
			{Name: "OUTPOST_NODE_ADDRESSES", Message: `"node-7" is not an IP address`},
			{Name: "OUTPOST_TLS_KEY_FILE", Message: `is empty, but certificate and key are needed together`},
			{
				Name:    "OUTPOST_BASE_PATH",
				Message: `"outpost/" is not a path such as /outpost: it must begin with a slash and not end with one`,
			},
			{Name: "OUTPOST_LOG_FORMAT", Message: `"xml" is neither json nor text`},
			{Name: "OUTPOST_AUDIT_NAMES", Message: `"some" is neither keep nor hash nor omit`},
			{
				Name: "OUTPOST_OWN_OBJECTS",
				Message: `"pods/b" is not an object such as secrets/outpost-users; ` +
					`it may be one of configmaps, persistentvolumeclaims, secrets, serviceaccounts`,
			},
			{Name: "JUPYTERHUB_CLEANUP_SLEEP_TIMER", Message: `0s is less than a second`},
			{Name: "SQL_TYPE", Message: `"mysql" is not one of sqlite, sqlite+pysqlite, postgresql`},
		}},
		{"hubs that cannot be dialled", map[string]string{
			"OUTPOST_DIAL_OUT_URLS": "hub/inner ftp://hub/inner https://u:very-secret-word@hub/inner " +
				"https://hub/inner?x https://hub/x/ https://hub/x/inner https://hub/x/inner",
			"OUTPOST_DIAL_OUT_PROXY": "u:very-secret-word@proxy:3128",
		}, config.Problems{
			{
				Name:    "OUTPOST_DIAL_OUT_URLS",
				Message: `"hub/inner" is not a URL such as https://hub.example.org/services/outposts/remote`,
			},
			{
				Name:    "OUTPOST_DIAL_OUT_URLS",
				Message: `"ftp://hub/inner" is not a URL such as https://hub.example.org/services/outposts/remote`,
			},
			{
				Name:    "OUTPOST_DIAL_OUT_URLS",
				Message: `is not a URL such as https://hub.example.org/services/outposts/remote`,
			},
			{Name: "OUTPOST_DIAL_OUT_URLS", Message: `"https://hub/inner?x" may have neither a query nor a fragment`},
			{
				Name: "OUTPOST_DIAL_OUT_URLS",
				Message: `"https://hub/x/" does not end in the name of the system, ` +
					`such as https://hub.example.org/services/outposts/remote`,
			},
			{Name: "OUTPOST_DIAL_OUT_URLS", Message: `"https://hub/x/inner" is listed twice`},
			{Name: "OUTPOST_DIAL_OUT_PROXY", Message: "is not a URL such as http://proxy.example.org:3128"},
		}},
		{"a proxy to nowhere", map[string]string{"OUTPOST_DIAL_OUT_PROXY": "http://proxy:3128"}, config.Problems{
			{Name: "OUTPOST_DIAL_OUT_PROXY", Message: "has no effect without OUTPOST_DIAL_OUT_URLS"},
		}},
		{"PostgreSQL without a place", map[string]string{"SQL_TYPE": "postgresql", "SQL_PORT": "0"}, config.Problems{
			{Name: "SQL_HOST", Message: "is empty, but SQL_TYPE is postgresql"},
			{Name: "SQL_USER", Message: "is empty, but SQL_TYPE is postgresql"},
			{Name: "SQL_DATABASE", Message: "is empty, but SQL_TYPE is postgresql"},
			{Name: "SQL_PORT", Message: "0 is not a number from 1 to 65535"},
		}},
		{"a port in words", map[string]string{"SQL_PORT": "five"}, config.Problems{
			{Name: "SQL_PORT", Message: `"five" is not a whole number`},
		}},
		{
			"a URL for SQLite",
			map[string]string{"SQL_DATABASE_URL": "postgresql://u:very-secret-word@db/d"},
			config.Problems{{
				Name: "SQL_DATABASE_URL",
				Message: "is a URL; set the path of the SQLite file, " +
					"or for PostgreSQL SQL_TYPE, SQL_HOST, SQL_USER, SQL_PASSWORD and SQL_DATABASE",
			}},
		},
		{"a relative path for SQLite", map[string]string{"SQL_DATABASE_URL": "x.db"}, config.Problems{
			{Name: "SQL_DATABASE_URL", Message: `"x.db" is not an absolute path`},
		}},
		{
			"a hub twice and one with a colon",
			map[string]string{"usernames": "a;a;b:c", "passwords": "1;2;3"},
			config.Problems{
				{Name: "usernames", Message: `"a" is listed twice`},
				{Name: "usernames", Message: `"b:c" has a colon or a control character, so it can never log in`},
			},
		},
		{
			"blanks around hubs",
			map[string]string{"usernames": "one; two;three ;a b", "passwords": "1;2;3;4"},
			config.Problems{
				{
					Name:    "usernames",
					Message: `" two" begins or ends with a blank; write only semicolons between the names`,
				},
				{
					Name:    "usernames",
					Message: `"three " begins or ends with a blank; write only semicolons between the names`,
				},
			},
		},
		{
			"Python by its name",
			map[string]string{"OUTPOST_CONFIG_FILE": "/mnt/outpost_config/outpost_config.py"},
			config.Problems{{
				Name: "OUTPOST_CONFIG_FILE",
				Message: "/mnt/outpost_config/outpost_config.py is Python code, which this server does not run; " +
					"write YAML instead: " +
					"KubeSpawner's options under spawner, what a hub may ask for under hubs, " +
					"globalMaxPerUser for c.JupyterHubOutpost.global_max_per_user",
			}},
		},
		{
			"a named file that is not there",
			map[string]string{"OUTPOST_CONFIG_FILE": "/nonexistent/config.yaml"},
			config.Problems{
				{Name: "OUTPOST_CONFIG_FILE", Message: "open /nonexistent/config.yaml: no such file or directory"},
			},
		},
		{"a file with everything wrong", map[string]string{"OUTPOST_CONFIG_FILE": yaml}, config.Problems{
			{Line: 4, Name: "config.yaml: failEarly", Message: "must be true or false, not the number 1"},
			{Line: 3, Name: "config.yaml: globalMaxPerUser", Message: "must be a whole number, not a string"},
			{
				Line:    7,
				Name:    "config.yaml: hubs.jupyterhub.allowedImges",
				Message: "is not a setting; did you mean allowedImages?",
			},
			{
				Line: 8, Name: "config.yaml: hubs.jupyterhub.allowedOptions",
				Message: "must be a list of strings, not a string",
			},
			{
				Line:    11,
				Name:    "config.yaml: hubs.jupyterhub.servers.tokenFile",
				Message: "open /nonexistent: no such file or directory",
			},
			{Line: 12, Name: "config.yaml: hubs.jupyterhub.spawner", Message: "must be a mapping, not a list"},
			{Line: 2, Name: "config.yaml: spawnr", Message: "is not a setting; did you mean spawner?"},
			{
				Line:    15,
				Name:    "config.yaml: unschedulableGrace",
				Message: "must be a whole number of seconds from 1 to 31536000, not the number 0",
			},
			{
				Line: 16, Name: "config.yaml: perHub.maxServers",
				Message: "-2 is neither -1 for no limit nor a number of servers",
			},
			{
				Line:    14,
				Name:    "config.yaml: hubs.jupiterhub",
				Message: "no hub of this name may log in; did you mean jupyterhub?",
			},
			{
				Line: 13, Name: "config.yaml: hubs.jupyterhub.maxServers",
				Message: "-3 is neither -1 for no limit nor a number of servers",
			},
			{Line: 9, Name: "config.yaml: hubs.jupyterhub.allowedImages[0]", Message: `"[z-a]" is not a glob`},
			{Line: 10, Name: "config.yaml: hubs.jupyterhub.callbackUrls[0]", Message: notPlainURL},
			{Line: 10, Name: "config.yaml: hubs.jupyterhub.callbackUrls[1]", Message: notPlainURL},
			{Line: 10, Name: "config.yaml: hubs.jupyterhub.callbackUrls[2]", Message: notPlainURL},
			{Line: 10, Name: "config.yaml: hubs.jupyterhub.callbackUrls[3]", Message: notPlainURL},
			{Line: 11, Name: "config.yaml: hubs.jupyterhub.servers.url", Message: notPlainURL},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.FromEnv(environment(c.env))
			var got config.Problems
			if !errors.As(err, &got) {
				t.Fatalf("FromEnv: got error %v, want Problems", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "very-secret-word") || strings.Contains(err.Error(), key1) {
				t.Errorf("the error holds a secret: %v", err)
			}
		})
	}
}

func TestFromEnvReadsEverything(t *testing.T) {
	token := file(t, "token", "the-token\n")
	path := file(t, "config.yaml", `
spawner: {image: quay.io/jupyter/minimal-notebook, cpu_limit: 1.5, uid: 1000}
globalMaxPerUser: 5
perHub: {maxServers: 20}
failEarly: false
unschedulableGrace: 300
hubs:
  one:
    maxServers: -1
    allowedOptions: [image, cmd]
    allowedImages: ["quay.io/jupyter/*"]
    allowedRegistries: [quay.io]
    allowedGroups: [staff, "urn:*:gpu"]
    deniedText: Ask Bob.
    callbackUrls: ["https://hub.example.org/hub/api"]
    callbackCaFile: /mnt/hub_ca/one.crt
    spawner: {mem_limit: 1G}
    sendEvents: false
    tunnelRestart: {url: "https://hub.example.org/hub/api/recreateforward/x", tokenFile: `+token+`}
    flavorsTokenFile: `+token+`
    recreateTunnels: true
  two: null
`)
	got, err := config.FromEnv(environment(map[string]string{
		"OUTPOST_CRYPT_KEY": key1 + ", " + key2 + "\n", "OUTPOST_REKEY": "true", "usernames": "one;two\n",
		"OUTPOST_MOVED_FROM": "u-1",
		"passwords":          "p1;p2\n", "OUTPOST_CONFIG_FILE": path, "OUTPOST_FLAVORS_PATH": "/f",
		"OUTPOST_CREDITS_PATH": "/c", "OUTPOST_LISTEN": "127.0.0.1:0", "OUTPOST_TLS_CERT_FILE": "/tls.crt",
		"OUTPOST_TLS_KEY_FILE": "/tls.key", "OUTPOST_BASE_PATH": "/outpost", "OUTPOST_METRICS_LISTEN": "",
		"OUTPOST_SSH_LISTEN": "", "OUTPOST_HOST_KEYS_DIR": "/h", "OUTPOST_AUTHORIZED_KEYS_DIR": "/a",
		"OUTPOST_HUB_CA_FILE": "/ca", "OUTPOST_NAMESPACE": "ns",
		"OUTPOST_DIAL_OUT_URLS":  "https://a.example.org/x/inner, http://b.example.org/inner",
		"OUTPOST_DIAL_OUT_PROXY": "http://u:p@proxy:3128",
		"OUTPOST_NODE_ADDRESSES": "10.0.0.7,fd00::7", "OUTPOST_START_TIMEOUT": "10m",
		"OUTPOST_OWN_OBJECTS": "secrets/users, configmaps/c,",
		"OUTPOST_LOG_LEVEL":   "DEBUG", "OUTPOST_LOG_FORMAT": "text",
		"OUTPOST_AUDIT_FILE": "-", "OUTPOST_AUDIT_NAMES": "hash", "SQL_TYPE": "postgresql", "SQL_HOST": "db",
		"SQL_PORT": "5433", "SQL_USER": "u", "SQL_PASSWORD": "p@/:%", "SQL_DATABASE": "d",
		"CHECK_ENDDATES": "no", "JUPYTERHUB_CHECK_ENDDATES_SLEEP_TIMER": "30", "CHECK_SERVICES": "1",
		"JUPYTERHUB_CLEANUP_SLEEP_TIMER": "900", "JUPYTERHUB_CLEANUP_NAMES": "two;gone;one",
		"JUPYTERHUB_CLEANUP_URLS":   "https://two.example.org/hub/api/servers;https://gone.example.org",
		"JUPYTERHUB_CLEANUP_TOKENS": "t2;t;t1", "LOGGING_CONFIG_PATH": "/x",
	}))
	if err != nil {
		t.Fatal(err)
	}
	one := outpost.Hub{
		Name: "one", AllowedOptions: []string{"image", "cmd"}, AllowedImages: []string{"quay.io/jupyter/*"},
		AllowedRegistries: []string{"quay.io"},
		Access:            access.Rule{AllowedGroups: []string{"staff", "urn:*:gpu"}, DeniedText: "Ask Bob."},
		CallbackURLs:      []string{"https://hub.example.org/hub/api"}, Options: map[string]any{"mem_limit": "1G"},
		TunnelRestart: &outpost.HubCall{URL: "https://hub.example.org/hub/api/recreateforward/x", Token: "the-token"},
		FlavorsToken:  "the-token", RecreateTunnels: true,
	}
	two := outpost.Hub{
		Name: "two", SendEvents: true,
		Servers: &outpost.HubCall{URL: "https://two.example.org/hub/api/servers", Token: "t2"},
	}
	want := config.Config{
		Listen: "127.0.0.1:0", TLSCertFile: "/tls.crt", TLSKeyFile: "/tls.key", BasePath: "/outpost",
		HostKeysDir: "/h", AuthorizedKeysDir: "/a", UsersDir: "/nonexistent", HubCAFile: "/ca",
		DialOutURLs:  []string{"https://a.example.org/x/inner", "http://b.example.org/inner"},
		DialOutProxy: "http://u:p@proxy:3128",
		ConfigFile:   path, FlavorsPath: "/f", CreditsPath: "/c", Namespace: "ns",
		NodeAddresses: "10.0.0.7,fd00::7", OwnObjects: []string{"secrets/users", "configmaps/c"},
		StartTimeout: 10 * time.Minute,
		LogLevel:     slog.LevelDebug, LogFormat: "text",
		AuditFile: "-", AuditNames: "hash", CryptKeys: []outpost.Secret{key1, key2}, Rekey: true,
		MovedFrom: "u-1",
		Users:     []config.User{{Name: "one", Password: "p1"}, {Name: "two", Password: "p2"}},
		Database: config.Database{
			Type: config.PostgreSQL, Path: "/var/lib/outpost/outpost.sqlite", Host: "db", Port: 5433, User: "u",
			Password: "p@/:%", Name: "d",
		},
		CheckEndDates: false, EndDatesInterval: 30 * time.Second, CheckServices: true,
		CleanupInterval: 15 * time.Minute,
		File: config.File{
			Spawner: map[string]any{
				"image":     "quay.io/jupyter/minimal-notebook",
				"cpu_limit": json.Number("1.5"), "uid": json.Number("1000"),
			},
			GlobalMaxPerUser: 5, PerHub: config.PerHub{MaxServers: 20}, UnschedulableGrace: 5 * time.Minute,
			Hubs: map[string]config.Hub{
				"one": {CallbackCAFile: "/mnt/hub_ca/one.crt", MaxServers: new(-1), Hub: one},
				"two": {Hub: two},
			},
		},
		Warnings: []config.Problem{
			{
				Name: "LOGGING_CONFIG_PATH",
				Message: "has no effect: logs are written to standard error; " +
					"see OUTPOST_LOG_LEVEL and OUTPOST_LOG_FORMAT",
			},
			{
				Name: "JUPYTERHUB_CLEANUP_NAMES",
				Message: "has 3 entries, JUPYTERHUB_CLEANUP_URLS 2, JUPYTERHUB_CLEANUP_TOKENS 3; " +
					"only the first 2 are used",
			},
			{Name: "JUPYTERHUB_CLEANUP_NAMES", Message: `"gone" is not in usernames, so it is not asked`},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "p@/:%") ||
		strings.Contains(text, "the-token") || strings.Contains(text, key1) {
		t.Errorf("a printed configuration holds a secret: %s", text)
	}
	limits := map[string]*int{"one": got.MaxServers("one"), "two": got.MaxServers("two")}
	if diff := cmp.Diff(map[string]*int{"one": nil, "two": new(20)}, limits); diff != "" {
		t.Errorf("limits of hubs (-want +got):\n%s", diff)
	}
	if got := got.HubNames(); !cmp.Equal(got, []string{"one", "two"}) {
		t.Errorf("HubNames: got %v", got)
	}
	got.Users = append(got.Users, config.User{Name: "other", Password: "p3"})
	if diff := cmp.Diff([]outpost.Hub{one, two, {Name: "other", SendEvents: true}}, got.Hubs()); diff != "" {
		t.Errorf("Hubs, the last without an entry in the file (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]outpost.Secret{"one": "p1", "two": "p2", "other": "p3"},
		got.Passwords()); diff != "" {
		t.Errorf("Passwords (-want +got):\n%s", diff)
	}
}

// Variables of the Python outpost that have no effect here are named once, at the start, with what replaces them.
func TestIgnoredVariablesAreNamedOnce(t *testing.T) {
	names := []string{
		"GUNICORN_CONFIG_FILE", "GUNICORN_MAX_REQUESTS", "GUNICORN_MAX_REQUESTS_JITTER", "GUNICORN_PROCESSES",
		"GUNICORN_SSL_CRT", "GUNICORN_SSL_KEY", "GUNICORN_THREADS", "GUNICORN_TIMEOUT",
		"JUPYTERHUB_CLEANUP_K8S_CHECK", "JUPYTERHUB_CLEANUP_NAMESPACE", "LOGGER_NAME", "LOGGING_CONFIG_PATH",
		"SSHD_LOG_PATH",
	}
	env := map[string]string{}
	for _, name := range names {
		env[name] = "/planted-value"
	}
	got, err := config.FromEnv(environment(env))
	if err != nil {
		t.Fatal(err)
	}
	var warned []string
	for _, w := range got.Warnings {
		warned = append(warned, w.Name)
		if !strings.HasPrefix(w.Message, "has no effect: ") || strings.Contains(w.Message, "planted") {
			t.Errorf("%s: %s", w.Name, w.Message)
		}
	}
	if diff := cmp.Diff(names, warned); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
}

// Names and passwords are paired by position, so no hub gets another one's password (protocol 1.4).
func TestEmptyEntriesOfLoginsKeepTheirPlace(t *testing.T) {
	for _, c := range []struct {
		name, usernames, passwords string
		want                       []config.User
		warnings                   int
	}{
		{"all there", "a;b", "1;2", []config.User{{Name: "a", Password: "1"}, {Name: "b", Password: "2"}}, 0},
		{
			"a password missing", "a;b;c", "p1;;p3",
			[]config.User{{Name: "a", Password: "p1"}, {Name: "c", Password: "p3"}},
			1,
		},
		{
			"a name missing", "a;;c", "p1;p2;p3",
			[]config.User{{Name: "a", Password: "p1"}, {Name: "c", Password: "p3"}},
			1,
		},
		{"both missing", "a;;c", "p1;;p3", []config.User{{Name: "a", Password: "p1"}, {Name: "c", Password: "p3"}}, 0},
		{"semicolon at the end", "a;", "p1;", []config.User{{Name: "a", Password: "p1"}}, 0},
		{"too few passwords", "a;b", "p1", []config.User{{Name: "a", Password: "p1"}}, 1},
		{"too many passwords", "a", "p1;p2", []config.User{{Name: "a", Password: "p1"}}, 1},
		{"line end of a file", "a\n", "p1\r\n", []config.User{{Name: "a", Password: "p1"}}, 0},
		{"blanks belong to a password", "a", " p1 ", []config.User{{Name: "a", Password: " p1 "}}, 0},
		{"nothing", "", "", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, warnings := config.PairUsers(c.usernames, c.passwords)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("users (-want +got):\n%s", diff)
			}
			if len(warnings) != c.warnings {
				t.Errorf("got warnings %v, want %d", warnings, c.warnings)
			}
		})
	}
}

func TestUsersOfTheDirectoryWinAndAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("usernames", "hub\n")
	write("passwords", "first\n")
	c, err := config.FromEnv(environment(map[string]string{"OUTPOST_USERS_DIR": dir}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]config.User{{Name: "hub", Password: "first"}}, c.Users); diff != "" {
		t.Errorf("at start (-want +got):\n%s", diff)
	}
	write("passwords", "second\n")
	again, err := c.ReadUsers()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]config.User{{Name: "hub", Password: "second"}}, again.Users); diff != "" {
		t.Errorf("read again (-want +got):\n%s", diff)
	}
	write("usernames", "")
	if _, err := c.ReadUsers(); err == nil {
		t.Error("an emptied file was accepted")
	}
	write("usernames", "hub;without-a-password")
	if again, err := c.ReadUsers(); err != nil || len(again.Users) != 1 || len(again.Warnings) != 1 {
		t.Errorf("one hub without a password: %v, %v, %v", again.Users, again.Warnings, err)
	}
	if err := os.Remove(filepath.Join(c.UsersDir, "passwords")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadUsers(); err == nil {
		t.Error("usernames without passwords were accepted")
	}
	c.UsersDir = "/nonexistent"
	if _, err := c.ReadUsers(); err == nil {
		t.Error("files that are gone were accepted")
	}
}

func TestParseFileTellsPythonFromYAML(t *testing.T) {
	for _, c := range []struct {
		name, text string
		python     bool
	}{
		{"options", "c.JupyterHubOutpost.spawner_class = KubeSpawner", true},
		{"import and a function", "import os\n\ndef hook(spawner):\n    return {1: 2}\n", true},
		{
			"a script inside YAML",
			"spawner:\n  cmd:\n  - python3\n  - -c\n  - |\n    import os\n    def f(): pass\n", false,
		},
		{"empty", "", false},
		{"a comment", "# c.X = 1\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, problems := config.ParseFile("config.yaml", []byte(c.text), os.ReadFile)
			if got := strings.Contains(problems.Error(), "is Python code"); got != c.python {
				t.Errorf("taken for Python: %v, want %v (%v)", got, c.python, problems)
			}
			if !c.python && len(problems) != 0 {
				t.Errorf("refused: %v", problems)
			}
		})
	}
}

func TestParseFileRefusesKeysTwice(t *testing.T) {
	_, problems := config.ParseFile("config.yaml", []byte("spawner: {uid: 1}\nspawner: {uid: 2}\n"), nil)
	if len(problems) != 1 || !strings.Contains(problems[0].Message, `key "spawner" already set in map`) {
		t.Errorf("got %v", problems)
	}
}

// JSON has no number without an end; it is named, like every other value of a wrong kind.
func TestParseFileNamesWhatIsNoNumber(t *testing.T) {
	_, problems := config.ParseFile("f", []byte(`
spawner:
  mem_limit: .inf
  volumes: [{sizeLimit: -.Inf}, {a: .NaN}]
  cpu_limit: ".inf"
globalMaxPerUser: +.inf
`), nil)
	var got []string
	for _, p := range problems {
		got = append(got, p.Error())
	}
	const must = ": must be a finite number"
	want := []string{
		"f: spawner.mem_limit" + must, "f: spawner.volumes[0].sizeLimit" + must, "f: spawner.volumes[1].a" + must,
		"f: globalMaxPerUser" + must,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A number that YAML has rounded is not quoted.
func TestParseFileQuotesNumbersAsTheyAre(t *testing.T) {
	for value, want := range map[string]string{
		"1.5":                    "not the number 1.5",
		"99999999999999999999":   "not a number of that size",
		"-99999999999999999999":  "not a number of that size",
		"999999999999999999e999": "not a string",
	} {
		for key, must := range map[string]string{
			"globalMaxPerUser":   "must be a whole number, ",
			"unschedulableGrace": "must be a whole number of seconds from 1 to 31536000, ",
		} {
			_, problems := config.ParseFile("f", []byte(key+": "+value), nil)
			if len(problems) != 1 || problems[0].Message != must+want {
				t.Errorf("%s: %s: %v, want %s", key, value, problems, must+want)
			}
		}
	}
}

func TestParseFileRefusesWhatWouldBeNoLimit(t *testing.T) {
	for text, want := range map[string]string{
		"spawner: {}\n---\nglobalMaxPerUser: 1\n": "has a second document after ---, which nothing would read",
		"---\n---\nglobalMaxPerUser: 1\n":         "has a second document after ---, which nothing would read",
		"hubs: {h: {allowedImages: []}}":          "is empty; leave the key out, or write its value",
		"hubs: {h: {allowedImages: }}":            "is empty; leave the key out, or write its value",
		"hubs: {h: {allowedRegistries: []}}":      "is empty; leave the key out, or write its value",
		"hubs: {h: {allowedGroups: []}}":          "is empty; leave the key out, or write its value",
		"hubs: {h: {allowedGroups: }}":            "is empty; leave the key out, or write its value",
		"hubs: {h: {allowedGroups: staff}}":       "must be a list of names of groups, at least one",
		"hubs: {h: {allowedGroups: [a, ~]}}":      "must be a list of names of groups, at least one",
		"hubs: {h: {deniedText: 7}}":              "must be a sentence",
		"globalMaxPerUser:":                       "is empty; leave the key out, or write its value",
		"perHub: {maxServers: }":                  "is empty; leave the key out, or write its value",
		"hubs: {h: {maxServers: }}":               "is empty; leave the key out, or write its value",
		"perHub: 5":                               "must be a mapping, not the number 5",
		"perHub: {max: 5}":                        "is not a setting; there are maxServers",
		"perHub: {maxServers: many}":              "must be a whole number, not a string",
	} {
		_, problems := config.ParseFile("config.yaml", []byte(text), nil)
		if len(problems) != 1 || problems[0].Message != want {
			t.Errorf("%q: got %v", text, problems)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte("spawner: {image: a, cpu_limit: 1.5}\nhubs: {h: {allowedOptions: [image]}}"))
	f.Add([]byte("c.JupyterHubOutpost.x = 1"))
	f.Add([]byte("hubs: {h: {servers: {url: 1, tokenFile: {}}}}"))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte("- 1\n- ~"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, problems := config.ParseFile("config.yaml", text, os.ReadFile)
		again, problemsAgain := config.ParseFile("config.yaml", text, os.ReadFile)
		if diff := cmp.Diff(file, again); diff != "" {
			t.Errorf("two readings differ:\n%s", diff)
		}
		if diff := cmp.Diff(problems, problemsAgain); diff != "" {
			t.Errorf("two readings find other problems:\n%s", diff)
		}
	})
}

func FuzzPairUsers(f *testing.F) {
	f.Add("a;b;c", "p1;;p3")
	f.Add(";;", "\n")
	f.Fuzz(func(t *testing.T, usernames, passwords string) {
		names := strings.Split(strings.TrimRight(usernames, "\r\n"), ";")
		words := strings.Split(strings.TrimRight(passwords, "\r\n"), ";")
		users, _ := config.PairUsers(usernames, passwords)
		for _, u := range users {
			found := false
			for i := range min(len(names), len(words)) {
				found = found || names[i] == u.Name && words[i] == u.Password.Reveal()
			}
			if !found {
				t.Errorf("user %q has a password that is not in its place", u.Name)
			}
		}
	})
}
