// Package excerpt shortens text from outside so that a message can quote it.
package excerpt

import "strings"

// Lengths in bytes of what messages quote.
const (
	Name     = 200  // a name or a value from a request
	Sentence = 2000 // a whole message or log line that a hub's page shows
)

// Of returns text if it has at most limit bytes, else its beginning, valid UTF-8, with "..." behind it.
func Of(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
