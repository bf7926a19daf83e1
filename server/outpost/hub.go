package outpost

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/pattern"
)

// Hub is a JupyterHub that is allowed to use this outpost, and what it may ask for. Its name is its Basic-auth user.
type Hub struct {
	Name string
	// AllowedOptions are the spawner options that this hub may set in misc, beside the seven that its client
	// always sends (AlwaysAllowedOptions); "*" stands for all of them. Anything else is refused by name.
	AllowedOptions []string
	// AllowedImages are patterns for a hub's choice of image in misc: globs ("*", "?", "[...]") for the whole
	// reference, in which "*" also matches "/". Used only when AllowedOptions has "image". Empty allows any image.
	AllowedImages []string
	// AllowedRegistries are globs for hosts of registries to which this hub may send a user's login, for an image in
	// misc. Empty allows none.
	AllowedRegistries []string
	// Access says which of its users may start anything at all.
	Access access.Rule
	// CallbackURLs are the URL prefixes that this hub's requests may name for events, flavor updates and tunnels:
	// scheme, host and port must be equal and the path must begin with the prefix's. Empty allows none.
	CallbackURLs []string
	// Options are spawner options for this hub, over the general ones.
	Options map[string]any
	// TunnelRestart asks the hub to renew its tunnels when this outpost has started; nil for never.
	TunnelRestart *HubCall
	// Servers lists the hub's running servers, for the clean-up; nil for no clean-up.
	Servers *HubCall
	// FlavorsToken authorises flavor updates when a request brings none.
	FlavorsToken Secret
	// RecreateTunnels posts each running service's address to its set-up-tunnel URL after a restart of this
	// process, as the Python outpost can. Off by default: the hub-side module renews tunnels itself.
	RecreateTunnels bool
	// Several says that the outpost serves other hubs too, so that an object that names no hub may be another's; the
	// Manager fills it in.
	Several bool
	// SendEvents switches progress events; on by default in server/config.
	SendEvents bool
}

// HubCall is a URL of a hub's API and the token to call it with.
type HubCall struct {
	Hub   string // the hub's name: which certificates to trust; the Manager fills it in
	URL   string
	Token Secret
}

// AlwaysAllowedOptions are the names that the hub's client puts into misc with every start (protocol 2.5). The spawner
// takes a dns_name_template that yields another name than the operator's only if the operator Lists it.
var AlwaysAllowedOptions = []string{
	"dns_name_template", "pod_name_template", "internal_ssl", "port", "ip", "services_enabled", "extra_labels",
}

// Lists reports whether the operator lets this hub set an option for which being sent by every client is not enough.
func (h Hub) Lists(option string) bool {
	switch option {
	case "env_keep": // it hands out variables of this process
		return false
	case "image_spec": // the older name of image
		option = "image"
	}
	return slices.Contains(h.AllowedOptions, option) || slices.Contains(h.AllowedOptions, "*")
}

// HubFault is a field of a Hub with a value that cannot be used.
type HubFault struct {
	Field   string // as the configuration file names it: callbackUrls[0], servers.url
	Message string // what is wrong, without the value: a URL may hold a password
}

const notPlainURL = "is not a URL such as https://hub.example.org/hub/api: " +
	"http or https, without user, query, fragment and dot segments"

// Check returns every field with a value that cannot be used.
func (h Hub) Check() (faults []HubFault) {
	checkURL := func(field, raw string) {
		if u, ok := plainURL(raw); !ok || u.RawQuery != "" {
			faults = append(faults, HubFault{field, notPlainURL})
		}
	}
	for i, glob := range h.AllowedImages {
		if _, err := pattern.Glob(glob); err != nil {
			field, message := fmt.Sprintf("allowedImages[%d]", i), fmt.Sprintf("%q is not a glob", glob)
			faults = append(faults, HubFault{field, message})
		}
	}
	for i, glob := range h.AllowedRegistries {
		field := fmt.Sprintf("allowedRegistries[%d]", i)
		if _, err := pattern.Glob(glob); err != nil || strings.Contains(glob, "/") {
			message := fmt.Sprintf("%q is not a glob of hosts, such as *.example.org", glob)
			faults = append(faults, HubFault{field, message})
		}
	}
	if len(h.AllowedRegistries) > 0 && !h.Lists("image") {
		faults = append(faults, HubFault{"allowedRegistries", "has no effect unless allowedOptions has image"})
	}
	for i, prefix := range h.CallbackURLs {
		checkURL(fmt.Sprintf("callbackUrls[%d]", i), prefix)
	}
	if h.Servers != nil {
		checkURL("servers.url", h.Servers.URL)
	}
	if h.TunnelRestart != nil {
		checkURL("tunnelRestart.url", h.TunnelRestart.URL)
	}
	return faults
}

// Images returns globs, one of which an image that this hub sets in misc must match; none if it may set none.
func (h Hub) Images() []string {
	switch {
	case !h.Lists("image"):
		return []string{}
	case len(h.AllowedImages) == 0:
		return []string{"*"}
	}
	return h.AllowedImages
}

// Secret is a string that must not be printed: fmt, slog and encoders show a mark. Reveal returns the string.
type Secret string

const hidden = "[hidden]"

// String returns a mark, never the secret.
func (Secret) String() string { return hidden }

// GoString returns a mark, never the secret.
func (Secret) GoString() string { return hidden }

// MarshalText returns a mark, so that no encoder writes the secret (slog's JSON handler included).
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Reveal returns the secret itself, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

const maxNameBytes = 255

// CheckRequest refuses what this hub may not ask for: names that cannot be addressed, a user who may start nothing, and
// options that the hub may not set. Option values are checked by Spawner.Plan.
func (h Hub) CheckRequest(r StartRequest) error {
	for _, n := range []struct{ what, value string }{{"server name", r.Name}, {"start id", r.StartID}} {
		if fault := nameFault(n.value); fault != "" {
			return &Error{Kind: KindInvalid, Reason: "name", Message: "The " + n.what + " " + fault + "."}
		}
	}
	if !h.Access.Allows(access.GroupsOf(r.Authentication)) {
		return &Error{
			Kind: KindInvalid, Reason: "group",
			Message: excerpt.Of(r.Name, excerpt.Name) + " - " + h.Access.Refusal("this system"),
		}
	}
	if err := h.checkMisc(r.Name, r.Body.Misc); err != nil {
		return err
	}
	return h.checkLogin(r)
}

// nameFault says why a name cannot be part of the path that polls and stops a service; "" if it can.
func nameFault(s string) string {
	switch {
	case len(s) > maxNameBytes:
		return "has more than " + strconv.Itoa(maxNameBytes) + " bytes"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case s == "." || s == "..":
		return "must not be " + strconv.Quote(s)
	case strings.ContainsAny(s, `/\`):
		return "must not contain a slash"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// checkMisc refuses options that the hub may not set, naming all of them, and images that match none of its patterns.
func (h Hub) checkMisc(name string, misc map[string]json.RawMessage) error {
	refuse := func(message string) error {
		return &Error{Kind: KindInvalid, Reason: "option", Message: excerpt.Of(name, excerpt.Name) + " - " + message}
	}
	var refused []string
	for option := range misc {
		if !slices.Contains(AlwaysAllowedOptions, option) && !h.Lists(option) {
			refused = append(refused, option)
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return refuse("The hub " + h.Name + " may not set these options in misc: " +
			excerpt.Of(strings.Join(refused, ", "), excerpt.Name))
	}
	for _, option := range []string{"image", "image_spec"} {
		raw, sent := misc[option]
		if !sent || len(h.AllowedImages) == 0 {
			continue
		}
		var image string
		if err := json.Unmarshal(raw, &image); err != nil {
			return refuse("The option " + option + " in misc must be a string.")
		}
		if !matchesAny(h.AllowedImages, image) {
			return refuse("The hub " + h.Name + " may not choose the image " + excerpt.Of(image, excerpt.Name))
		}
	}
	return nil
}
