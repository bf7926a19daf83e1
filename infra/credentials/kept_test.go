package credentials

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestKeysAreKept holds that every listed key of kept data outlives a destroy of what is not protected: the first is
// protected, the others are what it depends on. Protected themselves, they could never be taken away.
func TestKeysAreKept(t *testing.T) {
	type seed struct {
		Protected bool
		DependsOn []string
	}
	made := func(keep bool) map[string]seed {
		r := &infratest.Recorder{}
		err := r.Run("test", func(ctx *pulumi.Context) error {
			_, err := NewStore(ctx, "outpost", StoreArgs{CryptKey: Words{"3", "2", "1"}, KeepData: keep})
			if err != nil {
				return err
			}
			rotation := HubRotation{AuthStateKey: Words{"2", "1"}}
			_, err = NewHub(ctx, "hub", HubArgs{Name: "h", Rotation: rotation, KeepData: keep})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		seeds := map[string]seed{}
		for _, name := range []string{
			"outpost-crypt-key-1", "outpost-crypt-key-2", "outpost-crypt-key-3",
			"hub-auth-state-key-1", "hub-auth-state-key-2",
		} {
			found := r.Find(t, "random:index/randomBytes:RandomBytes", name)
			seeds[name] = seed{found.Protected, found.DependsOn}
		}
		return seeds
	}
	want := map[string]seed{
		"outpost-crypt-key-3":  {true, []string{"outpost-crypt-key-1", "outpost-crypt-key-2"}},
		"outpost-crypt-key-2":  {},
		"outpost-crypt-key-1":  {},
		"hub-auth-state-key-2": {true, []string{"hub-auth-state-key-1"}},
		"hub-auth-state-key-1": {},
	}
	if diff := cmp.Diff(want, made(true)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	for name, seed := range made(false) {
		if seed.Protected || seed.DependsOn != nil {
			t.Errorf("%s is kept though the data may go: %+v", name, seed)
		}
	}
}
