package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Variable is one environment variable.
type Variable struct {
	Name string
	Help string // one sentence
	// field points to the setting, of one of the types that assign knows; nil for one that is read with others.
	field any
}

// Chart reports whether the chart sets it; the others are given by extraEnvVars or extraEnvVarsSecrets.
func (v Variable) Chart() bool {
	return strings.HasPrefix(v.Name, "OUTPOST_")
}

// Default returns the default as it would be typed; empty for none.
func (v Variable) Default() string { return show(v.field) }

// Variables returns the one table of names, in the order of the help text. Those without OUTPOST_ in front are the
// Python server's (version 2.3.0) and mean what they mean there.
func Variables() []Variable {
	c := Default()
	return c.variables()
}

// variables is the table with the fields of c.
func (c *Config) variables() []Variable {
	return []Variable{
		{"OUTPOST_CRYPT_KEY", "Fernet keys, separated by blanks or commas; the first seals, all open.", &c.CryptKeys},
		{"OUTPOST_REKEY", "Seal all rows anew with the first key before serving.", &c.Rekey},
		{
			"OUTPOST_MOVED_FROM",
			"UID of the namespace of an outpost that is gone and whose database this one takes over.",
			&c.MovedFrom,
		},
		{"usernames", "Names of the hubs allowed to use this outpost, separated by semicolons.", nil},
		{"passwords", "Their passwords, in the same order; the files in OUTPOST_USERS_DIR win over both.", nil},
		{"OUTPOST_USERS_DIR", "Directory with files usernames and passwords; read again on change.", &c.UsersDir},
		{"OUTPOST_CONFIG_FILE", "YAML file: spawner options and what each hub may ask for.", &c.ConfigFile},
		{"OUTPOST_FLAVORS_PATH", "Flavors file; read again on change.", &c.FlavorsPath},
		{"OUTPOST_CREDITS_PATH", "Credits file; read again on change.", &c.CreditsPath},
		{"OUTPOST_LISTEN", "Address of the HTTP API.", &c.Listen},
		{"OUTPOST_TLS_CERT_FILE", "Certificate chain, for an API over TLS only; read again on change.", &c.TLSCertFile},
		{"OUTPOST_TLS_KEY_FILE", "Private key of the certificate.", &c.TLSKeyFile},
		{"OUTPOST_BASE_PATH", "Path before all routes, such as /outpost; they answer without it too.", &c.BasePath},
		{"OUTPOST_METRICS_LISTEN", "Address of /healthz, /readyz and /metrics; empty for none.", &c.MetricsListen},
		{"OUTPOST_SSH_LISTEN", "Address of the SSH server; empty for none.", &c.SSHListen},
		{"OUTPOST_HOST_KEYS_DIR", "Directory of SSH host keys, ssh_host_*_key; if none, one is made.", &c.HostKeysDir},
		{
			"OUTPOST_AUTHORIZED_KEYS_DIR",
			"Directory with public keys: a file for each hub, or one named authorized_keys; read again on change.",
			&c.AuthorizedKeysDir,
		},
		{"OUTPOST_HUB_CA_FILE", "PEM file with CAs for hubs that use no public CA.", &c.HubCAFile},
		{
			"OUTPOST_DIAL_OUT_URLS",
			"URLs of hubs' tunnels to connect to, each ending in this system's name there, separated by commas.",
			&c.DialOutURLs,
		},
		{
			"OUTPOST_DIAL_OUT_PROXY",
			"URL of an HTTP proxy on the way to them; empty for that of HTTPS_PROXY, if any, with NO_PROXY.",
			&c.DialOutProxy,
		},
		{"OUTPOST_NAMESPACE", "Namespace of the pods; empty for that of this process.", &c.Namespace},
		{
			"OUTPOST_NODE_ADDRESSES",
			"Addresses of the node, separated by commas, which no hub may reach by SSH.",
			&c.NodeAddresses,
		},
		{
			"OUTPOST_OWN_OBJECTS",
			"What the outpost's own pod uses, such as secrets/outpost-users, separated by commas; no hub may use it.",
			&c.OwnObjects,
		},
		{
			"OUTPOST_LEASE",
			"Lease that elects, among processes sharing one PostgreSQL, the one doing periodic work; else empty.",
			&c.Lease,
		},
		{
			"OUTPOST_START_TIMEOUT",
			"Seconds that a server may take to become ready, unless spawner.start_timeout says otherwise.",
			&c.StartTimeout,
		},
		{"OUTPOST_LOG_LEVEL", "debug, info, warn or error.", &c.LogLevel},
		{"OUTPOST_LOG_FORMAT", "json or text.", &c.LogFormat},
		{
			"OUTPOST_AUDIT_FILE",
			"File of audit lines, who did what with servers; - for standard output, empty for none.",
			&c.AuditFile,
		},
		{"OUTPOST_AUDIT_NAMES", "Names in audit lines: keep, hash or omit.", &c.AuditNames},
		{"SQL_TYPE", "sqlite (also sqlite+pysqlite) or postgresql.", &c.Database.Type},
		{"SQL_DATABASE_URL", "Path of the SQLite file.", &c.Database.Path},
		{"SQL_HOST", "Host of PostgreSQL.", &c.Database.Host},
		{"SQL_PORT", "Port of PostgreSQL.", &c.Database.Port},
		{"SQL_USER", "User of PostgreSQL.", &c.Database.User},
		{"SQL_PASSWORD", "Password of PostgreSQL.", &c.Database.Password},
		{"SQL_DATABASE", "Database in PostgreSQL.", &c.Database.Name},
		{"CHECK_ENDDATES", "Stop services whose flavor's run time is over.", &c.CheckEndDates},
		{"JUPYTERHUB_CHECK_ENDDATES_SLEEP_TIMER", "Interval of the run-time check, in seconds.", &c.EndDatesInterval},
		{"CHECK_SERVICES", "Stop services that their hub no longer knows.", &c.CheckServices},
		{"JUPYTERHUB_CLEANUP_NAMES", "Hubs to ask for their servers, with semicolons; or hubs.NAME.servers.", nil},
		{"JUPYTERHUB_CLEANUP_URLS", "Their URLs, such as https://hub.example.org/hub/api/servers.", nil},
		{"JUPYTERHUB_CLEANUP_TOKENS", "Their tokens.", nil},
		{"JUPYTERHUB_CLEANUP_SLEEP_TIMER", "Interval of the clean-up, in seconds.", &c.CleanupInterval},
	}
}

// ignored are variables of the Python outpost that have no effect here, and what replaces them.
var ignored = map[string]string{
	"LOGGING_CONFIG_PATH":          logsInstead,
	"LOGGER_NAME":                  logsInstead,
	"SSHD_LOG_PATH":                logsInstead,
	"GUNICORN_SSL_CRT":             "set OUTPOST_TLS_CERT_FILE",
	"GUNICORN_SSL_KEY":             "set OUTPOST_TLS_KEY_FILE",
	"GUNICORN_CONFIG_FILE":         "set OUTPOST_LISTEN, OUTPOST_TLS_CERT_FILE and OUTPOST_TLS_KEY_FILE",
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
	oneProcess  = "one process answers all requests at once; for several processes see OUTPOST_LEASE"
	podsAnyway  = "pods without a service are found by their labels and removed in any case"
)

// mayBeEmpty are variables whose empty value switches something off; elsewhere empty means not given.
var mayBeEmpty = map[string]bool{"OUTPOST_SSH_LISTEN": true, "OUTPOST_METRICS_LISTEN": true}

// FromEnv reads all settings: the environment, the files it names, and the defaults for the rest. lookup is
// os.LookupEnv. The error is [Problems], all there are; a Config that is returned with one must not be used.
func FromEnv(lookup func(string) (string, bool)) (Config, error) {
	c := Default()
	var p Problems
	p.assign(c.variables(), lookup)
	c.Database.Type = strings.TrimSuffix(c.Database.Type, "+pysqlite")
	for _, name := range sortedKeys(ignored) {
		if value, _ := lookup(name); value != "" {
			c.Warnings = append(c.Warnings, Problem{Name: name, Message: "has no effect: " + ignored[name]})
		}
	}
	var fileText []byte
	if _, err := os.Stat(c.ConfigFile); c.ConfigFile != Default().ConfigFile || !errors.Is(err, fs.ErrNotExist) {
		var wrong Problems
		c.File, fileText, wrong = readFile(c.ConfigFile)
		p = append(p, wrong...)
	}
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
	p.placeIn(filepath.Base(c.ConfigFile), fileText)
	return c, p.orNil()
}

// assign sets the fields of a table to what was typed.
func (p *Problems) assign(variables []Variable, lookup func(string) (string, bool)) {
	for _, v := range variables {
		if value, ok := lookup(v.Name); ok && v.field != nil && (value != "" || mayBeEmpty[v.Name]) {
			if wrong := assign(v.field, value); wrong != "" {
				p.addf(v.Name, "%q is %s", value, wrong)
			}
		}
	}
}
