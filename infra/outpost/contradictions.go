package outpost

import (
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/outposts-dev/outposts/infra/effect"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

// contradiction is a rule of the chart's templates/_validate.tpl about values that settings and values of the operator
// can still bring about: what the program sets itself, or refuses anyway, cannot break the others.
type contradiction struct {
	key, text string // of the fault; the parts of a key have dots between them
	holds     func(whole) bool
}

var contradictions = []contradiction{
	{
		"replicaCount", "is more than 1, but SQLite belongs to one process; set outpost.persistence.enabled: false " +
			"and SQL_* for PostgreSQL in values.extraEnvVarsSecrets",
		func(w whole) bool { return w.number("replicaCount") > 1 && w.has("persistence.enabled") },
	},
	{
		"persistence.enabled", "is false and no database is named; set SQL_* for PostgreSQL in " +
			"values.extraEnvVarsSecrets",
		func(w whole) bool {
			extra := w.has("extraEnvVars") || w.has("extraEnvVarsCMs") || w.has("extraEnvVarsSecrets")
			return !w.has("persistence.enabled") && !extra
		},
	},
	{
		"hubCaSecret", "is set beside hubCaConfigMap; keep one",
		func(w whole) bool { return w.has("hubCaConfigMap") && w.has("hubCaSecret") },
	},
	{
		"dialOut.proxySecret", "is set beside outpost.dialOut.proxy; keep one",
		func(w whole) bool { return w.has("dialOut.proxy") && w.has("dialOut.proxySecret") },
	},
	{
		"servicessh.enabled", "is false, but outpost.exposure.sshGateway has a route to it; leave one of them out",
		func(w whole) bool { return w.has("tcpRoute.enabled") && !w.has("servicessh.enabled") },
	},
	{
		"backup.enabled", "has nowhere to write to; name a claim in values.backup.claim",
		func(w whole) bool { return w.has("backup.enabled") && !w.has("backup.claim") },
	},
	{
		"persistence.accessModes", "has ReadWriteOncePod, by which no other pod gets the database; leave " +
			"values.backup out, and run outpost backup in the outpost's pod",
		func(w whole) bool {
			modes, _ := w.at("persistence.accessModes").([]any)
			return w.has("backup.enabled") && w.has("persistence.enabled") && !w.has("persistence.existingClaim") &&
				slices.Contains(modes, any("ReadWriteOncePod"))
		},
	},
	listenerTwice("httpRoute"),
	listenerTwice("tcpRoute"),
	{
		"httpRoute.timeouts.backendRequest", "is longer than httpRoute.timeouts.request; a try is a part of the " +
			"request",
		func(w whole) bool {
			request := w.duration("httpRoute.timeouts.request")
			return request > 0 && w.duration("httpRoute.timeouts.backendRequest") > request
		},
	},
	{
		"servicessh.ports.nodePort", "is that of service, too; choose another for one of them",
		func(w whole) bool {
			return w.has("service.ports.nodePort") &&
				w.number("service.ports.nodePort") == w.number("servicessh.ports.nodePort")
		},
	},
	{
		"prePuller.enabled", "has nothing to pull; set values.prePuller.images, or values.prePuller.fromProfiles " +
			"where config or flavors name images",
		func(w whole) bool {
			named := w.has("prePuller.fromProfiles") && (namesImage(w.at("config")) || namesImage(w.at("flavors")))
			return w.has("prePuller.enabled") && !w.has("prePuller.images") && !named
		},
	},
}

// listenerTwice is the rule about the parents of a route.
func listenerTwice(route string) contradiction {
	return contradiction{
		route + ".parentRefs", "names a listener of a Gateway twice; give each entry a sectionName of its own, or " +
			"leave one out",
		func(w whole) bool { return w.has(route+".enabled") && w.twice(route+".parentRefs") },
	}
}

// contradicted returns the contradictions in values as they are made, once what is needed is put right in them, but for
// places at or below a fault.
func contradicted(said []schema.Fault, needed, made map[string]any, namespace string) (faults []schema.Fault) {
	w := whole{values.Add(values.Merge(unused.Defaults, made), needed), namespace}
	for _, c := range contradictions {
		path := strings.Split(c.key, ".")
		above := func(f schema.Fault) bool { return effect.Within(path, f.Path) }
		if c.holds(w) && !slices.ContainsFunc(said, above) {
			faults = append(faults, schema.Fault{Path: path, Text: c.text})
		}
	}
	return faults
}

// whole are values with the chart's own below them, of a release in a namespace.
type whole struct {
	values    map[string]any
	namespace string
}

// at returns a value; nil where there is nothing.
func (w whole) at(key string) any { return values.At(w.values, strings.Split(key, ".")...) }

// has reports whether a value counts as true in a template.
func (w whole) has(key string) bool {
	truth, _ := template.IsTrue(w.at(key))
	return truth
}

// number returns a number; 0 for anything else, which the schema refuses.
func (w whole) number(key string) (n float64) {
	_, err := fmt.Sscan(fmt.Sprint(w.at(key)), &n)
	if err != nil {
		return 0
	}
	return n
}

// duration returns a duration, as "1m30s"; 0 for anything else, which the schema refuses.
func (w whole) duration(key string) time.Duration {
	text, _ := w.at(key).(string)
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

// namesImage reports whether options at any depth name an image that is not a template.
func namesImage(value any) bool {
	return values.HasMap(value, func(options map[string]any) bool {
		image, _ := options["image"].(string)
		return image != "" && !strings.Contains(image, "{")
	})
}

// twice reports whether two entries of a route's parentRefs are of one listener; one without sectionName and port is
// of all.
func (w whole) twice(key string) bool {
	refs, _ := w.at(key).([]any)
	const every = ":"
	listeners := map[string][]string{} // by Gateway
	for _, entry := range refs {
		ref, _ := entry.(map[string]any)
		or := func(key, otherwise string) string {
			if value := ref[key]; value != nil && value != "" {
				return fmt.Sprint(value)
			}
			return otherwise
		}
		gateway := fmt.Sprintf("%s/%s %s/%s",
			or("group", ""), or("kind", "Gateway"), or("namespace", w.namespace), or("name", ""))
		listener := or("sectionName", "") + ":" + or("port", "")
		others := listeners[gateway]
		if slices.Contains(others, every) || slices.Contains(others, listener) || listener == every && len(others) > 0 {
			return true
		}
		listeners[gateway] = append(others, listener)
	}
	return false
}
