package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/maintenance"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/place"
	"github.com/outposts-dev/outposts/server/suggest"
)

// File is the content of the YAML file: what the outpost does for hubs.
type File struct {
	Spawner          map[string]any // KubeSpawner's options by their names there, for all hubs; numbers are json.Number
	GlobalMaxPerUser int            // servers of one user of one hub, of any flavor; -1 for no limit
	PerHub           PerHub         // what each hub may have that its entry does not say
	FailEarly        bool           // end a start that cannot succeed at once
	// UnschedulableGrace is how long a server may find no node, whole seconds from 1 s; 0, which the file writes as
	// null, is as long as its start may take wherever nodes may be added, else 15 s.
	UnschedulableGrace time.Duration
	Maintenance        *outpost.Maintenance // a time without starts; nil for none
	Hubs               map[string]Hub       // by hub name
}

// PerHub is what each hub may have, whoever its users are.
type PerHub struct {
	MaxServers int // servers of the hub, of any flavor; -1 for no limit
}

// Hub is the entry of one hub.
type Hub struct {
	outpost.Hub
	MaxServers     *int   // in place of PerHub.MaxServers; nil for that
	CallbackCAFile string // PEM CAs of its certificate; empty for OUTPOST_HUB_CA_FILE and the public ones
}

func defaultFile() File {
	return File{GlobalMaxPerUser: -1, PerHub: PerHub{MaxServers: -1}, FailEarly: true}
}

func defaultHub(name string) Hub { return Hub{Hub: outpost.Hub{Name: name, SendEvents: true}} }

// python matches how a line of the Python outpost's configuration begins.
var python = regexp.MustCompile(`(?m)^\s*(c\.[A-Za-z_]|import |from \S+ import |(async )?def |class )`)

const insteadOfPython = "is Python code, which this server does not run; write YAML instead: " +
	"KubeSpawner's options under spawner, what a hub may ask for under hubs, " +
	"globalMaxPerUser for c.JupyterHubOutpost.global_max_per_user"

// readFile reads and checks the YAML file.
func readFile(path string) (f File, text []byte, p Problems) {
	if strings.HasSuffix(path, ".py") {
		p.addf("OUTPOST_CONFIG_FILE", "%s %s", path, insteadOfPython)
		return defaultFile(), nil, p
	}
	text, err := os.ReadFile(path)
	if err != nil {
		p.addf("OUTPOST_CONFIG_FILE", "%v", err)
		return defaultFile(), nil, p
	}
	f, p = ParseFile(filepath.Base(path), text, os.ReadFile)
	return f, text, p
}

// ParseFile checks the text of a YAML file; name stands in front of what is wrong. Tokens are read by read from their
// files, which is os.ReadFile; nil leaves them out, for a check where those files are not.
func ParseFile(name string, text []byte, read func(path string) ([]byte, error)) (File, Problems) {
	var p Problems
	encoded, err := yaml.YAMLToJSONStrict(text)
	if (err != nil || !bytes.HasPrefix(encoded, []byte("{"))) && python.Match(text) {
		p.addf(name, "%s", insteadOfPython)
		return defaultFile(), p
	}
	if err != nil {
		for _, key := range place.NotFinite(text) {
			p.addf(name+": "+key, "must be a finite number")
		}
		if p == nil {
			p.addf(name, "%s", strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "))
		}
		return defaultFile(), p
	}
	documents := yamlv3.NewDecoder(bytes.NewReader(text))
	if documents.Decode(new(yamlv3.Node)) == nil && !errors.Is(documents.Decode(new(yamlv3.Node)), io.EOF) {
		p.addf(name, "has a second document after ---, which nothing would read")
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
	r := reader{problems: &p, file: name, read: read}
	f := defaultFile()
	top := r.mapping("", content)
	r.fields("", top, map[string]func(string, any){
		"spawner":          func(at string, v any) { f.Spawner = r.mapping(at, v) },
		"globalMaxPerUser": func(at string, v any) { f.GlobalMaxPerUser = r.integer(at, v) },
		"perHub": func(at string, v any) {
			r.fields(at, r.mapping(at, v), map[string]func(string, any){
				"maxServers": func(at string, v any) { f.PerHub.MaxServers = r.integer(at, v) },
			})
		},
		"failEarly":          func(at string, v any) { f.FailEarly = r.boolean(at, v) },
		"unschedulableGrace": func(at string, v any) { f.UnschedulableGrace = r.seconds(at, v) },
		"maintenance":        func(at string, v any) { f.Maintenance = parsed(r, at, v, maintenance.Parse) },
		"hubs": func(at string, v any) {
			f.Hubs = map[string]Hub{}
			hubs := r.mapping(at, v)
			for _, name := range sortedKeys(hubs) {
				f.Hubs[name] = r.hub(at+"."+name, name, hubs[name])
			}
		},
	})
	return f, p
}

// Check checks the values of a file, which are of the right types already; hubs are the names of those that may log in.
// The name of the file stands in front of what is wrong.
func (f File) Check(name string, hubs []string) (p Problems) {
	limit := func(at string, n int) {
		if n < -1 {
			p.addf(name+": "+at, "%d is neither -1 for no limit nor a number of servers", n)
		}
	}
	limit("globalMaxPerUser", f.GlobalMaxPerUser)
	limit("perHub.maxServers", f.PerHub.MaxServers)
	for _, hub := range sortedKeys(f.Hubs) {
		at := name + ": hubs." + hub
		if n := f.Hubs[hub].MaxServers; n != nil {
			limit("hubs."+hub+".maxServers", *n)
		}
		if rule := f.Hubs[hub].Access; rule.DeniedText != "" && len(rule.AllowedGroups) == 0 {
			p.addf(at+".deniedText", "has no effect without allowedGroups")
		}
		if !slices.Contains(hubs, hub) {
			p.addf(at, "no hub of this name may log in%s", suggestion(hub, hubs))
		}
		for _, fault := range f.Hubs[hub].Check() {
			p.addf(at+"."+fault.Field, "%s", fault.Message)
		}
	}
	return p
}

// Of returns what a hub may ask for: its entry, or the defaults.
func (f File) Of(hub string) Hub {
	if h, ok := f.Hubs[hub]; ok {
		return h
	}
	return defaultHub(hub)
}

// MaxServers returns how many servers a hub may have, of any flavor; nil is no limit.
func (f File) MaxServers(hub string) *int {
	limit := f.PerHub.MaxServers
	if own := f.Hubs[hub].MaxServers; own != nil {
		limit = *own
	}
	if limit < 0 {
		return nil
	}
	return &limit
}

// reader turns decoded values into fields and notes what has a wrong name or type.
type reader struct {
	problems *Problems
	file     string
	read     func(path string) ([]byte, error) // of tokens; nil for none
}

func (r reader) addf(at, format string, args ...any) {
	name := r.file
	if at != "" {
		name += ": " + at
	}
	r.problems.addf(name, format, args...)
}

// limits are keys that restrict what hubs and users may do: null, or a list of nothing, which would be no limit, is
// refused.
var limits = []string{"globalMaxPerUser", "maxServers", "allowedImages", "allowedRegistries", "allowedGroups"}

// fields hands each key of a mapping to its function and refuses the others. Null counts as absent but for limits.
func (r reader) fields(at string, m map[string]any, known map[string]func(string, any)) {
	for _, key := range sortedKeys(m) {
		path := key
		if at != "" {
			path = at + "." + key
		}
		set, ok := known[key]
		switch {
		case !ok:
			r.addf(path, "is not a setting%s", suggestion(key, sortedKeys(known)))
		case slices.Contains(limits, key) && isEmpty(m[key]):
			r.addf(path, "is empty; leave the key out, or write its value")
		case m[key] != nil:
			set(path, m[key])
		}
	}
}

// isEmpty reports whether a value is null or a list of nothing.
func isEmpty(v any) bool {
	list, isList := v.([]any)
	return v == nil || isList && len(list) == 0
}

// hub reads the entry of one hub.
func (r reader) hub(at, name string, v any) Hub {
	h := defaultHub(name)
	if v == nil {
		return h
	}
	r.fields(at, r.mapping(at, v), map[string]func(string, any){
		"allowedOptions":    func(at string, v any) { h.AllowedOptions = r.strings(at, v) },
		"allowedImages":     func(at string, v any) { h.AllowedImages = r.strings(at, v) },
		"allowedRegistries": func(at string, v any) { h.AllowedRegistries = r.strings(at, v) },
		"allowedGroups":     func(at string, v any) { h.Access.AllowedGroups = parsed(r, at, v, access.ParseGroups) },
		"maxServers":        func(at string, v any) { h.MaxServers = new(r.integer(at, v)) },
		"deniedText":        func(at string, v any) { h.Access.DeniedText = parsed(r, at, v, access.ParseText) },
		"callbackUrls":      func(at string, v any) { h.CallbackURLs = r.strings(at, v) },
		"callbackCaFile":    func(at string, v any) { h.CallbackCAFile = r.string(at, v) },
		"spawner":           func(at string, v any) { h.Options = r.mapping(at, v) },
		"sendEvents":        func(at string, v any) { h.SendEvents = r.boolean(at, v) },
		"tunnelRestart":     func(at string, v any) { h.TunnelRestart = r.call(at, v) },
		"servers":           func(at string, v any) { h.Servers = r.call(at, v) },
		"flavorsTokenFile":  func(at string, v any) { h.FlavorsToken = r.token(at, v) },
		"recreateTunnels":   func(at string, v any) { h.RecreateTunnels = r.boolean(at, v) },
	})
	return h
}

// call reads a URL and the token in its file.
func (r reader) call(at string, v any) *outpost.HubCall {
	c := &outpost.HubCall{}
	r.fields(at, r.mapping(at, v), map[string]func(string, any){
		"url":       func(at string, v any) { c.URL = r.string(at, v) },
		"tokenFile": func(at string, v any) { c.Token = r.token(at, v) },
	})
	return c
}

// token reads a secret from the file that a setting names.
func (r reader) token(at string, v any) outpost.Secret {
	path := r.string(at, v)
	if path == "" || r.read == nil {
		return ""
	}
	text, err := r.read(path)
	if err != nil {
		r.addf(at, "%v", err)
	}
	return outpost.Secret(strings.TrimSpace(string(text)))
}

func (r reader) mapping(at string, v any) map[string]any {
	return of[map[string]any](r, at, v, "a mapping")
}
func (r reader) string(at string, v any) string { return of[string](r, at, v, "a string") }
func (r reader) boolean(at string, v any) bool  { return of[bool](r, at, v, "true or false") }

func (r reader) strings(at string, v any) (list []string) {
	for i, one := range of[[]any](r, at, v, "a list of strings") {
		list = append(list, r.string(fmt.Sprintf("%s[%d]", at, i), one))
	}
	return list
}

func (r reader) integer(at string, v any) int {
	n, _ := v.(json.Number)
	i, err := n.Int64()
	if err != nil {
		r.addf(at, "must be a whole number, not %s", kind(v))
	}
	return int(i)
}

// largest is the largest whole number that JSON keeps as it was written (RFC 8259, section 6).
const largest = 1<<53 - 1

// maxSeconds bounds a time in seconds; no start takes a year.
const maxSeconds = 365 * 24 * 3600

// seconds reads a time of at least a second.
func (r reader) seconds(at string, v any) time.Duration {
	n, _ := v.(json.Number)
	i, err := n.Int64()
	if err != nil || i < 1 || i > maxSeconds {
		r.addf(at, "must be a whole number of seconds from 1 to %d, not %s", maxSeconds, kind(v))
		return 0
	}
	return time.Duration(i) * time.Second
}

// of returns a decoded value as the type that a setting has, and notes what else it is.
func of[T any](r reader, at string, v any, want string) T {
	value, ok := v.(T)
	if !ok {
		r.addf(at, "must be %s, not %s", want, kind(v))
	}
	return value
}

// parsed returns what parse makes of a decoded value, and notes its error.
func parsed[T any](r reader, at string, v any, parse func(any) (T, error)) T {
	value, err := parse(v)
	if err != nil {
		r.addf(at, "%v", err)
	}
	return value
}

// kind names a decoded value's type in words.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "empty"
	case bool:
		return "true or false"
	case json.Number:
		if f, err := v.Float64(); err != nil || math.Abs(f) > largest {
			return "a number of that size" // YAML may have rounded it
		}
		return "the number " + v.String()
	case string:
		return "a string"
	case []any:
		return "a list"
	default:
		return "a mapping"
	}
}

// suggestion is the end of a sentence about an unknown name.
func suggestion(typed string, names []string) fmt.Stringer {
	return suggest.Or(typed, names, "; there are "+strings.Join(names, ", "))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
