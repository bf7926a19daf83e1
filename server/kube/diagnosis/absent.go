package diagnosis

import (
	"regexp"
	"strings"
)

// Object is something that a pod needs: in its namespace, or a storage class.
type Object struct{ Kind, Name string }

// notFound matches how Kubernetes says that an object does not exist: kind or resource, with or without API group.
var notFound = regexp.MustCompile(`(?i)\b([a-z]+)(?:\.[a-z0-9.-]+)? "([^"]+)" not found`)

// AbsentObjects returns what a text says does not exist. Such a text may be out of date: a cache of whoever wrote it is
// behind, or the object is made at this moment.
func AbsentObjects(text string) (out []Object) {
	for _, m := range notFound.FindAllStringSubmatch(text, -1) {
		kind := strings.ToLower(m[1])
		if !strings.HasSuffix(kind, "ss") {
			kind = strings.TrimSuffix(kind, "s")
		}
		name := m[2][strings.LastIndexByte(m[2], '/')+1:] // some write namespace/name
		out = append(out, Object{kind, name})
	}
	return out
}
