package main

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/values"
)

// validate finds what the schema cannot express: what keys mean together.
func (c Config) validate(f *faults) {
	switch {
	case c.Hub == nil && c.Outpost == nil:
		f.add("hub or %s:outpost is missing: a stack has one or both", project)
	case c.Hub == nil && len(c.Outposts) > 0:
		f.add("outposts lists a hub's systems, but this stack has no %s:hub", project)
	case c.Hub != nil && len(c.Outposts) == 0:
		f.add("outposts is empty: a hub needs a system to start servers on")
	case c.Hub != nil && c.Outpost != nil && c.localSystem() == nil:
		f.add("outpost: no entry of %s:outposts is in this cluster; add one without address", project)
	case c.Hub != nil && c.Outpost == nil && len(c.Hubs) > 0:
		f.add("hubs: this stack has no outpost for them; add an entry without address to %s:outposts", project)
	}
	c.Cluster.validate(f)
	c.validateAdopt(f)
	c.validateNamespaces(f)
	if c.Hub != nil {
		c.Hub.validate(f)
	}
	c.validateSystems(f)
	if c.Outpost != nil {
		c.validateOutpost(f)
	}
	if c.Hub != nil && c.Outpost != nil {
		c.validateNeighbours(f)
		c.validateTunnels(f)
	}
	c.validateHubs(f)
}

func (h *HubConfig) validate(f *faults) {
	if at, err := url.Parse(h.URL); err == nil && at.Path != "" {
		f.add("hub.url: %q has a path; want scheme, host and port, and the path as %s:hub.values.hub.baseUrl",
			h.URL, project)
	}
	f.addBelow("hub.exposure", h.Exposure.Validate())
	host, named := h.Exposure.Host, exposure.Called(h.Exposure.Type) != ""
	if named && net.ParseIP(host) == nil && !f.wrong("hub.url") && !strings.EqualFold(host, h.host()) {
		f.add("hub.exposure.host: %q is not the host of %s:hub.url, %q, which users and servers open; leave it out",
			host, project, h.host())
	}
	f.addBelow("hub.chart", h.Chart.Validate())
	f.addSecondWord("hub.rotation.cookieSecret", h.Rotation.CookieSecret)
	f.addSecondWord("hub.rotation.proxyToken", h.Rotation.ProxyToken)
	f.addSecondWord("hub.rotation.login", h.Rotation.Login)
	f.addSecondWord("hub.rotation.verifyToken", h.Rotation.VerifyToken)
}

func (c Config) validateSystems(f *faults) {
	seen, local := map[string]int{}, -1
	for i, s := range c.Outposts {
		at := fmt.Sprintf("outposts[%d]", i)
		if before, twice := seen[s.Name]; twice {
			f.add("%s.name: %q is also the name of outposts[%d]", at, s.Name, before)
		}
		seen[s.Name] = i
		c.validateFormer(f, i)
		s.validateShared(f, at)
		f.addNoEffect(at+".profiles", len(s.Profiles) > 0 && (s.InCluster() || s.DialsOut()),
			"the outpost says its own, from %s:%s in its stack", project, profileList)
		f.addBelow(at+".profiles", hub.CheckProfiles(s.Profiles))
		if !hub.Offers(s.Flavors, s.Flavor) {
			f.add("%s.flavor: %q is not one of its flavors", at, s.Flavor)
		}
		switch {
		case s.DialsOut():
			c.validateDialOut(f, i)
		case s.InCluster():
			if local >= 0 {
				f.add("%s: has no address, like outposts[%d]; only one outpost can be in the hub's cluster", at, local)
			}
			local = i
			f.addNoEffect(at+".exposure", s.Exposure.Type != "", "it is for systems with an address")
		case s.Exposure.Outside():
			f.addBelow(at+".exposure", s.Exposure.Validate(s.Address))
		default:
			f.add("%s.exposure: want type nodePort, loadBalancer, gateway or ingress: the hub is in another cluster",
				at)
		}
	}
}

// validateDialOut finds what a system whose outpost connects to the hub cannot have.
func (c Config) validateDialOut(f *faults, i int) {
	s, at := c.Outposts[i], fmt.Sprintf("outposts[%d]", i)
	const connects = "the outpost connects to the hub (connect: dialOut)"
	f.addNoEffect(at+".address", s.Address != "", connects)
	f.addNoEffect(at+".exposure", s.Exposure.Type != "", connects)
	if c.Hub != nil && values.At(c.Hub.Values, "hub", "config", "JupyterHub", "subdomain_host") != nil {
		f.add("%s.connect: dialOut leads through a path of %s:hub.url, which a hub with "+
			"hub.values.hub.config.JupyterHub.subdomain_host does not have; give the system an address, or leave "+
			"that out", at, project)
	}
}

// validateFormer finds former names of a system that mean another one too.
func (c Config) validateFormer(f *faults, i int) {
	for j, former := range c.Outposts[i].FormerNames {
		for k, other := range c.Outposts {
			switch at := fmt.Sprintf("outposts[%d].formerNames[%d]", i, j); {
			case other.Name == former:
				f.add("%s: %q is the name of outposts[%d]", at, former, k)
			case k < i && slices.Contains(other.FormerNames, former):
				f.add("%s: %q is also a former name of outposts[%d]", at, former, k)
			}
		}
	}
}

// validateShared finds what is wrong with the secrets that hub and outpost share: a word of what this stack does not
// make would change nothing.
func (s SystemConfig) validateShared(f *faults, at string) {
	s.validateSent(f, at)
	here, r, given := s.InCluster(), s.Rotation, project+":"+at
	f.addNoEffect(at+".user", here && s.User != "", "the outpost in this cluster knows the hub as %s:hub.name", project)
	f.addNoEffect(at+".hostKeys", here && len(s.HostKeys) > 0,
		"this stack makes the host key of the outpost in this cluster")
	if s.DialsOut() {
		f.addNoEffect(at+".ca", s.CA != "", "the outpost connects to the hub, and has no certificate")
	} else {
		f.addNoEffect(at+".ca", s.CA != "" && !s.Exposure.Encrypted(), "the API of this system is plain HTTP")
	}
	f.addSecondWord(at+".rotation.password", r.Password)
	f.addNoEffect(at+".rotation.password", len(r.Password) > 0 && s.Password != "", "change %s.password instead", given)
	f.addNoEffect(at+".rotation.hostKey", len(r.HostKey) > 0 && len(s.HostKeys) > 0,
		"change %s.hostKeys instead", given)
	f.addNoEffect(at+".rotation.tls", len(r.TLS) > 0 && !s.makesCertificate(),
		"this stack makes no certificate for this system")
}

// validateOutpost finds what is wrong with the outpost, in the three cases that there are: beside its hub, where the
// stack of a hub says how it is reached, and where this config does.
func (c Config) validateOutpost(f *faults) {
	o := c.Outpost
	c.validateRotation(f)
	switch {
	case c.Hub != nil:
		o.validateBesideHub(f)
	case c.told():
		if o.Address != "" || o.Exposure.Type != "" {
			f.add("outpost: address and exposure come from the hub's stack; remove them here")
		} else if o.Name == "" {
			f.add("outpost.name is missing: want the name of this outpost in the hub's stack")
		}
	default:
		if (o.Address == "" || !o.exposed()) && !(c.dialsOutOnly() && o.Address == "" && o.Exposure.Type == "") {
			f.add("outpost: address and exposure are missing: no entry of %s:hubs has a stack that says them", project)
		}
		if len(c.Hubs) == 0 {
			f.add("hubs is empty: list the hubs that may use this outpost")
		}
	}
	if o.Exposure.Type != "" {
		f.addBelow("outpost.exposure", o.Exposure.Validate(o.Address))
	}
	dials := c.told() || slices.ContainsFunc(c.Hubs, func(h OtherHubConfig) bool { return h.DialOutURL != "" })
	f.addNoEffect("outpost.dialOut", o.DialOut != outpost.DialOut{} && !dials, noDialOut)
	if o.DialOut.Proxy != "" && o.DialOut.ProxySecret != "" {
		f.add("outpost.dialOut.proxySecret: is set beside proxy; keep one")
	}
	c.validateHomes(f)
	own := values.At(o.Config, "spawner", "namespace")
	f.addNoEffect("outpost.serverNamespace",
		o.Servers != "" && o.Servers != o.Namespace && own != nil && own != o.Servers,
		"outpost.config.spawner.namespace is where servers run; remove one of them")
}

// noDialOut is why settings of a way are refused that nothing goes.
const noDialOut = "no hub has the outpost connect to it (connect: dialOut in its stack, or hubs[].dialOutUrl here)"

func (o *OutpostConfig) validateBesideHub(f *faults) {
	if o.exposed() && o.Address == "" {
		f.add("outpost.address is missing: want the address at which hubs reach it")
	}
	f.addNoEffect("outpost.address", o.Address != "" && !o.exposed(), "the outpost is not exposed outside the cluster")
	if o.Exposure.OwnCertificate() {
		f.add("outpost.exposure: the hub of this stack calls %s, so the outpost itself cannot speak TLS; "+
			"use type gateway or ingress, or tls: false", outpost.InCluster(o.Namespace).API)
	}
}

// validateNeighbours finds what a hub and an outpost in one cluster cannot both have.
func (c Config) validateNeighbours(f *faults) {
	h, o := c.Hub, c.Outpost
	if o.Namespace == h.Namespace {
		f.add("outpost.namespace: %q is also %s:hub.namespace; each needs its own", o.Namespace, project)
	} else if o.Servers == h.Namespace {
		f.add("outpost.serverNamespace: %q is also %s:hub.namespace; servers need their own", o.Servers, project)
	}
	if h.Exposure.Type != exposure.NodePort || h.Exposure.NodePort == 0 {
		return
	}
	for _, own := range []struct {
		key  string
		port int
	}{{"apiNodePort", o.Exposure.APINodePort}, {"sshNodePort", o.Exposure.SSHNodePort}} {
		if own.port == h.Exposure.NodePort {
			f.add("outpost.exposure.%s: %d is also %s:hub.exposure.nodePort; choose another",
				own.key, own.port, project)
		}
	}
}

// validateTunnels finds tunnels that have the outpost's image without a Secret to pull it with: the outpost's are in
// another namespace.
func (c Config) validateTunnels(f *faults) {
	needed, _ := values.At(c.Outpost.Values, "imagePullSecrets").([]any)
	own := c.Hub.Tunnels.Values
	another := !c.sharesImage() || values.At(own, "image", "repository") != nil
	if len(needed) > 0 && own["imagePullSecrets"] == nil && !another {
		f.add("hub.tunnels.values.imagePullSecrets is missing: the tunnels have the image of the outpost, which is "+
			"pulled with %s:outpost.values.imagePullSecrets; name a Secret in namespace %s, or write [] if it needs "+
			"none there",
			project, c.Hub.Namespace)
	}
}

// validateRotation finds words of the outpost's rotation that have no effect: only the secrets of its own stack are
// rotated here. What the stack of a hub made is known later: see shown.
func (c Config) validateRotation(f *faults) {
	r := c.Outpost.Rotation
	local := slices.IndexFunc(c.Outposts, SystemConfig.InCluster)
	switch {
	case c.Hub == nil:
		f.addNoEffect("outpost.rotation.password", len(r.Password) > 0,
			"passwords come from the hubs; set %s:outposts[].rotation.password in the hub's stack", project)
	case local >= 0:
		system := fmt.Sprintf("%s:outposts[%d].rotation", project, local)
		f.addNoEffect("outpost.rotation.password", len(r.Password) > 0, "set %s.password instead", system)
		f.addNoEffect("outpost.rotation.hostKey", len(r.HostKey) > 0, "set %s.hostKey instead", system)
	}
	f.addNoEffect("outpost.rotation.tls", len(r.TLS) > 0 && !c.told() && !c.Outpost.Exposure.OwnCertificate(),
		"the outpost has no certificate of its own")
}

func (c Config) validateHubs(f *faults) {
	seen := map[string]bool{}
	if c.Hub != nil {
		seen[c.Hub.Name] = true
	}
	for i, h := range c.Hubs {
		at := fmt.Sprintf("hubs[%d]", i)
		if seen[h.Name] {
			f.add("%s.name: %q is listed twice", at, h.Name)
		}
		seen[h.Name] = true
		explicit := h.Password != "" || len(h.SSHPublicKeys) > 0
		switch {
		case h.Stack != "" && h.System != nil:
			f.add("%s: want either stack or system", at)
		case h.tells() && explicit:
			f.add("%s: password and sshPublicKeys come from the hub's stack; remove them, or the stack", at)
		case h.tells() && h.DialOutURL != "":
			f.add("%s: dialOutUrl comes from the hub's stack; remove it, or the stack", at)
		case h.tells() && c.Hub != nil:
			f.add("%s: this stack has a hub of its own; "+
				"give the other hub's password and sshPublicKeys instead of its stack", at)
		case !h.tells() && (h.Password == "" || len(h.SSHPublicKeys) == 0):
			f.add("%s: want either stack, system, or password and sshPublicKeys", at)
		}
	}
}
