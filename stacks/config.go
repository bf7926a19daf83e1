package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/server/suggest"
)

// project is the namespace of our config keys.
const project = "outposts"

// dialOut is the value of connect of a system whose outpost connects to the hub.
const dialOut = "dialOut"

// Config is a stack's config, read and checked: every key is described in config.schema.json.
type Config struct {
	Cluster  ClusterConfig    `json:"cluster"`
	Hub      *HubConfig       `json:"hub"`
	Outposts []SystemConfig   `json:"outposts"`
	Outpost  *OutpostConfig   `json:"outpost"`
	Hubs     []OtherHubConfig `json:"hubs"`
	// AllowDataLoss lists what may be deleted: "namespace/claim" is a volume, "namespace/*" a namespace with everything
	// in it. AllowServerLoss lists the systems, and the hubs of the outpost, that may go while servers of theirs run.
	AllowDataLoss   []string `json:"allowDataLoss"`
	AllowServerLoss []string `json:"allowServerLoss"`
	// Adopt lists namespaces of this config that are taken over from whoever has them.
	Adopt []string `json:"adopt"`

	namespaceOptions map[string]namespaceOptions // by key
}

// HubConfig is the hub of a stack.
type HubConfig struct {
	Name         string                  `json:"name"`      // default jupyterhub
	Namespace    string                  `json:"namespace"` // default jupyter
	Release      string                  `json:"release"`   // default hub.Release
	URL          string                  `json:"url"`       // without the path that Values may have as hub.baseUrl
	Exposure     hub.Exposure            `json:"exposure"`
	Chart        hub.Chart               `json:"chart"` // default version hub.ChartVersion; the path is absolute
	Image        hub.Image               `json:"image"`
	Bootstrap    hub.Bootstrap           `json:"bootstrap"`
	Tunnels      hub.Tunnels             `json:"tunnels"`
	StartTimeout int                     `json:"startTimeout"`
	Values       map[string]any          `json:"values"`
	Rotation     credentials.HubRotation `json:"rotation"`

	SecretValues bool `json:"-"` // whether something of the hub is secret
}

// baseURL is the path that the hub's URLs begin with; empty for none.
func (h HubConfig) baseURL() string { return hub.BaseURL(h.Values) }

// host is that of the URL; empty if there is none.
func (h HubConfig) host() string {
	at, err := url.Parse(h.URL)
	if err != nil {
		return "" // the schema has said so
	}
	return at.Hostname()
}

// fullURL is what users open.
func (h HubConfig) fullURL() string { return h.URL + h.baseURL() }

// SystemConfig is an outpost as its hub sees it.
type SystemConfig struct {
	Name        string           `json:"name"`
	FormerNames []string         `json:"formerNames"`
	DisplayName string           `json:"displayName"`
	Description string           `json:"description"`
	Connect     string           `json:"connect"` // dialOut: the outpost connects to the hub
	Address     string           `json:"address"` // empty without Connect: in the hub's cluster
	Exposure    outpost.Exposure `json:"exposure"`
	HubAPIURL   string           `json:"hubApiUrl"`
	Flavor      string           `json:"flavor"`
	Flavors     []hub.Flavor     `json:"flavors"`
	Profiles    []hub.Profile    `json:"profiles"`
	// ConcurrentStarts is how many starts the hub sends there at once, up to 500; 0 for as many as it begins.
	ConcurrentStarts int `json:"concurrentStarts"`
	// SendAuthState are keys of users' auth state that the outpost gets, beside name, groups and admin.
	SendAuthState []string `json:"sendAuthState"`
	// What another operator gave; whatever is empty is made here.
	User     string                   `json:"user"`
	Password string                   `json:"password"`
	HostKeys []string                 `json:"hostKeys"`
	CA       string                   `json:"ca"`
	Rotation credentials.PairRotation `json:"rotation"`
}

// InCluster reports whether the system is in the hub's own cluster.
func (s SystemConfig) InCluster() bool { return s.Address == "" && !s.DialsOut() }

// DialsOut reports whether the outpost of the system connects to the hub.
func (s SystemConfig) DialsOut() bool { return s.Connect == dialOut }

// names are the name of a system and those that it had.
func (s SystemConfig) names() []string { return append([]string{s.Name}, s.FormerNames...) }

// makesCertificate reports whether the hub's stack makes the certificate of the system's API.
func (s SystemConfig) makesCertificate() bool { return s.Exposure.OwnCertificate() && s.CA == "" }

// OutpostConfig is the outpost in a stack's cluster.
type OutpostConfig struct {
	Name      string           `json:"name"`
	Namespace string           `json:"namespace"`       // default outpost
	Servers   string           `json:"serverNamespace"` // default: see settleServers
	Address   string           `json:"address"`
	Exposure  outpost.Exposure `json:"exposure"`
	CryptKeys []string         `json:"cryptKeys"`
	// TemporaryServers lets a hub end idle servers of which nothing is kept.
	TemporaryServers bool `json:"temporaryServers"`
	Rotation         struct {
		CryptKey credentials.Words `json:"cryptKey"`
		credentials.PairRotation
	} `json:"rotation"`
	outpost.Settings
}

// exposed reports whether hubs outside its cluster reach it, by what this config says.
func (o OutpostConfig) exposed() bool {
	return o.Exposure.Outside()
}

// OtherHubConfig is a hub of another stack that may use the outpost: known by Stack, or by what its operator gave,
// which is System or the rest.
type OtherHubConfig struct {
	Name          string   `json:"name"`
	Stack         string   `json:"stack"`
	System        any      `json:"system"` // what Stack would tell: a map, or the same as a string of JSON
	SSHPublicKeys []string `json:"sshPublicKeys"`
	Password      string   `json:"password"`
	APIURL        string   `json:"apiUrl"`
	// DialOutURL is where the outpost connects to the hub by itself, ending in its name there.
	DialOutURL string `json:"dialOutUrl"`
}

// LoadConfig reads the config of a stack. raw has the stack's config as Pulumi hands it over: full key to text or JSON.
// root is the project's folder. Everything wrong is reported at once, by the names that the operator typed.
func LoadConfig(raw map[string]string, root string) (Config, error) {
	document := documentOf(raw)
	f := &faults{errs: foreignKeys(raw)}
	f.refuse(configSchema.Check(document))
	c, err := configOf(document, root)
	if err != nil {
		// A key has another type than it should, so what keys mean together is unknown.
		if len(f.errs) == 0 {
			f.errs = append(f.errs, fmt.Errorf("read config: %w", err)) // the schema has let it through
		}
		return Config{}, errors.Join(f.errs...)
	}
	c.validate(f)
	f.refuse(c.valueFaults())
	return c, errors.Join(f.errs...)
}

// configOf is the config in a document of all keys, with its defaults and unchecked. It changes the document.
func configOf(document map[string]any, root string) (Config, error) {
	options := takeNamespaces(document)
	text, err := json.Marshal(document)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return Config{}, err
	}
	c.namespaceOptions = options
	c.setDefaults(root)
	return c, nil
}

// documentOf makes one document of all keys of our project. Values are JSON where they are structured.
func documentOf(raw map[string]string) map[string]any {
	document := map[string]any{}
	for key, text := range raw {
		name, ours := strings.CutPrefix(key, project+":")
		if !ours {
			continue
		}
		document[name] = valueOf(text)
	}
	return document
}

// valueOf is the value of a key: JSON, or plain text, of which the schema says what it should have been.
func valueOf(text string) any {
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return text
	}
	return value
}

// foreignKeys finds keys of ours under a mistyped name of this project: they would have no effect. All others are
// somebody else's, such as those of an environment that stacks of several projects share.
func foreignKeys(raw map[string]string) []error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		namespace, name, _ := strings.Cut(key, ":")
		mistyped := suggest.Nearest(strings.ToLower(namespace), []string{project}) != ""
		if namespace != project && mistyped && configSchema.Has(name) {
			errs = append(errs, fmt.Errorf("%s: unknown key; did you mean %s:%s?", key, project, name))
		}
	}
	return errs
}

func (c *Config) setDefaults(root string) {
	if c.Hub != nil {
		c.Hub.Name = cmp.Or(c.Hub.Name, "jupyterhub")
		c.Hub.Namespace = cmp.Or(c.Hub.Namespace, "jupyter")
		c.Hub.Release = cmp.Or(c.Hub.Release, hub.Release)
		c.Hub.URL = strings.TrimSuffix(c.Hub.URL, "/")
		c.Hub.setHost()
		if c.Hub.Chart.Path != "" {
			c.Hub.Chart.Path = absolute(root, c.Hub.Chart.Path)
		} else {
			c.Hub.Chart.Version = cmp.Or(c.Hub.Chart.Version, hub.ChartVersion)
		}
	}
	for i := range c.Outposts {
		c.Outposts[i].HubAPIURL = strings.TrimSuffix(c.Outposts[i].HubAPIURL, "/")
	}
	for i := range c.Hubs {
		c.Hubs[i].APIURL = strings.TrimSuffix(c.Hubs[i].APIURL, "/")
		c.Hubs[i].DialOutURL = strings.TrimSuffix(c.Hubs[i].DialOutURL, "/")
	}
	if c.Outpost == nil && c.localSystem() != nil {
		c.Outpost = &OutpostConfig{}
	}
	if c.Outpost != nil {
		c.Outpost.Namespace = cmp.Or(c.Outpost.Namespace, "outpost")
	}
}

// setHost sets the host of a Gateway or an Ingress, in lower case, as Kubernetes wants it. Default: that of the URL.
func (h *HubConfig) setHost() {
	if host := &h.Exposure.Host; *host != "" || exposure.Called(h.Exposure.Type) != "" {
		*host = strings.ToLower(cmp.Or(*host, h.host()))
	}
}

// localSystem is the system in the hub's own cluster, if there is one.
func (c *Config) localSystem() *SystemConfig {
	for i := range c.Outposts {
		if c.Hub != nil && c.Outposts[i].InCluster() {
			return &c.Outposts[i]
		}
	}
	return nil
}

// tells reports whether the stack of the hub says where this outpost is.
func (h OtherHubConfig) tells() bool { return h.Stack != "" || h.System != nil }

// source names the stack of a hub that tells.
func (h OtherHubConfig) source() string { return cmp.Or(h.Stack, "the stack of hub "+h.Name) }

// dialsOutOnly reports whether this config names hubs, and the outpost connects to each of them.
func (c Config) dialsOutOnly() bool {
	comes := func(h OtherHubConfig) bool { return h.DialOutURL == "" }
	return c.Hub == nil && len(c.Hubs) > 0 && !slices.ContainsFunc(c.Hubs, comes)
}

// told reports whether the stack of a hub says where this outpost is.
func (c Config) told() bool { return slices.ContainsFunc(c.Hubs, OtherHubConfig.tells) }

// absolute makes a path of config absolute.
func absolute(root, path string) string {
	if rest, home := strings.CutPrefix(path, "~/"); home {
		if folder, err := os.UserHomeDir(); err == nil {
			return filepath.Join(folder, rest)
		}
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}
