package config

// Secret is a text that must not be printed: fmt, slog and encoders show a mark. Reveal returns the text.
type Secret string

const hidden = "[hidden]"

// String returns a mark, never the secret.
func (Secret) String() string { return hidden }

// GoString returns a mark, never the secret.
func (Secret) GoString() string { return hidden }

// MarshalText returns a mark, so that no encoder writes the secret (slog's JSON handler included).
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Reveal returns the secret itself, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }
