package outpost

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// pattern matches names as the flavors file writes them: a regular expression for the whole text, else a shell glob
// ("*", "?", "[...]", whole text, case-sensitive), else the text itself (contract 3.3, 3.4).
type pattern struct {
	text string
	re   *regexp.Regexp // nil if text is no regular expression
	glob *regexp.Regexp
}

// parsePattern compiles a pattern. A regular expression that Python knows and Go does not (look-around, back
// references) is an error: taken as a glob it would silently match nobody.
func parsePattern(text string) (pattern, error) {
	p := pattern{text: text}
	re, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err == nil {
		p.re = re
	} else if e, ok := errors.AsType[*syntax.Error](err); ok {
		switch e.Code {
		case syntax.ErrInvalidPerlOp, syntax.ErrInvalidEscape, syntax.ErrInvalidNamedCapture, syntax.ErrLarge:
			return pattern{}, fmt.Errorf("%q uses %q, which is not supported (RE2 syntax)", text, e.Expr)
		}
	}
	p.glob, err = compileGlob(text)
	if err != nil {
		return pattern{}, fmt.Errorf("%q is neither a regular expression nor a glob", text)
	}
	return p, nil
}

// match tells whether the pattern matches the whole of s.
func (p pattern) match(s string) bool {
	return p.text == s || p.re != nil && p.re.MatchString(s) || p.glob.MatchString(s)
}

// compileGlob turns a shell glob into a regular expression; "*" also matches "/". A "[" without "]" stands for itself.
func compileGlob(glob string) (*regexp.Regexp, error) {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(glob); {
		c := glob[i]
		i++
		switch c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteString(`.`)
		case '[':
			end := classEnd(glob, i)
			if end < 0 {
				b.WriteString(`\[`)
				continue
			}
			class := strings.ReplaceAll(glob[i:end], `\`, `\\`)
			class = strings.ReplaceAll(class, `[`, `\[`)
			if strings.HasPrefix(class, "!") {
				class = "^" + class[1:]
			} else if strings.HasPrefix(class, "^") {
				class = `\` + class
			}
			if rest, ok := strings.CutPrefix(class, "]"); ok {
				class = `\]` + rest
			} else if rest, ok := strings.CutPrefix(class, "^]"); ok {
				class = `^\]` + rest
			}
			b.WriteString("[" + class + "]")
			i = end + 1
		default:
			b.WriteString(regexp.QuoteMeta(glob[i-1 : i]))
		}
	}
	b.WriteString(`\z`)
	return regexp.Compile(b.String())
}

// classEnd returns the index of the "]" that ends the class beginning at i, or -1.
func classEnd(glob string, i int) int {
	j := i
	if j < len(glob) && glob[j] == '!' {
		j++
	}
	if j < len(glob) && glob[j] == ']' {
		j++
	}
	if n := strings.IndexByte(glob[min(j, len(glob)):], ']'); n >= 0 {
		return j + n
	}
	return -1
}
