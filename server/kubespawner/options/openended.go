package options

import "regexp/syntax"

// OpenEnded returns the keys of the expressions in a profile list that say how values of users begin and not how they
// end, so that anything may follow: "^quay\\.io" lets in "quay.io.example.org/image".
func OpenEnded(list any) (keys []string) {
	for _, pr := range readProfiles(list, &Problems{}) {
		for _, o := range pr.options {
			if o.unlisted == nil || o.unlisted.pattern == nil {
				continue
			}
			parsed, err := syntax.Parse(o.unlisted.text("validation_regex"), syntax.Perl)
			if err == nil && !saysEnd(parsed) {
				keys = append(keys, o.path+".unlisted_choice.validation_regex")
			}
		}
	}
	return keys
}

// saysEnd reports whether an expression matches up to the end of a text, or says that anything may follow.
func saysEnd(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEndText:
		return true
	case syntax.OpStar, syntax.OpPlus:
		return re.Sub[0].Op == syntax.OpAnyChar || re.Sub[0].Op == syntax.OpAnyCharNotNL
	case syntax.OpCapture, syntax.OpConcat:
		return saysEnd(re.Sub[len(re.Sub)-1])
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			if !saysEnd(sub) {
				return false
			}
		}
		return true
	}
	return false
}
