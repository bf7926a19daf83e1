package credentials

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// PairType is the type of the component Pair.
const PairType = "outposts:credentials:Pair"

// PairArgs say what a hub and one of its outposts share.
type PairArgs struct {
	// System is the outpost's name at the hub; it is the comment of the host key and the name in the certificate.
	System string
	// Password, HostKey and TLS switch the three secrets on: off is for what another operator gives.
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
	Password Words `json:"password"` // only the first is used, on both sides
	HostKey  Words `json:"hostKey"`  // all are trusted by the hub, the first is shown by the outpost
	TLS      Words `json:"tls"`      // all CAs are trusted by the hub, the first signs the outpost's certificate
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
	if err := ctx.RegisterComponentResource(PairType, name, pair, opts...); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	if args.Password {
		seeds, err := makeSeeds(ctx, pair, name+"-password", args.Rotation.Password, seedOptions{})
		if err != nil {
			return nil, fmt.Errorf("credentials %s: %w", name, err)
		}
		pair.Password = seeds[0].form(certain(Password))
	}
	if args.HostKey {
		seeds, err := makeSeeds(ctx, pair, name+"-host-key", args.Rotation.HostKey, seedOptions{})
		if err != nil {
			return nil, fmt.Errorf("credentials %s: %w", name, err)
		}
		comment := "outpost-" + args.System
		pair.HostKey = seeds[0].form(sshForm(comment, SSHKey.PrivatePEM))
		for _, s := range seeds {
			pair.HostKeyLines = append(pair.HostKeyLines, s.public(sshForm(comment, SSHKey.AuthorizedKey)))
		}
	}
	if len(args.TLSAddresses) > 0 {
		seeds, err := makeSeeds(ctx, pair, name+"-tls", args.Rotation.TLS, seedOptions{now: args.Now})
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
