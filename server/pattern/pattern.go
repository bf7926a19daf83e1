// Package pattern matches names as operators write them in files and settings: by regular expressions and shell globs.
package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Pattern matches whole names: by a regular expression (RE2), else by a shell glob ("*", "?", "[...]", case-sensitive),
// else by the text itself (protocol 4.2).
type Pattern struct {
	text string
	re   *regexp.Regexp // nil if text is not a regular expression
	glob *regexp.Regexp
}

// Parse compiles a pattern. A regular expression that Python knows and Go does not (look-around, back
// references) is an error: taken as a glob it would silently match nobody.
func Parse(text string) (*Pattern, error) {
	p := &Pattern{text: text}
	_, err := regexp.Compile(text) // by itself: a parenthesis must not close the group that is put around it
	if err == nil {
		p.re, err = regexp.Compile(`\A(?:` + text + `)\z`)
	}
	if e, ok := errors.AsType[*syntax.Error](err); ok {
		switch e.Code {
		case syntax.ErrInvalidPerlOp, syntax.ErrInvalidEscape, syntax.ErrInvalidNamedCapture, syntax.ErrLarge:
			return nil, fmt.Errorf("%q uses %q, which is not supported (RE2 syntax)", text, e.Expr)
		}
	}
	p.glob, err = Glob(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a regular expression nor a glob", text)
	}
	return p, nil
}

// Match reports whether the pattern matches the whole of s.
func (p *Pattern) Match(s string) bool {
	return p.text == s || p.re != nil && p.re.MatchString(s) || p.glob.MatchString(s)
}

// Glob turns a shell glob for a whole text into a regular expression. "*" also matches "/"; a "[" without "]" stands
// for itself.
func Glob(glob string) (*regexp.Regexp, error) {
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
