package kubespawner

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/python"
)

const (
	hashDigits   = 8  // hex digits of SHA-256 at the end of a cut name
	nameSlugMax  = 48 // user and server names in templates
	hashedMax    = 32 // of a hashed slug without another limit
	dnsLabelMax  = 63 // RFC 1035
	multiPartMax = (nameSlugMax - hashDigits - 6) / 2
)

// isSafe reports whether any slug may have this character.
func isSafe(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }

// lower is Python's lower() as far as ASCII comes of it: of a capital I with a dot, an i and a combining dot.
func lower(text string) string {
	return strings.ToLower(strings.ReplaceAll(text, "\u0130", "i\u0307"))
}

// slugCore keeps what can be kept of text: lower-case letters and digits, every run of anything else one
// hyphen, at most max characters, a letter first, never empty.
func slugCore(text string, max int) string {
	s := strings.Join(strings.FieldsFunc(lower(text), func(r rune) bool { return !isSafe(r) }), "-")
	if len(s) > max {
		s = s[:max]
	}
	s = strings.TrimRight(s, "-")
	switch {
	case s == "":
		return "x"
	case 'a' <= s[0]:
		return s
	}
	if cut := max - len("x-"); cut <= 0 {
		s = ""
	} else if len(s) > cut {
		s = s[:cut]
	}
	return "x-" + s
}

// hashOf returns the first digits of the SHA-256 of the parts, which are separated by a byte that UTF-8 never has.
func hashOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\xff")))
	return hex.EncodeToString(sum[:])[:hashDigits]
}

// hashedSlug returns core and hash of text in at most max characters; max is at least 12.
func hashedSlug(text string, max int) string {
	return slugCore(text, max-hashDigits-len("---")) + "---" + hashOf(text)
}

// nameSlug is the safe scheme for one user or server name.
func nameSlug(text string) string {
	if strings.Contains(text, "--") || len(validation.IsDNS1035Label(text)) > 0 || len(text) > nameSlugMax {
		return hashedSlug(text, nameSlugMax)
	}
	return text
}

// labelSlug makes a label value of text, in every scheme. It differs from KubeSpawner's, which takes four letters
// outside ASCII for letters (U+0130, U+0131, U+017F, U+212A) and so makes labels that Kubernetes refuses.
func labelSlug(text string) string {
	if strings.Contains(text, "--") || len(validation.IsValidLabelValue(text)) > 0 {
		return hashedSlug(text, hashedMax)
	}
	return text
}

// multiSlug joins what can be kept of two names and one hash of both; at most 47 characters.
func multiSlug(user, server string) string {
	return slugCore(user, multiPartMax) + "--" + slugCore(server, multiPartMax) + "---" + hashOf(user, server)
}

// safeUserServer is the safe scheme for user and server together.
func safeUserServer(user, server string) string {
	u, s := nameSlug(user), ""
	if server != "" {
		s = nameSlug(server)
	}
	switch {
	case len(u)+len(s)+len("--") > nameSlugMax: // also counted without a server, as in KubeSpawner
		return multiSlug(user, server)
	case server == "":
		return u
	}
	return u + "--" + s
}

// escapeSlug writes every byte that is not a-z, 0-9 or in keep as a hyphen and its value in hex, without padding.
func escapeSlug(text, keep string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; isSafe(rune(c)) || strings.IndexByte(keep, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "-%x", c)
		}
	}
	return b.String()
}

// legacySlug is the client's {legacy_escape_username}: lower case, a hyphen for each other character.
func legacySlug(text string) string {
	return strings.Map(func(r rune) rune {
		if isSafe(r) {
			return r
		}
		return '-'
	}, lower(text))
}

// subject is a server and its user: what names are made of.
type subject struct {
	User         string
	Server       string // empty for the default server
	UserID       int    // -1 if the hub sent none
	Hub          string // the name that the hub logs in with; KubeSpawner, which has one hub, does not know it
	HubNamespace string // the namespace this process runs in
}

// names are the resolved names of one start.
type names struct {
	Namespace, Pod, DNS, Secret, PVC string
}

// nameFields returns what {fields} mean in every template for this subject before any name is resolved.
func nameFields(s subject, scheme string) fields {
	safe := [3]string{nameSlug(s.User), "", safeUserServer(s.User, s.Server)}
	escaped := [3]string{escapeSlug(s.User, ""), escapeSlug(s.Server, ""), ""}
	if s.Server != "" {
		safe[1] = nameSlug(s.Server)
	}
	escaped[2] = escaped[0] + "--" + escaped[1]
	hubNamespace := s.HubNamespace
	if hubNamespace == "default" {
		hubNamespace = "user"
	}
	f := fields{
		"unescaped_username":   s.User,
		"unescaped_servername": s.Server,
		"userid":               s.UserID,
		"hub":                  nameSlug(s.Hub),
		"hubnamespace":         hubNamespace,
		"safe_username":        safe[0],
		"safe_servername":      safe[1],
		"safe_user_server":     safe[2],
		"escaped_username":     escaped[0],
		"escaped_servername":   escaped[1],
		"escaped_user_server":  escaped[2],
		"pod_name":             "pod_name_unavailable!",
		"pvc_name":             "pvc_name_unavailable!",
		"namespace":            "namespace_unavailable!",
	}
	chosen := safe
	switch scheme {
	case options.SchemeEscape:
		chosen = escaped
	case options.SchemeClient:
		chosen = [3]string{escapeSlug(s.User, "-"), escapeSlug(s.Server, "-"), ""}
		chosen[2] = chosen[0] + "--" + chosen[1]
		f["legacy_escape_username"] = legacySlug(s.User)
	}
	if s.Server == "" && scheme != options.SchemeSafe {
		chosen[2] = chosen[0]
	}
	f["username"], f["servername"], f["user_server"] = chosen[0], chosen[1], chosen[2]
	return f
}

// nameTemplates are the options that names come from.
type nameTemplates struct {
	Scheme, Namespace, Pod, DNS, Secret, PVC string
	UserNamespace                            string // empty unless each user has a namespace
	Home                                     string // of the claim, instead of what PVC yields; empty for that
	// KeepLong keeps a pod name that is too long for a Service, as KubeSpawner does.
	KeepLong bool
}

// resolve renders the names in KubeSpawner's order and returns them with the fields that later templates may
// use. Each template that cannot be rendered is noted under its option's name.
func (t nameTemplates) resolve(s subject, p *options.Problems) (names, fields) {
	f := nameFields(s, t.Scheme)
	render := func(option, template string) string {
		out, err := f.expand(template)
		if t.Scheme == options.SchemeClient {
			out = strings.TrimRight(out, "-") // also where the template ends with one, as the client does
		}
		if err != nil {
			p.Addf(option, "%v", err)
		}
		return out
	}
	n := names{Namespace: t.Namespace}
	if t.UserNamespace != "" {
		n.Namespace = render("user_namespace_template", t.UserNamespace)
	}
	f["namespace"] = n.Namespace
	n.Pod = render("pod_name_template", t.Pod)
	if !t.KeepLong {
		n.Pod = cutName(n.Pod)
	}
	f["pod_name"] = n.Pod
	n.DNS = t.dns(n, p)
	n.Secret = render("secret_name_template", t.Secret)
	if n.PVC = t.Home; n.PVC == "" {
		n.PVC = render("pvc_name_template", t.PVC)
	}
	f["pvc_name"] = n.PVC
	return n, f
}

// dns renders the host name, whose template has two fields only and which keeps its hyphens.
func (t nameTemplates) dns(n names, p *options.Problems) string {
	out, err := python.Format(t.DNS, fields{"name": n.Pod, "namespace": n.Namespace})
	if err != nil {
		p.Addf("dns_name_template", "%v", err)
	}
	return out
}

// anotherName is a name of which no template makes the same, also where it cuts names or trims them: the first letter
// is another.
func anotherName(name string) string {
	if strings.HasPrefix(lower(name), "q") {
		return "z" + name
	}
	return "q" + name
}

// sharesClaim reports whether another user's server of the same name would have the same claim.
func (t nameTemplates) sharesClaim(s subject, n names) bool {
	s.User, s.UserID = anotherName(s.User), s.UserID+1
	other, _ := t.resolve(s, &options.Problems{})
	return other.PVC == n.PVC
}

// cutName cuts a name that is too long for a DNS label with a hash of the whole, so that two long names stay
// different. It differs from KubeSpawner, where such a start fails after its pod was made.
func cutName(name string) string {
	if len(name) <= dnsLabelMax {
		return name
	}
	return hashedSlug(name, dnsLabelMax)
}

// defaultPVCTemplate is KubeSpawner 7's pvc_name_template. Of a named server, the defaults before it gave other names:
// KubeSpawner 1 to 6 the same ones, zero-to-jupyterhub until 3 "claim-{username}{servername}", and KubeSpawner 0 the
// same with a hyphen before the server's name.
const defaultPVCTemplate = "claim-{user_server}"

var olderPVCTemplates = []string{"claim-{username}{servername}", "claim-{username}-{servername}"}

// earlierSchemes are those that KubeSpawner has had: 7 makes names by the first, 6 and before by the second.
var earlierSchemes = []string{options.SchemeSafe, options.SchemeEscape}

// earlierNames returns what KubeSpawner's schemes yield for one of the names, where it differs from what it is.
func (t nameTemplates) earlierNames(s subject, n names, name func(names) string) (earlier []string) {
	for _, t.Scheme = range earlierSchemes {
		other, _ := t.resolve(s, &options.Problems{})
		if one := name(other); one != name(n) && !slices.Contains(earlier, one) &&
			len(validation.IsDNS1123Subdomain(one)) == 0 {
			earlier = append(earlier, one)
		}
	}
	return earlier
}

// earlierHomes returns the other names under which KubeSpawner, or this outpost by a template that an operator wrote
// before there were homes, may have made the claim of this subject.
func (t nameTemplates) earlierHomes(s subject, n names) []string {
	homes := t.earlierNames(s, n, names.pvc)
	if t.PVC == options.HomeOfUser || t.PVC == options.HomeOfServer {
		ofUser := t.PVC == options.HomeOfUser
		t.PVC = strings.Replace(t.PVC, "--", "-", 1)
		homes = append(homes, t.earlierNames(s, n, names.pvc)...)
		if t.PVC = defaultPVCTemplate; ofUser {
			s.Server = "" // the home of the default server
		}
		homes = append(homes, t.earlierNames(s, n, names.pvc)...)
	}
	if t.PVC != defaultPVCTemplate || s.Server == "" {
		return homes
	}
	t.Scheme = options.SchemeEscape
	for _, t.PVC = range olderPVCTemplates {
		older, _ := t.resolve(s, &options.Problems{})
		homes = append(homes, older.PVC)
	}
	return homes
}

func (n names) pod() string { return n.Pod }
func (n names) pvc() string { return n.PVC }

// ofEachServer reports whether each server of a user has a claim of its own.
func (t nameTemplates) ofEachServer(s subject, n names) bool {
	s.Server = anotherName(s.Server)
	other, _ := t.resolve(s, &options.Problems{})
	return other.PVC != n.PVC
}
