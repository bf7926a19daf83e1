package flavor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/outposts-dev/outposts/server/pattern"
	"github.com/outposts-dev/outposts/server/suggest"
)

// Flavors is a parsed flavors or credits file (protocol 4.1, 4.7). It is never changed; nil means not configured.
type Flavors struct {
	credits  bool
	names    []string // in the order of the file
	inactive []string // null in the file
	base     map[string]Flavor
	hubs     []hubSet
	users    []userSet
	meant    []meaning
	// Warnings are about entries that have no effect or a new meaning.
	Warnings []Fault
}

// Empty reports whether a file defines no flavor and no credit at all.
func (f *Flavors) Empty() bool { return len(f.names) == 0 }

// hubSet is an entry of "hubs": what the hubs that it names are offered.
type hubSet struct {
	offer
	hub matcher
}

// userSet is an entry of "users": what the users whose attributes it matches are offered.
type userSet struct {
	offer
	hubs      []string // nil: all
	tests     []attributeTest
	negate    bool
	forbidden bool
}

// attributeTest is one key of a user set's "authentication".
type attributeTest struct {
	key   string
	value matcher
}

// matcher is a list of exact strings or one pattern.
type matcher struct {
	values  []string
	pattern *pattern.Pattern // nil: the list counts
}

// meaning is which hubs a key of the file means.
type meaning struct {
	line int
	key  string // "users.staff.hubs"
	hubs matcher
}

// offer is what hub sets and user sets have in common.
type offer struct {
	key      string
	weight   float64
	chosen   []string // names of flavors; nil: all of the step before
	override map[string]map[string]any
}

// Parse parses a flavors file. An empty file is nil without an error: not configured. The error names every fault with
// its line; if it is [Faults], what is returned beside it is there to be checked further and not to be used.
func Parse(data []byte) (*Flavors, error) {
	return parse(data, &parser{f: &Flavors{}, list: "flavors", overrides: "flavorsOverride"})
}

// ParseCredits parses a credits file: the same shape with "credits" and "creditsOverride".
func ParseCredits(data []byte) (*Flavors, error) {
	return parse(data, &parser{f: &Flavors{credits: true}, list: "credits", overrides: "creditsOverride"})
}

func parse(data []byte, p *parser) (*Flavors, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("has a second document after ---, which nothing would read")
	}
	if doc.Kind == 0 || len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return nil, nil
	}
	p.f.base = map[string]Flavor{}
	p.document(doc.Content[0])
	if len(p.faults) > 0 {
		slices.SortStableFunc(p.faults, func(a, b Fault) int { return a.Line - b.Line })
		return p.f, p.faults
	}
	return p.f, nil
}

// parser collects every fault of a file, each with its line.
type parser struct {
	f               *Flavors
	list, overrides string // names of keys
	faults          Faults
	texts           []pair // deniedText, by the names of flavors
}

func (p *parser) fault(n *yaml.Node, where, format string, args ...any) {
	p.faults = append(p.faults, Fault{n.Line, where, fmt.Sprintf(format, args...)})
}

func (p *parser) warn(n *yaml.Node, where, format string, args ...any) {
	p.f.Warnings = append(p.f.Warnings, Fault{n.Line, where, fmt.Sprintf(format, args...)})
}

// UnknownHubs returns a warning for each name and each pattern of the file that means none of the hubs that may log in.
// Files that several outposts share have such names, so they are no fault.
func (f *Flavors) UnknownHubs(hubs []string) (warnings []Fault) {
	for _, m := range f.meant {
		warn := func(format string, args ...any) {
			warnings = append(warnings, Fault{m.line, m.key, fmt.Sprintf(format, args...)})
		}
		if m.hubs.pattern != nil && !slices.ContainsFunc(hubs, m.hubs.matches) {
			warn("no hub that may log in has a name like this")
		}
		for _, name := range m.hubs.values {
			if !slices.Contains(hubs, name) {
				warn("no hub of the name %s may log in%s", name, suggest.Or(name, hubs, ""))
			}
		}
	}
	return warnings
}

// pair is one key of a mapping with its value.
type pair struct {
	key   string
	value *yaml.Node
}

// pairs returns the keys of a mapping in the order of the file, those of a merge key last. Null is a fault: absent
// would mean no limits, and it is what remains of a key whose lines are commented out or indented wrongly.
func (p *parser) pairs(n *yaml.Node, where string) []pair {
	n = resolve(n)
	var list []pair
	var merged []*yaml.Node
	seen := map[string]bool{}
	read := func(n *yaml.Node, own bool) {
		if n.Kind != yaml.MappingNode {
			p.fault(n, where, "must be a mapping")
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := resolve(n.Content[i]), resolve(n.Content[i+1])
			switch {
			case k.Tag == "!!merge" && own && v.Kind == yaml.SequenceNode:
				merged = append(merged, v.Content...)
			case k.Tag == "!!merge" && own:
				merged = append(merged, v)
			case k.Tag == "!!merge":
				p.fault(k, where, "a merged mapping cannot merge others")
			case k.Kind != yaml.ScalarNode:
				p.fault(k, where, "a key must be a string")
			case !seen[k.Value]:
				seen[k.Value] = true
				list = append(list, pair{k.Value, v})
			case own:
				p.fault(k, where, "%s is listed twice", k.Value)
			}
		}
	}
	if p.null(n, where) {
		return nil
	}
	read(n, true)
	for _, m := range merged {
		read(resolve(m), false)
	}
	return list
}

// null notes a value that is null.
func (p *parser) null(n *yaml.Node, where string) bool {
	if isNull(n) {
		p.fault(n, where, "is empty; leave the key out, or write its value")
	}
	return isNull(n)
}

func (p *parser) document(n *yaml.Node) {
	var hubs, users *yaml.Node
	for _, top := range p.pairs(n, "file") {
		switch top.key {
		case p.list:
			if !isNull(top.value) { // no flavor at all, which refuses every start
				p.flavors(top.value)
			}
		case "hubs":
			hubs = top.value
		case "users":
			users = top.value
		default:
			p.unknown(top.value, top.key, top.key, []string{p.list, "hubs", "users"})
		}
	}
	if hubs != nil {
		for _, h := range p.pairs(hubs, "hubs") {
			p.hubSet(h)
		}
	}
	if users != nil {
		for _, u := range p.pairs(users, "users") {
			p.userSet(u)
		}
	}
	for _, text := range p.texts {
		restricted := func(e Entry) bool { return e.Name == text.key && e.Flavor[groupsKey] != nil }
		if !slices.ContainsFunc(p.f.All(), restricted) {
			p.fault(text.value, p.list+"."+text.key+"."+deniedKey, "has no effect without %s", groupsKey)
		}
	}
}

// flavors reads the flavors themselves. One that is null is not there, as if a value of a chart were taken away.
func (p *parser) flavors(n *yaml.Node) {
	for _, fl := range p.pairs(n, p.list) {
		where := p.list + "." + fl.key
		if isNull(fl.value) {
			p.warn(fl.value, where, "is null, so it is not offered")
			p.f.inactive = append(p.f.inactive, fl.key)
			continue
		}
		f := Flavor(p.mapping(fl.value, where))
		p.checkFlavor(fl.value, where, f)
		if f[deniedKey] != nil && !p.f.credits {
			p.texts = append(p.texts, pair{fl.key, valueNode(fl.value, deniedKey)})
		}
		p.f.names = append(p.f.names, fl.key)
		p.f.base[fl.key] = f
	}
}

// unknown notes a key that nothing reads; key is the last part of where.
func (p *parser) unknown(n *yaml.Node, where, key string, known []string) {
	p.fault(n, where, "unknown key%s", suggest.Or(key, known, "; known keys: "+strings.Join(known, ", ")))
}

func (p *parser) hubSet(entry pair) {
	where := "hubs." + entry.key
	set := hubSet{offer: offer{key: entry.key}}
	named := false
	for _, kv := range p.pairs(entry.value, where) {
		at := where + "." + kv.key
		switch {
		case kv.key == "jupyterhub_name":
			named = true
			set.hub = p.matcher(kv.value, at)
			p.f.meant = append(p.f.meant, meaning{kv.value.Line, at, set.hub})
		case p.offer(&set.offer, kv, at):
		default:
			p.unknown(kv.value, at, kv.key, []string{"jupyterhub_name", "weight", p.list, p.overrides})
		}
	}
	if !named {
		p.fault(entry.value, where+".jupyterhub_name", "is missing; without it no hub is meant")
	}
	p.f.hubs = append(p.f.hubs, set)
}

func (p *parser) userSet(entry pair) {
	where := "users." + entry.key
	set := userSet{offer: offer{key: entry.key}}
	for _, kv := range p.pairs(entry.value, where) {
		at := where + "." + kv.key
		switch {
		case kv.key == "hubs":
			m := p.matcherOf(kv.value, at)
			set.hubs = m.values
			p.f.meant = append(p.f.meant, meaning{kv.value.Line, at, m})
		case kv.key == "authentication":
			for _, test := range p.pairs(kv.value, at) {
				set.tests = append(set.tests, attributeTest{test.key, p.matcher(test.value, at+"."+test.key)})
			}
		case kv.key == "negate_authentication":
			set.negate = p.boolean(kv.value, at)
		case kv.key == "forbidden":
			set.forbidden = p.boolean(kv.value, at)
		case p.offer(&set.offer, kv, at):
		default:
			p.unknown(kv.value, at, kv.key, []string{
				"hubs", "authentication", "negate_authentication", "forbidden", "weight", p.list, p.overrides,
			})
		}
	}
	if len(set.tests) == 0 && !set.negate {
		p.warn(entry.value, where, "has no authentication, so it applies to nobody")
	}
	p.f.users = append(p.f.users, set)
}

// offer reads a key that hub sets and user sets have in common; false if it is another one.
func (p *parser) offer(o *offer, kv pair, at string) bool {
	switch kv.key {
	case "weight":
		if err := kv.value.Decode(&o.weight); err != nil || isNull(kv.value) || math.IsNaN(o.weight) {
			p.fault(kv.value, at, "must be a number")
		}
	case p.list:
		o.chosen = p.strings(kv.value, at)
		for _, name := range o.chosen {
			if !p.known(name) {
				p.warn(kv.value, at, "%s is not among the %s of this file", name, p.list)
			}
		}
	case p.overrides:
		o.override = map[string]map[string]any{}
		for _, fl := range p.pairs(kv.value, at) {
			if p.null(fl.value, at+"."+fl.key) {
				continue
			}
			values := p.mapping(fl.value, at+"."+fl.key)
			if !p.known(fl.key) {
				p.fault(fl.value, at, "%s is not among the %s of this file%s", fl.key, p.list,
					suggest.Or(fl.key, p.f.names, ""))
			}
			p.checkFlavor(fl.value, at+"."+fl.key, values)
			p.checkOverride(fl.value, at+"."+fl.key, values)
			o.override[fl.key] = values
		}
	default:
		return false
	}
	return true
}

// known reports whether a flavor is in the file, offered or not.
func (p *parser) known(name string) bool {
	return slices.Contains(p.f.names, name) || slices.Contains(p.f.inactive, name)
}

// mapping decodes a mapping with any values. A value that JSON cannot represent is a fault.
func (p *parser) mapping(n *yaml.Node, where string) map[string]any {
	m := map[string]any{}
	if n.Kind != yaml.MappingNode {
		p.fault(n, where, "must be a mapping")
		return m
	}
	if err := n.Decode(&m); err != nil {
		p.fault(n, where, "%v", err)
		return map[string]any{}
	}
	if _, err := json.Marshal(m); err != nil {
		p.fault(n, where, "holds a value that JSON cannot represent")
		return map[string]any{}
	}
	return m
}

// matcher reads a list of exact strings or one pattern.
func (p *parser) matcher(n *yaml.Node, where string) (m matcher) {
	switch {
	case n.Kind == yaml.SequenceNode:
		return p.matcherOf(n, where)
	case n.Kind != yaml.ScalarNode || isNull(n):
		p.fault(n, where, "must be a list of strings or a pattern")
	default:
		var err error
		if m.pattern, err = pattern.Parse(n.Value); err != nil {
			p.fault(n, where, "%v", err)
		}
	}
	return m
}

// matcherOf reads a list of exact strings. An empty one matches nothing, which is seldom meant.
func (p *parser) matcherOf(n *yaml.Node, where string) matcher {
	m := matcher{values: p.strings(n, where)}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		p.warn(n, where, "is an empty list, which nothing matches")
	}
	return m
}

// strings reads a list of scalars, each as its text; never nil.
func (p *parser) strings(n *yaml.Node, where string) []string {
	list := []string{}
	if n.Kind != yaml.SequenceNode {
		p.fault(n, where, "must be a list")
		return list
	}
	for _, item := range n.Content {
		item = resolve(item)
		if item.Kind != yaml.ScalarNode {
			p.fault(item, where, "must be a list of strings")
			continue
		}
		list = append(list, item.Value)
	}
	return list
}

func (p *parser) boolean(n *yaml.Node, where string) bool {
	var b bool
	if err := n.Decode(&b); err != nil || isNull(n) {
		p.fault(n, where, "must be true or false")
	}
	return b
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
