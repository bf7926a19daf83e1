package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/schema"
)

// faults collects what is wrong with a config, each fault by the key that the operator typed.
type faults struct {
	errs []error
	// refused are keys that are wrong by themselves: what follows from them is not reported.
	refused []string
}

// add adds a fault. The text begins with the key, without the project.
func (f *faults) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	key, _, _ := strings.Cut(text, " ")
	if !f.wrong(strings.TrimSuffix(key, ":")) {
		f.errs = append(f.errs, errors.New(project+":"+text))
	}
}

// addBelow adds what is wrong with the part of the config at a key.
func (f *faults) addBelow(key string, found []schema.Fault) {
	for _, fault := range found {
		f.add("%s", fault.Below(key).Error())
	}
}

// addNoEffect adds a key that is set and has no effect.
func (f *faults) addNoEffect(key string, set bool, why string, args ...any) {
	if set {
		f.add("%s: has no effect here; %s", key, fmt.Sprintf(why, args...))
	}
}

// addSecondWord adds a secret with several words of which only one can be in use: nothing would accept the others.
func (f *faults) addSecondWord(key string, words credentials.Words) {
	if len(words) > 1 {
		f.add("%s: has %d words, but only one can be in use; keep the first", key, len(words))
	}
}

// refuse adds what a schema finds.
func (f *faults) refuse(found []schema.Fault) {
	for _, fault := range found {
		f.add("%s", fault.Error())
	}
	for _, fault := range found {
		f.refused = append(f.refused, fault.Key())
	}
}

// wrong reports whether a key, or what it is in, is wrong by itself.
func (f *faults) wrong(key string) bool {
	return slices.ContainsFunc(f.refused, func(refused string) bool {
		rest, within := strings.CutPrefix(key, refused)
		return within && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}
