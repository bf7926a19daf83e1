package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// outpostIdentity is what an outpost shows of itself, and where.
type outpostIdentity struct {
	address  string
	exposure outpost.Exposure
	// dialOut are the URLs of hubs that it connects to.
	dialOut []string
	// from is the place in hubs of the one whose stack told it; -1 if it is this stack's own config.
	from         int
	hostKey      pulumi.StringInput
	hostKeyLines pulumi.StringArray
	tls          *outpost.TLS
	cas          pulumi.StringArray
}

// ownPair is the component of what an outpost shows that no hub's stack made.
const ownPair = "own"

// remote makes an outpost for hubs of other stacks and other operators. told has what the stacks of hubs tell, by the
// order of hubs in config, and shown what follows from that.
func (b *builder) remote(told []*systemOutput, shown outpostIdentity) error {
	args := b.config.outpostArgs()
	for i, out := range told {
		if out != nil {
			args.Hubs[i].APIURL = cmp.Or(args.Hubs[i].APIURL, out.HubAPIURL)
			args.Hubs[i].Password = secretText(out.Password)
			args.Hubs[i].SSHPublicKeys = pulumi.ToStringArray(out.SSHPublicKeys)
		}
	}
	shown, err := b.complete(shown)
	if err != nil {
		return err
	}
	args.Address, args.Exposure, args.HostKey, args.TLS = shown.address, shown.exposure, shown.hostKey, shown.tls
	args.DialOut = shown.dialOut
	if err := b.outpost(args); err != nil {
		return err
	}
	b.outputs[outputCluster] = pulumi.String(b.clusterUID)
	at := shown.exposure.Endpoint(shown.address)
	if shown.address == "" { // it connects to its hubs
		at = outpost.Endpoint{API: outpost.InCluster(b.config.Outpost.Namespace).API}
	}
	b.exportOutpost(at, shown.hostKeyLines, shown.cas)
	return nil
}

// shown settles what the outpost shows, as far as the stacks of hubs have made it. All must mean the same address, one
// alone makes the host key, and what they make cannot be made anew here. Nothing is known without an outpost, or where
// told is nil, since a stack could not be read.
func (c Config) shown(told []*systemOutput) (outpostIdentity, error) {
	if c.Outpost == nil || told == nil {
		return outpostIdentity{from: -1}, nil
	}
	shown := outpostIdentity{
		address: c.Outpost.Address, exposure: c.Outpost.Exposure, dialOut: c.outpostArgs().DialOut, from: -1,
	}
	f := &faults{}
	for i, out := range told {
		if out == nil {
			continue
		}
		if len(out.DialOutURLs) > 0 {
			shown.dialOut = append(shown.dialOut, out.DialOutURLs...)
		} else if shown.from < 0 {
			shown.from, shown.address, shown.exposure = i, out.Address, out.Exposure
		} else if out.Address != shown.address || !reflect.DeepEqual(out.Exposure, shown.exposure) {
			f.add("hubs: the stacks of hubs %s and %s give this outpost different addresses or exposures",
				told[shown.from].Hub, out.Hub)
		}
		if c.Outpost.Homes == outpost.NoHomes && !c.Outpost.TemporaryServers && out.Culls {
			f.add("outpost.homes: none, but hub %s ends idle servers, and their files with them; set %s:outpost."+
				"temporaryServers: true if that is meant", out.Hub, project)
		}
		elsewhere := fmt.Sprintf("%s makes it; set %s:outposts[].rotation there", c.Hubs[i].source(), project)
		if out.HostKey != "" {
			if shown.hostKey != nil {
				f.add("hubs: hub %s makes a host key for this outpost, and so does another hub; "+
					"give it that one's instead (%s:outposts, hostKeys and ca)", out.Hub, project)
			}
			f.addNoEffect("outpost.rotation.hostKey", len(c.Outpost.Rotation.HostKey) > 0, "%s", elsewhere)
			shown.hostKey, shown.hostKeyLines = secretText(out.HostKey), pulumi.ToStringArray(out.HostKeys)
		}
		if out.TLSKey != "" && shown.tls == nil {
			f.addNoEffect("outpost.rotation.tls", len(c.Outpost.Rotation.TLS) > 0, "%s", elsewhere)
			shown.tls = &outpost.TLS{Certificate: secretText(out.TLSCertificate), Key: secretText(out.TLSKey)}
			shown.cas = pulumi.ToStringArray(out.CAs)
		}
	}
	c.validateWays(f, shown)
	f.addNoEffect("outpost.dialOut", c.Outpost.DialOut != outpost.DialOut{} && len(shown.dialOut) == 0, noDialOut)
	if shown.tls == nil {
		unused := len(c.Outpost.Rotation.TLS) > 0 && !shown.exposure.OwnCertificate()
		f.addNoEffect("outpost.rotation.tls", unused, "the outpost has no certificate of its own")
	}
	return shown, errors.Join(f.errs...)
}

// validateWays finds hubs that have no way to an outpost without an address, which it lacks where the stacks of other
// hubs let it connect to those.
func (c Config) validateWays(f *faults, shown outpostIdentity) {
	if !c.told() || len(shown.dialOut) == 0 || shown.address != "" {
		return
	}
	for i, h := range c.Hubs {
		if !h.tells() && h.DialOutURL == "" {
			f.add("hubs[%d].dialOutUrl is missing: hub %s cannot reach this outpost, which has no address since it "+
				"connects to its hubs (connect: dialOut in their stacks); let it connect to this one too", i, h.Name)
		}
	}
}

// exposureKey is where config has a key of the outpost's exposure, or by whom it is told.
func (c Config) exposureKey(shown outpostIdentity, key string) string {
	if shown.from < 0 {
		return "outpost.exposure." + key
	}
	return fmt.Sprintf("hubs[%d]: %s from %s", shown.from, key, c.Hubs[shown.from].source())
}

// complete makes what the outpost shows and no hub's stack has made.
func (b *builder) complete(shown outpostIdentity) (outpostIdentity, error) {
	c := b.config
	needsTLS := shown.exposure.OwnCertificate() && shown.tls == nil
	if shown.hostKey != nil && !needsTLS {
		return shown, nil
	}
	args := credentials.PairArgs{
		System:  cmp.Or(b.before.system(ownPair).issuedTo, c.Outpost.Name, outpost.Release),
		HostKey: shown.hostKey == nil, Now: b.now, Rotation: c.Outpost.Rotation.PairRotation,
	}
	if needsTLS {
		args.TLSAddresses = []string{shown.address}
	}
	pair, err := credentials.NewPair(b.ctx, ownPair, args, pulumi.Providers(b.random))
	if err != nil {
		return outpostIdentity{}, err
	}
	if args.HostKey {
		shown.hostKey, shown.hostKeyLines = pair.HostKey, pair.HostKeyLines
	}
	if needsTLS {
		shown.tls, shown.cas = &outpost.TLS{Certificate: pair.TLSCertificate, Key: pair.TLSKey}, pair.CAs
	}
	return shown, nil
}

// outpostArgs are the arguments of the outpost as far as config says them: its hubs are that of this stack, if there is
// one, then those of config, which have no password and no keys yet where their own stack tells them.
func (c Config) outpostArgs() outpost.Args {
	o := c.Outpost
	args := outpost.Args{
		Namespace: o.Namespace, Servers: o.Servers, Address: o.Address, Exposure: o.Exposure, Settings: o.Settings,
	}
	if local := c.localSystem(); local != nil {
		args.Hubs = append(args.Hubs, outpost.Hub{
			Name: c.Hub.Name, Namespace: c.Hub.Namespace, APIURL: c.systemOf(*local).hubAPIURL,
		})
	}
	for _, p := range c.Hubs {
		made := outpost.Hub{Name: p.Name, APIURL: p.APIURL}
		if p.DialOutURL != "" {
			args.DialOut = append(args.DialOut, p.DialOutURL)
		}
		if p.Stack == "" {
			made.Password, made.SSHPublicKeys = secretText(p.Password), pulumi.ToStringArray(p.SSHPublicKeys)
		}
		args.Hubs = append(args.Hubs, made)
	}
	return args
}

// outpost installs the outpost of this stack's cluster. What args lack is the chart, and the keys of the database.
func (b *builder) outpost(args outpost.Args) error {
	c := b.config.Outpost
	store, err := credentials.NewStore(b.ctx, outpostName, credentials.StoreArgs{
		CryptKey: c.Rotation.CryptKey, KeepData: !b.config.mayLose(c.database()), MadeAt: b.outpostMadeAt,
	}, pulumi.Providers(b.random))
	if err != nil {
		return err
	}
	args.Chart, args.Ready = b.chartPath("outpost"), b.ready
	args.CryptKeys, args.SealsWith = append(store.CryptKeys, secretTexts(c.CryptKeys)...), store.SealsWith
	args.KeysVersion = store.Version + versionOfGiven(c.CryptKeys)
	made, err := outpost.New(b.ctx, outpostName, args, b.inCluster(c.Namespace, c.Servers)...)
	if err != nil {
		return err
	}
	b.installed = append(b.installed, made.SealedBy)
	return nil
}

// versionOfGiven is another text for other keys that an operator gave, "" for none. Four digits do not tell the keys.
func versionOfGiven(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(keys, "\n")))
	return " cryptKeys=" + hex.EncodeToString(sum[:2])
}

// exportOutpost makes the outputs of a stack with an outpost.
func (b *builder) exportOutpost(at outpost.Endpoint, hostKeys, cas pulumi.StringArray) {
	b.outputs[outputAPIURL] = pulumi.String(at.API + "/services")
	if at.SSHHost != "" {
		b.outputs[outputSSH] = pulumi.String(fmt.Sprintf("%s:%d", at.SSHHost, at.SSHPort))
	}
	b.outputs[outputHostKeys] = append(pulumi.StringArray{}, hostKeys...)
	b.outputs[outputCAs] = append(pulumi.StringArray{}, cas...)
	_, homes := b.config.Outpost.Homes.(map[string]any)
	b.outputs[outputHomes] = pulumi.Bool(homes)
}
