package credentials

import (
	"maps"
	"slices"
	"strings"
)

// MadeAt is the output of the components Hub and Store that says when they were made, RFC 3339: the text of their
// arguments.
const MadeAt = "madeAt"

// version names the secrets that a program reads only when it starts, by their words: a pod with this text among its
// annotations starts again when they change. It is known before the secrets are and says nothing of them. madeAt is in
// it because the words of two stacks are alike: where one takes over what another has made, the secrets are new ones.
func version(madeAt string, words map[string]Words) string {
	var parts []string
	if madeAt != "" {
		parts = append(parts, "made="+madeAt)
	}
	for _, secret := range slices.Sorted(maps.Keys(words)) {
		parts = append(parts, secret+"="+strings.Join(words[secret].OrFirst(), ","))
	}
	return strings.Join(parts, " ")
}
