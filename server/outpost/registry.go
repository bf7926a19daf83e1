package outpost

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/pattern"
)

// Login is what a user brings along with a start to pull an image of their own from a private registry. It is never
// stored but in a Secret that goes with the pod.
type Login struct {
	Username string
	Password Secret
}

const (
	maxLoginName = 255     // bytes
	maxPassword  = 8 << 10 // bytes; a key of a service account is one, too
)

// dockerHub is the registry of images that name none, and dockerHubKey what container runtimes know its login by.
const (
	dockerHub    = "docker.io"
	dockerHubKey = "https://index.docker.io/v1/"
)

// RegistryOf returns host and port of the registry of an image. A name without one is of Docker Hub, as container
// runtimes read it: its first part is a host if it has a dot or a port, or is localhost.
func RegistryOf(image string) string {
	host, _, found := strings.Cut(image, "/")
	if !found || !strings.ContainsAny(host, ".:") && host != "localhost" || host == "index.docker.io" {
		return dockerHub
	}
	return host
}

// DockerConfig returns the content of .dockerconfigjson with this login for the registry of an image, and for no other.
func (l Login) DockerConfig(image string) []byte {
	key := RegistryOf(image)
	if key == dockerHub {
		key = dockerHubKey
	}
	auth := base64.StdEncoding.EncodeToString([]byte(l.Username + ":" + l.Password.Reveal()))
	text, err := json.Marshal(map[string]any{"auths": map[string]any{key: map[string]string{
		"username": l.Username, "password": l.Password.Reveal(), "auth": auth,
	}}})
	if err != nil {
		return nil // never: these are strings
	}
	return text
}

// fault says what is wrong with a login, without what is in it; "" if it can be used.
func (l Login) fault() string {
	notText := func(s string) bool { return !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) }
	switch {
	case l.Username == "" || l.Password == "":
		return "needs a username and a password"
	case len(l.Username) > maxLoginName || len(l.Password) > maxPassword:
		return "is too long"
	case notText(l.Username) || strings.Contains(l.Username, ":"):
		return "has a username with a colon or a control character"
	case notText(l.Password.Reveal()):
		return "has a password with a control character"
	}
	return ""
}

// ImageOf returns the image that misc chooses; "" for none.
func ImageOf(misc map[string]json.RawMessage) (image string) {
	for _, option := range []string{"image_spec", "image"} {
		if raw, sent := misc[option]; sent && json.Unmarshal(raw, &image) != nil {
			return ""
		}
	}
	return image
}

// Registries returns globs, one of which the registry of an image must match for which this hub sends a login; none if
// it may send none.
func (h Hub) Registries() []string {
	if !h.Lists("image") || h.AllowedRegistries == nil {
		return []string{}
	}
	return h.AllowedRegistries
}

// checkLogin refuses a login that this hub may not send, or that nothing would use.
func (h Hub) checkLogin(r StartRequest) error {
	if r.Login == nil {
		return nil
	}
	image := ImageOf(r.Body.Misc)
	registry := RegistryOf(image)
	message := ""
	switch fault := r.Login.fault(); {
	case fault != "":
		message = "The login to a registry " + fault + "."
	case image == "":
		message = "A login to a registry has no effect without an image of the user's own."
	case !matchesAny(h.Registries(), registry):
		message = "The hub " + h.Name + " may not send a login to the registry " + excerpt.Of(registry, excerpt.Name)
	default:
		return nil
	}
	return &Error{Kind: KindInvalid, Reason: "option", Message: excerpt.Of(r.Name, excerpt.Name) + " - " + message}
}

// matchesAny reports whether a text matches one of several globs.
func matchesAny(globs []string, text string) bool {
	for _, glob := range globs {
		if re, err := pattern.Glob(glob); err == nil && re.MatchString(text) {
			return true
		}
	}
	return false
}
