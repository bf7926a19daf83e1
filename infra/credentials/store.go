package credentials

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/component"
)

// StoreType is the type of the component Store, FormerStoreType that of one that an earlier version made.
const (
	StoreType       = "outposts:index:StoreCredentials"
	FormerStoreType = "outposts:credentials:Store"
)

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
	// KeepData protects the keys along with the database.
	KeepData bool
	// MadeAt is when the first of them were made, RFC 3339; empty if that was not recorded.
	MadeAt string
}

// Store is the keys that an outpost seals its database with. All are secret.
type Store struct {
	pulumi.ResourceState

	CryptKeys pulumi.StringArray // Fernet keys, the one that seals first
	SealsWith string             // word of the first
	Version   string             // another text for other keys, which says nothing of them
}

// NewStore makes the keys of an outpost's database. They are kept as long as the database: without them it cannot be
// opened.
func NewStore(ctx *pulumi.Context, name string, args StoreArgs, opts ...pulumi.ResourceOption) (*Store, error) {
	store := &Store{}
	if err := component.Register(ctx, StoreType, FormerStoreType, name, store, opts...); err != nil {
		return nil, fmt.Errorf("credentials %s: %w", name, err)
	}
	s := seeder{ctx: ctx, component: store, name: name}
	seeds := s.seeds(CryptKeySeeds, args.CryptKey, seedOptions{keep: args.KeepData})
	if s.err != nil {
		return nil, s.err
	}
	store.CryptKeys, store.SealsWith = forms(seeds, certain(FernetKey)), seeds[0].word
	store.Version = version(args.MadeAt, map[string]Words{"cryptKey": args.CryptKey})
	return store, ctx.RegisterResourceOutputs(store, pulumi.Map{
		SealsWith: pulumi.String(store.SealsWith), MadeAt: pulumi.String(args.MadeAt),
	})
}
