package hub

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/values"
)

// Where the hub's pod finds what our chart has for it, as the notes of that chart say.
const (
	authDir   = "/etc/outpost/auth"  // <system>: user:password
	dataDir   = "/etc/outpost/data"  // outposts.yaml
	trustDir  = "/etc/outpost/trust" // <system>.crt
	moduleDir = "/usr/local/etc/jupyterhub/outpost_hub"
)

// sharedPassword is the name of JupyterHub's SharedPasswordAuthenticator, the default.
const sharedPassword = "shared-password"

// secretMode is the mode of mounted Secrets. With the pod's fsGroup 0400 becomes 0440 root:1000.
const secretMode = 0o400

// values turns Args into the values of the zero-to-jupyterhub chart: what the operator may change, what other settings
// and systems need, and over both the operator's own values, whose lists are added to ours. CheckValues refuses those
// that take away what is needed. It is pure, and everything in it is known before anything is made: for secrets it has
// placeholders.
func (a Args) values() map[string]any {
	needed := a.needed()
	return values.Add(values.Merge(defaults(a), needed), unused.Meant(a.Values, needed))
}

// own are the values that the operator means by theirs.
func (a Args) own() map[string]any { return unused.Meant(a.Values, nil) }

// needed are the values that the operator's must not take the place of.
func (a Args) needed() map[string]any { return values.Merge(settled(a), required(a)) }

// Database returns the chart's values of the hub's database as they end up: the chart's own, ours, the operator's.
func (a Args) Database() map[string]any {
	chart := map[string]any{"pvc": map[string]any{"storage": "1Gi", "accessModes": []any{"ReadWriteOnce"}}}
	made, _ := values.At(a.values(), "hub", "db").(map[string]any)
	return values.Merge(chart, made)
}

// LoginWarning returns what is wrong with hub.config.JupyterHub.authenticator_class where it lets people log in as
// other users, as the default does, or where there is none; empty for any other authenticator.
func (a Args) LoginWarning() string {
	config, _ := values.At(a.values(), "hub", "config").(map[string]any)
	value := values.At(config, "JupyterHub", "authenticator_class")
	class, _ := value.(string)
	password := values.At(config, "DummyAuthenticator", "password")
	switch {
	case value == nil:
		return "is null, so that JupyterHub lets in users of the hub's image (PAM); set one there"
	case class == sharedPassword || strings.HasSuffix(class, ".SharedPasswordAuthenticator"):
		return "is shared-password, the default: whoever has the password logs in as any user; set another there"
	case class != "dummy" && !strings.HasSuffix(class, ".DummyAuthenticator"):
		return ""
	case password == nil || password == "":
		return "is dummy, without a password: anybody who reaches the hub logs in as any user; set another there"
	default:
		return "is dummy: whoever has the password logs in as any user; set another there"
	}
}

// KnowsGroups reports whether the hub can know of groups by more than its admin page and its API: an authenticator that
// manages them, groups in its configuration, or Python code that speaks of groups.
func (a Args) KnowsGroups() bool {
	made, _ := values.At(a.values(), "hub").(map[string]any)
	groups := values.At(made, "config", "JupyterHub", "load_groups")
	return a.configures("manage_groups") || groups != nil || strings.Contains(fmt.Sprint(made["extraConfig"]), "groups")
}

// KeepsAuthState reports whether the hub keeps what the authenticator tells of users, by its configuration or by Python
// code.
func (a Args) KeepsAuthState() bool {
	made := values.At(a.values(), "hub", "extraConfig")
	return a.configures("enable_auth_state") || strings.Contains(fmt.Sprint(made), "enable_auth_state")
}

// configures reports whether the configuration of some class has an option that is true.
func (a Args) configures(option string) bool {
	config, _ := values.At(a.values(), "hub", "config").(map[string]any)
	for _, class := range config {
		if options, _ := class.(map[string]any); options[option] == true {
			return true
		}
	}
	return false
}

// defaults are what an operator may change.
func defaults(a Args) map[string]any {
	made := map[string]any{
		"hub": map[string]any{
			"config": map[string]any{
				"JupyterHub": map[string]any{
					"admin_access":        false,
					"authenticator_class": sharedPassword,
					"default_url":         BaseURL(a.Values) + "/hub/home",
					// Seconds, also between two checks of the proxy's routes: a restarted proxy has none until the
					// next one.
					"last_activity_interval": 30,
				},
				"Authenticator":               map[string]any{"allow_all": true},
				"CryptKeeper":                 map[string]any{"keys": a.authStateKeys()},
				"SharedPasswordAuthenticator": map[string]any{"user_password": loginPasswordPlaceholder},
			},
			"namedServerLimitPerUser": 5,
			// At the default of 5 the hub restarts itself when one system keeps failing.
			"consecutiveFailureLimit": 0,
			"cookieSecret":            cookieSecretPlaceholder,
			"db":                      map[string]any{"type": "sqlite-pvc"},
			// A token for checks from outside: it can act for one user only, one that nobody logs in as.
			"services": map[string]any{verifyService(a): map[string]any{"apiToken": verifyTokenPlaceholder}},
			"loadRoles": map[string]any{"verify": map[string]any{
				"services": []any{verifyService(a)},
				"scopes": []any{
					"admin:users!user=" + VerifyUser,
					"admin:servers!user=" + VerifyUser,
					"access:servers!user=" + VerifyUser,
				},
			}},
			"containerSecurityContext": restricted(map[string]any{"readOnlyRootFilesystem": true}),
			"networkPolicy":            hubPolicy(a),
			// Without a request a busy node gives the hub almost no CPU: its event loop stood still for 23 s.
			"resources": requests("300m", "512Mi"),
		},
		"proxy": map[string]any{
			"secretToken": proxyTokenPlaceholder,
			"chp": map[string]any{
				"networkPolicy": proxyPolicy(a),
				"resources":     requests("200m", "128Mi"),
			},
		},
		"cull": map[string]any{"enabled": true, "timeout": 3600, "every": 300, "removeNamedServers": true},
	}
	return values.Merge(made, a.Exposure.values())
}

// verifyService returns the name of the service that has VerifyToken, another for another word: JupyterHub keeps each
// token that a service ever had, and forgets them with a service that is gone.
func verifyService(a Args) string {
	if word := a.Credentials.VerifyWord; word != "" && word != "1" {
		return fmt.Sprintf("verify-%x", sha256.Sum256([]byte(word)))[:len("verify-")+8]
	}
	return "verify" // as stacks of earlier versions have it
}

// settled are the values that other settings of the operator's decide, as far as they are set.
func settled(a Args) map[string]any {
	hub := map[string]any{}
	if a.Image.Name != "" {
		hub["image"] = map[string]any{"name": a.Image.Name, "tag": a.Image.Tag}
	}
	if a.StartTimeout != 0 {
		hub["config"] = map[string]any{"OutpostSpawner": map[string]any{"start_timeout": a.StartTimeout}}
	}
	made := map[string]any{"hub": hub}
	if a.Exposure.Type == "" || a.Exposure.Type == exposure.ClusterIP {
		return made
	}
	return values.Merge(made, a.Exposure.values())
}

// required is what holds whatever else is given: without it no server starts.
func required(a Args) map[string]any {
	hub := map[string]any{
		// The module allows them whatever is set: a user has a server on each of several systems.
		"allowNamedServers": true,
		"extraConfig": map[string]any{
			"outposts": "import outpost_hub\noutpost_hub.configure(c, \"" + dataDir + "/outposts.yaml\")\n",
		},
		"extraVolumes":      a.volumes(),
		"extraVolumeMounts": a.mounts(),
		"annotations": values.Merge(
			restart(a.Credentials.Version), map[string]any{"outposts.dev/module": a.sideVersion()},
		),
	}
	if a.bootstraps() {
		maps.Copy(hub, stockImageValues(a))
	}
	return map[string]any{
		"fullnameOverride": "", // the names of the hub's objects are known to outposts and to the checks
		"hub":              hub,
		"proxy":            map[string]any{"annotations": restart(a.Credentials.ProxyVersion)},
		// Servers are started by the outposts: nothing of this is used, and hooks do not run here.
		"singleuser": map[string]any{
			"storage":       map[string]any{"type": "none"},
			"cloudMetadata": map[string]any{"blockWithIptables": false},
		},
		"prePuller": map[string]any{
			"hook": map[string]any{"enabled": false}, "continuous": map[string]any{"enabled": false},
		},
		"scheduling": map[string]any{
			"userScheduler": map[string]any{"enabled": false}, "userPlaceholder": map[string]any{"enabled": false},
		},
	}
}

// restart makes a pod start again for another version of its secrets.
func restart(version string) map[string]any { return map[string]any{"outposts.dev/secrets": version} }

// authStateKeys are the placeholders of the auth state keys.
func (a Args) authStateKeys() []any {
	made := make([]any, len(a.Credentials.AuthStateKeys))
	for i := range made {
		made[i] = authStateKeyPlaceholder(i)
	}
	return made
}

// requests is what a pod is given whatever else runs on its node.
func requests(cpu, memory string) map[string]any {
	return map[string]any{"requests": map[string]any{"cpu": cpu, "memory": memory}}
}

// volumes are what the hub's pod mounts of ours, and a place for files of the moment: its root is read-only.
func (a Args) volumes() []any {
	made := []any{
		map[string]any{"name": "tmp", "emptyDir": map[string]any{}},
		configMapVolume("outpost-module", SideRelease+"-module"),
		configMapVolume("outpost-data", SideRelease+"-data"),
		configMapVolume("outpost-trust", trustConfigMap),
		secretVolume("outpost-auth", authSecret),
	}
	if a.bootstraps() {
		made = append(made, map[string]any{"name": "outpost-runtime", "emptyDir": map[string]any{"sizeLimit": "512Mi"}})
	}
	return made
}

func (a Args) mounts() []any {
	mount := func(name, path string) map[string]any {
		return map[string]any{"name": name, "mountPath": path, "readOnly": true}
	}
	made := []any{
		map[string]any{"name": "tmp", "mountPath": "/tmp"},
		mount("outpost-module", moduleDir), mount("outpost-data", dataDir), mount("outpost-trust", trustDir),
		mount("outpost-auth", authDir),
	}
	if a.bootstraps() {
		made = append(made, map[string]any{"name": "outpost-runtime", "mountPath": runtimeDir})
	}
	return made
}

func configMapVolume(name, configMap string) map[string]any {
	return map[string]any{"name": name, "configMap": map[string]any{"name": configMap}}
}

func secretVolume(name, secret string) map[string]any {
	return map[string]any{"name": name, "secret": map[string]any{"secretName": secret, "defaultMode": secretMode}}
}

func restricted(more map[string]any) map[string]any {
	return values.Merge(map[string]any{
		"runAsUser": 1000, "runAsGroup": 1000, "allowPrivilegeEscalation": false,
		"capabilities": map[string]any{"drop": []any{"ALL"}},
	}, more)
}

// hubPolicy lets in what the chart's own policy does not know: outposts of this cluster and their servers reach the
// hub's API. A rule without peers would admit everybody, so there is no such rule where no outpost is in this cluster.
// The way to the tunnels holds when egressAllowRules are closed.
func hubPolicy(a Args) map[string]any {
	rules := []any{}
	if names := a.outpostNamespaces(); len(names) > 0 {
		rules = append(rules, map[string]any{
			"from": namespaces(names), "ports": []any{map[string]any{"protocol": "TCP", "port": "http"}},
		})
	}
	return map[string]any{
		"ingress": rules, "egress": []any{toTunnels()},
		"egressAllowRules": map[string]any{"cloudMetadataServer": false},
	}
}

// proxyPolicy lists what the proxy reaches, so that it holds when egressAllowRules are closed.
func proxyPolicy(a Args) map[string]any {
	rules := []any{toTunnels()}
	if names := a.outpostNamespaces(); len(names) > 0 {
		rules = append(rules, map[string]any{"to": namespaces(names)})
	}
	return map[string]any{"egress": rules, "egressAllowRules": map[string]any{"cloudMetadataServer": false}}
}

// toTunnels is the rule for the way to the tunnels, whose own policy says at which ports.
func toTunnels() map[string]any {
	return map[string]any{"to": []any{map[string]any{"podSelector": map[string]any{
		"matchLabels": map[string]any{tunnelsLabel: SideRelease},
	}}}}
}

func namespaces(names []string) []any {
	made := []any{}
	for _, name := range names {
		made = append(made, map[string]any{"namespaceSelector": map[string]any{
			"matchLabels": map[string]any{"kubernetes.io/metadata.name": name},
		}})
	}
	return made
}

// outpostNamespaces are the namespaces of this cluster in which outposts and their servers are.
func (a Args) outpostNamespaces() []string {
	var names []string
	for _, s := range a.Systems {
		for _, name := range append([]string{s.Namespace}, s.ServerNamespaces...) {
			if name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
