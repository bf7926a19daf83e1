package config

import (
	"errors"
	"slices"
	"strings"
)

// Variable is one environment variable.
type Variable struct {
	Name    string
	Default string // as it would be typed; empty for none
	Help    string // one sentence
	// Chart tells that the chart sets it; the others are given by extraEnvVars or extraEnvVarsSecrets.
	Chart bool
	// field returns the setting as one of the types that assign knows; nil for one that is read with others.
	field func(c *Config) any
}

// Variables returns the one table of names, in the order of the help text. Those without OUTPOST_ in front are the
// Python server's (version 2.3.0) and mean what they mean there.
func Variables() []Variable {
	all := slices.Clone(variables)
	d := Default()
	for i := range all {
		if all[i].field != nil {
			all[i].Default = show(all[i].field(&d))
		}
	}
	return all
}

var variables = []Variable{
	{Name: "OUTPOST_CRYPT_KEY", Help: "Fernet keys, separated by blanks or commas: the first seals the database, all open it.", Chart: true, field: func(c *Config) any { return &c.CryptKeys }},
	{Name: "OUTPOST_REKEY", Help: "Seal all rows anew with the first key before serving.", Chart: true, field: func(c *Config) any { return &c.Rekey }},
	{Name: "usernames", Help: "Names of the hubs that may ask, separated by semicolons; used if OUTPOST_USERS_DIR has none."},
	{Name: "passwords", Help: "Their passwords, in the same order."},
	{Name: "OUTPOST_USERS_DIR", Help: "Directory with files usernames and passwords, read again when they change.", Chart: true, field: func(c *Config) any { return &c.UsersDir }},
	{Name: "OUTPOST_CONFIG_FILE", Help: "YAML file: spawner options and what each hub may ask for.", Chart: true, field: func(c *Config) any { return &c.ConfigFile }},
	{Name: "OUTPOST_FLAVORS_PATH", Help: "Flavors file, read again when it changes.", Chart: true, field: func(c *Config) any { return &c.FlavorsPath }},
	{Name: "OUTPOST_CREDITS_PATH", Help: "Credits file, read again when it changes.", Chart: true, field: func(c *Config) any { return &c.CreditsPath }},
	{Name: "OUTPOST_LISTEN", Help: "Address of the HTTP API.", Chart: true, field: func(c *Config) any { return &c.Listen }},
	{Name: "OUTPOST_TLS_CERT_FILE", Help: "Certificate chain; given, the API speaks TLS only. Read again when it changes.", Chart: true, field: func(c *Config) any { return &c.TLSCertFile }},
	{Name: "OUTPOST_TLS_KEY_FILE", Help: "Private key of the certificate.", Chart: true, field: func(c *Config) any { return &c.TLSKeyFile }},
	{Name: "OUTPOST_BASE_PATH", Help: "Path before all routes, such as /outpost; they answer without it too.", Chart: true, field: func(c *Config) any { return &c.BasePath }},
	{Name: "OUTPOST_METRICS_LISTEN", Help: "Address of /healthz, /readyz and /metrics; empty for none.", Chart: true, field: func(c *Config) any { return &c.MetricsListen }},
	{Name: "OUTPOST_SSH_LISTEN", Help: "Address of the SSH server; empty for none.", Chart: true, field: func(c *Config) any { return &c.SSHListen }},
	{Name: "OUTPOST_HOST_KEYS_DIR", Help: "Directory with the SSH host keys, files ssh_host_*_key; if it has none and can be written, one is made.", Chart: true, field: func(c *Config) any { return &c.HostKeysDir }},
	{Name: "OUTPOST_AUTHORIZED_KEYS_DIR", Help: "Directory with the hubs' public keys: a file for each hub, or one named authorized_keys. Read again when it changes.", Chart: true, field: func(c *Config) any { return &c.AuthorizedKeysDir }},
	{Name: "OUTPOST_HUB_CA_FILE", Help: "CAs of hubs that the public ones do not vouch for.", Chart: true, field: func(c *Config) any { return &c.HubCAFile }},
	{Name: "OUTPOST_NAMESPACE", Help: "Namespace of the pods; empty for the one that this process runs in.", Chart: true, field: func(c *Config) any { return &c.Namespace }},
	{Name: "OUTPOST_LEASE", Help: "Lease by which several processes on one PostgreSQL choose the one that does periodic work; empty for a single process.", Chart: true, field: func(c *Config) any { return &c.Lease }},
	{Name: "OUTPOST_START_TIMEOUT", Help: "Seconds that a server may take to become ready, unless spawner.start_timeout says otherwise.", Chart: true, field: func(c *Config) any { return &c.StartTimeout }},
	{Name: "OUTPOST_LOG_LEVEL", Help: "debug, info, warn or error.", Chart: true, field: func(c *Config) any { return &c.LogLevel }},
	{Name: "OUTPOST_LOG_FORMAT", Help: "json or text.", Chart: true, field: func(c *Config) any { return &c.LogFormat }},
	{Name: "SQL_TYPE", Help: "sqlite (also sqlite+pysqlite) or postgresql.", field: func(c *Config) any { return &c.Database.Type }},
	{Name: "SQL_DATABASE_URL", Help: "Path of the SQLite file.", field: func(c *Config) any { return &c.Database.Path }},
	{Name: "SQL_HOST", Help: "Host of PostgreSQL.", field: func(c *Config) any { return &c.Database.Host }},
	{Name: "SQL_PORT", Help: "Port of PostgreSQL.", field: func(c *Config) any { return &c.Database.Port }},
	{Name: "SQL_USER", Help: "User of PostgreSQL.", field: func(c *Config) any { return &c.Database.User }},
	{Name: "SQL_PASSWORD", Help: "Password of PostgreSQL.", field: func(c *Config) any { return &c.Database.Password }},
	{Name: "SQL_DATABASE", Help: "Database in PostgreSQL.", field: func(c *Config) any { return &c.Database.Name }},
	{Name: "CHECK_ENDDATES", Help: "Stop services whose flavor's run time is over.", field: func(c *Config) any { return &c.CheckEndDates }},
	{Name: "JUPYTERHUB_CHECK_ENDDATES_SLEEP_TIMER", Help: "Seconds between two looks at run times.", field: func(c *Config) any { return &c.EndDatesInterval }},
	{Name: "CHECK_SERVICES", Help: "Stop services that their hub has forgotten.", field: func(c *Config) any { return &c.CheckServices }},
	{Name: "JUPYTERHUB_CLEANUP_NAMES", Help: "Names of hubs to ask for their servers, separated by semicolons; as hubs.NAME.servers in the file."},
	{Name: "JUPYTERHUB_CLEANUP_URLS", Help: "Their URLs, such as https://hub.example.org/hub/api/servers."},
	{Name: "JUPYTERHUB_CLEANUP_TOKENS", Help: "Their tokens."},
	{Name: "JUPYTERHUB_CLEANUP_SLEEP_TIMER", Help: "Seconds between two such questions.", field: func(c *Config) any { return &c.CleanupInterval }},
}

// ignored are variables of the Python server that mean nothing here, and what replaces them.
var ignored = map[string]string{
	"LOGGING_CONFIG_PATH":          logsInstead,
	"LOGGER_NAME":                  logsInstead,
	"SSHD_LOG_PATH":                logsInstead,
	"GUNICORN_SSL_CRT":             "write OUTPOST_TLS_CERT_FILE",
	"GUNICORN_SSL_KEY":             "write OUTPOST_TLS_KEY_FILE",
	"GUNICORN_CONFIG_FILE":         "write OUTPOST_LISTEN for the address, OUTPOST_TLS_CERT_FILE and OUTPOST_TLS_KEY_FILE for TLS",
	"GUNICORN_PROCESSES":           oneProcess,
	"GUNICORN_THREADS":             oneProcess,
	"GUNICORN_TIMEOUT":             oneProcess,
	"GUNICORN_MAX_REQUESTS":        oneProcess,
	"GUNICORN_MAX_REQUESTS_JITTER": oneProcess,
	"JUPYTERHUB_CLEANUP_K8S_CHECK": podsAnyway,
	"JUPYTERHUB_CLEANUP_NAMESPACE": podsAnyway,
}

const (
	logsInstead = "logs are written to standard error; see OUTPOST_LOG_LEVEL and OUTPOST_LOG_FORMAT"
	oneProcess  = "one process answers all requests at once; for more of them see OUTPOST_LEASE"
	podsAnyway  = "pods without a service are found by their labels and removed in any case"
)

// mayBeEmpty are variables whose empty value switches something off; elsewhere empty means not given.
var mayBeEmpty = map[string]bool{"OUTPOST_SSH_LISTEN": true, "OUTPOST_METRICS_LISTEN": true}

// FromEnv reads all settings: the environment, the files it names, and the defaults for the rest. lookup is
// os.LookupEnv. The error is [Problems], all there are; a Config that is returned with one must not be used.
func FromEnv(lookup func(string) (string, bool)) (Config, error) {
	c := Default()
	var p Problems
	for _, v := range variables {
		if value, ok := lookup(v.Name); ok && v.field != nil && (value != "" || mayBeEmpty[v.Name]) {
			if wrong := assign(v.field(&c), value); wrong != "" {
				p.addf(v.Name, "%q is %s", value, wrong)
			}
		}
	}
	c.Database.Type = strings.TrimSuffix(c.Database.Type, "+pysqlite")
	for _, name := range sortedKeys(ignored) {
		if value, _ := lookup(name); value != "" {
			c.Warnings = append(c.Warnings, Problem{name, "has no effect: " + ignored[name]})
		}
	}
	named, _ := lookup("OUTPOST_CONFIG_FILE")
	file, wrong := readFile(c.ConfigFile, named == "" || named == Default().ConfigFile)
	c.File = file
	p = append(p, wrong...)
	users, warnings, err := readUsers(c.UsersDir, lookup)
	if err != nil {
		p.addf("OUTPOST_USERS_DIR", "%v", err)
	}
	c.Users = users
	c.Warnings = append(c.Warnings, warnings...)
	c.cleanup(lookup)
	if err := c.Validate(); err != nil {
		var more Problems
		errors.As(err, &more)
		p = append(p, more...)
	}
	return c, p.orNil()
}
