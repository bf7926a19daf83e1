package credentials

import "encoding/json"

// Words are the rotation words of a secret. The first one is in use; the ones after it are still accepted where that is
// possible (a hub's SSH keys, host keys, CAs, Fernet keys). Each word has bytes of its own, kept as long as the word is
// listed: to rotate, add a new word in front, and remove the old one when nothing uses it any more. A word is not empty
// and is listed once. The zero value counts as Words{"1"}. In JSON they are a list, or the one word by itself.
type Words []string

// UnmarshalJSON accepts "1" as well as ["2", "1"].
func (w *Words) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		*w = Words{""}
		return json.Unmarshal(text, &(*w)[0])
	}
	return json.Unmarshal(text, (*[]string)(w))
}

// OrFirst returns the words, or the one that every secret begins with.
func (w Words) OrFirst() Words {
	if len(w) == 0 {
		return Words{"1"}
	}
	return w
}
