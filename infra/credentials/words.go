package credentials

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Words are the rotation words of a secret. The first one is in use; the ones after it are still accepted where that is
// possible (a hub's SSH keys, host keys, CAs, Fernet keys). Each word has bytes of its own, kept as long as the word is
// listed: to rotate, add a new word in front, and remove the old one when nothing uses it any more. A word is not empty
// and is listed once. The zero value counts as Words{"1"}. In JSON they are a list, or the one word by itself. A word
// that looks like a number may be one, as `pulumi config set --path` writes it.
type Words []string

// UnmarshalJSON accepts "1" as well as ["2", "1"], and 1 as well as "1".
func (w *Words) UnmarshalJSON(text []byte) error {
	var list []word
	if text[0] == '[' || string(text) == "null" {
		if err := json.Unmarshal(text, &list); err != nil {
			return err
		}
	} else {
		list = make([]word, 1)
		if err := json.Unmarshal(text, &list[0]); err != nil {
			return err
		}
	}
	*w = nil
	for _, each := range list {
		if slices.Contains(*w, string(each)) {
			return fmt.Errorf("rotation word %q is listed twice", each)
		}
		*w = append(*w, string(each))
	}
	return nil
}

// word is one of Words as it is read.
type word string

// UnmarshalJSON accepts "1" as well as 1.
func (w *word) UnmarshalJSON(text []byte) error {
	var number json.Number
	if err := json.Unmarshal(text, &number); err == nil && text[0] != '"' {
		*w = word(number)
		return nil
	}
	return json.Unmarshal(text, (*string)(w))
}

// OrFirst returns the words, or the one that every secret begins with.
func (w Words) OrFirst() Words {
	if len(w) == 0 {
		return Words{"1"}
	}
	return w
}
