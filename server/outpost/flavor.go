package outpost

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
)

// Flavor is a named set of resources and limits that a user picks, as the hub is told it: the mapping from the
// flavors file with every key, known or not, and "current" added by usage. Known keys: display_name,
// description, weight, max, maxPerUser, runtime, resources (contract 3.2).
type Flavor map[string]any

// limit returns a number from the flavor; ok is false if it is absent, null or negative: no limit.
func (f Flavor) limit(key string) (n float64, ok bool) {
	switch v := f[key].(type) {
	case int:
		n = float64(v)
	case float64:
		n = v
	default:
		return 0, false
	}
	return n, n >= 0
}

// runtimeUnits are the words of a runtime, those of Python's timedelta.
var runtimeUnits = map[string]time.Duration{
	"weeks": 7 * 24 * time.Hour, "days": 24 * time.Hour, "hours": time.Hour, "minutes": time.Minute,
	"seconds": time.Second, "milliseconds": time.Millisecond, "microseconds": time.Microsecond,
}

// maxRuntime keeps end dates far from the limits of time.Duration and of the database's dates.
const maxRuntime = 100 * 365 * 24 * time.Hour

// runtime returns how long a service of this flavor may live; 0 is without end. Values add up.
func (f Flavor) runtime() (time.Duration, error) {
	switch v := f["runtime"].(type) {
	case nil:
		return 0, nil
	case map[string]any:
		var sum float64
		for unit, value := range v {
			length, ok := runtimeUnits[unit]
			if !ok {
				return 0, fmt.Errorf("%q is not a unit of time", unit)
			}
			switch n := value.(type) {
			case int:
				sum += float64(n) * float64(length)
			case float64:
				sum += n * float64(length)
			default:
				return 0, fmt.Errorf("%s is not a number", unit)
			}
		}
		if !(sum >= 0) || sum > float64(maxRuntime) {
			return 0, fmt.Errorf("the sum must lie between 0 and 100 years")
		}
		return time.Duration(sum), nil
	default:
		return 0, fmt.Errorf("a mapping such as {hours: 2} is needed")
	}
}

// choice is the flavors of one hub or user.
type choice struct {
	configured bool     // false: there is no flavors file, and any flavor may be asked for
	names      []string // in the order of the file
	flavors    map[string]Flavor
	// hubLimit marks flavors whose max comes from an override: it limits this hub's services. The max of the
	// flavor itself limits the services of all hubs together.
	hubLimit map[string]bool
}

// copies returns the flavors for a caller who may change the first level.
func (c choice) copies() map[string]Flavor {
	result := make(map[string]Flavor, len(c.flavors))
	for name, f := range c.flavors {
		result[name] = maps.Clone(f)
	}
	return result
}

// refusal makes the error for a flavor that the user may not start (contract 3.6 #1).
func (c choice) refusal(service, flavor string) error {
	if flavor == "" {
		flavor = "None"
	}
	allowed := make([]string, len(c.names))
	for i, name := range c.names {
		allowed[i] = pythonQuote(name)
	}
	return &Error{Kind: KindQuota, Reason: "flavor", Message: fmt.Sprintf(
		"%s - Start with flavor %s not allowed. Allowed values for user: [%s]",
		service, excerpt.Of(flavor, excerpt.Name), strings.Join(allowed, ", "))}
}

// pythonQuote writes a text as Python's repr does: hubs' users know the list in this form.
func pythonQuote(s string) string {
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	r := strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	s = r.Replace(s)
	if quote == "'" {
		s = strings.ReplaceAll(s, "'", `\'`)
	}
	return quote + s + quote
}

// checkQuota judges a start by the usage at its insert (contract 3.6 #2 to #4, in this order). globalMax nil or
// negative is no limit; it holds also without a flavors file.
func (c choice) checkQuota(r StartRequest, u Usage, globalMax *int) error {
	if c.configured {
		f := c.flavors[r.Flavor]
		if limit, ok := f.limit("maxPerUser"); ok && float64(u.ByUserFlavor[r.UserID][r.Flavor]) >= limit {
			return &Error{Kind: KindQuota, Reason: "max_per_user", Message: fmt.Sprintf(
				"%s - Start with flavor %s not allowed. Each user may only start %v of %s", r.Name, r.Flavor, limit, r.Flavor)}
		}
		current := u.TotalFlavor[r.Flavor]
		if c.hubLimit[r.Flavor] {
			current = u.ByFlavor[r.Flavor]
		}
		if limit, ok := f.limit("max"); ok && float64(current) >= limit {
			return &Error{Kind: KindQuota, Reason: "max", Message: fmt.Sprintf(
				"%s - Start with %s for %s not allowed. Maximum (%v) already reached.", r.Name, r.Flavor, r.Hub, limit)}
		}
	}
	if globalMax != nil && *globalMax >= 0 && u.ByUser[r.UserID] >= *globalMax {
		return &Error{Kind: KindQuota, Reason: "global_max_per_user", Message: fmt.Sprintf(
			"%s - User with user id %d of %s has reached the maximum limit of services (%d)", r.Name, r.UserID, r.Hub, *globalMax)}
	}
	return nil
}
