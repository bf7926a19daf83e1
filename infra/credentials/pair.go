package credentials

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/component"
)

// PairType is the type of the component Pair, FormerPairType that of one that an earlier version made.
const (
	PairType       = "outposts:index:PairCredentials"
	FormerPairType = "outposts:credentials:Pair"
)

// PairArgs say what a hub and one of its outposts share.
type PairArgs struct {
	// System is the comment of the host key and the name in the certificate: the outpost's name at the hub when they
	// were made first. With another one, the certificate is another, which nobody trusts yet.
	System string
	// FormerNames are names that the component had before, in any order: its bytes stay.
	FormerNames []string
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

// Outputs of the component Pair that the next run needs: PairArgs.System, PairArgs.FormerNames and Pair.HostKeyLines,
// whose comments say PairArgs.System too.
const (
	IssuedTo     = "issuedTo"
	FormerNames  = "formerNames"
	HostKeyLines = "hostKeys"
)

// commonName begins the comment of a host key and the name in a certificate, before PairArgs.System.
const commonName = "outpost-"

// SystemOf returns PairArgs.System from the outputs of a component Pair; empty if they do not say it.
func SystemOf(outputs map[string]any) string {
	if system, is := outputs[IssuedTo].(string); is {
		return system
	}
	lines, _ := outputs[HostKeyLines].([]any) // of a stack that did not record it yet
	for _, line := range lines {
		text, _ := line.(string)
		if _, system, is := strings.Cut(text, " "+commonName); is {
			return system
		}
	}
	return ""
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
	var aliases []pulumi.Alias
	for _, name := range args.FormerNames {
		aliases = append(aliases, pulumi.Alias{Name: pulumi.String(name)},
			pulumi.Alias{Name: pulumi.String(name), Type: pulumi.String(FormerPairType)})
	}
	opts = append(slices.Clip(opts), pulumi.Aliases(aliases))
	if err := component.Register(ctx, PairType, FormerPairType, name, pair, opts...); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	s := seeder{ctx: ctx, component: pair, name: name}
	var password, hostKeys, tls []seed
	if args.Password {
		password = s.seeds("-password", args.Rotation.Password, seedOptions{})
	}
	if args.HostKey {
		hostKeys = s.seeds("-host-key", args.Rotation.HostKey, seedOptions{})
	}
	if len(args.TLSAddresses) > 0 {
		tls = s.seeds("-tls", args.Rotation.TLS, seedOptions{now: args.Now})
	}
	if s.err != nil {
		return nil, s.err
	}
	if args.Password {
		pair.Password = password[0].form(certain(Password))
	}
	if args.HostKey {
		pair.HostKey = hostKeys[0].form(sshForm(commonName+args.System, SSHKey.PrivatePEM))
	}
	for _, key := range hostKeys {
		line := key.public(sshForm(commonName+args.System, SSHKey.AuthorizedKey))
		pair.HostKeyLines = append(pair.HostKeyLines, line)
	}
	if len(tls) > 0 {
		pair.setCertificates(tls, args)
	}
	outputs := pulumi.Map{
		HostKeyLines: pair.HostKeyLines, "cas": pair.CAs, IssuedTo: pulumi.String(args.System),
	}
	if len(args.FormerNames) > 0 {
		outputs[FormerNames] = pulumi.ToStringArray(args.FormerNames)
	}
	return pair, ctx.RegisterResourceOutputs(pair, outputs)
}

func (p *Pair) setCertificates(seeds []seed, args PairArgs) {
	part := func(s seed, pick func(Certificate) string) pulumi.StringOutput {
		return s.issued.ApplyT(func(text string) (pulumi.StringOutput, error) {
			issued, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return pulumi.StringOutput{}, fmt.Errorf("read date of word %s: %w", s.word, err)
			}
			return s.form(func(seed []byte) (string, error) {
				made, err := NewCertificate(seed, commonName+args.System, args.TLSAddresses, issued)
				return pick(made), err
			}), nil
		}).(pulumi.StringOutput)
	}
	p.TLSCertificate = part(seeds[0], func(c Certificate) string { return c.Cert })
	p.TLSKey = part(seeds[0], func(c Certificate) string { return c.Key })
	for _, s := range seeds {
		ca := part(s, func(c Certificate) string { return c.CA })
		p.CAs = append(p.CAs, pulumi.Unsecret(ca).(pulumi.StringOutput))
	}
}
