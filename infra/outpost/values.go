package outpost

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/values"
)

// Settings are what an operator may choose for an outpost. The zero value is the chart's defaults. The JSON names are
// those of the stack config.
type Settings struct {
	// Image is where the outpost's image comes from.
	Image Image `json:"image,omitempty"`
	// StartTimeout is how many seconds a server may take to become ready.
	StartTimeout int `json:"startTimeout,omitempty"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `json:"logLevel,omitempty"`
	// Config is the outpost's configuration file: spawner, globalMaxPerUser, perHub, failEarly, unschedulableGrace,
	// maintenance, hubs. Merged over what this component writes into it.
	Config map[string]any `json:"config,omitempty"`
	// Flavors and Credits are the content of the files of these names.
	Flavors map[string]any `json:"flavors,omitempty"`
	Credits map[string]any `json:"credits,omitempty"`
	// Persistence is the volume of the SQLite file.
	Persistence Persistence `json:"persistence,omitzero"`
	// DialOut is the way to the URLs of Args.DialOut.
	DialOut DialOut `json:"dialOut,omitzero"`
	// Homes is the option homes for all servers, a map or NoHomes; nil leaves it to Config.
	Homes any `json:"homes,omitempty"`
	// Values are further values of the chart. Lists are added to those of this component.
	Values map[string]any `json:"values,omitempty"`
}

// makePlain replaces the documents among the settings by plain values.
func (s *Settings) makePlain() error {
	for name, document := range map[string]*map[string]any{
		"config": &s.Config, "flavors": &s.Flavors, "credits": &s.Credits, "values": &s.Values,
	} {
		made, err := values.Plain(*document)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*document = made
	}
	homes, err := values.Plain(map[string]any{"homes": s.Homes})
	s.Homes = homes["homes"]
	return err
}

// Image is a container image: digest over tag over the chart's own version.
type Image struct {
	Repository string `json:"repository,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	PullPolicy string `json:"pullPolicy,omitempty"`
}

// DialOut is the HTTP proxy that connections to hubs go through. Without any it is that of the environment.
type DialOut struct {
	// Proxy is its URL, without a password.
	Proxy string `json:"proxy,omitempty"`
	// ProxySecret is a Secret in the outpost's namespace whose key url has a URL with one.
	ProxySecret string `json:"proxySecret,omitempty"`
}

// Persistence is the volume of the SQLite file.
type Persistence struct {
	// Enabled is true by default; false needs SQL_* in Values.
	Enabled      *bool  `json:"enabled,omitempty"`
	Size         string `json:"size,omitempty"`
	StorageClass string `json:"storageClass,omitempty"`
}

// values turns Args into the values of our chart: what the operator may change, what holds whatever they say, and over
// both Settings.Values, whose lists are added to ours. CheckValues refuses those that would take the place of what
// holds. It is pure, and everything in it is known before anything is made: a chart with a value that is not known yet
// shows none of its objects in a preview, which plans to delete them.
func (a Args) values() map[string]any {
	required := a.required()
	return values.Add(values.Merge(a.defaults(), required), unused.Meant(a.Settings.Values, required))
}

// defaults are what Settings.Values may change.
func (a Args) defaults() map[string]any {
	return values.Given(map[string]any{
		"networkPolicy": map[string]any{"hubNamespace": a.hubNamespace()},
		"singleuser": map[string]any{
			"networkPolicy": map[string]any{"hubAddresses": a.hubAddresses()},
		},
	})
}

// required is what holds whatever else is given: what other settings say, how the outpost is reached, and the names of
// its Secrets.
func (a Args) required() map[string]any {
	s := a.Settings
	made := values.Given(map[string]any{
		"image":        values.Of(s.Image),
		"startTimeout": s.StartTimeout,
		"logLevel":     s.LogLevel,
		"flavors":      s.Flavors,
		"credits":      s.Credits,
	})
	maps.Copy(made, map[string]any{
		"fullnameOverride":        Release,
		"cryptSecret":             CryptSecret,
		"outpostUsers":            usersSecret,
		"hostKeySecret":           hostKeysSecret,
		"authorizedKeysConfigMap": authorizedKeysConfigMap,
		"config":                  values.Add(a.config(), s.Config),
		"persistence":             s.persistence(),
		// With a second key, rows sealed with it are sealed anew with the first.
		"rekey": len(a.CryptKeys) > 1,
		// The process reads its keys once: other keys are another pod.
		"podAnnotations": map[string]any{"outposts.dev/keys": a.KeysVersion},
	})
	if len(a.DialOut) > 0 {
		dialOut := values.Of(s.DialOut)
		dialOut["urls"] = values.List(a.DialOut)
		made["dialOut"] = dialOut
	}
	if a.Exposure.OwnCertificate() {
		made["tls"] = map[string]any{"secretName": tlsSecret}
	}
	maps.Copy(made, a.services())
	return made
}

// Image returns the image as it ends up, as far as Settings say it.
func (a Args) Image() (made Image) {
	if text, err := json.Marshal(values.At(a.values(), "image")); err == nil {
		_ = json.Unmarshal(text, &made) // the schema says what is wrong with it
	}
	return made
}

// Volume returns the chart's values of the volume as they end up: the chart's own, the operator's, ours.
func (s Settings) Volume() map[string]any {
	chart := map[string]any{
		"size": "1Gi", "storageClass": "", "existingClaim": "", "accessModes": []any{"ReadWriteOnce"},
	}
	own, _ := s.Values["persistence"].(map[string]any)
	return values.Merge(values.Merge(chart, own), s.persistence())
}

// persistence makes the volume's values. The claim stays when it is no longer ours: the stack says when data may go.
func (s Settings) persistence() map[string]any {
	p := s.Persistence
	made := values.Given(map[string]any{"size": p.Size, "storageClass": p.StorageClass})
	made["enabled"], made["keep"] = p.Enabled == nil || *p.Enabled, false
	return made
}

// config is the configuration file as far as it follows from the hubs, each of which may be called back at its API, and
// from other settings.
func (a Args) config() map[string]any {
	hubs := map[string]any{}
	for _, hub := range a.Hubs {
		policy := map[string]any{}
		if hub.APIURL != "" {
			policy["callbackUrls"] = []any{hub.APIURL}
		}
		hubs[hub.Name] = policy
	}
	made := map[string]any{"hubs": hubs}
	spawner := map[string]any{}
	if a.Servers != "" && a.Servers != a.Namespace {
		spawner["namespace"] = a.Servers
	}
	if a.Settings.Homes != nil {
		spawner["homes"] = a.Settings.Homes
	}
	if len(spawner) > 0 {
		made["spawner"] = spawner
	}
	return made
}

// hubNamespace is the namespace of the first hub in the same cluster; the chart's policies know one.
func (a Args) hubNamespace() string {
	for _, hub := range a.Hubs {
		if hub.Namespace != "" {
			return hub.Namespace
		}
	}
	return ""
}

// hubAddresses are the addresses at which servers reach hubs of other clusters, as far as they are IP addresses: they
// may be private ones, which policies refuse otherwise.
func (a Args) hubAddresses() []any {
	made := []any{}
	for _, hub := range a.Hubs {
		if hub.APIURL == "" || hub.Namespace != "" {
			continue
		}
		at, err := url.Parse(hub.APIURL)
		if err != nil {
			continue
		}
		if ip, err := netip.ParseAddr(at.Hostname()); err == nil {
			cidr := netip.PrefixFrom(ip, ip.BitLen()).String()
			made = append(made, map[string]any{"cidr": cidr, "ports": []any{portOf(at)}})
		}
	}
	return made
}

func portOf(at *url.URL) int {
	if port, err := strconv.Atoi(at.Port()); err == nil {
		return port
	}
	if at.Scheme == "https" {
		return 443
	}
	return 80
}

// services are the values of Services, routes and Ingress.
func (a Args) services() map[string]any {
	e := a.Exposure
	api, ssh := map[string]any{"type": "ClusterIP"}, map[string]any{"type": "ClusterIP"}
	off := map[string]any{"enabled": false}
	made := map[string]any{"httpRoute": off, "tcpRoute": off, "ingress": off}
	nodePort := func(port int) map[string]any {
		return map[string]any{"type": "NodePort", "ports": map[string]any{"nodePort": port}}
	}
	switch e.Type {
	case exposure.NodePort:
		api, ssh = nodePort(e.APINodePort), nodePort(e.SSHNodePort)
	case exposure.LoadBalancer:
		api = exposure.ServiceValues(e.LoadBalancerIP, e.Annotations)
		ssh = exposure.ServiceValues(e.SSHLoadBalancerIP, e.SSHAnnotations)
	case exposure.Gateway, exposure.Ingress:
		switch {
		case e.SSHGateway != nil:
			made["tcpRoute"] = routeValues(*e.SSHGateway, e.SSHAnnotations)
		case e.SSHNodePort != 0:
			ssh = nodePort(e.SSHNodePort)
		default:
			ssh = exposure.ServiceValues(e.SSHLoadBalancerIP, e.SSHAnnotations)
		}
		if e.Type == exposure.Ingress {
			made["ingress"] = exposure.IngressValues(
				strings.ToLower(a.Address), e.ClassName, e.Annotations, e.Encrypted(), e.TLSSecret)
			break
		}
		route := routeValues(*e.Gateway, e.Annotations)
		route["hostnames"] = []any{strings.ToLower(a.Address)}
		made["httpRoute"] = route
	}
	if a.onlyDialsOut() {
		ssh["enabled"] = false // nobody comes
	}
	made["service"], made["servicessh"] = api, ssh
	return made
}

// onlyDialsOut reports whether no hub comes to the SSH port: it is not exposed, and no hub is in its cluster.
func (a Args) onlyDialsOut() bool {
	return len(a.DialOut) > 0 && !a.Exposure.Outside() && a.hubNamespace() == ""
}

// routeValues are the values of a route to a Gateway.
func routeValues(gateway exposure.GatewayRef, annotations map[string]string) map[string]any {
	return values.Given(map[string]any{
		"enabled": true, "parentRefs": gateway.ParentRefs(), "annotations": values.Strings(annotations),
	})
}
