// Package hub installs JupyterHub: the zero-to-jupyterhub chart, and beside it our own with the hub's side of every
// outpost.
package hub

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	corev1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/core/v1"
	metav1 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/meta/v1"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/component"
	"github.com/outposts-dev/outposts/infra/release"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

const (
	// Release is the name of the chart's release, unless Args.Release names another one.
	Release = "jupyterhub"
	// StockImage is the chart's own hub image, without tag.
	StockImage = "quay.io/jupyterhub/k8s-hub"
	// VerifyUser is the only user that the token for checks can act for.
	VerifyUser = "outpost-verify"
	// DatabaseClaim is the volume claim of the hub's database, as the chart names it.
	DatabaseClaim = "hub-db-dir"
)

// Type is the type of the component Hub, FormerType that of one that an earlier version made.
const (
	Type       = "outposts:index:Hub"
	FormerType = "outposts:hub:Hub"
)

// KeysSecret is the Secret that the chart makes, with the keys below, which hub and proxy read when they start.
// CryptKeysKey has several, separated by ";".
const (
	KeysSecret      = "hub"
	CookieSecretKey = "hub.config.JupyterHub.cookie_secret"
	ProxyTokenKey   = "hub.config.ConfigurableHTTPProxy.auth_token"
	CryptKeysKey    = "hub.config.CryptKeeper.keys"
)

const (
	// DialOutPath is where outposts that dial out find the tunnels below the URL of the hub; the name of the system
	// follows.
	DialOutPath    = "/services/" + dialOutService + "/"
	dialOutService = "outposts" // of JupyterHub, which the module makes
	dialOut        = "dialOut"  // of a system's connect
)

// Names of what the pods of hub and tunnels mount, as published.
const (
	authSecret     = "jupyterhub-outpost-auth"   // <system>: user:password
	sshSecret      = "jupyterhub-outpost-sshkey" // ssh-privatekey
	trustConfigMap = "jupyterhub-outpost-trust"  // systems.yaml, <system>.crt, and until 0.2 <system>.known_hosts
)

// Image is the hub's image; empty for the chart's own with a bootstrap.
type Image struct {
	Name string `json:"name,omitempty"`
	Tag  string `json:"tag,omitempty"`
}

// Flavor is what the form says about one flavor; its limits are the outpost's.
type Flavor struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	Description string `json:"description,omitempty"`
}

// System is an outpost as users of the hub see it.
type System struct {
	Name        string
	FormerNames []string // those that its running servers may have been started under
	DisplayName string   // empty: Name
	Description string
	URL         string // of the API: ".../services"
	HubAPIURL   string // the hub's API as servers on the system reach it: ".../hub/api"
	Flavor      string // what a start gets that names none
	Flavors     []Flavor
	Profiles    []Profile // of a Python outpost
	// ConcurrentStarts is how many starts the hub sends there at once, up to 500; 0 for as many as the hub begins.
	ConcurrentStarts int
	// SendAuthState are keys of users' auth state that the outpost gets, beside name, groups and admin.
	SendAuthState []string
	SSH           *SSH   // nil without DialsOut: servers are reached directly
	DialsOut      bool   // the outpost connects to this hub; then there are no URL, SSH and CAs
	Namespace     string // of the outpost, if it is in the hub's cluster
	// ServerNamespaces are those of this cluster in which its servers run, beside or in place of Namespace.
	ServerNamespaces []string
	// Authorization is "user:password".
	Authorization pulumi.StringInput
	// HostKeys are lines of authorized_keys, of which its SSH server must prove one; needed with SSH or DialsOut.
	HostKeys pulumi.StringArray
	// CAs are the CAs that its API is trusted by, PEM; empty for the public ones.
	CAs pulumi.StringArray
}

// tunnelled reports whether its servers are reached through the tunnels.
func (s System) tunnelled() bool { return s.SSH != nil || s.DialsOut }

// dialsOut reports whether an outpost connects to this hub.
func (a Args) dialsOut() bool {
	return slices.ContainsFunc(a.Systems, func(s System) bool { return s.DialsOut })
}

// names are the name of a system and those that it had: what is mounted has all of them, since the files of a pod do
// not change all at one moment.
func (s System) names() []string { return append([]string{s.Name}, s.FormerNames...) }

// SSH is where an outpost's SSH server listens.
type SSH struct {
	Host string
	Port int
}

// Args say what a hub is like and which systems it has.
type Args struct {
	// Name is the hub's name at its outposts and the first part of its servers' names.
	Name string
	// Namespace must exist and be used by the charts alone.
	Namespace string
	// Release is the name of the chart's release, by which its Deployments select their pods; empty for Release.
	Release   string
	Chart     Chart
	Image     Image
	Bootstrap Bootstrap
	Exposure  Exposure
	// StartTimeout is how many seconds a start may take, default 600.
	StartTimeout int
	Systems      []System
	// Side is the path of our chart beside that of JupyterHub, and Tunnels what the operator chose for its pods.
	Side        string
	Tunnels     Tunnels
	Credentials Credentials
	// Values are further values of the chart; what systems need stays.
	Values map[string]any
	// SecretValues says that there are secrets among Values, at places that TakesSecret is true of.
	SecretValues bool
	// Ready waits for the pods of hub and proxy.
	Ready release.Ready
}

// Hub is an installed JupyterHub.
type Hub struct {
	pulumi.ResourceState

	// SealedBy is Credentials.SealsWith, known once a hub that has it is ready. Until then, and after a run that was
	// killed or has failed, the stack's state has the word from before.
	SealedBy pulumi.StringOutput
}

// New installs a hub. Its values are checked against the chart's schema before anything is registered.
func New(ctx *pulumi.Context, name string, args Args, opts ...pulumi.ResourceOption) (*Hub, error) {
	var err error
	for key, document := range map[string]*map[string]any{
		"values": &args.Values, "tunnels.values": &args.Tunnels.Values, "tunnels.resources": &args.Tunnels.Resources,
	} {
		if *document, err = values.Plain(*document); err != nil {
			return nil, fmt.Errorf("hub %s: %s: %w", name, key, err)
		}
	}
	if err := args.Check(); err != nil {
		return nil, fmt.Errorf("hub %s: %w", name, err)
	}
	h := &Hub{}
	var made pulumi.Resource
	side := func() pulumi.Resource { return made }
	opts = append(slices.Clip(opts), pulumi.Transforms([]pulumi.ResourceTransform{
		args.Credentials.fill, afterSecrets(ctx, name, args.Namespace, side),
		afterSide(ctx, name, args.Namespace, side),
	}))
	if err := component.Register(ctx, Type, FormerType, name, h, opts...); err != nil {
		return nil, fmt.Errorf("hub %s: %w", name, err)
	}
	trust, err := args.newTrust(ctx, name, h)
	if err != nil {
		return nil, fmt.Errorf("hub %s: %w", name, err)
	}
	route, err := args.newRoute(ctx, name, h)
	if err != nil {
		return nil, fmt.Errorf("hub %s: %w", name, err)
	}
	chart := args.Chart.at()
	chart.Name = pulumi.String(args.release())
	chart.Namespace = pulumi.String(args.Namespace)
	h.SealedBy, err = release.Install(ctx, name, h, release.Args{
		Chart: chart, Values: args.values(), SecretValues: args.SecretValues,
		Secrets: args.secrets(), DependsOn: append(route, trust), SealsWith: args.Credentials.SealsWith,
		Beside:      []release.Chart{args.side(func(chart pulumi.Resource) { made = chart })},
		Deployments: []string{TunnelsDeployment, "hub", "proxy"}, Ready: args.Ready,
	})
	if err != nil {
		return nil, fmt.Errorf("hub %s: %w", name, err)
	}
	return h, nil
}

func (a Args) release() string { return cmp.Or(a.Release, Release) }

// newTrust makes what the systems are trusted by: host keys for the tunnels, CAs for the hub.
func (a Args) newTrust(ctx *pulumi.Context, name string, parent pulumi.Resource) (pulumi.Resource, error) {
	trust := pulumi.StringMap{"systems.yaml": a.remotes()}
	for _, s := range a.Systems {
		cas := s.CAs.ToStringArrayOutput().ApplyT(func(pems []string) string {
			return strings.Join(pems, "")
		}).(pulumi.StringOutput)
		for _, name := range s.names() {
			if len(s.CAs) > 0 {
				trust[caKey(name)] = cas
			}
			// Until 0.2: a hub with ssh in its pod reads it until it is replaced, which is when the tunnels are there.
			if s.SSH != nil {
				trust[name+".known_hosts"] = s.knownHosts(name)
			}
		}
	}
	made, err := corev1.NewConfigMap(ctx, name+"-trust", &corev1.ConfigMapArgs{
		Metadata: &metav1.ObjectMetaArgs{Name: pulumi.String(trustConfigMap), Namespace: pulumi.String(a.Namespace)},
		Data:     trust,
	}, pulumi.Parent(parent))
	if err != nil {
		return nil, fmt.Errorf("config map %s: %w", trustConfigMap, err)
	}
	return made, nil
}

// knownHosts is the file by which ssh trusts the system under one of its names, as the host outpost-<name>.
func (s System) knownHosts(name string) pulumi.StringOutput {
	return s.HostKeys.ToStringArrayOutput().ApplyT(func(keys []string) string {
		var b strings.Builder
		for _, key := range keys {
			fmt.Fprintf(&b, "outpost-%s %s\n", name, key)
		}
		return b.String()
	}).(pulumi.StringOutput)
}

// remotes is the file of the systems that the tunnels lead to, as docs/tunnels.md has it. Services of servers have a
// former name of their system until the hub has read the new one.
func (a Args) remotes() pulumi.StringOutput {
	keys := pulumi.StringArrayMap{}
	for _, s := range a.Systems {
		if s.tunnelled() {
			keys[s.Name] = s.HostKeys
		}
	}
	return keys.ToStringArrayMapOutput().ApplyT(func(keys map[string][]string) (string, error) {
		systems := map[string]any{}
		for _, s := range a.Systems {
			for _, name := range s.names() {
				switch {
				case s.DialsOut:
					systems[name] = map[string]any{"connect": dialOut, "hostKeys": keys[s.Name]}
				case s.SSH != nil:
					systems[name] = map[string]any{"host": s.SSH.Host, "port": s.SSH.Port, "hostKeys": keys[s.Name]}
				}
			}
		}
		text, err := yaml.Marshal(map[string]any{"systems": systems})
		return string(text), err
	}).(pulumi.StringOutput)
}

// secrets are the password of each system, for the hub, and the SSH key, for the tunnels.
func (a Args) secrets() []release.Secret {
	passwords := pulumi.StringMap{}
	for _, s := range a.Systems {
		for _, name := range s.names() {
			passwords[name] = s.Authorization
		}
	}
	return []release.Secret{
		{Name: authSecret, Role: "auth", Data: passwords},
		{
			Name: sshSecret, Role: "sshkey", Type: pulumi.String("kubernetes.io/ssh-auth"),
			Data: pulumi.StringMap{"ssh-privatekey": a.Credentials.SSHPrivateKey},
		},
	}
}

// What outpost_hub accepts: parts of these end up in a command line there.
var (
	systemName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	hubName    = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,20}[a-z0-9])?$`)
	flavorName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	basePath   = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*/?$`)
)

// Check returns everything that is wrong with Args, joined, without registering anything.
func (a Args) Check() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !hubName.MatchString(a.Name) {
		add("name %q: want a lower-case letter, then letters, digits and '-', at most 22 characters", a.Name)
	}
	if a.Namespace == "" {
		add("namespace is missing")
	}
	for _, fault := range a.Chart.Validate() {
		errs = append(errs, fault.Below("chart"))
	}
	if (a.Image.Name == "") != (a.Image.Tag == "") {
		add("image: want both name and tag")
	}
	for _, fault := range a.Exposure.Validate() {
		errs = append(errs, fault.Below("exposure"))
	}
	if len(a.Systems) == 0 {
		add("systems are missing")
	}
	seen := map[string]bool{}
	for _, s := range a.Systems {
		if seen[s.Name] {
			add("system %s is listed twice", s.Name)
		}
		seen[s.Name] = true
		errs = append(errs, s.check()...)
	}
	if len(errs) == 0 {
		for _, fault := range a.CheckValues() {
			errs = append(errs, fault)
		}
	}
	return errors.Join(errs...)
}

func (s System) check() []error {
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("system %q: "+format, slices.Concat([]any{s.Name}, args)...))
	}
	if !systemName.MatchString(s.Name) {
		add("want lower-case letters, digits and '-' between them, at most 32 characters")
	}
	if s.tunnelled() && len(s.HostKeys) == 0 {
		add("the host key to trust is missing")
	}
	if s.Authorization == nil {
		add("the password is missing")
	}
	for _, f := range s.Flavors {
		if !flavorName.MatchString(f.Name) {
			add("flavor %q: want letters, digits, '.', '_' and '-', at most 63 characters", f.Name)
		}
	}
	for _, fault := range CheckProfiles(s.Profiles) {
		add("%w", fault.Below("profiles"))
	}
	if !Offers(s.Flavors, s.Flavor) {
		add("flavor %q is not one of its flavors", s.Flavor)
	}
	return errs
}

// Offers reports whether a flavor can be the default of a system with these flavors: without flavors, every one can.
func Offers(flavors []Flavor, name string) bool {
	named := func(f Flavor) bool { return f.Name == name }
	return name == "" || len(flavors) == 0 || slices.ContainsFunc(flavors, named)
}

// schemaText is values.schema.json of chart 4.4.0 (ChartVersion), as it is in the chart. It is data of the
// zero-to-jupyterhub project (BSD 3-clause), used to say what is wrong with values before anything is applied.
//
//go:embed values.schema.json
var schemaText string

var chartSchema = schema.Parse(schemaText)

// defaultsText are the values of the chart where nothing is set, of the same version and project.
//
//go:embed defaults.yaml
var defaultsText string

// Overruled returns the keys that have another value here than the operator's values say, where those are in a copy of
// the chart's defaults, as `helm show values` prints them.
func (a Args) Overruled() (keys []string) {
	for _, path := range unused.Overruled(a.Values, defaults(a)) {
		keys = append(keys, schema.Fault{Path: path}.Key())
	}
	return keys
}

// CheckValues finds what is wrong with the operator's values of the charts: what has no effect here, what would take
// away what systems need, and what a chart's schema refuses; and what is wrong with the bootstrap of the image that
// they lead to. Faults are named by their place in Args: "values.hub.db.type", "tunnels.drain".
func (a Args) CheckValues() []schema.Fault {
	made := a.values()
	systems := []string{"custom", "outposts"}
	faults := slices.Concat(unused.Faults(a.Values, a.needed(), made), a.taken(), a.secondRoute())
	if values.At(a.Values, systems...) != nil {
		faults = append(faults, schema.Fault{Path: systems, Text: fromSystems})
	}
	if own := []string{"hub", "services", dialOutService}; values.At(a.Values, own...) != nil && a.dialsOut() {
		faults = append(faults, schema.Fault{Path: own, Text: ofOutposts})
	}
	if base, isText := values.At(a.Values, "hub", "baseUrl").(string); isText && !basePath.MatchString(base) {
		faults = append(faults, schema.Fault{
			Path: []string{"hub", "baseUrl"}, Text: "is not a path; write one of plain characters, such as /jupyter/",
		})
	}
	for _, fault := range chartSchema.CheckValues(made) {
		said := slices.ContainsFunc(faults, func(f schema.Fault) bool { return slices.Equal(f.Path, fault.Path) })
		if !said && !fault.Missing() { // what is missing is in the chart's own values
			faults = append(faults, fault)
		}
	}
	for i, fault := range faults {
		faults[i] = fault.Below("values")
	}
	return slices.Concat(faults, a.checkBootstrap(), a.checkSide())
}

// fromSystems refuses what has another place.
const fromSystems = "is made from the systems; set those instead"

// ofOutposts refuses a service in whose place the module has its own.
const ofOutposts = "is the service to which outposts connect (connect: dialOut); give yours another name"

// BaseURL returns the path that the URLs of a hub with these values begin with, such as "/jupyter"; empty for none, and
// for what is not a path.
func BaseURL(own map[string]any) string {
	base, _ := values.At(own, "hub", "baseUrl").(string)
	if !basePath.MatchString(base) {
		return ""
	}
	return strings.TrimRight(base, "/")
}

// image is the hub's image as it ends up: the operator's values of the chart have the last word, the chart the first.
func (a Args) image() Image {
	chart, own := a.Chart.about().image, a.own()
	name, _ := values.At(own, "hub", "image", "name").(string)
	tag, _ := values.At(own, "hub", "image", "tag").(string)
	return Image{Name: cmp.Or(name, a.Image.Name, chart.Name), Tag: cmp.Or(tag, a.Image.Tag, chart.Tag)}
}
