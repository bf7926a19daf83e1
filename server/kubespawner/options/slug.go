package options

import (
	"encoding/xml"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/gosimple/unidecode"
	"golang.org/x/text/unicode/norm"
)

// profileSlug makes a profile's name from what users read, as python-slugify does for KubeSpawner: ASCII letters in
// lower case, digits and hyphens. Source: slugify/_legacy.py of python-slugify 9.2.0 with text-unidecode 1.3.
func profileSlug(display string) string {
	text := quotes.ReplaceAllString(display, "-")
	text = transliterate(norm.NFKD.String(text))
	text = strings.ToLower(norm.NFKD.String(decodeEntities(text)))
	text = quotes.ReplaceAllString(text, "")
	text = withoutCommas(text)
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return (r < 'a' || 'z' < r) && (r < '0' || '9' < r)
	}), "-")
}

var (
	quotes             = regexp.MustCompile(`'+`)
	namedEntity        = regexp.MustCompile(`&([A-Za-z][A-Za-z0-9]*);`)
	decimalEntity      = regexp.MustCompile(`&#(\p{Nd}+);`)
	hexadecimalEntity  = regexp.MustCompile(`&#x([\p{Nd}a-fA-F]+);`)
	commaBetweenDigits = regexp.MustCompile(`[0-9](,[0-9])+`)
)

// decodeEntities decodes the entities of HTML 4, then decimal, then hexadecimal ones.
func decodeEntities(text string) string {
	text = namedEntity.ReplaceAllStringFunc(text, func(entity string) string {
		if char, known := xml.HTMLEntity[entity[1:len(entity)-1]]; known {
			return char
		}
		return entity
	})
	text = decodeNumbers(text, decimalEntity, 10)
	return decodeNumbers(text, hexadecimalEntity, 16)
}

// decodeNumbers decodes all numeric entities of a base, or none if one of them is not a code point. Digits are those of
// any script, as in Python: a decimal entity may yield one in a hexadecimal entity.
func decodeNumbers(text string, entity *regexp.Regexp, base int) string {
	valid := true
	decoded := entity.ReplaceAllStringFunc(text, func(one string) string {
		code, err := strconv.ParseInt(strings.Map(asciiDigit, entity.FindStringSubmatch(one)[1]), base, 32)
		valid = valid && err == nil && code <= unicode.MaxRune
		return string(rune(code))
	})
	if !valid {
		return text
	}
	return decoded
}

// asciiDigit returns the ASCII digit of the same value as a digit of another script, and other characters as they are.
// Unicode has the digits of a script in a row, from zero to nine.
func asciiDigit(r rune) rune {
	if r > unicode.MaxASCII && unicode.Is(unicode.Nd, r) {
		first := r
		for unicode.Is(unicode.Nd, first-1) {
			first--
		}
		return '0' + (r-first)%10
	}
	return r
}

// withoutCommas drops the commas between digits.
func withoutCommas(text string) string {
	return commaBetweenDigits.ReplaceAllStringFunc(text, func(number string) string {
		return strings.ReplaceAll(number, ",", "")
	})
}

// transliterate replaces characters by ASCII ones as text-unidecode does; text is in NFKD.
func transliterate(text string) string {
	var b strings.Builder
	for _, r := range text {
		if other, differs := transliterations[r]; differs {
			b.WriteString(other)
		} else if unicode.Is(untransliterated, r) {
			b.WriteByte('?')
		} else if r <= unicode.MaxASCII {
			b.WriteRune(r)
		} else {
			b.WriteString(unidecode.Unidecode(string(r)))
		}
	}
	return b.String()
}

// transliterations are those of text-unidecode that package unidecode has differently: its table is of a later
// Text::Unidecode.
var transliterations = map[rune]string{
	'Є': "E", 'Ъ': "", 'ъ': "", '\u05c0': "|", 'ẜ': "s", 'ẝ': "s", 'ẟ': "d", '€': "EUR", 'Ⅎ': "",
	'し': "si", 'ち': "ti", 'っ': "tu", 'つ': "tu", 'シ': "si", 'チ': "ti", 'ッ': "tu", 'ツ': "tu", '一': "Yi ",
}

// untransliterated are the characters that text-unidecode writes as "[?]" and package unidecode leaves out.
var untransliterated = &unicode.RangeTable{R16: []unicode.Range16{
	{0x2ff, 0x2ff, 1},
	{0x3ff, 0x3ff, 1},
	{0x4ff, 0x4ff, 1},
	{0x5ff, 0x5ff, 1},
	{0x6ff, 0x6ff, 1},
	{0x7ff, 0x8ff, 1},
	{0x9ff, 0x9ff, 1},
	{0xaff, 0xaff, 1},
	{0xbff, 0xbff, 1},
	{0xcff, 0xcff, 1},
	{0xdff, 0xdff, 1},
	{0xeff, 0xeff, 1},
	{0xfff, 0xfff, 1},
	{0x10ff, 0x10ff, 1},
	{0x11ff, 0x11ff, 1},
	{0x13ff, 0x13ff, 1},
	{0x16ff, 0x16ff, 1},
	{0x17ff, 0x17ff, 1},
	{0x18ff, 0x1b05, 1},
	{0x1b07, 0x1b07, 1},
	{0x1b09, 0x1b09, 1},
	{0x1b0b, 0x1b0b, 1},
	{0x1b0d, 0x1b0d, 1},
	{0x1b0f, 0x1b11, 1},
	{0x1b13, 0x1b3a, 1},
	{0x1b3c, 0x1b3c, 1},
	{0x1b3e, 0x1b3f, 1},
	{0x1b42, 0x1b42, 1},
	{0x1b44, 0x1d2b, 1},
	{0x1d2f, 0x1d2f, 1},
	{0x1d3b, 0x1d3b, 1},
	{0x1d4e, 0x1d4e, 1},
	{0x1d6b, 0x1d77, 1},
	{0x1d79, 0x1d9a, 1},
	{0x1dc0, 0x1dff, 1},
	{0x1eff, 0x1eff, 1},
	{0x1fff, 0x1fff, 1},
	{0x20ff, 0x20ff, 1},
	{0x214e, 0x214e, 1},
	{0x21ff, 0x21ff, 1},
	{0x22ff, 0x22ff, 1},
	{0x23ff, 0x23ff, 1},
	{0x24ff, 0x24ff, 1},
	{0x25ff, 0x25ff, 1},
	{0x26ff, 0x26ff, 1},
	{0x27ff, 0x27ff, 1},
	{0x2900, 0x2a0b, 1},
	{0x2a0d, 0x2a73, 1},
	{0x2a77, 0x2adb, 1},
	{0x2add, 0x2c7b, 1},
	{0x2c7e, 0x2d6e, 1},
	{0x2d70, 0x2dff, 1},
	{0x2eff, 0x2eff, 1},
	{0x2fff, 0x2fff, 1},
	{0x31ff, 0x31ff, 1},
	{0x3400, 0x4cff, 1},
	{0x4dff, 0x4dff, 1},
	{0x9fff, 0x9fff, 1},
	{0xa4ff, 0xa69b, 1},
	{0xa69e, 0xa76f, 1},
	{0xa771, 0xa7f1, 1},
	{0xa7f5, 0xa7f7, 1},
	{0xa7fa, 0xab5b, 1},
	{0xab60, 0xab68, 1},
	{0xab6a, 0xabff, 1},
	{0xd7ff, 0xd7ff, 1},
	{0xe000, 0xf8ff, 1},
	{0xfaff, 0xfaff, 1},
}}
