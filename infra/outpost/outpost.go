// Package outpost installs one outpost: its namespace's Secrets and our chart.
package outpost

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	helmv4 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/charts"
	"github.com/outposts-dev/outposts/infra/component"
	"github.com/outposts-dev/outposts/infra/release"
	"github.com/outposts-dev/outposts/infra/schema"
)

// Release is the name of the chart's release and so of the Services: the published address is
// http://outpost.outpost.svc:8080.
const Release = "outpost"

// SSHService is the Service of the outpost's SSH, and the TCPRoute to it, as the chart names them.
const SSHService = Release + "-ssh"

// DatabaseClaim is the volume claim of the outpost's database, as the chart names it.
const DatabaseClaim = Release + "-data"

// Type is the type of the component Outpost, FormerType that of one that an earlier version made.
const (
	Type       = "outposts:index:Outpost"
	FormerType = "outposts:outpost:Outpost"
)

// HubsAnnotation is on the Secret with the logins and holds the names of the hubs, separated by ";". They are not
// secret, and the next run must know whose servers may be running in the Secret's namespace.
const HubsAnnotation = "outposts.dev/hubs"

// Names of the Secrets that the chart is given, as published.
const (
	usersSecret    = "outpost-users"     // usernames, passwords
	CryptSecret    = "outpost-cryptkey"  // secret_key
	hostKeysSecret = "outpost-host-keys" // ssh_host_ed25519_key
	tlsSecret      = "outpost-tls"       // tls.crt, tls.key
)

// authorizedKeysConfigMap is the ConfigMap that the chart is given: <hub>, lines of authorized_keys.
const authorizedKeysConfigMap = "outpost-authorized-keys"

// Args describe an outpost and the hubs that may use it.
type Args struct {
	// Chart is the path of our chart.
	Chart string
	// Namespace must exist; the outpost lives in it.
	Namespace string
	// Servers is the namespace of the servers that it starts, which must exist; empty for that of the outpost.
	Servers string
	// Exposure is how hubs outside the cluster reach it.
	Exposure Exposure
	// DialOut are the URLs of hubs' tunnels that it connects to, in place of being reached.
	DialOut []string
	// Address is what it is reached at; the host of an Ingress.
	Address string
	// Hubs are those that may use it, at least one.
	Hubs []Hub
	// CryptKeys are the Fernet keys of the database: the first seals, all open.
	CryptKeys pulumi.StringArray
	// SealsWith is the word of the first of them.
	SealsWith string
	// KeysVersion is another text for other CryptKeys, and says nothing of them: an outpost reads them when it starts,
	// and starts again for another text. All other secrets are files that it reads again.
	KeysVersion string
	// HostKey is the SSH host key, OpenSSH PEM.
	HostKey pulumi.StringInput
	// TLS is the certificate of the API; needed if Exposure.OwnCertificate.
	TLS *TLS
	// Settings are what the operator chose.
	Settings Settings
	// Ready waits for the outpost's pods.
	Ready release.Ready
}

// Hub is a hub that may use the outpost.
type Hub struct {
	// Name is its Basic-auth user.
	Name string
	// Namespace is where the hub lives, if it is in the same cluster; then network policies let it in.
	Namespace string
	// APIURL is where the outpost and its servers reach the hub's API: ".../hub/api". Empty for a hub that is never
	// called.
	APIURL string
	// Password is its Basic-auth password.
	Password pulumi.StringInput
	// SSHPublicKeys are lines of authorized_keys, all accepted.
	SSHPublicKeys pulumi.StringArray
}

// TLS is a certificate chain and its key, PEM.
type TLS struct{ Certificate, Key pulumi.StringInput }

// Outpost is an installed outpost.
type Outpost struct {
	pulumi.ResourceState

	// SealedBy is Args.SealsWith, known once an outpost that has it is ready: it seals all rows anew before that. Until
	// then, and after a run that was killed or has failed, the stack's state has the word from before.
	SealedBy pulumi.StringOutput
}

// New installs an outpost. Its values are checked against the chart's schema before anything is registered.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Outpost, error) {
	if err := args.Settings.makePlain(); err != nil {
		return nil, fmt.Errorf("outpost %s: %w", name, err)
	}
	if err := args.validate(); err != nil {
		return nil, fmt.Errorf("outpost %s: %w", name, err)
	}
	o := &Outpost{}
	if err := component.Register(ctx, Type, FormerType, name, o, opts...); err != nil {
		return nil, fmt.Errorf("outpost %s: %w", name, err)
	}
	keys, err := args.newAuthorizedKeys(ctx, name, o)
	if err != nil {
		return nil, fmt.Errorf("outpost %s: %w", name, err)
	}
	o.SealedBy, err = release.Install(ctx, name, o, release.Args{
		Chart: &helmv4.ChartArgs{
			Name:      pulumi.String(Release),
			Namespace: pulumi.String(args.Namespace),
			Chart:     pulumi.String(args.Chart),
		},
		Values: args.values(), Secrets: args.secrets(), DependsOn: []pulumi.Resource{keys}, SealsWith: args.SealsWith,
		Deployments: []string{Release}, Ready: args.Ready,
	})
	if err != nil {
		return nil, fmt.Errorf("outpost %s: %w", name, err)
	}
	return o, nil
}

// newAuthorizedKeys makes the ConfigMap with the public keys of each hub.
func (a Args) newAuthorizedKeys(ctx *pulumi.Context, name string, parent pulumi.Resource) (pulumi.Resource, error) {
	lines := pulumi.StringMap{}
	for _, hub := range a.Hubs {
		lines[hub.Name] = joined(hub.SSHPublicKeys, "\n")
	}
	made, err := corev1.NewConfigMap(ctx, name+"-authorized-keys", &corev1.ConfigMapArgs{
		Metadata: &metav1.ObjectMetaArgs{
			Name: pulumi.String(authorizedKeysConfigMap), Namespace: pulumi.String(a.Namespace),
		},
		Data: lines,
	}, pulumi.Parent(parent))
	if err != nil {
		return nil, fmt.Errorf("config map %s: %w", authorizedKeysConfigMap, err)
	}
	return made, nil
}

// secrets are what the chart refers to by name.
func (a Args) secrets() []release.Secret {
	var names []string
	var passwords pulumi.StringArray
	for _, hub := range a.Hubs {
		names = append(names, hub.Name)
		passwords = append(passwords, hub.Password)
	}
	usernames, opaque := pulumi.String(strings.Join(names, ";")), pulumi.String("Opaque")
	secrets := []release.Secret{
		{
			Name: usersSecret, Role: "users", Type: opaque, Annotations: pulumi.StringMap{HubsAnnotation: usernames},
			Data: pulumi.StringMap{"usernames": usernames, "passwords": joined(passwords, ";")},
		},
		{
			Name: CryptSecret, Role: "cryptkey", Type: opaque,
			Data: pulumi.StringMap{"secret_key": joined(a.CryptKeys, " ")},
		},
		{
			Name: hostKeysSecret, Role: "host-keys", Type: opaque,
			Data: pulumi.StringMap{"ssh_host_ed25519_key": a.HostKey},
		},
	}
	if a.TLS != nil {
		secrets = append(secrets, release.Secret{
			Name: tlsSecret, Role: "tls", Type: pulumi.String("kubernetes.io/tls"),
			Data: pulumi.StringMap{"tls.crt": a.TLS.Certificate, "tls.key": a.TLS.Key},
		})
	}
	return secrets
}

// joined joins strings that may not be known yet.
func joined(parts pulumi.StringArray, separator string) pulumi.StringOutput {
	return parts.ToStringArrayOutput().ApplyT(func(parts []string) string {
		return strings.Join(parts, separator)
	}).(pulumi.StringOutput)
}

// userName is what the chart accepts as a Basic-auth user; ':' and ';' would end it in the list of users.
var userName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func (a Args) validate() error {
	var errs []error
	require := func(what string, given bool) {
		if !given {
			errs = append(errs, errors.New(what+" is missing"))
		}
	}
	require("Chart", a.Chart != "")
	require("Namespace", a.Namespace != "")
	require("Hubs", len(a.Hubs) > 0)
	require("CryptKeys", len(a.CryptKeys) > 0)
	require("HostKey", a.HostKey != nil)
	require("TLS", a.TLS != nil || !a.Exposure.OwnCertificate())
	seen := map[string]bool{}
	for _, hub := range a.Hubs {
		if !userName.MatchString(hub.Name) {
			errs = append(errs, fmt.Errorf("hub %q: want letters, digits, '.', '_' and '-'", hub.Name))
		}
		require("Password of hub "+hub.Name, hub.Password != nil)
		if seen[hub.Name] {
			errs = append(errs, fmt.Errorf("hub %s is listed twice", hub.Name))
		}
		seen[hub.Name] = true
	}
	for _, fault := range a.Exposure.Validate(a.Address) {
		errs = append(errs, fault.Below("Exposure"))
	}
	for _, fault := range a.CheckValues() {
		errs = append(errs, fault)
	}
	return errors.Join(errs...)
}

var chartSchema = schema.Parse(charts.OutpostSchema)

// CheckValues checks the values of the chart against the chart's schema, the files among them as the outpost itself
// will, and the operator's for what has no effect or contradicts a setting. It needs no secrets in Args. Faults are
// named by the setting that they come from: "config.hubs.a", "values.replicas".
func (a Args) CheckValues() []schema.Fault {
	made := a.values()
	required := a.required()
	faults := unused.Faults(a.Settings.Values, required, made)
	faults = slices.Concat(faults, a.checkFiles(made), contradicted(faults, required, made, a.Namespace))
	of := map[string]int{} // places by the key
	for i, fault := range faults {
		of[fault.Key()] = i
	}
	for _, fault := range chartSchema.CheckValues(made) {
		switch i, also := of[fault.Key()]; {
		case !also:
			faults = append(faults, fault)
		case fault.Missing():
			faults[i] = fault
		} // else the outpost says it in better words
	}
	for i, fault := range faults {
		if reaches(a.Settings.Values, fault) {
			faults[i] = fault.Below("values")
		} else if !reaches(map[string]any{"config": a.Settings.Config}, fault) {
			faults[i] = a.ofHomes(fault)
		}
	}
	slices.SortStableFunc(faults, func(a, b schema.Fault) int { return strings.Compare(a.Error(), b.Error()) })
	return faults
}

// reaches reports whether the place of a fault is in a document; a list is there as a whole.
func reaches(document map[string]any, fault schema.Fault) bool {
	path := fault.Path
	if fault.Missing() && len(path) > 0 {
		path = path[:len(path)-1]
	}
	var here any = document
	for _, key := range path {
		inner, isMap := here.(map[string]any)
		if !isMap {
			return true
		}
		if _, there := inner[key]; !there {
			return false
		}
		here = inner[key]
	}
	return len(path) > 0
}
