package kubespawner

import (
	"fmt"
	"strings"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/kubespawner/pyformat"
)

// fields are the names that a template may use; values are string or int.
type fields map[string]any

// expand renders a template of KubeSpawner: format, then all hyphens at the end are removed unless the
// template itself ends with one.
func (f fields) expand(template string) (string, error) {
	out, err := pyformat.Format(template, f)
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(template, "-") {
		out = strings.TrimRight(out, "-")
	}
	return out, nil
}

// expandAll renders every string inside v (maps and lists of decoded JSON) and returns a copy; keys of maps,
// numbers and booleans stay. Problems are noted under the path of the string.
func (f fields) expandAll(path string, v any, p *options.Problems) any {
	switch v := v.(type) {
	case string:
		out, err := f.expand(v)
		if err != nil {
			p.Addf(path, "%v", err)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = f.expandAll(path+"."+k, e, p)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = f.expandAll(fmt.Sprintf("%s[%d]", path, i), e, p)
		}
		return out
	}
	return v
}

// expandMap is expandAll for a map.
func (f fields) expandMap(path string, m map[string]any, p *options.Problems) map[string]any {
	return f.expandAll(path, m, p).(map[string]any)
}
