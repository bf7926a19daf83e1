package credentials

import "fmt"

// Words say how often a secret has been made anew. The first word is the secret in use; the ones after it are still
// accepted where two can be (a hub's SSH keys, host keys, CAs, Fernet keys). Each word has bytes of its own, kept as
// long as the word is listed: to rotate, put a new word in front, and take the old one away when nothing uses it any
// more. Empty is Words{"1"}.
type Words []string

// OrFirst returns the words, or the one every secret begins with.
func (w Words) OrFirst() Words {
	if len(w) == 0 {
		return Words{"1"}
	}
	return w
}

// Validate refuses an empty or repeated word; name is what the operator typed.
func (w Words) Validate(name string) error {
	seen := map[string]bool{}
	for _, word := range w {
		if word == "" {
			return fmt.Errorf("%s: an empty word", name)
		}
		if seen[word] {
			return fmt.Errorf("%s: %q is there twice", name, word)
		}
		seen[word] = true
	}
	return nil
}
