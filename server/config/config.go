package config

import (
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is every setting of the process. The zero value is not usable; start from [Default].
type Config struct {
	Listen        string // OUTPOST_LISTEN: address of the HTTP API, ":8080"
	MetricsListen string // OUTPOST_METRICS_LISTEN: address of metrics and probes, ":8081"
	SSHListen     string // OUTPOST_SSH_LISTEN: address of the SSH server, ":2222"; empty for none
	TLSCertFile   string // OUTPOST_TLS_CERT_FILE: PEM chain; given, Listen speaks TLS only
	TLSKeyFile    string // OUTPOST_TLS_KEY_FILE: PEM private key of that certificate
	BasePath      string // OUTPOST_BASE_PATH: "/outpost"; routes answer with it and without

	HostKeysDir       string // OUTPOST_HOST_KEYS_DIR: every file ssh_host_*_key in it is a host key
	AuthorizedKeysDir string // OUTPOST_AUTHORIZED_KEYS_DIR: a file for each hub, or one named authorized_keys
	UsersDir          string // OUTPOST_USERS_DIR: files usernames and passwords, instead of the variables
	HubCAFile         string // OUTPOST_HUB_CA_FILE: PEM CAs of hubs, beside the public ones; may be absent

	ConfigFile  string // OUTPOST_CONFIG_FILE: the YAML file; absent for none if nobody named it
	FlavorsPath string // OUTPOST_FLAVORS_PATH: the flavors file; absent for no flavors
	CreditsPath string // OUTPOST_CREDITS_PATH: the credits file; absent for no credits

	Namespace    string        // OUTPOST_NAMESPACE: where pods are made unless spawner.namespace says otherwise
	Lease        string        // OUTPOST_LEASE: Lease by which several processes choose a leader; empty for one process
	StartTimeout time.Duration // OUTPOST_START_TIMEOUT: how long a server may take to become ready, whole seconds
	LogLevel     slog.Level    // OUTPOST_LOG_LEVEL
	LogFormat    string        // OUTPOST_LOG_FORMAT: "json" or "text"

	CryptKeys []Secret // OUTPOST_CRYPT_KEY: Fernet keys; the first seals, all open
	Rekey     bool     // OUTPOST_REKEY: seal all rows anew with the first key before serving
	Users     []User   // usernames, passwords: the hubs
	Database  Database // SQL_*

	CheckEndDates    bool          // CHECK_ENDDATES: stop services whose flavor's run time is over
	EndDatesInterval time.Duration // JUPYTERHUB_CHECK_ENDDATES_SLEEP_TIMER
	CheckServices    bool          // CHECK_SERVICES: stop services that their hub has forgotten
	CleanupInterval  time.Duration // JUPYTERHUB_CLEANUP_SLEEP_TIMER

	File // what the YAML file says

	// Warnings are settings that have no effect or are likely mistakes; the process logs them once.
	Warnings []Problem
}

// User is a hub's login: its name and its password.
type User struct {
	Name     string
	Password Secret
}

// Database says where services are kept.
type Database struct {
	Type     string // SQL_TYPE: "sqlite" or "postgresql"
	Path     string // SQL_DATABASE_URL: path of the SQLite file
	Host     string // SQL_HOST
	Port     int    // SQL_PORT
	User     string // SQL_USER
	Password Secret // SQL_PASSWORD
	Name     string // SQL_DATABASE
}

// The kinds of databases.
const (
	SQLite     = "sqlite"
	PostgreSQL = "postgresql"
)

// Default returns the settings of a process that is told nothing. It has no hubs and no key, so it is not valid.
func Default() Config {
	return Config{
		Listen:            ":8080",
		MetricsListen:     ":8081",
		SSHListen:         ":2222",
		HostKeysDir:       "/mnt/host_keys",
		AuthorizedKeysDir: "/mnt/authorized_keys",
		UsersDir:          "/mnt/outpost_users",
		HubCAFile:         "/mnt/hub_ca/ca.crt",
		ConfigFile:        "/mnt/outpost_config/config.yaml",
		FlavorsPath:       "/mnt/flavors/flavors.yaml",
		CreditsPath:       "/mnt/credits/credits.yaml",
		StartTimeout:      600 * time.Second,
		LogFormat:         "json",
		Database:          Database{Type: SQLite, Path: "/var/lib/outpost/outpost.sqlite", Port: 5432},
		CheckEndDates:     true,
		EndDatesInterval:  time.Minute,
		CheckServices:     true,
		CleanupInterval:   30 * time.Minute,
		File:              defaultFile(),
	}
}

// Validate returns everything that is wrong as [Problems], by the names of the variables, or nil.
func (c *Config) Validate() error {
	var p Problems
	address := func(name, value string, may bool) {
		if value == "" && may {
			return
		}
		if _, port, err := net.SplitHostPort(value); err != nil {
			p.addf(name, "%q is not an address such as :8080", value)
		} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			p.addf(name, "port %q is not a number from 0 to 65535", port)
		}
	}
	address("OUTPOST_LISTEN", c.Listen, false)
	address("OUTPOST_METRICS_LISTEN", c.MetricsListen, true)
	address("OUTPOST_SSH_LISTEN", c.SSHListen, true)
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		missing := "OUTPOST_TLS_KEY_FILE"
		if c.TLSCertFile == "" {
			missing = "OUTPOST_TLS_CERT_FILE"
		}
		p.addf(missing, "is empty, but certificate and key are needed together")
	}
	if b := c.BasePath; b != "" && (!strings.HasPrefix(b, "/") || strings.HasSuffix(b, "/") || strings.Contains(b, "//")) {
		p.addf("OUTPOST_BASE_PATH", "%q is not a path such as /outpost: a slash in front, none at the end", b)
	}
	if c.LogFormat != "json" && c.LogFormat != "text" {
		p.addf("OUTPOST_LOG_FORMAT", "%q is neither json nor text", c.LogFormat)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"OUTPOST_START_TIMEOUT", c.StartTimeout},
		{"JUPYTERHUB_CHECK_ENDDATES_SLEEP_TIMER", c.EndDatesInterval},
		{"JUPYTERHUB_CLEANUP_SLEEP_TIMER", c.CleanupInterval},
	} {
		if d.value < time.Second {
			p.addf(d.name, "%v is less than a second", d.value)
		}
	}
	if len(c.CryptKeys) == 0 {
		p.addf("OUTPOST_CRYPT_KEY", "is empty; it holds the key that seals the database: 32 random bytes in URL-safe Base64 (openssl rand -base64 32 | tr +/ -_)")
	}
	p = append(p, c.validateUsers()...)
	p = append(p, c.Database.validate()...)
	p = append(p, c.File.validate(c.ConfigFile, c.Users)...)
	return p.orNil()
}

// validateUsers checks the hubs' logins.
func (c *Config) validateUsers() (p Problems) {
	if len(c.Users) == 0 {
		p.addf("usernames", "is empty; it holds the names of the hubs that may ask, separated by semicolons, as passwords holds their passwords")
	}
	seen := map[string]bool{}
	for _, u := range c.Users {
		switch {
		case seen[u.Name]:
			p.addf("usernames", "%q is there twice", u.Name)
		case strings.ContainsAny(u.Name, ":") || strings.ContainsFunc(u.Name, isControl):
			p.addf("usernames", "%q has a colon or a control character, so it can never log in", u.Name)
		case strings.ContainsFunc(u.Password.Reveal(), isControl):
			p.addf("passwords", "the password of %q has a control character, so it can never log in", u.Name)
		}
		seen[u.Name] = true
	}
	return p
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// validate checks what each kind of database needs.
func (d Database) validate() (p Problems) {
	switch d.Type {
	case SQLite:
		if d.Path == "" {
			p.addf("SQL_DATABASE_URL", "is empty; it is the path of the SQLite file")
		} else if strings.Contains(d.Path, "://") {
			p.addf("SQL_DATABASE_URL", "%q is a URL; it is the path of the SQLite file, and PostgreSQL is named by SQL_TYPE, SQL_HOST, SQL_USER, SQL_PASSWORD and SQL_DATABASE", d.Path)
		} else if !filepath.IsAbs(d.Path) {
			p.addf("SQL_DATABASE_URL", "%q is not an absolute path", d.Path)
		}
	case PostgreSQL:
		for _, f := range []struct{ name, value string }{{"SQL_HOST", d.Host}, {"SQL_USER", d.User}, {"SQL_DATABASE", d.Name}} {
			if f.value == "" {
				p.addf(f.name, "is empty, but SQL_TYPE is postgresql")
			}
		}
		if d.Port < 1 || d.Port > 65535 {
			p.addf("SQL_PORT", "%d is not a number from 1 to 65535", d.Port)
		}
	default:
		p.addf("SQL_TYPE", "%q is none of sqlite, sqlite+pysqlite, postgresql", d.Type)
	}
	return p
}

// Hubs returns the names of the hubs, in the order of usernames.
func (c *Config) Hubs() []string {
	names := make([]string, len(c.Users))
	for i, u := range c.Users {
		names[i] = u.Name
	}
	return names
}

// Policy returns what a hub may ask for: its entry in the file, or the defaults.
func (c *Config) Policy(hub string) HubPolicy {
	if p, ok := c.File.Hubs[hub]; ok {
		return p
	}
	return defaultPolicy()
}

// validate checks the file's values, which are of the right types already.
func (f File) validate(path string, users []User) (p Problems) {
	at := func(key string) string { return filepath.Base(path) + ": " + key }
	if f.GlobalMaxPerUser < -1 {
		p.addf(at("globalMaxPerUser"), "%d is neither -1 for no limit nor a number of servers", f.GlobalMaxPerUser)
	}
	for _, hub := range sortedKeys(f.Hubs) {
		if !slices.ContainsFunc(users, func(u User) bool { return u.Name == hub }) {
			names := make([]string, len(users))
			for i, u := range users {
				names[i] = u.Name
			}
			p.addf(at("hubs."+hub), "no hub of this name is in usernames%s", suggestion(hub, names))
		}
		for i, prefix := range f.Hubs[hub].CallbackURLs {
			if !absoluteURL(prefix) {
				p.addf(at("hubs."+hub+".callbackUrls["+strconv.Itoa(i)+"]"), "%q is not a URL such as https://hub.example.org/hub/api", prefix)
			}
		}
		for key, call := range map[string]*Call{"servers": f.Hubs[hub].Servers, "tunnelRestart": f.Hubs[hub].TunnelRestart} {
			if call != nil && !absoluteURL(call.URL) {
				p.addf(at("hubs."+hub+"."+key+".url"), "%q is not a URL such as https://hub.example.org/hub/api/servers", call.URL)
			}
		}
	}
	return p
}

// absoluteURL tells whether a text is a URL of a web server without a login, query or fragment in it.
func absoluteURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
