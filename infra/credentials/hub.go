package credentials

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// HubArgs say whose credentials a Hub holds and how often each was made anew.
type HubArgs struct {
	// Name is the hub's name at its outposts; it is the comment of the SSH key.
	Name string
	// Rotation has the words of each secret; the zero value is the first word of each.
	Rotation HubRotation
	// KeepData says that the hub's database outlives mistakes: then the auth state keys, which open a part of it, do too.
	KeepData bool
}

// HubRotation has the words of each of a hub's secrets.
type HubRotation struct {
	SSHKey       Words // the key pair for tunnels; all words are accepted by outposts, the first is used
	CookieSecret Words // only the first is used; a new one logs everybody out
	ProxyToken   Words // between hub and proxy; only the first is used
	AuthStateKey Words // seals what the authenticator keeps of a user; the first seals, all open
	Login        Words // password of the default authenticator; only the first is used
	VerifyToken  Words // what `make verify` asks the hub with; only the first is used
}

// Validate refuses empty and repeated words, each by the name the operator typed after prefix.
func (r HubRotation) Validate(prefix string) []error {
	return validateWords(prefix, []named{
		{"sshKey", r.SSHKey},
		{"cookieSecret", r.CookieSecret},
		{"proxyToken", r.ProxyToken},
		{"authStateKey", r.AuthStateKey},
		{"login", r.Login},
		{"verifyToken", r.VerifyToken},
	})
}

// Hub is the credentials of one hub. Everything but SSHPublicKeys is secret.
type Hub struct {
	pulumi.ResourceState

	SSHPrivateKey pulumi.StringOutput // OpenSSH PEM of the key in use
	SSHPublicKeys pulumi.StringArray  // authorized_keys lines, the one in use first
	CookieSecret  pulumi.StringOutput // 64 hex digits
	ProxyToken    pulumi.StringOutput // 64 hex digits
	AuthStateKeys pulumi.StringArray  // 64 hex digits each
	SealsWith     string              // word of the first auth state key
	LoginPassword pulumi.StringOutput
	VerifyToken   pulumi.StringOutput // 64 hex digits
}

// NewHub makes the credentials of a hub.
func NewHub(ctx *pulumi.Context, name string, args HubArgs, opts ...pulumi.ResourceOption) (*Hub, error) {
	if args.Name == "" {
		return nil, fmt.Errorf("credentials %s: Name is empty", name)
	}
	hub := &Hub{}
	if err := ctx.RegisterComponentResource("outposts:credentials:Hub", name, hub, opts...); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	var failed error
	seeds := func(role string, words Words) []seed {
		made, err := makeSeeds(ctx, hub, name+"-"+role, words)
		if err != nil {
			failed = fmt.Errorf("credentials %s: %w", name, err)
			return []seed{{}}
		}
		return made
	}
	sshKeys := seeds("ssh-key", args.Rotation.SSHKey)
	cookie := seeds("cookie-secret", args.Rotation.CookieSecret)
	proxy := seeds("proxy-token", args.Rotation.ProxyToken)
	login := seeds("login", args.Rotation.Login)
	verify := seeds("verify-token", args.Rotation.VerifyToken)
	if failed != nil {
		return nil, failed
	}
	authState, err := makeKeptSeeds(ctx, hub, name+AuthStateKeySeeds, args.Rotation.AuthStateKey, args.KeepData)
	if err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	hub.SSHPrivateKey = sshKeys[0].form(sshPrivate(args.Name))
	for _, s := range sshKeys {
		hub.SSHPublicKeys = append(hub.SSHPublicKeys, s.public(sshPublic(args.Name)))
	}
	hub.CookieSecret = cookie[0].form(certain(Hex))
	hub.ProxyToken = proxy[0].form(certain(Hex))
	hub.AuthStateKeys, hub.SealsWith = forms(authState, certain(Hex)), authState[0].word
	hub.LoginPassword = login[0].form(certain(Password))
	hub.VerifyToken = verify[0].form(certain(Hex))
	return hub, ctx.RegisterResourceOutputs(hub, pulumi.Map{"sshPublicKeys": hub.SSHPublicKeys, SealsWith: pulumi.String(hub.SealsWith)})
}

func sshPrivate(comment string) func([]byte) (string, error) {
	return func(seed []byte) (string, error) {
		key, err := NewSSHKey(seed, comment)
		if err != nil {
			return "", err
		}
		return key.PrivatePEM(), nil
	}
}

func sshPublic(comment string) func([]byte) (string, error) {
	return func(seed []byte) (string, error) {
		key, err := NewSSHKey(seed, comment)
		if err != nil {
			return "", err
		}
		return key.AuthorizedKey(), nil
	}
}

// named is the words of one secret under the name the operator typed.
type named struct {
	name  string
	words Words
}

func validateWords(prefix string, all []named) []error {
	var errs []error
	for _, n := range all {
		if err := n.words.Validate(prefix + "." + n.name); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
