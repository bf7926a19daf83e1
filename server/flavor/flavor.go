// Package flavor decides which flavors a user may start and when a quota refuses a start.
package flavor

import (
	"errors"
	"fmt"
	"time"

	"github.com/outposts-dev/outposts/server/access"
)

// Flavor is a named set of resources and limits that a user picks, as the hub is told it: the mapping from the
// flavors file with every key, known or not. Known keys: display_name, description, weight, max, maxPerUser, runtime,
// resources, allowedGroups, deniedText (protocol 4.1).
type Flavor map[string]any

// limit returns a number from the flavor; ok is false if it is absent or negative: no limit.
func (f Flavor) limit(key string) (n int, ok bool) {
	n, ok = f[key].(int)
	return n, ok && n >= 0
}

// access returns who may start the flavor.
func (f Flavor) access() access.Rule {
	if f[groupsKey] == nil {
		return access.Rule{}
	}
	groups, _ := access.ParseGroups(f[groupsKey]) // checked when the file is read
	return access.Rule{AllowedGroups: groups, DeniedText: f.text(deniedKey)}
}

// Max returns how many services of the flavor there may be; nil is no limit.
func (f Flavor) Max() *int { return f.limitOrNil("max") }

// limitOrNil is [Flavor.limit] with nil for none.
func (f Flavor) limitOrNil(key string) *int {
	if n, ok := f.limit(key); ok {
		return &n
	}
	return nil
}

// runtimeUnits are the keys of a runtime, those of Python's timedelta.
var runtimeUnits = map[string]time.Duration{
	"weeks": 7 * 24 * time.Hour, "days": 24 * time.Hour, "hours": time.Hour, "minutes": time.Minute,
	"seconds": time.Second, "milliseconds": time.Millisecond, "microseconds": time.Microsecond,
}

// maxRuntime keeps end dates far from the limits of time.Duration and of the database's dates.
const maxRuntime = 100 * 365 * 24 * time.Hour

// lifetime returns how long a service of this flavor may live; 0 is without end. Values add up.
func (f Flavor) lifetime() (time.Duration, error) {
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
				return 0, fmt.Errorf("%s must be a number", unit)
			}
		}
		if !(sum > 0) || sum > float64(maxRuntime) {
			return 0, errors.New("the sum must be more than 0 and at most 100 years")
		}
		return time.Duration(sum), nil
	default:
		return 0, errors.New("must be a mapping such as {hours: 2}")
	}
}
