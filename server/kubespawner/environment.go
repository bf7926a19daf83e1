package kubespawner

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/python"
)

// maxVariables bounds the variables of a server: a hub sends about 30, and a program cannot start with many more than
// this.
const maxVariables = 10_000

// protectedVariables are a hub's credentials and the paths of its certificates: only the hub or this server sets them.
var protectedVariables = map[string]bool{
	"JUPYTERHUB_API_TOKEN": true, "JPY_API_TOKEN": true, "JUPYTERHUB_CLIENT_ID": true, "JUPYTERHUB_USER": true,
	"JUPYTERHUB_OAUTH_CALLBACK_URL": true, "JUPYTERHUB_OAUTH_SCOPES": true, "JUPYTERHUB_OAUTH_ACCESS_SCOPES": true,
	"JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": true,
	"JUPYTERHUB_SSL_KEYFILE":                 true, "JUPYTERHUB_SSL_CERTFILE": true, "JUPYTERHUB_SSL_CLIENT_CA": true,
}

// sslVariables are the three that name the files of internal TLS; all file names are under the mount path.
var sslVariables = map[string]string{
	"JUPYTERHUB_SSL_KEYFILE":   secretKey,
	"JUPYTERHUB_SSL_CERTFILE":  secretCert,
	"JUPYTERHUB_SSL_CLIENT_CA": secretCA,
}

// environmentInput is what a container's variables are made of.
type environmentInput struct {
	settings options.Settings
	fields   *expander
	hub      map[string]string           // from the request, verbatim
	tls      bool                        // internal TLS
	removed  []string                    // set to null by a profile
	lookup   func(string) (string, bool) // the process's own environment, for env_keep
}

// buildEnvironment layers the variables: computed here, then the operator's and the profile's (expanded),
// then the hub's verbatim. It differs from KubeSpawner, where the operator's option and the hub's variables replace one
// another and a brace in a hub's value ends the start. The old name JPY_API_TOKEN is left out.
func buildEnvironment(in environmentInput, p *options.Problems) map[string]any {
	s := in.settings
	if n := len(s.Environment) + len(in.hub); n > maxVariables {
		p.Addf("environment", "has %d variables with those of the hub; at most %d are allowed", n, maxVariables)
		return nil
	}
	env := map[string]any{"JUPYTER_IMAGE": s.Image, "JUPYTER_IMAGE_SPEC": s.Image}
	for _, name := range s.EnvKeep {
		if value, ok := in.lookup(name); ok {
			env[name] = value
		}
	}
	addResources(env, s)
	scheme, prefix := "http", in.hub["JUPYTERHUB_SERVICE_PREFIX"]
	if in.tls {
		scheme = "https"
	}
	env["JUPYTERHUB_SERVICE_URL"] = scheme + "://" + net.JoinHostPort(s.IP, strconv.Itoa(s.Port)) + cmp.Or(prefix, "/")
	urls := fields{"username": in.fields.fields["unescaped_username"], "base_url": prefix}
	for _, o := range []struct{ option, variable, template string }{
		{"default_url", "JUPYTERHUB_DEFAULT_URL", s.DefaultURL},
		{"notebook_dir", "JUPYTERHUB_ROOT_DIR", s.NotebookDir},
	} {
		if o.template == "" {
			continue
		}
		value, err := python.FormatWithin(o.template, urls, &in.fields.left)
		if err != nil {
			p.Addf(o.option, "%v", err)
		}
		env[o.variable] = value
	}
	if s.Debug {
		env["JUPYTERHUB_DEBUG"] = "1"
	}
	if s.DisableUserConfig {
		env["JUPYTERHUB_DISABLE_USER_CONFIG"] = "1"
	}
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		if protectedVariables[name] {
			p.Addf("environment."+name, "only the hub may set this variable")
			continue
		}
		env[name] = in.fields.expandAll("environment."+name, s.Environment[name], p)
	}
	maps.Copy(env, in.fromHub())
	for name, file := range sslVariables {
		delete(env, name)
		if in.tls {
			env[name] = s.SecretMountPath + file
		}
	}
	return env
}

// fromHub returns the hub's variables without those that a profile removes.
func (in environmentInput) fromHub() map[string]any {
	removed := make(map[string]bool, len(in.removed))
	for _, name := range in.removed {
		removed[name] = !protectedVariables[name]
	}
	out := make(map[string]any, len(in.hub))
	for name, value := range in.hub {
		if !removed[name] {
			out[name] = value
		}
	}
	return out
}

// addResources sets the variables that name the limits and guarantees, formatted as by KubeSpawner.
func addResources(env map[string]any, s options.Settings) {
	cores := func(name string, v *float64) {
		if v == nil || *v == 0 {
			return
		}
		text := strconv.FormatFloat(*v, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		env[name] = text
	}
	bytes := func(name string, v *int64) {
		if v != nil && *v != 0 {
			env[name] = strconv.FormatInt(*v, 10)
		}
	}
	cores("CPU_LIMIT", s.CPULimit)
	cores("CPU_GUARANTEE", s.CPUGuarantee)
	bytes("MEM_LIMIT", s.MemLimit)
	bytes("MEM_GUARANTEE", s.MemGuarantee)
}

// orderEnvironment lists variables so that one that uses $(OTHER) comes after OTHER: rounds of those whose
// references are all out already, each round by key, then whatever is left (cycles, unknown names) by key. Each
// variable and each reference is looked at once.
func orderEnvironment(env map[string]any, p *options.Problems) []corev1.EnvVar {
	missing := make(map[string]int, len(env)) // references of a variable that are not out yet
	users := make(map[string][]string)        // variables that use one, once for each reference
	var round []string
	for key, value := range env {
		text, _ := value.(string)
		for _, other := range references(text) {
			if other != key {
				missing[key]++
				users[other] = append(users[other], key)
			}
		}
		if missing[key] == 0 {
			round = append(round, key)
		}
	}
	out := make([]corev1.EnvVar, 0, len(env))
	done := make(map[string]bool, len(env))
	add := func(keys []string) {
		slices.Sort(keys)
		for _, key := range keys {
			done[key] = true
			out = append(out, envVar(key, env[key], p))
		}
	}
	for len(round) > 0 {
		add(round)
		var next []string
		for _, key := range round {
			for _, user := range users[key] {
				if missing[user]--; missing[user] == 0 {
					next = append(next, user)
				}
			}
		}
		round = next
	}
	for key := range env {
		if !done[key] {
			round = append(round, key)
		}
	}
	add(round)
	return out
}

// references returns the names in $(NAME), also in the escaped form $$(NAME), which KubeSpawner counts.
func references(value string) []string {
	var out []string
	for {
		_, after, found := strings.Cut(value, "$(")
		if !found {
			return out
		}
		name, rest, closed := strings.Cut(after, ")")
		if !closed {
			return out
		}
		out, value = append(out, name), rest
	}
}

// envVar makes one variable: a string, null (no value), or an EnvVar object that may carry its own name.
func envVar(key string, value any, p *options.Problems) corev1.EnvVar {
	v := corev1.EnvVar{Name: key}
	switch value := value.(type) {
	case string:
		v.Value = value
	case map[string]any:
		decodeInto(&v, value, "environment."+key, p)
	}
	return v
}
