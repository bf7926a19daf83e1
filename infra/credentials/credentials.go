// Package credentials makes what hubs and outposts prove themselves with: SSH keys, passwords, certificates, Fernet
// keys. Each secret is born as bytes of pulumi-random, which the stack keeps, and gets its form from a pure function of
// those bytes, so that a second `up` changes nothing and no program but Pulumi is needed.
package credentials

import (
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/pulumi/pulumi-random/sdk/v4/go/random"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// seed is the bytes of one word of one secret.
type seed struct {
	word   string
	bytes  pulumi.StringOutput // base64, secret
	issued pulumi.StringOutput // when it was first made, RFC 3339; only with makeDatedSeeds
}

// makeSeeds registers the bytes of each word, as children of a component.
func makeSeeds(ctx *pulumi.Context, parent pulumi.Resource, name string, words Words) ([]seed, error) {
	return newSeeds(ctx, parent, name, words, nil, false)
}

// makeKeptSeeds does as makeSeeds, for what seals data that is kept: the word in use is protected with it. The others
// are kept as what it depends on (`destroy --exclude-protected` leaves that too), and not protected themselves: the
// engine would never let go of a word that is taken away once nothing is sealed with it.
func makeKeptSeeds(ctx *pulumi.Context, parent pulumi.Resource, name string, words Words, keep bool) ([]seed, error) {
	return newSeeds(ctx, parent, name, words, nil, keep)
}

// makeDatedSeeds does as makeSeeds and also keeps the time at which each word was first applied.
func makeDatedSeeds(ctx *pulumi.Context, parent pulumi.Resource, name string, words Words, now time.Time) ([]seed, error) {
	return newSeeds(ctx, parent, name, words, pulumi.StringMap{"issued": pulumi.String(now.UTC().Format(time.RFC3339))}, false)
}

func newSeeds(ctx *pulumi.Context, parent pulumi.Resource, name string, words Words, keepers pulumi.StringMap, keep bool) ([]seed, error) {
	words = words.OrFirst()
	seeds := make([]seed, len(words))
	var others []pulumi.Resource
	for i, word := range slices.Backward(words) {
		args := &random.RandomBytesArgs{Length: pulumi.Int(SeedBytes)}
		opts := []pulumi.ResourceOption{pulumi.Parent(parent)}
		if keep && i == 0 {
			opts = append(opts, pulumi.Protect(true), pulumi.DependsOn(others))
		}
		if keepers != nil {
			args.Keepers = keepers
			// The clock goes on; what counts is the first time.
			opts = append(opts, pulumi.IgnoreChanges([]string{"keepers"}))
		}
		made, err := random.NewRandomBytes(ctx, name+"-"+word, args, opts...)
		if err != nil {
			return nil, fmt.Errorf("make bytes of %s: %w", name, err)
		}
		s := seed{word: word, bytes: pulumi.ToSecret(made.Base64).(pulumi.StringOutput)}
		if keepers != nil {
			s.issued = made.Keepers.MapIndex(pulumi.String("issued"))
		}
		seeds[i], others = s, append(others, made)
	}
	return seeds, nil
}

// form turns a seed into the text of a secret. The result is secret.
func (s seed) form(f func(seed []byte) (string, error)) pulumi.StringOutput {
	return s.bytes.ApplyT(func(text string) (string, error) {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", fmt.Errorf("read bytes of word %s: %w", s.word, err)
		}
		return f(raw)
	}).(pulumi.StringOutput)
}

// public is form for the half of a secret that everybody may see.
func (s seed) public(f func(seed []byte) (string, error)) pulumi.StringOutput {
	return pulumi.Unsecret(s.form(f)).(pulumi.StringOutput)
}

// forms applies a form to every seed: the secret in use, then those still accepted.
func forms(seeds []seed, f func(seed []byte) (string, error)) pulumi.StringArray {
	var out pulumi.StringArray
	for _, s := range seeds {
		out = append(out, s.form(f))
	}
	return out
}

// certain makes a form of a function that cannot fail.
func certain(f func([]byte) string) func([]byte) (string, error) {
	return func(seed []byte) (string, error) { return f(seed), nil }
}
