package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// File is the content of the YAML file: what the outpost does for hubs.
type File struct {
	Spawner          map[string]any       // KubeSpawner's options by their names there, for all hubs; numbers are json.Number
	GlobalMaxPerUser int                  // servers of one user of one hub, of any flavor; -1 for no limit
	FailEarly        bool                 // end a start that cannot succeed at once
	Hubs             map[string]HubPolicy // by hub name
}

// HubPolicy is what one hub may ask for.
type HubPolicy struct {
	AllowedOptions   []string       // spawner options it may set with a start
	AllowedImages    []string       // patterns of images; empty for any
	CallbackURLs     []string       // beginnings of URLs at which it may be called; empty for none
	CallbackCAFile   string         // PEM CAs of its certificate; empty for OUTPOST_HUB_CA_FILE and the public ones
	Spawner          map[string]any // over File.Spawner
	SendEvents       bool           // progress events, on by default
	TunnelRestart    *Call          // asks for new tunnels after a start of this process; nil for never
	Servers          *Call          // lists its running servers, for the clean-up; nil for no clean-up
	FlavorsTokenFile string         // file of FlavorsToken
	FlavorsToken     Secret         // for flavor updates, when a request brings none
	RecreateTunnels  bool           // post each service's address to the hub after a start of this process
}

// Call is a URL of a hub's API and the token to call it with.
type Call struct {
	URL       string
	TokenFile string
	Token     Secret
}

func defaultFile() File { return File{GlobalMaxPerUser: -1, FailEarly: true} }

func defaultPolicy() HubPolicy { return HubPolicy{SendEvents: true} }

// python is how a configuration of the Python server begins a line.
var python = regexp.MustCompile(`(?m)^\s*(c\.[A-Za-z_]|import |from \S+ import |(async )?def |class )`)

const insteadOfPython = "is Python code, which this server does not run; write YAML instead: KubeSpawner's options under spawner, " +
	"what a hub may ask for under hubs, globalMaxPerUser for c.JupyterHubOutpost.global_max_per_user"

// readFile reads and checks the YAML file. A missing file is the default if missingOK.
func readFile(path string, missingOK bool) (File, Problems) {
	var p Problems
	if strings.HasSuffix(path, ".py") {
		p.addf("OUTPOST_CONFIG_FILE", "%s %s", path, insteadOfPython)
		return defaultFile(), p
	}
	text, err := os.ReadFile(path)
	if missingOK && errors.Is(err, fs.ErrNotExist) {
		return defaultFile(), nil
	}
	if err != nil {
		p.addf("OUTPOST_CONFIG_FILE", "%v", err)
		return defaultFile(), p
	}
	return ParseFile(filepath.Base(path), text)
}

// ParseFile checks the text of a YAML file; name stands in front of what is wrong. Tokens are read from their files.
func ParseFile(name string, text []byte) (File, Problems) {
	var p Problems
	encoded, err := yaml.YAMLToJSONStrict(text)
	if (err != nil || !bytes.HasPrefix(encoded, []byte("{"))) && python.Match(text) {
		p.addf(name, "%s", insteadOfPython)
		return defaultFile(), p
	}
	if err != nil {
		p.addf(name, "%s", strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "))
		return defaultFile(), p
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	var content any
	if err := decoder.Decode(&content); err != nil {
		p.addf(name, "%v", err)
		return defaultFile(), p
	}
	if content == nil {
		return defaultFile(), nil
	}
	r := reader{problems: &p, file: name}
	f := defaultFile()
	top := r.mapping("", content)
	r.fields("", top, map[string]func(string, any){
		"spawner":          func(at string, v any) { f.Spawner = r.mapping(at, v) },
		"globalMaxPerUser": func(at string, v any) { f.GlobalMaxPerUser = r.integer(at, v) },
		"failEarly":        func(at string, v any) { f.FailEarly = r.boolean(at, v) },
		"hubs": func(at string, v any) {
			f.Hubs = map[string]HubPolicy{}
			hubs := r.mapping(at, v)
			for _, hub := range sortedKeys(hubs) {
				f.Hubs[hub] = r.policy(at+"."+hub, hubs[hub])
			}
		},
	})
	return f, p
}

// reader turns decoded values into fields and notes what has a wrong name or type.
type reader struct {
	problems *Problems
	file     string
}

func (r reader) addf(at, format string, args ...any) {
	name := r.file
	if at != "" {
		name += ": " + at
	}
	r.problems.addf(name, format, args...)
}

// fields hands each key of a mapping to its function and refuses the others. Null is as good as absent.
func (r reader) fields(at string, m map[string]any, known map[string]func(string, any)) {
	for _, key := range sortedKeys(m) {
		path := key
		if at != "" {
			path = at + "." + key
		}
		set, ok := known[key]
		switch {
		case !ok:
			r.addf(path, "is no setting%s", suggestion(key, sortedKeys(known)))
		case m[key] != nil:
			set(path, m[key])
		}
	}
}

// policy reads the entry of one hub.
func (r reader) policy(at string, v any) HubPolicy {
	h := defaultPolicy()
	if v == nil {
		return h
	}
	r.fields(at, r.mapping(at, v), map[string]func(string, any){
		"allowedOptions": func(at string, v any) { h.AllowedOptions = r.texts(at, v) },
		"allowedImages":  func(at string, v any) { h.AllowedImages = r.texts(at, v) },
		"callbackUrls":   func(at string, v any) { h.CallbackURLs = r.texts(at, v) },
		"callbackCaFile": func(at string, v any) { h.CallbackCAFile = r.text(at, v) },
		"spawner":        func(at string, v any) { h.Spawner = r.mapping(at, v) },
		"sendEvents":     func(at string, v any) { h.SendEvents = r.boolean(at, v) },
		"tunnelRestart":  func(at string, v any) { h.TunnelRestart = r.call(at, v) },
		"servers":        func(at string, v any) { h.Servers = r.call(at, v) },
		"flavorsTokenFile": func(at string, v any) {
			h.FlavorsTokenFile = r.text(at, v)
			h.FlavorsToken = r.token(at, h.FlavorsTokenFile)
		},
		"recreateTunnels": func(at string, v any) { h.RecreateTunnels = r.boolean(at, v) },
	})
	return h
}

// call reads a URL and the token in its file.
func (r reader) call(at string, v any) *Call {
	c := &Call{}
	r.fields(at, r.mapping(at, v), map[string]func(string, any){
		"url": func(at string, v any) { c.URL = r.text(at, v) },
		"tokenFile": func(at string, v any) {
			c.TokenFile = r.text(at, v)
			c.Token = r.token(at, c.TokenFile)
		},
	})
	return c
}

// token reads a secret from a file.
func (r reader) token(at, path string) Secret {
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		r.addf(at, "%v", err)
	}
	return Secret(strings.TrimSpace(string(text)))
}

func (r reader) mapping(at string, v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		r.addf(at, "is %s, not a mapping", kind(v))
	}
	return m
}

func (r reader) text(at string, v any) string {
	s, ok := v.(string)
	if !ok {
		r.addf(at, "is %s, not a text", kind(v))
	}
	return s
}

func (r reader) texts(at string, v any) []string {
	list, ok := v.([]any)
	if !ok {
		r.addf(at, "is %s, not a list of texts", kind(v))
	}
	var out []string
	for i, one := range list {
		out = append(out, r.text(fmt.Sprintf("%s[%d]", at, i), one))
	}
	return out
}

func (r reader) boolean(at string, v any) bool {
	b, ok := v.(bool)
	if !ok {
		r.addf(at, "is %s, not true or false", kind(v))
	}
	return b
}

func (r reader) integer(at string, v any) int {
	if n, ok := v.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return int(i)
		}
	}
	r.addf(at, "is %s, not a whole number", kind(v))
	return 0
}

// kind names a decoded value's type in words.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "empty"
	case bool:
		return "true or false"
	case json.Number:
		return "the number " + v.String()
	case string:
		return "a text"
	case []any:
		return "a list"
	default:
		return "a mapping"
	}
}

// suggestion is the end of a sentence about an unknown name.
func suggestion(typed string, names []string) string {
	if near := nearest(typed, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return "; there are " + strings.Join(names, ", ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
