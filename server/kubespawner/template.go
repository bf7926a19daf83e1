package kubespawner

import (
	"fmt"
	"strings"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/python"
)

// fields are what a template may use, by name; values are string or int.
type fields map[string]any

// expand renders a template as KubeSpawner does: all hyphens at the end are removed unless the template itself ends
// with one.
func (f fields) expand(template string) (string, error) {
	left := python.MaxLength
	return f.expandWithin(template, &left)
}

// expandWithin is expand for one of several templates; see [python.FormatWithin].
func (f fields) expandWithin(template string, left *int) (string, error) {
	out, err := python.FormatWithin(template, f, left)
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(template, "-") {
		out = strings.TrimRight(out, "-")
	}
	return out, nil
}

// maxExpanded bounds what the templates of one start, but for those of names, have and yield together, in bytes: less
// than Kubernetes takes as one object.
const maxExpanded = 1 << 20

// expander renders the templates of one start.
type expander struct {
	fields
	left int // bytes for the templates that are still to come
}

// expander returns one that has rendered nothing yet.
func (f fields) expander() *expander { return &expander{fields: f, left: maxExpanded} }

// expandAll renders every string inside v (maps and lists of decoded JSON) and returns a copy; keys of maps,
// numbers and booleans stay. Problems are noted under the path of the string.
func (f *expander) expandAll(path string, v any, p *options.Problems) any {
	switch v := v.(type) {
	case string:
		out, err := f.expandWithin(v, &f.left)
		if err != nil {
			p.Addf(path, "%v", err)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = f.expandAll(excerpt.Of(path+"."+k, excerpt.Name), e, p)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = f.expandAll(excerpt.Of(fmt.Sprintf("%s[%d]", path, i), excerpt.Name), e, p)
		}
		return out
	}
	return v
}

// expandMap is expandAll for a map.
func (f *expander) expandMap(path string, m map[string]any, p *options.Problems) map[string]any {
	return f.expandAll(path, m, p).(map[string]any)
}

// expandSettings returns the settings with the templates of the pod rendered.
func (f *expander) expandSettings(s options.Settings, p *options.Problems) options.Settings {
	if s.WorkingDir != nil {
		s.WorkingDir = f.expandOption("working_dir", *s.WorkingDir, p)
	}
	if s.ServiceAccount != nil {
		s.ServiceAccount = f.expandOption("service_account", *s.ServiceAccount, p)
	}
	for option, value := range map[string]*[]any{
		"volumes": &s.Volumes, "volume_mounts": &s.VolumeMounts,
		"init_containers": &s.InitContainers, "extra_containers": &s.ExtraContainers,
	} {
		*value, _ = f.expandAll(option, *value, p).([]any)
	}
	s.ExtraPodConfig = f.expandMap("extra_pod_config", s.ExtraPodConfig, p)
	return s
}

func (f *expander) expandOption(option, template string, p *options.Problems) *string {
	out, _ := f.expandAll(option, template, p).(string)
	return &out
}
