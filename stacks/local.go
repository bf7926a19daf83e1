package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/values"
)

// system is a system and what its hub shares with it: made here, or given by another operator.
type system struct {
	SystemConfig
	endpoint     outpost.Endpoint
	hubAPIURL    string
	password     pulumi.StringInput
	hostKey      pulumi.StringInput // nil if another operator has it
	hostKeyLines pulumi.StringArray
	tls          *outpost.TLS // nil if the outpost shows no certificate of ours
	cas          pulumi.StringArray
}

// local makes a hub, the outpost in its cluster, and what it shares with all of its outposts.
func (b *builder) local() error {
	c := b.config
	own, err := credentials.NewHub(b.ctx, hubName, credentials.HubArgs{
		Name: c.Hub.Name, Rotation: c.Hub.Rotation, KeepData: !c.mayLose(c.Hub.database()), MadeAt: b.hubMadeAt,
	}, pulumi.Providers(b.random))
	if err != nil {
		return err
	}
	var systems []system
	for _, s := range c.Outposts {
		p, err := b.newSystem(s)
		if err != nil {
			return err
		}
		systems = append(systems, p)
	}
	for _, p := range systems {
		if p.InCluster() {
			if err := b.localOutpost(p, own); err != nil {
				return err
			}
		}
	}
	if err := b.hub(systems, own); err != nil {
		return err
	}
	b.exportHub(systems, own)
	return nil
}

// systemOf is what is known of a system before anything is made: where it is, and where the hub is from there.
func (c Config) systemOf(s SystemConfig) system {
	p := system{SystemConfig: s, hubAPIURL: s.HubAPIURL}
	if s.InCluster() {
		p.endpoint = outpost.InCluster(c.Outpost.Namespace)
		p.hubAPIURL = cmp.Or(p.hubAPIURL, "http://hub."+c.Hub.Namespace+".svc:8081"+c.Hub.baseURL()+"/hub/api")
	} else {
		if !s.DialsOut() {
			p.endpoint = s.Exposure.Endpoint(s.Address)
		}
		p.hubAPIURL = cmp.Or(p.hubAPIURL, c.Hub.fullURL()+"/hub/api")
	}
	for _, ca := range []string{s.CA, s.Exposure.CA} {
		if ca != "" {
			p.cas = append(p.cas, pulumi.String(ca))
		}
	}
	return p
}

// newSystem makes what the hub shares with a system, as far as no other operator gave it.
func (b *builder) newSystem(s SystemConfig) (system, error) {
	p := b.config.systemOf(s)
	args := credentials.PairArgs{
		System: b.issuedTo(s), FormerNames: s.FormerNames,
		Password: s.Password == "", HostKey: len(s.HostKeys) == 0, Now: b.now, Rotation: s.Rotation,
	}
	if s.makesCertificate() {
		args.TLSAddresses = []string{s.Address}
	}
	pair, err := credentials.NewPair(b.ctx, s.Name, args, pulumi.Providers(b.random))
	if err != nil {
		return system{}, err
	}
	p.cas = append(p.cas, pair.CAs...)
	p.password = pair.Password
	if s.Password != "" {
		p.password = secretText(s.Password)
	}
	hostKeys, err := plainKeys(s.HostKeys)
	if err != nil {
		return system{}, fmt.Errorf("host keys of system %s: %w", s.Name, err)
	}
	p.hostKeyLines = pulumi.ToStringArray(hostKeys)
	if args.HostKey {
		p.hostKey, p.hostKeyLines = pair.HostKey, pair.HostKeyLines
	}
	if len(args.TLSAddresses) > 0 {
		p.tls = &outpost.TLS{Certificate: pair.TLSCertificate, Key: pair.TLSKey}
	}
	return p, nil
}

// issuedTo is the name of a system for which its certificate was made: the first one that it had.
func (b *builder) issuedTo(s SystemConfig) string {
	made := b.before.system(s.names()...)
	return cmp.Or(made.issuedTo, cmp.Or(s.FormerNames...), s.Name)
}

// localOutpost installs the outpost in the hub's cluster.
func (b *builder) localOutpost(p system, own *credentials.Hub) error {
	c := b.config
	args := c.outpostArgs()
	args.Hubs[0].Password, args.Hubs[0].SSHPublicKeys = p.password, own.SSHPublicKeys
	args.HostKey = p.hostKey
	if err := b.outpost(args); err != nil {
		return err
	}
	at, cas := p.endpoint, p.cas
	if c.Outpost.exposed() { // for hubs elsewhere
		at = c.Outpost.Exposure.Endpoint(c.Outpost.Address)
		if c.Outpost.Exposure.CA != "" {
			cas = append(slices.Clip(cas), pulumi.String(c.Outpost.Exposure.CA))
		}
	}
	b.exportOutpost(at, p.hostKeyLines, cas)
	return nil
}

// hub installs the hub.
func (b *builder) hub(systems []system, own *credentials.Hub) error {
	args := b.config.hubArgs(systems)
	args.Credentials = hub.Credentials{
		SSHPrivateKey: own.SSHPrivateKey, CookieSecret: own.CookieSecret, ProxyToken: own.ProxyToken,
		AuthStateKeys: own.AuthStateKeys, SealsWith: own.SealsWith,
		LoginPassword: own.LoginPassword, VerifyToken: own.VerifyToken, VerifyWord: own.VerifyWord,
		Version: own.Version, ProxyVersion: own.ProxyVersion,
	}
	args.Side, args.Ready = b.chartPath("outposts-hub"), b.ready
	// Once the secrets are there, and not only their words, pods may start again.
	opts := append(b.inCluster(b.config.Hub.Namespace), pulumi.DependsOn([]pulumi.Resource{own}))
	made, err := hub.New(b.ctx, hubName, args, opts...)
	if err != nil {
		return err
	}
	b.installed = append(b.installed, made.SealedBy)
	return nil
}

// hubArgs are the arguments of the hub, but for its own secrets.
func (c Config) hubArgs(systems []system) hub.Args {
	args := hub.Args{
		Name: c.Hub.Name, Namespace: c.Hub.Namespace, Release: c.Hub.Release, Chart: c.Hub.Chart, Image: c.Hub.Image,
		Bootstrap: c.Hub.Bootstrap, Exposure: c.Hub.Exposure, StartTimeout: c.Hub.StartTimeout, Values: c.Hub.Values,
		SecretValues: c.Hub.SecretValues, Tunnels: c.tunnels(),
	}
	for _, p := range systems {
		made := hub.System{
			Name: p.Name, FormerNames: p.FormerNames, DisplayName: p.DisplayName, Description: p.Description,
			HubAPIURL: p.hubAPIURL, Flavor: p.Flavor, Flavors: p.Flavors, Profiles: p.Profiles,
			ConcurrentStarts: p.ConcurrentStarts, SendAuthState: p.SendAuthState,
			Authorization: pulumi.Sprintf("%s:%s", cmp.Or(p.User, c.Hub.Name), p.password),
			CAs:           p.cas,
		}
		switch {
		case p.InCluster():
			made.Namespace = c.Outpost.Namespace
			made.ServerNamespaces = slices.Sorted(maps.Keys(c.outpostArgs().Namespaces()))
		case p.DialsOut():
			made.DialsOut, made.HostKeys = true, p.hostKeyLines
		default:
			made.SSH = &hub.SSH{Host: p.endpoint.SSHHost, Port: p.endpoint.SSHPort}
			made.HostKeys = p.hostKeyLines
		}
		if !p.DialsOut() {
			made.URL = p.endpoint.API + "/services"
		}
		args.Systems = append(args.Systems, made)
	}
	return args
}

// tunnels are the settings of the tunnels. Without an image of their own they have that of this stack's outpost, as far
// as it says one.
func (c Config) tunnels() hub.Tunnels {
	chosen := c.Hub.Tunnels
	if c.sharesImage() {
		of := c.outpostArgs().Image()
		chosen.Image = hub.OutpostImage{
			Repository: of.Repository, Tag: of.Tag, Digest: cmp.Or(chosen.Image.Digest, of.Digest),
			PullPolicy: cmp.Or(chosen.Image.PullPolicy, of.PullPolicy),
		}
	}
	return chosen
}

// sharesImage reports whether the tunnels have the image of this stack's outpost: no repository and no tag is theirs.
func (c Config) sharesImage() bool {
	own := c.Hub.Tunnels.Image
	return c.Outpost != nil && own.Repository == "" && own.Tag == ""
}

// exportHub makes the outputs of a stack with a hub.
func (b *builder) exportHub(systems []system, own *credentials.Hub) {
	c := b.config
	names, shared := pulumi.StringArray{}, pulumi.Map{}
	for _, p := range systems {
		names = append(names, pulumi.String(p.Name))
		if p.InCluster() {
			continue
		}
		out := pulumi.Map{
			"hub":           pulumi.String(cmp.Or(p.User, c.Hub.Name)),
			"hubApiUrl":     pulumi.String(p.hubAPIURL),
			"address":       pulumi.String(p.Address),
			"exposure":      pulumi.ToMap(values.Of(p.Exposure)),
			"password":      p.password,
			"sshPublicKeys": own.SSHPublicKeys,
			"hostKeys":      p.hostKeyLines,
			"cas":           p.cas,
			"culls":         pulumi.Bool(c.Hub.culls()),
		}
		if p.DialsOut() {
			urls := pulumi.StringArray{}
			for _, name := range p.names() { // servers that run have a former one
				urls = append(urls, pulumi.String(c.Hub.fullURL()+hub.DialOutPath+name))
			}
			out["dialOutUrls"] = urls
		}
		if len(p.Flavors) > 0 {
			flavors := pulumi.Array{}
			for _, f := range p.Flavors {
				flavors = append(flavors, pulumi.ToMap(values.Of(f)))
			}
			out["flavors"] = flavors
		}
		if len(p.Profiles) > 0 {
			profiles := pulumi.StringArray{}
			for _, one := range p.Profiles {
				profiles = append(profiles, pulumi.String(one.Slug))
			}
			out["profiles"] = profiles
		}
		if p.hostKey != nil {
			out["hostKey"] = p.hostKey
		}
		if p.tls != nil {
			out["tlsCertificate"], out["tlsKey"] = p.tls.Certificate, p.tls.Key
		}
		for _, name := range p.names() { // its stack may know it by a former one
			shared[name] = out
			b.outputs[outputSystem+name] = pulumi.ToSecret(out)
		}
	}
	b.outputs[outputCluster] = pulumi.String(b.clusterUID)
	b.outputs[outputHubURL] = pulumi.String(c.Hub.fullURL())
	b.outputs[outputHubName] = pulumi.String(c.Hub.Name)
	b.outputs[outputSystemNames] = names
	b.outputs[outputLoginPassword] = own.LoginPassword
	b.outputs[outputVerifyUser] = pulumi.String(hub.VerifyUser)
	b.outputs[outputVerifyToken] = own.VerifyToken
	b.outputs[outputSSHPublicKeys] = own.SSHPublicKeys
	b.outputs[outputSystems] = pulumi.ToSecret(shared)
}

// chartPath is where a chart of ours is: beside this program's project file.
func (b *builder) chartPath(name string) string {
	return filepath.Join(b.ctx.RootDirectory(), "charts", name)
}
