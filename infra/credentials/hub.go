package credentials

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/component"
)

// HubType is the type of the component Hub, FormerHubType that of one that an earlier version made.
const (
	HubType       = "outposts:index:HubCredentials"
	FormerHubType = "outposts:credentials:Hub"
)

// HubArgs say whose credentials a Hub holds and how often each was made anew.
type HubArgs struct {
	// Name is the hub's name at its outposts; it is the comment of the SSH key.
	Name string
	// Rotation has the words of each secret; the zero value is the first word of each.
	Rotation HubRotation
	// KeepData protects the auth state keys, which open a part of the hub's database, along with it.
	KeepData bool
	// MadeAt is when the first of them were made, RFC 3339; empty if that was not recorded.
	MadeAt string
}

// HubRotation has the words of each of a hub's secrets.
type HubRotation struct {
	SSHKey       Words `json:"sshKey"`       // key pair for tunnels; outposts accept all words, the first is used
	CookieSecret Words `json:"cookieSecret"` // only the first is used; a new one logs everybody out
	ProxyToken   Words `json:"proxyToken"`   // between hub and proxy; only the first is used
	AuthStateKey Words `json:"authStateKey"` // seals what the authenticator keeps of a user; the first seals, all open
	Login        Words `json:"login"`        // password of the default authenticator; only the first is used
	VerifyToken  Words `json:"verifyToken"`  // what `make verify` asks the hub with; only the first is used
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
	VerifyWord    string              // word of VerifyToken

	// Version is another text for other secrets of those that the hub reads only when it starts, ProxyVersion of those
	// of its proxy. They say nothing of the secrets.
	Version, ProxyVersion string
}

// NewHub makes the credentials of a hub.
func NewHub(ctx *pulumi.Context, name string, args HubArgs, opts ...pulumi.ResourceOption) (*Hub, error) {
	if args.Name == "" {
		return nil, fmt.Errorf("credentials %s: Name is empty", name)
	}
	hub := &Hub{}
	if err := component.Register(ctx, HubType, FormerHubType, name, hub, opts...); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	s := seeder{ctx: ctx, component: hub, name: name}
	sshKeys := s.seeds("-ssh-key", args.Rotation.SSHKey, seedOptions{})
	cookie := s.seeds("-cookie-secret", args.Rotation.CookieSecret, seedOptions{})
	proxy := s.seeds("-proxy-token", args.Rotation.ProxyToken, seedOptions{})
	login := s.seeds("-login", args.Rotation.Login, seedOptions{})
	verify := s.seeds("-verify-token", args.Rotation.VerifyToken, seedOptions{})
	authState := s.seeds(AuthStateKeySeeds, args.Rotation.AuthStateKey, seedOptions{keep: args.KeepData})
	if s.err != nil {
		return nil, s.err
	}
	hub.SSHPrivateKey = sshKeys[0].form(sshForm(args.Name, SSHKey.PrivatePEM))
	for _, key := range sshKeys {
		hub.SSHPublicKeys = append(hub.SSHPublicKeys, key.public(sshForm(args.Name, SSHKey.AuthorizedKey)))
	}
	hub.CookieSecret = cookie[0].form(certain(Hex))
	hub.ProxyToken = proxy[0].form(certain(Hex))
	hub.AuthStateKeys, hub.SealsWith = forms(authState, certain(Hex)), authState[0].word
	hub.LoginPassword = login[0].form(certain(Password))
	hub.VerifyToken, hub.VerifyWord = verify[0].form(certain(Hex)), verify[0].word
	r := args.Rotation
	hub.Version = version(args.MadeAt, map[string]Words{
		"cookieSecret": r.CookieSecret, "proxyToken": r.ProxyToken, "authStateKey": r.AuthStateKey,
		"login": r.Login, "verifyToken": r.VerifyToken,
	})
	hub.ProxyVersion = version(args.MadeAt, map[string]Words{"proxyToken": r.ProxyToken})
	return hub, ctx.RegisterResourceOutputs(hub, pulumi.Map{
		"sshPublicKeys": hub.SSHPublicKeys, SealsWith: pulumi.String(hub.SealsWith), MadeAt: pulumi.String(args.MadeAt),
	})
}
