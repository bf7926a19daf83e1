package python

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/outposts-dev/outposts/server/excerpt"
)

const (
	// MaxWidth limits width and precision in a template.
	MaxWidth = 1000
	// MaxLength limits a template and what it yields, in bytes: to what Linux takes as one argument or variable of a
	// program.
	MaxLength = 128 << 10
)

// ErrTooLong is the error of a template that is too long, yields too much, or finds too little left for it.
var ErrTooLong = fmt.Errorf(
	"template has or yields more than %d bytes, or too much together with the others", MaxLength)

// Format renders a format string with fields whose values are string or int: {field}, {{ and }}, !s and !r, fill,
// alignment, sign, width and precision. Attribute and index access, nested fields and any format of a number but
// decimal are refused. An error says what to write instead, without the template. The result is bounded while it is
// made; text without a brace is returned as it is.
func Format(template string, fields map[string]any) (string, error) {
	left := MaxLength
	return FormatWithin(template, fields, &left)
}

// FormatWithin is Format for one of several templates: left is how many bytes they may still have and yield together,
// and is reduced by what this one uses, also where it fails. A field uses the length of its value at least.
func FormatWithin(template string, fields map[string]any, left *int) (string, error) {
	if !strings.ContainsAny(template, "{}") {
		return template, nil
	}
	before := *left
	use := func(n int) bool {
		*left -= n
		return *left >= 0 && before-*left <= MaxLength
	}
	if len(template) > MaxLength || *left < len(template) {
		return "", ErrTooLong
	}
	var b strings.Builder
	for rest := template; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			if !use(len(rest)) {
				return "", ErrTooLong
			}
			b.WriteString(rest)
			break
		}
		if !use(i + 1) {
			return "", ErrTooLong
		}
		b.WriteString(rest[:i])
		brace, after := rest[i], rest[i+1:]
		if after != "" && after[0] == brace {
			b.WriteByte(brace)
			rest = after[1:]
			continue
		}
		if brace == '}' {
			return "", errors.New("single } in template; write }} for a brace")
		}
		end := strings.IndexAny(after, "{}")
		if end < 0 {
			return "", errors.New("{ without } in template; write {{ for a brace")
		}
		if after[end] == '{' {
			return "", errors.New("{ inside a field of a template")
		}
		out, size, err := formatField(after[:end], fields)
		if err != nil {
			return "", err
		}
		if !use(max(size, len(out), end)) {
			return "", ErrTooLong
		}
		b.WriteString(out)
		rest = after[end+1:]
	}
	return b.String(), nil
}

// formatField renders what stands between braces, name[!conversion][:spec], and returns the length of the value too.
func formatField(field string, fields map[string]any) (out string, size int, err error) {
	name, format, _ := strings.Cut(field, ":")
	name, conversion, converted := strings.Cut(name, "!")
	value, known := fields[name]
	switch {
	case name == "":
		return "", 0, errors.New("{} without a name in template")
	case !known && strings.ContainsAny(name, ".["):
		return "", 0, fmt.Errorf("{%s}: only plain names are allowed in a template", excerpt.Of(name, excerpt.Name))
	case !known:
		return "", 0, fmt.Errorf("unknown field {%s} in template; write {{ and }} for braces",
			excerpt.Of(name, excerpt.Name))
	}
	if converted {
		switch conversion {
		case "s":
			value = fmt.Sprint(value)
		case "r":
			if text, ok := value.(string); ok {
				value = Repr(text)
			}
		default:
			name := excerpt.Of(conversion, excerpt.Name)
			return "", 0, fmt.Errorf("conversion !%s is not allowed in a template", name)
		}
	}
	if text, ok := value.(string); ok {
		size = len(text)
	}
	out, err = formatSpec(value, format)
	return out, size, err
}

// spec is [[fill]align][sign][0][width][.precision][type].
type spec struct {
	fill             rune
	align            byte   // 0 is that of the value's type
	sign             string // empty or one character
	width, precision int    // -1 if absent
	kind             string // the type; empty if absent
	zero             bool   // fill with zeros unless there is an alignment
}

// parseSpec reads a format spec that is not empty; ok is false if a number in it is out of range.
func parseSpec(text string) (s spec, ok bool) {
	s = spec{fill: ' '}
	if r, size := utf8.DecodeRuneInString(text); len(text) > size && strings.IndexByte("<>^=", text[size]) >= 0 {
		s.fill, s.align, text = r, text[size], text[size+1:]
	} else if strings.IndexByte("<>^=", text[0]) >= 0 {
		s.align, text = text[0], text[1:]
	}
	if text != "" && strings.IndexByte("+- ", text[0]) >= 0 {
		s.sign, text = text[:1], text[1:]
	}
	text, s.zero = strings.CutPrefix(text, "0")
	s.width, text, ok = leadingInt(text)
	s.precision = -1
	if rest, dot := strings.CutPrefix(text, "."); dot && ok {
		s.precision, text, ok = leadingInt(rest)
		ok = ok && s.precision >= 0
	}
	s.kind = text
	return s, ok
}

// formatSpec applies a format spec to a value.
func formatSpec(value any, text string) (string, error) {
	if text == "" {
		return fmt.Sprint(value), nil
	}
	s, ok := parseSpec(text)
	var out string
	if ok {
		if number, isNumber := value.(int); isNumber {
			out, ok = s.number(number)
		} else {
			out, ok = s.string(value.(string))
		}
	}
	if !ok {
		return "", fmt.Errorf("format %q is not allowed in a template", excerpt.Of(text, excerpt.Name))
	}
	return out, nil
}

// number formats a decimal; ok is false for what a number cannot have.
func (s spec) number(n int) (out string, ok bool) {
	if s.kind != "" && s.kind != "d" || s.precision >= 0 {
		return "", false
	}
	digits, negative := strings.CutPrefix(strconv.Itoa(n), "-")
	prefix := ""
	switch {
	case negative:
		prefix = "-"
	case s.sign != "-":
		prefix = s.sign
	}
	switch {
	case s.align == 0 && s.zero:
		s.fill, s.align = '0', '='
	case s.align == 0:
		s.align = '>'
	}
	return s.pad(prefix, digits), true
}

// string formats a string; ok is false for what a string cannot have.
func (s spec) string(text string) (out string, ok bool) {
	if s.kind != "" && s.kind != "s" || s.sign != "" || s.align == '=' {
		return "", false
	}
	if r := []rune(text); s.precision >= 0 && len(r) > s.precision {
		text = string(r[:s.precision])
	}
	if s.align == 0 && s.zero {
		s.fill = '0'
	}
	return s.pad("", text), true
}

// pad fills prefix and text up to the width.
func (s spec) pad(prefix, text string) string {
	n := s.width - utf8.RuneCountInString(prefix) - utf8.RuneCountInString(text)
	if n <= 0 {
		return prefix + text
	}
	filled := func(n int) string { return strings.Repeat(string(s.fill), n) }
	switch s.align {
	case '>':
		return filled(n) + prefix + text
	case '^':
		return filled(n/2) + prefix + text + filled(n-n/2)
	case '=':
		return prefix + filled(n) + text
	}
	return prefix + text + filled(n)
}

// leadingInt reads decimal digits; n is -1 if there are none, and ok is false if it is above MaxWidth.
func leadingInt(s string) (n int, rest string, ok bool) {
	rest = strings.TrimLeft(s, "0123456789")
	digits := s[:len(s)-len(rest)]
	if digits == "" {
		return -1, s, true
	}
	n, err := strconv.Atoi(digits)
	return n, rest, err == nil && n <= MaxWidth
}
