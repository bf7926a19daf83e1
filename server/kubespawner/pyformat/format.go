// Package pyformat renders Python's format strings.
package pyformat

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxWidth limits width and precision in a template, so that no template makes a text of gigabytes.
const MaxWidth = 1000

// format renders a Python format string as far as names need it: {field}, {{ and }}, !s and !r, fill,
// alignment, sign, width and precision. Attribute and index access, nested fields and everything that makes a
// number look other than decimal are refused; the peer would run them.
func Format(template string, fields map[string]any) (string, error) {
	if !strings.ContainsAny(template, "{}") {
		return template, nil
	}
	var b strings.Builder
	for rest := template; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			b.WriteString(rest)
			break
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
		out, err := formatField(after[:end], fields)
		if err != nil {
			return "", err
		}
		b.WriteString(out)
		rest = after[end+1:]
	}
	return b.String(), nil
}

// formatField renders what stands between braces: name[!conversion][:spec].
func formatField(field string, fields map[string]any) (string, error) {
	name, spec, _ := strings.Cut(field, ":")
	name, conversion, converted := strings.Cut(name, "!")
	value, known := fields[name]
	switch {
	case name == "":
		return "", errors.New("{} without a name in template")
	case !known && strings.ContainsAny(name, ".["):
		return "", fmt.Errorf("{%s}: only plain names are allowed in a template", name)
	case !known:
		return "", fmt.Errorf("unknown field {%s} in template; write {{ and }} for braces", name)
	}
	if converted {
		switch conversion {
		case "s":
			value = fmt.Sprint(value)
		case "r":
			value = pythonRepr(value)
		default:
			return "", fmt.Errorf("conversion !%s is not allowed in a template", conversion)
		}
	}
	return formatSpec(value, spec)
}

// formatSpec applies [[fill]align][sign][0][width][.precision][type].
func formatSpec(value any, spec string) (string, error) {
	if spec == "" {
		return fmt.Sprint(value), nil
	}
	bad := fmt.Errorf("format %q is not allowed in a template", spec)
	number, isNumber := value.(int)
	fill, align, rest := ' ', byte(0), spec
	if r, size := utf8.DecodeRuneInString(rest); len(rest) > size && strings.IndexByte("<>^=", rest[size]) >= 0 {
		fill, align, rest = r, rest[size], rest[size+1:]
	} else if strings.IndexByte("<>^=", rest[0]) >= 0 {
		align, rest = rest[0], rest[1:]
	}
	sign := ""
	if rest != "" && strings.IndexByte("+- ", rest[0]) >= 0 {
		sign, rest = rest[:1], rest[1:]
	}
	if rest != "" && rest[0] == '0' {
		if align == 0 {
			fill, align = '0', '='
			if !isNumber {
				align = '<'
			}
		}
		rest = rest[1:]
	}
	width, rest, err := leadingInt(rest)
	if err != nil {
		return "", bad
	}
	precision := -1
	if strings.HasPrefix(rest, ".") {
		if precision, rest, err = leadingInt(rest[1:]); err != nil || precision < 0 {
			return "", bad
		}
	}
	text, prefix := "", ""
	if isNumber {
		if rest != "" && rest != "d" || precision >= 0 {
			return "", bad
		}
		text = strconv.Itoa(number)
		if strings.HasPrefix(text, "-") {
			prefix, text = "-", text[1:]
		} else if sign == "+" || sign == " " {
			prefix = sign
		}
	} else {
		if rest != "" && rest != "s" || sign != "" || align == '=' {
			return "", bad
		}
		text = value.(string)
		if precision >= 0 && utf8.RuneCountInString(text) > precision {
			text = string([]rune(text)[:precision])
		}
	}
	return pad(prefix, text, fill, align, width, isNumber), nil
}

// pad fills prefix and text up to width characters.
func pad(prefix, text string, fill rune, align byte, width int, right bool) string {
	n := width - utf8.RuneCountInString(prefix) - utf8.RuneCountInString(text)
	if n <= 0 {
		return prefix + text
	}
	if align == 0 {
		align = '<'
		if right {
			align = '>'
		}
	}
	filled := func(n int) string { return strings.Repeat(string(fill), n) }
	switch align {
	case '>':
		return filled(n) + prefix + text
	case '^':
		return filled(n/2) + prefix + text + filled(n-n/2)
	case '=':
		return prefix + filled(n) + text
	}
	return prefix + text + filled(n)
}

// leadingInt reads decimal digits; -1 if there are none.
func leadingInt(s string) (int, string, error) {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	if i == 0 {
		return -1, s, nil
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil || n > MaxWidth {
		return 0, "", fmt.Errorf("more than %d", MaxWidth)
	}
	return n, s[i:], nil
}

// pythonRepr writes a value as Python's repr for the texts that names are made of.
func pythonRepr(v any) string {
	s, ok := v.(string)
	if !ok {
		return fmt.Sprint(v)
	}
	quote := "'"
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = `"`
	}
	r := strings.NewReplacer(`\`, `\\`, quote, `\`+quote, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	return quote + r.Replace(s) + quote
}
