// Package credentials makes what hubs and outposts prove themselves with: SSH keys, passwords, certificates, Fernet
// keys. Each secret is born as bytes of pulumi-random, which the stack keeps, and gets its form from a pure function of
// those bytes, so that a second `up` changes nothing and no program but Pulumi is needed.
package credentials

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/fernet/fernet-go"
	"github.com/pulumi/pulumi-random/sdk/v4/go/random"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// SeedBytes is how many random bytes every secret is made from.
const SeedBytes = 32

// seed is the bytes of one word of one secret.
type seed struct {
	word   string
	bytes  pulumi.StringOutput // base64, secret
	issued pulumi.StringOutput // when it was first made, RFC 3339; only with seedOptions.now
}

// seedOptions say what else is kept of seeds.
type seedOptions struct {
	// keep is for seeds that seal data which is kept: the word in use is protected with it. The others are kept as what
	// it depends on (`destroy --exclude-protected` leaves that too), and not protected themselves: the engine would
	// never let go of a word that is removed once nothing is sealed with it.
	keep bool
	// now, if set, is recorded as the time at which a word was first applied.
	now time.Time
}

// seeder registers the bytes of a component's secrets as its children.
type seeder struct {
	ctx       *pulumi.Context
	component pulumi.Resource
	name      string // of the component
	err       error  // the first one; then no seed may be given a form
}

// seeds registers the bytes of each word of a secret. There is at least one.
func (s *seeder) seeds(secret string, words Words, options seedOptions) []seed {
	words = words.OrFirst()
	seeds := make([]seed, len(words))
	var others []pulumi.Resource
	for i, word := range slices.Backward(words) {
		args := &random.RandomBytesArgs{Length: pulumi.Int(SeedBytes)}
		opts := []pulumi.ResourceOption{pulumi.Parent(s.component)}
		if options.keep && i == 0 {
			opts = append(opts, pulumi.Protect(true), pulumi.DependsOn(others))
		}
		if !options.now.IsZero() {
			args.Keepers = pulumi.StringMap{"issued": pulumi.String(options.now.UTC().Format(time.RFC3339))}
			// Time goes on; what counts is the first time.
			opts = append(opts, pulumi.IgnoreChanges([]string{"keepers"}))
		}
		made, err := random.NewRandomBytes(s.ctx, s.name+secret+"-"+word, args, opts...)
		if err != nil {
			s.err = cmp.Or(s.err, fmt.Errorf("credentials %s: make bytes of %s%s: %w", s.name, s.name, secret, err))
			continue
		}
		seeds[i] = seed{word: word, bytes: pulumi.ToSecret(made.Base64).(pulumi.StringOutput)}
		if !options.now.IsZero() {
			seeds[i].issued = made.Keepers.MapIndex(pulumi.String("issued"))
		}
		others = append(others, made)
	}
	return seeds
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

// sshForm makes a form of one text of the SSH key of a seed.
func sshForm(comment string, text func(SSHKey) string) func([]byte) (string, error) {
	return func(seed []byte) (string, error) {
		key, err := NewSSHKey(seed, comment)
		if err != nil {
			return "", err
		}
		return text(key), nil
	}
}

// derive gives the bytes of one purpose, so that no two secrets made of one seed are equal or tell of each other.
func derive(seed []byte, purpose string) []byte {
	out, err := hkdf.Key(sha256.New, seed, nil, "outposts "+purpose, SeedBytes)
	if err != nil {
		panic(err) // only for more than 255 blocks
	}
	return out
}

// FernetKey makes a key of the Fernet specification (32 bytes, URL-safe base64 with padding) from a seed.
func FernetKey(seed []byte) string {
	var key fernet.Key
	copy(key[:], derive(seed, "fernet"))
	return key.Encode()
}

// Password makes a password of 43 letters, digits, '-' and '_' (256 bits) from a seed. None of them means anything to
// a shell, a URL, Basic auth (":") or the outpost's list of passwords (";"); the first is never '-'.
func Password(seed []byte) string {
	password := base64.RawURLEncoding.EncodeToString(derive(seed, "password"))
	if password[0] == '-' {
		return "_" + password[1:]
	}
	return password
}

// Hex makes 64 hexadecimal digits (256 bits) from a seed: the form that JupyterHub takes its secrets in.
func Hex(seed []byte) string { return hex.EncodeToString(derive(seed, "hex")) }
