package kubespawner

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/kubespawnertest"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/python"
)

// nameVectors is slug-vectors.json.
type nameVectors struct {
	Vectors []struct {
		ID    string `json:"id"`
		Input struct {
			Username     string `json:"username"`
			Servername   string `json:"servername"`
			UserID       int    `json:"userid"`
			HubNamespace string `json:"hub_namespace"`
		} `json:"input"`
		Server map[string]struct {
			DefaultNames struct {
				Pod    string `json:"pod_name"`
				PVC    string `json:"pvc_name"`
				Secret string `json:"secret_name"`
				DNS    string `json:"dns_name"`
			} `json:"default_names"`
			Fields        map[string]string `json:"fields"`
			Templates     map[string]string `json:"templates"`
			UserNamespace string            `json:"user_namespace"`
		} `json:"server"`
		Independent map[string]string `json:"scheme_independent_fields"`
		Labels      map[string]string `json:"labels"`
		LabelsValid map[string]bool   `json:"labels_valid"`
		Client      struct {
			Fields    map[string]string `json:"fields"`
			Templates map[string]string `json:"templates"`
		} `json:"client"`
	} `json:"vectors"`
	Functions struct {
		EscapeSlug      []oneText `json:"escape_slug"`
		SafeSlugMax48   []oneText `json:"safe_slug_max48"`
		SafeSlugDefault []oneText `json:"safe_slug_default"`
		SafeSlugLabel   []oneText `json:"safe_slug_label"`
		ValidName       []struct {
			In  string `json:"in"`
			Out bool   `json:"out"`
		} `json:"is_valid_object_name"`
		Multi []struct {
			In  [2]string `json:"in"`
			Out string    `json:"out"`
		} `json:"multi_slug_max48"`
		StripAndHash map[string]any `json:"strip_and_hash"`
		ExtractSafe  []struct {
			In  string `json:"in"`
			Max int    `json:"max_length"`
			Out string `json:"out"`
		} `json:"extract_safe_name"`
	} `json:"functions"`
	URLs []struct {
		Option     string         `json:"option"`
		Template   string         `json:"template"`
		Config     map[string]any `json:"config"`
		PodIP      string         `json:"podIP"`
		Username   string         `json:"username"`
		Servername string         `json:"servername"`
		Namespace  string         `json:"namespace"`
		Result     string         `json:"result_url"`
	} `json:"url_vectors"`
	Templates []struct {
		Template   string  `json:"template"`
		Servername *string `json:"servername"`
		Out        string  `json:"out"`
		Error      string  `json:"error"`
	} `json:"template_engine"`
}

type oneText struct {
	In  string `json:"in"`
	Out string `json:"out"`
}

func defaultTemplates(scheme, namespace string) nameTemplates {
	d := options.Defaults(namespace, 0)
	option := func(name string) string { return d[name].(string) }
	return nameTemplates{
		Scheme: scheme, Namespace: namespace, Pod: option("pod_name_template"), DNS: option("dns_name_template"),
		Secret: option("secret_name_template"), PVC: option("pvc_name_template"), KeepLong: true,
	}
}

func TestNamesAreKubeSpawners(t *testing.T) {
	var v nameVectors
	kubespawnertest.Load(t, "slug-vectors", &v)
	if len(v.Vectors) < 90 {
		t.Fatalf("only %d vectors", len(v.Vectors))
	}
	for _, c := range v.Vectors {
		sub := subject{
			User:         c.Input.Username,
			Server:       c.Input.Servername,
			UserID:       c.Input.UserID,
			HubNamespace: c.Input.HubNamespace,
		}
		for scheme, want := range c.Server {
			var p options.Problems
			names, f := defaultTemplates(scheme, c.Input.HubNamespace).resolve(sub, &p)
			if err := p.Err(); err != nil {
				t.Errorf("%s %s: %v", c.ID, scheme, err)
			}
			got := []string{names.Pod, names.PVC, names.Secret, names.DNS}
			d := want.DefaultNames
			if diff := cmp.Diff([]string{d.Pod, d.PVC, d.Secret, d.DNS}, got); diff != "" {
				t.Errorf("%s %s: default names (-want +got)\n%s", c.ID, scheme, diff)
			}
			for _, fieldsWanted := range []map[string]string{want.Fields, c.Independent} {
				for name, value := range fieldsWanted {
					if out, err := python.Format("{"+name+"}", f); err != nil || out != value {
						t.Errorf("%s %s: {%s} = %q, %v; want %q", c.ID, scheme, name, out, err, value)
					}
				}
			}
			for template, value := range want.Templates {
				if out, err := f.expand(template); err != nil || out != value {
					t.Errorf("%s %s: %s = %q, %v; want %q", c.ID, scheme, template, out, err, value)
				}
			}
			if out, _ := f.expand("{hubnamespace}-{username}"); out != want.UserNamespace {
				t.Errorf("%s %s: user namespace %q, want %q", c.ID, scheme, out, want.UserNamespace)
			}
		}
		for key, text := range map[string]string{UsernameKey: c.Input.Username, ServernameKey: c.Input.Servername} {
			got := labelSlug(text)
			if len(validation.IsValidLabelValue(got)) > 0 {
				t.Errorf("%s: label %s=%q is not valid", c.ID, key, got)
			}
			if c.LabelsValid[key] &&
				got != c.Labels[key] { // KubeSpawner's own label may be one that Kubernetes refuses
				t.Errorf("%s: label %s = %q, want %q", c.ID, key, got, c.Labels[key])
			}
		}
	}
}

// The third scheme yields the names that the hub's client makes for its own Service.
func TestClientSchemeIsTheClients(t *testing.T) {
	var v nameVectors
	kubespawnertest.Load(t, "slug-vectors", &v)
	for _, c := range v.Vectors {
		sub := subject{
			User:         c.Input.Username,
			Server:       c.Input.Servername,
			UserID:       c.Input.UserID,
			HubNamespace: c.Input.HubNamespace,
		}
		f := nameFields(sub, options.SchemeClient)
		for name, value := range c.Client.Fields {
			if name == "hubnamespace" {
				continue // each side reads its own
			}
			if out, err := python.Format("{"+name+"}", f); err != nil || out != value {
				t.Errorf("%s: {%s} = %q, %v; want %q", c.ID, name, out, err, value)
			}
		}
		for template, value := range c.Client.Templates {
			if strings.Contains(template, "{hubnamespace}") {
				continue
			}
			templates := defaultTemplates(options.SchemeClient, c.Input.HubNamespace)
			templates.Pod = template
			var p options.Problems
			if got, _ := templates.resolve(sub, &p); got.Pod != value {
				t.Errorf("%s: %s = %q, want %q", c.ID, template, got.Pod, value)
			}
		}
	}
}

func TestSlugFunctionsAreKubeSpawners(t *testing.T) {
	var v nameVectors
	kubespawnertest.Load(t, "slug-vectors", &v)
	f := v.Functions
	texts := func(name string, list []oneText, slug func(string) string) {
		t.Helper()
		if len(list) == 0 {
			t.Errorf("%s: no vectors", name)
		}
		for _, c := range list {
			if got := slug(c.In); got != c.Out {
				t.Errorf("%s(%q) = %q, want %q", name, c.In, got, c.Out)
			}
		}
	}
	texts("escape", f.EscapeSlug, func(s string) string { return escapeSlug(s, "") })
	texts("safe", f.SafeSlugMax48, nameSlug)
	texts("safe without limit", f.SafeSlugDefault, func(s string) string {
		if strings.Contains(s, "--") || len(validation.IsDNS1035Label(s)) > 0 {
			return hashedSlug(s, hashedMax)
		}
		return s
	})
	var labels []oneText
	for _, c := range f.SafeSlugLabel {
		if len(validation.IsValidLabelValue(c.Out)) == 0 {
			labels = append(labels, c)
		}
	}
	texts("label", labels, labelSlug)
	for _, c := range f.ValidName {
		if got := len(validation.IsDNS1035Label(c.In)) == 0; got != c.Out {
			t.Errorf("%q is a DNS label: %v, want %v", c.In, got, c.Out)
		}
	}
	for _, c := range f.Multi {
		if got := multiSlug(c.In[0], c.In[1]); got != c.Out {
			t.Errorf("multiSlug(%q) = %q, want %q", c.In, got, c.Out)
		}
	}
	for _, c := range f.ExtractSafe {
		if got := slugCore(c.In, c.Max); got != c.Out {
			t.Errorf("slugCore(%q, %d) = %q, want %q", c.In, c.Max, got, c.Out)
		}
	}
}

func TestHashedSlugIsKubeSpawners(t *testing.T) {
	var v nameVectors
	kubespawnertest.Load(t, "slug-vectors", &v)
	seen := 0
	for limit, list := range v.Functions.StripAndHash {
		cases, ok := list.([]any)
		if !ok {
			continue // a limit that KubeSpawner refuses and nobody has
		}
		for _, e := range cases {
			c := e.(map[string]any)
			max := 0
			for _, digit := range limit {
				max = 10*max + int(digit-'0')
			}
			seen++
			if got := hashedSlug(c["in"].(string), max); got != c["out"] {
				t.Errorf("hashedSlug(%q, %d) = %q, want %q", c["in"], max, got, c["out"])
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d vectors", seen)
	}
}

func TestTemplatesAreKubeSpawners(t *testing.T) {
	var v nameVectors
	kubespawnertest.Load(t, "slug-vectors", &v)
	// KubeSpawner looks into Python objects; nobody needs that, and it shows what must stay inside.
	refused := map[string]bool{"{username.__class__}": true}
	for _, c := range v.Templates {
		sub := subject{User: templateUser, Server: "srv", UserID: 7, HubNamespace: "jhub"}
		if c.Servername != nil {
			sub.Server = *c.Servername
		}
		var p options.Problems
		_, f := defaultTemplates(options.SchemeSafe, "jhub").resolve(sub, &p)
		got, err := f.expand(c.Template)
		switch {
		case c.Error != "" || refused[c.Template]:
			if err == nil {
				t.Errorf("%s = %q, want an error", c.Template, got)
			}
		case err != nil || got != c.Out:
			t.Errorf("%s = %q, %v; want %q", c.Template, got, err, c.Out)
		}
	}
}

// templateUser is the user of the template vectors: its slug is user---b512d97e.
const templateUser = "User"

func TestLongPodNamesAreShortened(t *testing.T) {
	templates := defaultTemplates(options.SchemeSafe, "outpost")
	templates.Pod, templates.KeepLong = "jupyter-{username}--{servername}", false
	sub := subject{User: "kreuzert@fz-juelich.de", Server: "a0f3c2d4e5b6478899aabbccddeeff00"}
	var p options.Problems
	got, _ := templates.resolve(sub, &p)
	want := names{
		Namespace: "outpost",
		Pod:       "jupyter-kreuzert-fz-juelich-de-d471e423-a0f3c2d4e5b6---d3ad977f",
		Secret:    "jupyter-kreuzert-fz-juelich-de-d471e423-a0f3c2d4e5b6---d3ad977f",
		DNS:       "jupyter-kreuzert-fz-juelich-de-d471e423-a0f3c2d4e5b6---d3ad977f.outpost.svc.cluster.local",
		PVC:       "claim-kreuzert-fz-jueli--a0f3c2d4e5b647889---9392ac87",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	if why := validation.IsDNS1035Label(got.Pod); len(why) > 0 {
		t.Errorf("%q: %v", got.Pod, why)
	}
	sub.Server = "a0f3c2d4e5b6478899aabbccddeeff01"
	if other, _ := templates.resolve(sub, &p); other.Pod == got.Pod {
		t.Errorf("two servers have the name %s", got.Pod)
	}
}

func FuzzSlugs(f *testing.F) {
	for _, s := range []string{
		"user", "user@email.com", "--", "\u0130stanbul", "\u212aelvin", "123", "\xff\x00", strings.Repeat("a", 300),
	} {
		f.Add(s, "lab")
		f.Add("alice", s)
	}
	f.Fuzz(func(t *testing.T, user, server string) {
		for _, name := range []string{
			nameSlug(user), safeUserServer(user, server), multiSlug(user, server),
			cutName("jupyter-" + nameSlug(user) + "--" + nameSlug(server)),
		} {
			if why := validation.IsDNS1035Label(name); len(why) > 0 {
				t.Errorf("%q %q: %q: %v", user, server, name, why)
			}
		}
		for _, text := range []string{user, server} {
			if why := validation.IsValidLabelValue(labelSlug(text)); len(why) > 0 {
				t.Errorf("%q: label %q: %v", text, labelSlug(text), why)
			}
		}
	})
}

// Two hubs of one outpost get different homes for users of the same name by a template that names the hub.
func TestTheHubIsAFieldOfEveryTemplate(t *testing.T) {
	for hub, want := range map[string]string{
		"hub-a": "claim-hub-a-alice", "Hub A": "claim-hub-a---" + hashOf("Hub A") + "-alice",
	} {
		var p options.Problems
		n, _ := nameTemplates{
			Scheme: options.SchemeSafe, Namespace: "jhub", Pod: "jupyter-{hub}-{username}",
			DNS: "{name}", Secret: "{pod_name}-{hub}", PVC: "claim-{hub}-{user_server}",
		}.resolve(subject{User: "alice", Hub: hub}, &p)
		if n.PVC != want || p.Err() != nil {
			t.Errorf("hub %q: %+v, %v, want claim %s", hub, n, p.Err(), want)
		}
	}
}
