package outpost

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/outposts-dev/outposts/server/excerpt"
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
	return checkMisc(h, r.Name, r.Body.Misc)
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
		return refuse("The hub " + h.Name + " may not set these options in misc: " + excerpt.Of(strings.Join(refused, ", "), excerpt.Name))
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
			return refuse("The hub " + h.Name + " may not choose the image " + excerpt.Of(image, excerpt.Name))
		}
	}
	return nil
}
