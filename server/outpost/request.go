package outpost

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxNameBytes = 255

// checkRequest refuses what no configuration of this hub could accept: names that cannot be addressed, and options
// that the hub may not set. Option values are checked by Spawner.Plan.
func checkRequest(h Hub, r StartRequest) error {
	for _, n := range []struct{ what, text string }{{"server name", r.Name}, {"start id", r.StartID}} {
		if fault := nameFault(n.text); fault != "" {
			return &Error{Kind: KindInvalid, Reason: "name", Message: "The " + n.what + " " + fault + "."}
		}
	}
	if err := checkMisc(h, r.Name, r.Body.Misc); err != nil {
		return err
	}
	return nil
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
func checkMisc(h Hub, name string, misc map[string]json.RawMessage) error {
	refuse := func(message string) error {
		return &Error{Kind: KindInvalid, Reason: "option", Message: shorten(name) + " - " + message}
	}
	var refused []string
	for option := range misc {
		if !slices.Contains(AlwaysAllowedOptions, option) && !h.Lists(option) {
			refused = append(refused, option)
		}
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return refuse("The hub " + h.Name + " may not set these options in misc: " + shorten(strings.Join(refused, ", ")))
	}
	for _, option := range []string{"image", "image_spec"} {
		raw, sent := misc[option]
		if !sent || len(h.AllowedImages) == 0 {
			continue
		}
		var image string
		if err := json.Unmarshal(raw, &image); err != nil {
			return refuse("The option " + option + " in misc must be a text.")
		}
		if !h.allowsImage(image) {
			return refuse("The hub " + h.Name + " may not choose the image " + shorten(image))
		}
	}
	return nil
}

// shorten keeps a text from outside to a length that fits a message.
func shorten(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

// addressForm is the only form of address that the hub's client accepts and that is safe in its command line
// (contract 7.3, X22).
var addressForm = regexp.MustCompile(`\Ahttp://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?):([1-9][0-9]{0,4})\z`)

// storedForms are what rows of the Python peer may hold beside it: https with internal TLS, or no scheme.
var storedForms = strings.NewReplacer("https://", "http://")

// permitOf is the address that a stored service may be opened at; ok is false if it has none.
func permitOf(hub, address string) (p permit, ok bool) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	host, port, ok := splitAddress(storedForms.Replace(address))
	return permit{hub, host, port}, ok
}

// splitAddress splits a start address into host and port; ok is false if it has not exactly the required form.
func splitAddress(address string) (host, port string, ok bool) {
	m := addressForm.FindStringSubmatch(address)
	if m == nil {
		return "", "", false
	}
	if n, err := strconv.Atoi(m[2]); err != nil || n > 65535 {
		return "", "", false
	}
	return m[1], m[2], true
}
