package hub

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Credentials are the hub's own secrets.
type Credentials struct {
	SSHPrivateKey pulumi.StringInput
	CookieSecret  pulumi.StringInput
	ProxyToken    pulumi.StringInput
	AuthStateKeys pulumi.StringArray
	SealsWith     string // word of the first auth state key
	LoginPassword pulumi.StringInput
	VerifyToken   pulumi.StringInput
	VerifyWord    string // another for another VerifyToken

	// Version is another text for other secrets of those that the hub reads only when it starts, which is all but
	// SSHPrivateKey; ProxyVersion for another ProxyToken, which its proxy reads too. They say nothing of the secrets.
	// Hub and proxy start again for another text.
	Version, ProxyVersion string
}

// Placeholders stand for secrets in the values of the chart, so that the values are known before the secrets are: a
// chart with a value that is not known yet shows none of its objects in a preview, which plans to delete them. The
// chart keeps these values in Secrets alone (takesSecrets), which are filled as they are registered. No placeholder is
// a cookie secret or a key that JupyterHub starts with, and YAML needs quotes around each.
const (
	cookieSecretPlaceholder  = "@cookieSecret@"
	proxyTokenPlaceholder    = "@proxyToken@"
	loginPasswordPlaceholder = "@loginPassword@"
	verifyTokenPlaceholder   = "@verifyToken@"
)

const (
	secretType     = "kubernetes:core/v1:Secret"
	deploymentType = "kubernetes:apps/v1:Deployment"
)

func authStateKeyPlaceholder(i int) string { return fmt.Sprintf("@authStateKey%d@", i) }

// byPlaceholder has each secret of the values of the chart.
func (c Credentials) byPlaceholder() map[string]pulumi.StringInput {
	all := map[string]pulumi.StringInput{
		cookieSecretPlaceholder: c.CookieSecret, proxyTokenPlaceholder: c.ProxyToken,
		loginPasswordPlaceholder: c.LoginPassword, verifyTokenPlaceholder: c.VerifyToken,
	}
	for i, key := range c.AuthStateKeys {
		all[authStateKeyPlaceholder(i)] = key
	}
	return all
}

// afterSecrets is the transform of every Deployment of JupyterHub's chart: it waits until the chart's Secret, which is
// registered beside it and waits for our chart (afterSide), has been applied. Pods that started before that would keep
// the old secrets, the proxy others than the hub. A preview has nothing to wait for.
func afterSecrets(p *pulumi.Context, name, namespace string, side func() pulumi.Resource) pulumi.ResourceTransform {
	return func(ctx context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		ofChart := strings.HasPrefix(args.Name, name+":") // our own has no such Secret
		if p.DryRun() || args.Type != deploymentType || !ofChart {
			return nil
		}
		secret := pulumi.All(args.Opts.Parent.URN(), side().URN()).ApplyT(func(both []any) (string, error) {
			chart, _ := both[0].(pulumi.URN)
			parts := strings.SplitN(string(chart), "::", 4)
			if len(parts) != 4 {
				return "", fmt.Errorf("%q is not the URN of a chart", chart)
			}
			urn := strings.Join([]string{
				parts[0], parts[1], parts[2] + "$" + secretType, name + ":" + namespace + "/" + KeysSecret,
			}, "::")
			return urn, applied(ctx, p, urn)
		})
		return after(args, secret)
	}
}

// after lets a Deployment, a NetworkPolicy or a Secret wait for something else. Its metadata stays as it is: transforms
// of the stack read it.
func after(args *pulumi.ResourceTransformArgs, done pulumi.Output) *pulumi.ResourceTransformResult {
	props := maps.Clone(args.Props)
	for _, field := range []string{"spec", "data", "stringData"} {
		if held, there := props[field]; there {
			props[field] = pulumi.All(held, done).ApplyT(func(both []any) any { return both[0] })
		}
	}
	return &pulumi.ResourceTransformResult{Props: props, Opts: args.Opts}
}

// applied waits until the engine has applied a resource. It asks as the SDK does for a reference to one.
func applied(ctx context.Context, p *pulumi.Context, urn string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		var found struct {
			URN string `pulumi:"urn"`
		}
		err := p.Invoke("pulumi:pulumi:getResource", &struct {
			URN string `pulumi:"urn"`
		}{urn}, &found)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", urn, ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// fill is the transform of every object of the hub: in Secrets, it puts the secrets in the place of their placeholders.
func (c Credentials) fill(_ context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
	if args.Type != secretType {
		return nil
	}
	props := maps.Clone(args.Props)
	for field, encoded := range map[string]bool{"data": true, "stringData": false} {
		if data, there := props[field]; there {
			props[field] = pulumi.ToSecret(pulumi.ToOutput(data).ApplyT(func(data any) (pulumi.MapOutput, error) {
				texts, isMap := data.(map[string]any)
				if !isMap {
					return pulumi.MapOutput{}, fmt.Errorf("%s of Secret %s is not a map", field, args.Name)
				}
				return c.filled(texts, encoded), nil
			}))
		}
	}
	return &pulumi.ResourceTransformResult{Props: props, Opts: args.Opts}
}

// filled is the data of a Secret with the secrets in the place of their placeholders; those that it has no placeholder
// of need not be known.
func (c Credentials) filled(data map[string]any, encoded bool) pulumi.MapOutput {
	made := pulumi.Map{}
	for key, value := range data {
		made[key] = pulumi.ToOutput(value)
		if text, isText := value.(string); isText {
			made[key] = c.filledText(text, encoded)
		}
	}
	return made.ToMapOutput()
}

func (c Credentials) filledText(text string, encoded bool) pulumi.StringInput {
	plain := text
	if encoded {
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return pulumi.String(text) // the API says so
		}
		plain = string(decoded)
	}
	var pairs []any
	for placeholder, secret := range c.byPlaceholder() {
		if strings.Contains(plain, placeholder) {
			pairs = append(pairs, placeholder, secret)
		}
	}
	if len(pairs) == 0 {
		return pulumi.String(text)
	}
	return pulumi.All(pairs...).ApplyT(func(pairs []any) string {
		oldnew := make([]string, len(pairs))
		for i, text := range pairs {
			oldnew[i], _ = text.(string)
		}
		plain := strings.NewReplacer(oldnew...).Replace(plain)
		if encoded {
			return base64.StdEncoding.EncodeToString([]byte(plain))
		}
		return plain
	}).(pulumi.StringOutput)
}
