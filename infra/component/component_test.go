package component

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// monitor records the types that resources had before.
type monitor struct{ former map[string][]string }

func (m monitor) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	for _, alias := range args.RegisterRPC.GetAliases() {
		id := args.TypeToken + " " + args.Name
		m.former[id] = append(m.former[id], alias.GetSpec().GetType()+" "+alias.GetSpec().GetName())
	}
	return "", args.Inputs, nil
}

func (monitor) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

// TestRegister holds that a component takes over the one of the type before, first of all, and that options are kept.
func TestRegister(t *testing.T) {
	m := monitor{map[string][]string{}}
	err := pulumi.RunErr(func(ctx *pulumi.Context) error {
		var made struct{ pulumi.ResourceState }
		renamed := pulumi.Aliases([]pulumi.Alias{{Name: pulumi.String("old")}})
		return Register(ctx, "outposts:index:Thing", "outposts:thing:Thing", "new", &made, renamed)
	}, pulumi.WithMocks("project", "stack", m))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"outposts:index:Thing new": {"outposts:thing:Thing ", " old"}}
	if diff := cmp.Diff(want, m.former); diff != "" {
		t.Errorf("what it was before (-want +got):\n%s", diff)
	}
}
