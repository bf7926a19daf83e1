package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
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

	DialOutURLs  []string       // OUTPOST_DIAL_OUT_URLS: of the hubs' tunnels to connect to
	DialOutProxy outpost.Secret // OUTPOST_DIAL_OUT_PROXY: URL of an HTTP proxy on the way; may hold a password

	ConfigFile  string // OUTPOST_CONFIG_FILE: the YAML file; absent for none if nobody named it
	FlavorsPath string // OUTPOST_FLAVORS_PATH: the flavors file; absent for no flavors if nobody named it
	CreditsPath string // OUTPOST_CREDITS_PATH: the credits file; absent for no credits if nobody named it

	Namespace     string        // OUTPOST_NAMESPACE: where pods are made unless spawner.namespace says otherwise
	NodeAddresses string        // OUTPOST_NODE_ADDRESSES: the node's, separated by commas; no hub may reach them by SSH
	OwnObjects    []string      // OUTPOST_OWN_OBJECTS: what the outpost's own pod uses, "secrets/outpost-users"
	Lease         string        // OUTPOST_LEASE: Lease that elects a leader among several processes; empty for one
	StartTimeout  time.Duration // OUTPOST_START_TIMEOUT: how long a server may take to become ready, whole seconds
	LogLevel      slog.Level    // OUTPOST_LOG_LEVEL
	LogFormat     string        // OUTPOST_LOG_FORMAT: "json" or "text"
	AuditFile     string        // OUTPOST_AUDIT_FILE: where audit lines go, "-" for standard output; empty for nowhere
	AuditNames    string        // OUTPOST_AUDIT_NAMES: "keep", "hash" or "omit"

	CryptKeys []outpost.Secret // OUTPOST_CRYPT_KEY: Fernet keys; the first seals, all open
	Rekey     bool             // OUTPOST_REKEY: seal all rows anew with the first key before serving
	MovedFrom string           // OUTPOST_MOVED_FROM: uid of the namespace whose rows in the database go to this outpost
	Users     []User           // usernames, passwords: the hubs
	Database  Database         // SQL_*

	CheckEndDates    bool          // CHECK_ENDDATES: stop services whose flavor's run time is over
	EndDatesInterval time.Duration // JUPYTERHUB_CHECK_ENDDATES_SLEEP_TIMER
	CheckServices    bool          // CHECK_SERVICES: stop services that their hub no longer knows
	CleanupInterval  time.Duration // JUPYTERHUB_CLEANUP_SLEEP_TIMER

	File // what the YAML file says

	// Warnings are settings that have no effect or are likely mistakes; the process logs them once.
	Warnings []Problem
}

// User is a hub's login: its name and its password.
type User struct {
	Name     string
	Password outpost.Secret
}

// Database says where services are kept.
type Database struct {
	Type     string         // SQL_TYPE: "sqlite" or "postgresql"
	Path     string         // SQL_DATABASE_URL: path of the SQLite file
	Host     string         // SQL_HOST
	Port     int            // SQL_PORT
	User     string         // SQL_USER
	Password outpost.Secret // SQL_PASSWORD
	Name     string         // SQL_DATABASE
}

// The kinds of databases.
const (
	SQLite     = "sqlite"
	PostgreSQL = "postgresql"
)

// Default returns the settings without any variable or file. They have no hubs and no key, so they are not valid.
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
		AuditNames:        "keep",
		Database:          Database{Type: SQLite, Path: "/var/lib/outpost/outpost.sqlite", Port: 5432},
		CheckEndDates:     true,
		EndDatesInterval:  time.Minute,
		CheckServices:     true,
		CleanupInterval:   30 * time.Minute,
		File:              defaultFile(),
	}
}

// ownResources are those of OUTPOST_OWN_OBJECTS: what a pod can read or run as.
var ownResources = []string{"configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts"}

// Validate returns everything that is wrong as [Problems], by the names of the variables, or nil.
func (c *Config) Validate() error {
	p := c.validateListeners()
	if c.LogFormat != "json" && c.LogFormat != "text" {
		p.addf("OUTPOST_LOG_FORMAT", "%q is neither json nor text", c.LogFormat)
	}
	if !slices.Contains([]string{"keep", "hash", "omit"}, c.AuditNames) {
		p.addf("OUTPOST_AUDIT_NAMES", "%q is neither keep nor hash nor omit", c.AuditNames)
	}
	for _, object := range c.OwnObjects {
		resource, name, _ := strings.Cut(object, "/")
		if !slices.Contains(ownResources, resource) || name == "" {
			p.addf("OUTPOST_OWN_OBJECTS", "%q is not an object such as secrets/outpost-users; it may be one of %s",
				object, strings.Join(ownResources, ", "))
		}
	}
	p.atLeastASecond("OUTPOST_START_TIMEOUT", c.StartTimeout)
	p.atLeastASecond("JUPYTERHUB_CHECK_ENDDATES_SLEEP_TIMER", c.EndDatesInterval)
	p.atLeastASecond("JUPYTERHUB_CLEANUP_SLEEP_TIMER", c.CleanupInterval)
	if len(c.CryptKeys) == 0 {
		p.addf("OUTPOST_CRYPT_KEY", "is empty; set the key that seals the database: "+
			"32 random bytes in URL-safe Base64 (openssl rand -base64 32 | tr +/ -_)")
	}
	p = append(p, c.validateUsers()...)
	p = append(p, c.Database.validate()...)
	p = append(p, c.File.Check(filepath.Base(c.ConfigFile), c.HubNames())...)
	return p.orNil()
}

// validateListeners checks what the API, SSH and metrics answer on.
func (c *Config) validateListeners() (p Problems) {
	p.address("OUTPOST_LISTEN", c.Listen)
	if c.MetricsListen != "" {
		p.address("OUTPOST_METRICS_LISTEN", c.MetricsListen)
	}
	if c.SSHListen != "" {
		p.address("OUTPOST_SSH_LISTEN", c.SSHListen)
	}
	if _, err := c.Nodes(); err != nil {
		p.addf("OUTPOST_NODE_ADDRESSES", "%v", err)
	}
	c.validateDialOut(&p)
	const together = "is empty, but certificate and key are needed together"
	if c.TLSCertFile == "" && c.TLSKeyFile != "" {
		p.addf("OUTPOST_TLS_CERT_FILE", together)
	}
	if c.TLSCertFile != "" && c.TLSKeyFile == "" {
		p.addf("OUTPOST_TLS_KEY_FILE", together)
	}
	b := c.BasePath
	if b != "" && (!strings.HasPrefix(b, "/") || strings.HasSuffix(b, "/") || strings.Contains(b, "//")) {
		p.addf("OUTPOST_BASE_PATH",
			"%q is not a path such as /outpost: it must begin with a slash and not end with one", b)
	}
	return p
}

// validateDialOut checks where hubs' tunnels are.
func (c *Config) validateDialOut(p *Problems) {
	const such = "such as https://hub.example.org/services/outposts/remote"
	for i, address := range c.DialOutURLs {
		u, err := url.Parse(address)
		switch {
		case err != nil || strings.Contains(address, "@"): // it may hold a password
			p.addf("OUTPOST_DIAL_OUT_URLS", "is not a URL %s", such)
		case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			p.addf("OUTPOST_DIAL_OUT_URLS", "%q is not a URL %s", address, such)
		case u.RawQuery != "" || u.Fragment != "":
			p.addf("OUTPOST_DIAL_OUT_URLS", "%q may have neither a query nor a fragment", address)
		case u.Path == "" || strings.HasSuffix(u.Path, "/"):
			p.addf("OUTPOST_DIAL_OUT_URLS", "%q does not end in the name of the system, %s", address, such)
		case slices.Contains(c.DialOutURLs[:i], address):
			p.addf("OUTPOST_DIAL_OUT_URLS", "%q is listed twice", address)
		}
	}
	if u, err := url.Parse(c.DialOutProxy.Reveal()); c.DialOutProxy != "" &&
		(err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		p.addf("OUTPOST_DIAL_OUT_PROXY", "is not a URL such as http://proxy.example.org:3128")
	}
	if c.DialOutProxy != "" && len(c.DialOutURLs) == 0 {
		p.addf("OUTPOST_DIAL_OUT_PROXY", "has no effect without OUTPOST_DIAL_OUT_URLS")
	}
}

// address checks the address of a listener.
func (p *Problems) address(name, value string) {
	if _, port, err := net.SplitHostPort(value); err != nil {
		p.addf(name, "%q is not an address such as :8080", value)
	} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		p.addf(name, "port %q is not a number from 0 to 65535", port)
	}
}

func (p *Problems) atLeastASecond(name string, d time.Duration) {
	if d < time.Second {
		p.addf(name, "%v is less than a second", d)
	}
}

// validateUsers checks the hubs' logins.
func (c *Config) validateUsers() (p Problems) {
	if len(c.Users) == 0 {
		p.addf("usernames", "is empty; set the names of the hubs that are allowed to use this outpost, "+
			"separated by semicolons, and their passwords in the same order in passwords")
	}
	seen := map[string]bool{}
	for _, u := range c.Users {
		switch {
		case seen[u.Name]:
			p.addf("usernames", "%q is listed twice", u.Name)
		case strings.ContainsAny(u.Name, ":") || strings.ContainsFunc(u.Name, isControl):
			p.addf("usernames", "%q has a colon or a control character, so it can never log in", u.Name)
		case strings.TrimSpace(u.Name) != u.Name:
			p.addf("usernames", "%q begins or ends with a blank; write only semicolons between the names", u.Name)
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
			p.addf("SQL_DATABASE_URL", "is empty; set the path of the SQLite file")
		} else if strings.Contains(d.Path, "://") {
			// Its value is not shown: the URL of a database may hold a password.
			p.addf("SQL_DATABASE_URL", "is a URL; set the path of the SQLite file, "+
				"or for PostgreSQL SQL_TYPE, SQL_HOST, SQL_USER, SQL_PASSWORD and SQL_DATABASE")
		} else if !filepath.IsAbs(d.Path) {
			p.addf("SQL_DATABASE_URL", "%q is not an absolute path", d.Path)
		}
	case PostgreSQL:
		for _, f := range [][2]string{{"SQL_HOST", d.Host}, {"SQL_USER", d.User}, {"SQL_DATABASE", d.Name}} {
			if f[1] == "" {
				p.addf(f[0], "is empty, but SQL_TYPE is postgresql")
			}
		}
		if d.Port < 1 || d.Port > 65535 {
			p.addf("SQL_PORT", "%d is not a number from 1 to 65535", d.Port)
		}
	default:
		p.addf("SQL_TYPE", "%q is not one of sqlite, sqlite+pysqlite, postgresql", d.Type)
	}
	return p
}

// HubNames returns the names of the hubs, in the order of usernames.
func (c *Config) HubNames() []string {
	names := make([]string, len(c.Users))
	for i, u := range c.Users {
		names[i] = u.Name
	}
	return names
}

// Nodes returns the addresses of the node that this process runs on, as far as they are known.
func (c *Config) Nodes() (addresses []netip.Addr, err error) {
	for one := range strings.SplitSeq(c.NodeAddresses, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		address, err := netip.ParseAddr(one)
		if err != nil {
			return nil, fmt.Errorf("%q is not an IP address", one)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// Hubs returns the hubs with what each may ask for, in the order of usernames: its entry in the file, or the defaults.
func (c *Config) Hubs() []outpost.Hub {
	hubs := make([]outpost.Hub, len(c.Users))
	for i, u := range c.Users {
		hubs[i] = c.File.Of(u.Name).Hub
	}
	return hubs
}

// Passwords returns the hubs' passwords by their names.
func (c *Config) Passwords() map[string]outpost.Secret {
	passwords := make(map[string]outpost.Secret, len(c.Users))
	for _, u := range c.Users {
		passwords[u.Name] = u.Password
	}
	return passwords
}
