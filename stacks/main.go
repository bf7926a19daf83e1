// Command stacks is the Pulumi program: `pulumi up` runs it for one stack. A stack with a hub is a local stack, one
// with an outpost alone is a remote stack; both are described by config.schema.json and checked before anything is
// registered.
//
// With arguments it is for people instead: `stacks keys` (see writeKeys) and `stacks rights` (see writeRights).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pulumi/pulumi-random/sdk/v4/go/random"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/cluster"
	"github.com/outposts-dev/outposts/infra/release"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "keys":
		err = writeKeys(os.Stdin, os.Stdout)
	case len(os.Args) == 4 && os.Args[1] == "rights":
		err = writeRights(os.Args[2], os.Args[3], os.Stdout)
	default:
		pulumi.Run(run(realWorld()))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// world is what a program learns from outside Pulumi.
type world struct {
	// config has the stack's config by full key, secretKeys those with something secret in them.
	config     map[string]string
	secretKeys []string
	// stackFile returns the text of a stack's file in the project's folder, which marks secret values; nil for none.
	stackFile func(folder, stack string) []byte
	now       time.Time
	// open looks at a cluster.
	open func(cluster.Access) (clusterAPI, error)
	// patience is for what the cluster's controllers say in the end.
	patience patience
	// exported, if set, sees the outputs of the stack.
	exported func(*pulumi.Context, pulumi.Map)
}

// realWorld reads what Pulumi hands over in the environment. The SDK's own access to config knows no way to list keys,
// without which a mistyped one would go unnoticed.
func realWorld() world {
	w := world{now: time.Now(), patience: usualPatience, open: func(access cluster.Access) (clusterAPI, error) {
		return cluster.Open(access)
	}, stackFile: func(folder, stack string) []byte {
		text, _ := os.ReadFile(filepath.Join(folder, "Pulumi."+stack+".yaml")) // the config may come from elsewhere
		return text
	}}
	_ = json.Unmarshal([]byte(os.Getenv(pulumi.EnvConfig)), &w.config)               // absent outside Pulumi, where
	_ = json.Unmarshal([]byte(os.Getenv(pulumi.EnvConfigSecretKeys)), &w.secretKeys) // Run says so itself
	return w
}

// load reads the config, and warns of what is allowed in it but not recommended.
func (w world) load(ctx *pulumi.Context) (Config, error) {
	marks, unplaced := secretMarks(w.config, w.secretKeys, w.stackFile(ctx.RootDirectory(), ctx.Stack()))
	c, err := LoadConfig(w.config, ctx.RootDirectory())
	if err := errors.Join(refuseMarks(marks), err); err != nil {
		return Config{}, err
	}
	if c.Hub != nil {
		c.Hub.SecretValues = slices.Contains(w.secretKeys, project+":hub")
	}
	return c, warn(ctx, slices.Concat(warnings(c, w.secretKeys), warnUnplaced(unplaced, ctx.Stack())))
}

// run makes the program of a world.
func run(w world) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		c, err := w.load(ctx)
		if err != nil {
			return err
		}
		access, err := c.Cluster.access(ctx)
		if err != nil {
			return fmt.Errorf("%s:cluster.%w", project, err)
		}
		access.Secret = slices.Contains(w.secretKeys, project+":cluster")
		api, err := w.open(access)
		if err != nil {
			return fmt.Errorf("%s:cluster.%w", project, err)
		}
		before, err := readState(ctx)
		if err != nil {
			return err
		}
		uid, err := c.identify(context.Background(), api, before)
		if err == nil {
			err = c.settleServers(context.Background(), api, before)
		}
		if err != nil {
			return err
		}
		homeless, err := c.settleHomes(context.Background(), api, before)
		if err != nil {
			return err
		}
		if err := warn(ctx, slices.Concat(c.warnOfLoss(before), c.warnOfMove(before), homeless)); err != nil {
			return err
		}
		told, unread := readSystems(ctx, c)
		shown, contrary := c.shown(told)
		warned, err := preflight(context.Background(), c, api, before, shown)
		said := warn(ctx, append(warned, c.declaredElsewhere(told)...))
		if err := errors.Join(unread, contrary, err, said); err != nil {
			return err
		}
		adopted, err := c.adoptions(context.Background(), api, before)
		if err := errors.Join(err, warn(ctx, adopted)); err != nil {
			return err
		}
		at, err := c.target(context.Background(), api, before)
		if err != nil {
			return err
		}
		at.Access, at.Identity = access, uid
		b, err := newBuilder(ctx, c, w.now, at, before)
		if err != nil {
			return err
		}
		b.ready = rolledOut(api, w.patience)
		if err := b.install(told, shown); err != nil {
			return err
		}
		reached := b.reach(context.Background(), api, w.patience, shown) // the outputs hold in any case
		b.export(w.exported)
		return reached
	}
}

// warn logs warnings.
func warn(ctx *pulumi.Context, texts []string) error {
	for _, text := range texts {
		if err := ctx.Log.Warn(text, nil); err != nil {
			return err
		}
	}
	return nil
}

// builder makes the resources of a stack.
type builder struct {
	ctx        *pulumi.Context
	config     Config
	now        time.Time
	clusterUID string // see cluster.Args.Identity
	policy     pulumi.ResourceOption
	cluster    *cluster.Cluster
	random     *random.Provider
	outputs    pulumi.Map
	before     state
	// installed are outputs that are known once hub and outpost are ready, for whose pods ready waits.
	installed []pulumi.Output
	ready     release.Ready
	// When the first keys of hub and outpost were made, RFC 3339.
	hubMadeAt, outpostMadeAt string
}

// newBuilder makes what every stack has: the providers and the namespaces.
func newBuilder(ctx *pulumi.Context, c Config, now time.Time, at cluster.Args, before state) (*builder, error) {
	b := &builder{
		ctx: ctx, config: c, now: now, clusterUID: at.Identity, outputs: pulumi.Map{}, before: before,
		hubMadeAt: before.hubSealing.firstMade(now), outpostMadeAt: before.outpostSealing.firstMade(now),
		policy: pulumi.Transforms([]pulumi.ResourceTransform{policy(c, before.fieldManager())}),
	}
	var err error
	if b.random, err = random.NewProvider(ctx, "random", &random.ProviderArgs{}); err != nil {
		return nil, err
	}
	b.cluster, err = cluster.New(ctx, "cluster", at, b.policy)
	return b, err
}

// export makes the stack's outputs; seen, if set, sees them.
func (b *builder) export(seen func(*pulumi.Context, pulumi.Map)) {
	for name, value := range b.outputs {
		b.ctx.Export(name, value)
	}
	if seen != nil {
		seen(b.ctx, b.outputs)
	}
}

// install makes a hub with what it shares with its outposts, or an outpost alone.
func (b *builder) install(told []*systemOutput, shown outpostIdentity) error {
	if b.config.Hub != nil {
		return b.local()
	}
	return b.remote(told, shown)
}

// inCluster are the options of a component whose objects live in the cluster, in some of its namespaces.
func (b *builder) inCluster(namespaces ...string) []pulumi.ResourceOption {
	var needed []pulumi.Resource
	for _, name := range namespaces {
		if made := b.cluster.Namespaces[name]; made != nil {
			needed = append(needed, made)
		}
	}
	return []pulumi.ResourceOption{pulumi.Providers(b.cluster.Provider), pulumi.DependsOn(needed), b.policy}
}
