package credentials

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// PairArgs say what a hub and one of its outposts share.
type PairArgs struct {
	// System is the outpost's name at the hub; it is the comment of the host key and the name in the certificate.
	System string
	// Password, HostKey and TLS switch the three secrets on: off is for what another party gives.
	Password, HostKey bool
	// TLSAddresses are the IP addresses and DNS names that the certificate is for; empty for no certificate.
	TLSAddresses []string
	// Now is the time that a certificate made in this run begins at.
	Now time.Time
	// Rotation has the words of each secret; the zero value is the first word of each.
	Rotation PairRotation
}

// PairRotation has the words of what a hub and an outpost share.
type PairRotation struct {
	Password Words // only the first is used, on both sides
	HostKey  Words // all are trusted by the hub, the first is shown by the outpost
	TLS      Words // all CAs are trusted by the hub, the first signs the outpost's certificate
}

// Validate refuses empty and repeated words, each by the name the operator typed after prefix.
func (r PairRotation) Validate(prefix string) []error {
	return validateWords(prefix, []named{{"password", r.Password}, {"hostKey", r.HostKey}, {"tls", r.TLS}})
}

// Pair is what one hub and one outpost share. Everything but HostKeyLines and CAs is secret; what was not asked for is
// empty.
type Pair struct {
	pulumi.ResourceState

	Password       pulumi.StringOutput
	HostKey        pulumi.StringOutput // OpenSSH PEM of the one in use
	HostKeyLines   pulumi.StringArray  // public halves, the one in use first
	TLSCertificate pulumi.StringOutput // PEM: certificate, then its CA
	TLSKey         pulumi.StringOutput // PEM, PKCS#8
	CAs            pulumi.StringArray  // PEM, the one in use first
}

// NewPair makes what a hub and an outpost share.
func NewPair(ctx *pulumi.Context, name string, args PairArgs, opts ...pulumi.ResourceOption) (*Pair, error) {
	if args.System == "" {
		return nil, fmt.Errorf("credentials %s: System is empty", name)
	}
	if len(args.TLSAddresses) > 0 && args.Now.IsZero() {
		return nil, fmt.Errorf("credentials %s: Now is missing", name)
	}
	pair := &Pair{}
	if err := ctx.RegisterComponentResource("outposts:credentials:Pair", name, pair, opts...); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	if args.Password {
		seeds, err := makeSeeds(ctx, pair, name+"-password", args.Rotation.Password)
		if err != nil {
			return nil, fmt.Errorf("credentials %s: %w", name, err)
		}
		pair.Password = seeds[0].form(certain(Password))
	}
	if args.HostKey {
		seeds, err := makeSeeds(ctx, pair, name+"-host-key", args.Rotation.HostKey)
		if err != nil {
			return nil, fmt.Errorf("credentials %s: %w", name, err)
		}
		pair.HostKey = seeds[0].form(sshPrivate("outpost-" + args.System))
		for _, s := range seeds {
			pair.HostKeyLines = append(pair.HostKeyLines, s.public(sshPublic("outpost-"+args.System)))
		}
	}
	if len(args.TLSAddresses) > 0 {
		seeds, err := makeDatedSeeds(ctx, pair, name+"-tls", args.Rotation.TLS, args.Now)
		if err != nil {
			return nil, fmt.Errorf("credentials %s: %w", name, err)
		}
		pair.setCertificates(seeds, args)
	}
	return pair, ctx.RegisterResourceOutputs(pair, pulumi.Map{"hostKeys": pair.HostKeyLines, "cas": pair.CAs})
}

func (p *Pair) setCertificates(seeds []seed, args PairArgs) {
	part := func(s seed, pick func(Certificate) string) pulumi.StringOutput {
		return pulumi.All(s.bytes, s.issued).ApplyT(func(in []any) (string, error) {
			raw, err := base64.StdEncoding.DecodeString(in[0].(string))
			if err != nil {
				return "", fmt.Errorf("read bytes of word %s: %w", s.word, err)
			}
			issued, err := time.Parse(time.RFC3339, in[1].(string))
			if err != nil {
				return "", fmt.Errorf("read date of word %s: %w", s.word, err)
			}
			made, err := NewCertificate(raw, "outpost-"+args.System, args.TLSAddresses, issued)
			return pick(made), err
		}).(pulumi.StringOutput)
	}
	p.TLSCertificate = part(seeds[0], func(c Certificate) string { return c.Cert })
	p.TLSKey = part(seeds[0], func(c Certificate) string { return c.Key })
	for _, s := range seeds {
		ca := part(s, func(c Certificate) string { return c.CA })
		p.CAs = append(p.CAs, pulumi.Unsecret(ca).(pulumi.StringOutput))
	}
}

// SealsWith is the output of the components Store and Hub that names the word of the key that is to seal. That it does
// so is said by the components that are given the key, once they run with it.
const SealsWith = "sealsWith"

// CryptKeySeeds and AuthStateKeySeeds begin the names of the bytes, after the component's name and before the word.
const (
	CryptKeySeeds     = "-crypt-key"
	AuthStateKeySeeds = "-auth-state-key"
)

// StoreArgs say how often the keys of an outpost's database were made anew.
type StoreArgs struct {
	// CryptKey has the words of the Fernet keys: the first seals, all open.
	CryptKey Words
	// KeepData says that the database outlives mistakes: then its keys do too.
	KeepData bool
}

// Store is the keys that an outpost seals its database with. All are secret.
type Store struct {
	pulumi.ResourceState

	CryptKeys pulumi.StringArray // Fernet keys, the one that seals first
	SealsWith string             // word of the first
}

// NewStore makes the keys of an outpost's database. They are kept as long as the database: without them it cannot be
// opened.
func NewStore(ctx *pulumi.Context, name string, args StoreArgs, opts ...pulumi.ResourceOption) (*Store, error) {
	store := &Store{}
	if err := ctx.RegisterComponentResource("outposts:credentials:Store", name, store, opts...); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	seeds, err := makeKeptSeeds(ctx, store, name+CryptKeySeeds, args.CryptKey, args.KeepData)
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	store.CryptKeys, store.SealsWith = forms(seeds, certain(FernetKey)), seeds[0].word
	return store, ctx.RegisterResourceOutputs(store, pulumi.Map{SealsWith: pulumi.String(store.SealsWith)})
}
