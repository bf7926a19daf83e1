package credentials

import (
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/infratest"
)

// TestNewRefuses: each component says what is missing, and nothing is registered.
func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		make       func(*pulumi.Context) error
	}{
		{"hub without a name", "credentials hub: Name is empty", func(ctx *pulumi.Context) error {
			_, err := NewHub(ctx, "hub", HubArgs{})
			return err
		}},
		{"pair without a system", "credentials pair: System is empty", func(ctx *pulumi.Context) error {
			_, err := NewPair(ctx, "pair", PairArgs{})
			return err
		}},
		{"certificate without a date", "credentials pair: Now is missing", func(ctx *pulumi.Context) error {
			_, err := NewPair(ctx, "pair", PairArgs{System: "a", TLSAddresses: []string{"10.0.0.1"}})
			return err
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &infratest.Recorder{}
			var got error
			if err := r.Run("test", func(ctx *pulumi.Context) error {
				got = tt.make(ctx)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if got == nil || got.Error() != tt.want {
				t.Errorf("error %v, want %s", got, tt.want)
			}
			if list := r.List(); list != "" {
				t.Errorf("registered:\n%s", list)
			}
		})
	}
}
