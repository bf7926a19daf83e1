package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fernet/fernet-go"
	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/infra/credentials"
	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/schema"
)

// faults collects what is wrong, each by the name the operator typed.
type faults struct {
	errs []error
	// refused are keys that are wrong by themselves: what follows from them is not said.
	refused []string
}

// add adds a fault. The text begins with the key, without our project.
func (f *faults) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	key, _, _ := strings.Cut(text, " ")
	if !f.wrong(strings.TrimSuffix(key, ":")) {
		f.errs = append(f.errs, errors.New(project+":"+text))
	}
}

// addAll adds errors whose texts begin with the full key.
func (f *faults) addAll(errs ...error) {
	for _, err := range errs {
		if err != nil {
			f.add("%s", strings.TrimPrefix(err.Error(), project+":"))
		}
	}
}

// refuse adds what a schema finds.
func (f *faults) refuse(all []schema.Fault) {
	for _, fault := range all {
		f.add("%s", fault.Error())
	}
	for _, fault := range all {
		f.refused = append(f.refused, fault.Key())
	}
}

// wrong tells whether a key, or what it is in, is wrong by itself.
func (f *faults) wrong(key string) bool {
	return slices.ContainsFunc(f.refused, func(refused string) bool {
		rest, within := strings.CutPrefix(key, refused)
		return within && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// validate finds what the schema cannot say: what keys mean together.
func (c Config) validate(f *faults) {
	switch {
	case c.Hub == nil && c.Outpost == nil:
		f.add("hub or %s:outpost is missing: a stack has one or both", project)
	case c.Hub == nil && len(c.Outposts) > 0:
		f.add("outposts: are the systems of a hub; this stack has no %s:hub", project)
	case c.Hub != nil && len(c.Outposts) == 0:
		f.add("outposts: is empty; a hub needs a system to start servers on")
	case c.Hub != nil && c.Outpost != nil && c.localSystem() == nil:
		f.add("outpost: no entry of %s:outposts is in this cluster (without address)", project)
	case c.Hub != nil && c.Outpost == nil && len(c.Hubs) > 0:
		f.add("hubs: ask the outpost of this stack, which has none: no entry of %s:outposts is in this cluster (without address)", project)
	}
	if c.Hub != nil {
		c.Hub.validate(f)
	}
	c.validateSystems(f)
	if c.Outpost != nil {
		c.validateOutpost(f)
	}
	if c.Hub != nil && c.Outpost != nil {
		c.validateNeighbours(f)
	}
	c.validateHubs(f)
}

func (h *HubConfig) validate(f *faults) {
	if at := validateURL(f, "hub.url", h.URL); at.Path != "" {
		f.add("hub.url: %q: want scheme, host and port, no path", h.URL)
	}
	h.validateExposure(f)
	if h.Chart.Path != "" && h.Chart.Version != "" {
		f.add("hub.chart: want one of version and path")
	}
	f.addAll(h.rotation().Validate(project + ":hub.rotation")...)
	f.oneWord("hub.rotation.cookieSecret", h.Rotation.CookieSecret)
	f.oneWord("hub.rotation.proxyToken", h.Rotation.ProxyToken)
	f.oneWord("hub.rotation.login", h.Rotation.Login)
	f.oneWord("hub.rotation.verifyToken", h.Rotation.VerifyToken)
}

func (h *HubConfig) validateExposure(f *faults) {
	e := h.Exposure
	if f.wrong("hub.exposure.type") {
		return // what the other keys mean, hangs on it
	}
	unused := func(key string, is bool) {
		if is {
			f.add("hub.exposure.%s: means nothing with type %s", key, e.Type)
		}
	}
	if e.Type == hub.NodePort && e.NodePort == 0 {
		f.add("hub.exposure.nodePort is missing")
	}
	if e.Type == hub.Ingress && e.Host == "" {
		f.add("hub.exposure.host is missing")
	}
	if e.Type == hub.Ingress && e.Host != "" && (net.ParseIP(e.Host) != nil || !validAddress(e.Host)) {
		f.add("hub.exposure.host: %q is no DNS name", e.Host)
	}
	unused("nodePort", e.Type != hub.NodePort && e.NodePort != 0)
	unused("host", e.Type != hub.Ingress && e.Host != "")
	unused("className", e.Type != hub.Ingress && e.ClassName != "")
	unused("tlsSecret", e.Type != hub.Ingress && e.TLSSecret != "")
	unused("loadBalancerIP", e.Type != hub.LoadBalancer && e.LoadBalancerIP != "")
	unused("annotations", e.Type != hub.LoadBalancer && e.Type != hub.Ingress && len(e.Annotations) > 0)
}

// oneWord refuses further words of a secret of which there is one at a time: nothing would accept them.
func (f *faults) oneWord(key string, all words) {
	if len(all) > 1 {
		f.add("%s: has %d words, but there is one at a time; keep the first", key, len(all))
	}
}

// nothing refuses a key that is set and has no effect.
func (f *faults) nothing(key string, set bool, why string, args ...any) {
	if set {
		f.add("%s: means nothing here: %s", key, fmt.Sprintf(why, args...))
	}
}

func (c Config) validateSystems(f *faults) {
	seen, local := map[string]int{}, -1
	for i, s := range c.Outposts {
		at := fmt.Sprintf("outposts[%d]", i)
		if before, twice := seen[s.Name]; twice {
			f.add("%s.name: %q is the name of outposts[%d] too", at, s.Name, before)
		}
		seen[s.Name] = i
		s.validateShared(f, at)
		validateURL(f, at+".hubApiUrl", s.HubAPIURL)
		if s.Flavor != "" && len(s.Flavors) > 0 && !slices.ContainsFunc(s.Flavors, func(o hub.Flavor) bool { return o.Name == s.Flavor }) {
			f.add("%s.flavor: %q is none of its flavors", at, s.Flavor)
		}
		if s.InCluster() {
			if local >= 0 {
				f.add("%s: has no address, nor has outposts[%d]; one outpost can be in the hub's cluster", at, local)
			}
			local = i
			if s.Exposure.Type != "" {
				f.add("%s.exposure: is for systems with an address", at)
			}
			continue
		}
		if !validAddress(s.Address) {
			f.add("%s.address: %q is neither an IPv4 address nor a DNS name", at, s.Address)
		}
		for k, line := range s.HostKeys {
			validateKey(f, fmt.Sprintf("%s.hostKeys[%d]", at, k), line)
		}
		validateCA(f, at+".ca", s.CA)
		if s.Exposure.Type == "" || s.Exposure.Type == outpost.ClusterIP {
			f.add("%s.exposure: want nodePort, loadBalancer or ingress: the hub is in another cluster", at)
			continue
		}
		validateExposure(f, at, s.Address, s.Exposure)
	}
}

// validateShared finds what is wrong with the secrets that hub and outpost share: a word of what this stack does not make
// would change nothing.
func (s SystemConfig) validateShared(f *faults, at string) {
	here := s.InCluster()
	f.nothing(at+".user", here && s.User != "", "the outpost in this cluster knows the hub as %s:hub.name", project)
	f.nothing(at+".hostKeys", here && len(s.HostKeys) > 0, "this stack makes the host key of the outpost in this cluster")
	f.nothing(at+".ca", s.CA != "" && !s.Exposure.Encrypted(), "the API of this system is plain HTTP")
	r, given := s.Rotation, project+":"+at
	f.addAll(r.words().Validate(given + ".rotation")...)
	f.oneWord(at+".rotation.password", r.Password)
	f.nothing(at+".rotation.password", len(r.Password) > 0 && s.Password != "", "%s.password is given; give another one there", given)
	f.nothing(at+".rotation.hostKey", len(r.HostKey) > 0 && len(s.HostKeys) > 0, "%s.hostKeys are given; give others there", given)
	f.nothing(at+".rotation.tls", len(r.TLS) > 0 && !s.makesCertificate(), "this stack makes no certificate for this system")
}

func (c Config) validateOutpost(f *faults) {
	o := c.Outpost
	c.validateRotation(f)
	for i, key := range o.CryptKeys {
		if _, err := fernet.DecodeKey(key); err != nil {
			f.add("outpost.cryptKeys[%d]: is no Fernet key (32 bytes, URL-safe base64)", i)
		}
	}
	byStack, exposed := c.byStack(), o.exposed()
	switch {
	case c.Hub == nil && byStack && (o.Address != "" || o.Exposure.Type != ""):
		f.add("outpost: address and exposure come from the stack of the hub; take them away here")
	case c.Hub == nil && byStack && o.Name == "":
		f.add("outpost.name is missing: what the hub's stack calls this outpost")
	case c.Hub == nil && !byStack && (o.Address == "" || !exposed):
		f.add("outpost: address and exposure are missing: no hub is named by its stack")
	case exposed && o.Address == "":
		f.add("outpost.address is missing: where hubs reach it")
	}
	if o.Address != "" && !validAddress(o.Address) {
		f.add("outpost.address: %q is neither an IPv4 address nor a DNS name", o.Address)
	}
	if c.Hub != nil && o.Address != "" && !exposed {
		f.add("outpost.address: means nothing without an exposure outside the cluster")
	}
	if o.Exposure.Type != "" {
		validateExposure(f, "outpost", o.Address, o.Exposure)
	}
	if c.Hub != nil && o.Exposure.OwnCertificate() {
		f.add("outpost.exposure: the hub of this stack asks at %s, so the outpost itself cannot speak TLS: use type ingress, or tls: false",
			outpost.InCluster(o.Namespace).API)
	}
	if c.Hub == nil && len(c.Hubs) == 0 {
		f.add("hubs: is empty; somebody must be allowed to ask this outpost")
	}
}

// validateNeighbours finds what a hub and an outpost in one cluster cannot both have.
func (c Config) validateNeighbours(f *faults) {
	h, o := c.Hub, c.Outpost
	if o.Namespace == h.Namespace {
		f.add("outpost.namespace: %q is %s:hub.namespace too; each needs one of its own", o.Namespace, project)
	}
	if h.Exposure.Type != hub.NodePort || h.Exposure.NodePort == 0 {
		return
	}
	for _, own := range []struct {
		key  string
		port int
	}{{"apiNodePort", o.Exposure.APINodePort}, {"sshNodePort", o.Exposure.SSHNodePort}} {
		if own.port == h.Exposure.NodePort {
			f.add("outpost.exposure.%s: %d is %s:hub.exposure.nodePort too; choose another", own.key, own.port, project)
		}
	}
}

// validateRotation finds words of the outpost's rotation that have no effect: only its own stack's secrets are made anew
// here. What the stack of a hub made is known later: see shown.
func (c Config) validateRotation(f *faults) {
	r := c.Outpost.Rotation
	f.addAll(r.words().Validate(project + ":outpost.rotation")...)
	f.addAll(credentials.Words(r.CryptKey).Validate(project + ":outpost.rotation.cryptKey"))
	local := slices.IndexFunc(c.Outposts, SystemConfig.InCluster)
	switch {
	case c.Hub == nil:
		f.nothing("outpost.rotation.password", len(r.Password) > 0,
			"passwords come from the hubs; set it at %s:outposts[].rotation.password in the stack of the hub", project)
	case local >= 0:
		system := fmt.Sprintf("%s:outposts[%d].rotation", project, local)
		f.nothing("outpost.rotation.password", len(r.Password) > 0, "the hub's system has it; set it at %s.password", system)
		f.nothing("outpost.rotation.hostKey", len(r.HostKey) > 0, "the hub's system has it; set it at %s.hostKey", system)
	}
	f.nothing("outpost.rotation.tls", len(r.TLS) > 0 && !c.byStack() && !c.Outpost.Exposure.OwnCertificate(), "the outpost has no certificate of its own")
}

func (c Config) validateHubs(f *faults) {
	seen := map[string]bool{}
	if c.Hub != nil {
		seen[c.Hub.Name] = true
	}
	for i, p := range c.Hubs {
		at := fmt.Sprintf("hubs[%d]", i)
		if seen[p.Name] {
			f.add("%s.name: %q is there twice", at, p.Name)
		}
		seen[p.Name] = true
		explicit := p.Password != "" || len(p.SSHPublicKeys) > 0
		switch {
		case p.Stack != "" && explicit:
			f.add("%s: password and sshPublicKeys come from the stack of the hub; take them away, or the stack", at)
		case p.Stack != "" && c.Hub != nil:
			f.add("%s.stack: this stack has a hub of its own; give the other one's password and sshPublicKeys", at)
		case p.Stack == "" && (p.Password == "" || len(p.SSHPublicKeys) == 0):
			f.add("%s: want either stack, or password and sshPublicKeys", at)
		}
		validateURL(f, at+".apiUrl", p.APIURL)
		for k, line := range p.SSHPublicKeys {
			validateKey(f, fmt.Sprintf("%s.sshPublicKeys[%d]", at, k), line)
		}
	}
}

// validateExposure finds keys that are missing, or that mean nothing with the exposure's type.
func validateExposure(f *faults, at, address string, e outpost.Exposure) {
	at += ".exposure"
	if f.wrong(at + ".type") {
		return // what the other keys mean, hangs on it
	}
	for _, key := range []struct {
		name  string
		set   bool
		types []string
	}{
		{"tls", e.TLS != nil, []string{outpost.NodePort, outpost.LoadBalancer, outpost.Ingress}},
		{"apiNodePort", e.APINodePort != 0, []string{outpost.NodePort}},
		{"sshNodePort", e.SSHNodePort != 0, []string{outpost.NodePort, outpost.Ingress}},
		{"sshAddress", e.SSHAddress != "", []string{outpost.LoadBalancer, outpost.Ingress}},
		{"loadBalancerIP", e.LoadBalancerIP != "", []string{outpost.LoadBalancer}},
		{"sshLoadBalancerIP", e.SSHLoadBalancerIP != "", []string{outpost.LoadBalancer, outpost.Ingress}},
		{"annotations", len(e.Annotations) > 0, []string{outpost.LoadBalancer, outpost.Ingress}},
		{"sshAnnotations", len(e.SSHAnnotations) > 0, []string{outpost.LoadBalancer, outpost.Ingress}},
		{"className", e.ClassName != "", []string{outpost.Ingress}},
		{"tlsSecret", e.TLSSecret != "", []string{outpost.Ingress}},
		{"ca", e.CA != "", []string{outpost.Ingress}},
	} {
		if key.set && !slices.Contains(key.types, e.Type) {
			f.add("%s.%s: means nothing with type %s", at, key.name, e.Type)
		}
	}
	if e.Type == outpost.NodePort {
		if e.APINodePort == 0 {
			f.add("%s.apiNodePort is missing", at)
		}
		if e.SSHNodePort == 0 {
			f.add("%s.sshNodePort is missing", at)
		}
		if e.APINodePort != 0 && e.APINodePort == e.SSHNodePort {
			f.add("%s: apiNodePort and sshNodePort are both %d", at, e.APINodePort)
		}
	}
	if e.Type == outpost.Ingress {
		if net.ParseIP(address) != nil {
			f.add("%s: an Ingress needs a DNS name as address, not %s", at, address)
		}
		if e.Encrypted() && e.TLSSecret == "" {
			f.add("%s.tlsSecret is missing: the Secret with the certificate, also where cert-manager makes it (or tls: false)", at)
		}
		if !e.Encrypted() && e.TLSSecret != "" {
			f.add("%s.tlsSecret: means nothing with tls: false", at)
		}
		validateCA(f, at+".ca", e.CA)
	}
	if e.SSHAddress != "" && !validAddress(e.SSHAddress) {
		f.add("%s.sshAddress: %q is neither an IPv4 address nor a DNS name", at, e.SSHAddress)
	}
}

// validateURL looks at what the schema's pattern lets through: the host, and the port. An empty text is none.
func validateURL(f *faults, key, text string) *url.URL {
	at, err := url.Parse(text)
	switch {
	case text == "":
		return &url.URL{}
	case err != nil:
		f.add("%s: %q is no URL", key, text)
		return &url.URL{}
	case !validAddress(at.Hostname()):
		f.add("%s: %q is neither an IPv4 address nor a DNS name", key, at.Hostname())
	}
	if port, err := strconv.Atoi(at.Port()); err == nil && (port == 0 || port > 65535) {
		f.add("%s: %d is no port", key, port)
	}
	return at
}

func validateKey(f *faults, at, line string) {
	if _, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil || strings.TrimSpace(string(rest)) != "" {
		f.add("%s: is no line of authorized_keys (\"ssh-ed25519 AAAA... comment\")", at)
	}
}

func validateCA(f *faults, at, text string) {
	for rest := []byte(text); strings.TrimSpace(string(rest)) != ""; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			f.add("%s: is no PEM", at)
			return
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			f.add("%s: is no certificate", at)
			return
		}
	}
}

var dnsName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// validAddress takes IPv4 addresses and DNS names. The last label of a name begins with a letter, so that 10.77.0.300
// is neither. The hub's client cannot write an IPv6 address.
func validAddress(address string) bool {
	if ip := net.ParseIP(address); ip != nil {
		return ip.To4() != nil
	}
	return len(address) <= 253 && dnsName.MatchString(address)
}
