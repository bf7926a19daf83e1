package kubespawner

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Builder builds the objects of starts from the options of an outpost. It is safe for concurrent use.
type Builder struct {
	namespace string          // of the outpost
	own       map[string]bool // objects of the outpost's own pod, such as "secrets/outpost-users"
	general   map[string]any  // the operator's options for all hubs
	defaults  map[string]any
	lookupEnv func(string) (string, bool)
}

// NewBuilder checks the operator's options for all hubs; the error is KindInvalid and names each wrong one. Pods are in
// namespace unless an option says otherwise. own are the objects of the outpost's own pod there, such as
// "secrets/outpost-users", which no hub may use. startTimeout is the default of start_timeout, zero KubeSpawner's 60 s;
// lookupEnv is the environment that env_keep copies from, nil that of the process.
func NewBuilder(
	namespace string, own []string, values map[string]any, startTimeout time.Duration,
	lookupEnv func(string) (string, bool),
) (*Builder, error) {
	var p options.Problems
	general := options.Check(values, &p)
	if err := p.Err(); err != nil {
		return nil, err
	}
	if lookupEnv == nil {
		lookupEnv = os.LookupEnv
	}
	b := newBuilder(namespace, general, startTimeout, lookupEnv)
	for _, object := range own {
		b.own[object] = true
	}
	return b, nil
}

// newBuilder takes checked options.
func newBuilder(
	namespace string, general map[string]any, startTimeout time.Duration, lookupEnv func(string) (string, bool),
) *Builder {
	return &Builder{
		namespace: namespace, own: map[string]bool{}, general: general,
		defaults: options.Defaults(namespace, startTimeout), lookupEnv: lookupEnv,
	}
}

// Namespace is where the operator's options put pods.
func (b *Builder) Namespace() string {
	if namespace, ok := b.general["namespace"].(string); ok {
		return namespace
	}
	return b.namespace
}

// Objects are what one start makes.
type Objects struct {
	Origin    Origin
	Settings  options.Settings
	Namespace *corev1.Namespace             // nil unless each user has one
	Claim     *corev1.PersistentVolumeClaim // nil unless storage_pvc_ensure
	Secret    *corev1.Secret                // nil without internal TLS
	Pull      *corev1.Secret                // a login to the registry of the image; nil if the user brings none
	Service   *corev1.Service               // nil unless services_enabled or internal TLS
	Pod       *corev1.Pod

	// References are sorted. Whose they are is for the cluster to say, see [Objects.OtherOwnerOf].
	References []Reference

	// SharedClaim says that the claim's name holds nothing of the user: the operator means it for all users of a hub.
	SharedClaim bool

	// SeveralHubs says that an object that does not say whose it is can be of any of them.
	SeveralHubs bool

	names  names
	fields fields

	earlierHomes []string
	homeOfServer bool // each server of a user has a claim of its own
	rebuild      func(home string) (*Objects, error)
}

// Build builds the objects of one start for the outpost whose database has the id installation. The error is
// KindInvalid and names every wrong option and name.
func (b *Builder) Build(
	installation string, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor,
) (*Objects, error) {
	var p options.Problems
	checkName("JUPYTERHUB_USER", r.Body.Env["JUPYTERHUB_USER"], &p)
	checkName("name", r.Name, &p)
	if err := p.Err(); err != nil {
		return nil, err // names are made of them
	}
	return b.build(installation, hub, r, flavor, "")
}

// build is Build with the claim of a name that is not the template's, if home is not empty.
func (b *Builder) build(
	installation string, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor, home string,
) (*Objects, error) {
	var p options.Problems
	o := b.objects(installation, hub, r, flavor, home, &p)
	if p.Err() == nil {
		b.refer(o, installation, hub, r, flavor, &p)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	o.rebuild = func(home string) (*Objects, error) { return b.build(installation, hub, r, flavor, home) }
	return o, nil
}

// objects is build with what is wrong in p: nil if the options make no settings. It is pure but for env_keep.
func (b *Builder) objects(
	installation string, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor, home string,
	p *options.Problems,
) *Objects {
	operator, resources := b.operatorOptions(hub, r.Flavor, flavor, p)
	merged, removed := b.mergeOptions(operator, resources, hub, r, p)
	if _, set := merged["port"]; !set {
		merged["port"] = portOfURL(r.Body.Env["JUPYTERHUB_SERVICE_URL"])
	}
	st, err := options.NewSettings(merged, b.defaults)
	if err != nil {
		p.Addf("options", "%v", err)
		return nil
	}
	if st.LifecycleHooks == nil {
		st.LifecycleHooks = map[string]any{} // the notebook always has a lifecycle
	}
	sub, t := b.subjectOf(r.Key, r.Body), templatesOf(st)
	t.Home = home
	if st.Homes.OneNode() {
		st.PodAffinityRequired = append(slices.Clone(st.PodAffinityRequired), besideOwnServers(sub))
	}
	o := &Objects{Origin: Origin{installation, r.Key}, SeveralHubs: hub.Several}
	o.names, o.fields = t.resolve(sub, p)
	o.SharedClaim = st.StoragePVCEnsure && home == "" && t.sharesClaim(sub, o.names)
	if st.StoragePVCEnsure && home == "" && !o.SharedClaim {
		o.earlierHomes, o.homeOfServer = t.earlierHomes(sub, o.names), t.ofEachServer(sub, o.names)
	}
	b.checkHost(hub, r.Body.Misc, t, o.names, p)
	expand := o.fields.expander()
	o.Settings = expand.expandSettings(st, p)

	m := buildMetadata(o.Origin, sub, st, expand, p)
	if !r.StartDate.IsZero() {
		m.annotations[DateKey] = r.StartDate.Format(time.RFC3339Nano)
	}
	if r.Flavor != "" {
		m.annotations[FlavorKey] = r.Flavor
	}
	in := podInput{
		Name: o.names.Pod, Namespace: o.names.Namespace, Labels: m.podLabels, Annotations: m.annotations,
		Settings: o.Settings,
	}
	if tls := st.InternalSSL; tls != nil && *tls || tls == nil && len(r.Certs) > 0 {
		o.Secret = buildSecret(o.names.Secret, o.names.Namespace, b.certificatesOf(hub, r, p), m.labels, m.annotations)
		in.SSLSecret = o.names.Secret
	}
	in.Env = buildEnvironment(environmentInput{
		settings: st, fields: expand, hub: r.Body.Env, removed: removed, tls: o.Secret != nil, lookup: b.lookupEnv,
	}, p)
	o.Pod = buildPod(in, p)
	if r.Login != nil {
		o.addLogin(r.Login.DockerConfig(outpost.ImageOf(r.Body.Misc)), m)
	}
	o.restrictServiceLinks(operator)
	o.addHelpers(m, expand, p)
	if p.Err() == nil { // else names may be wrong for another reason
		o.checkNames(p)
	}
	if !p.Full() {
		o.checkPod(p)
	}
	if state, err := json.Marshal(o.State()); err == nil { // a map of strings, numbers and booleans always encodes
		o.Pod.Annotations = maps.Clone(o.Pod.Annotations)
		o.Pod.Annotations[StateKey] = string(state)
	}
	return o
}

// besideOwnServers is a term of pod affinity that leads the servers of a user to one node: Kubernetes lets the first
// one of them go anywhere.
func besideOwnServers(sub subject) map[string]any {
	return map[string]any{
		"labelSelector": map[string]any{"matchLabels": map[string]any{
			UsernameKey: labelSlug(sub.User), HubKey: labelSlug(sub.Hub),
		}},
		"topologyKey": corev1.LabelHostname,
	}
}

// operatorOptions merges the operator's layers, each over the one before: the options for all hubs, for this hub, and
// the flavor's resources, which it also returns by themselves.
func (b *Builder) operatorOptions(
	hub outpost.Hub, name string, flavor flavor.Flavor, p *options.Problems,
) (merged, resources map[string]any) {
	merged = maps.Clone(b.general)
	merge := func(source string, values map[string]any) map[string]any {
		checked := checkLayer(source, values, p)
		options.CheckLimits(merged, checked, p)
		merged = options.MergeLayer(merged, checked)
		return checked
	}
	merge("configuration of hub "+hub.Name, hub.Options)
	if values, ok := flavor["resources"].(map[string]any); ok {
		resources = merge("flavor "+name, values)
	}
	return merged, resources
}

// Offer returns what a form shows of a hub's servers to a user of these groups: profiles, and home and shared data
// without one. It is that of a flavor that sets nothing of it.
func (b *Builder) Offer(hub outpost.Hub, groups access.Groups) catalog.Offer {
	operator, _ := b.operatorOptions(hub, "", nil, &options.Problems{}) // checked with the configuration
	offer := catalog.Offer{
		Shared:   options.PublishShared(operator["shared"], groups),
		Profiles: options.Publish(operator["profile_list"], groups),
	}
	delete(operator, "profile_list")
	if st, err := options.NewSettings(operator, b.defaults); err == nil {
		offer.Home = options.PublishHome(st)
	}
	return offer
}

// checkLayer is [options.CheckLayer]; source is where the values come from.
func checkLayer(source string, values map[string]any, p *options.Problems) map[string]any {
	p.Source = source
	defer func() { p.Source = "" }()
	return options.CheckLayer(values, p)
}

// mergeOptions merges what the hub sent in misc, and the profile, over the operator's options. Every wrong value of
// every layer is noted. It differs from KubeSpawner, where a wrong value is skipped and takes the operator's value with
// it. It also returns the variables that the profile removes.
func (b *Builder) mergeOptions(
	operator, resources map[string]any, hub outpost.Hub, r outpost.StartRequest, p *options.Problems,
) (merged map[string]any, removed []string) {
	misc := options.Decode(r.Body.Misc, p) // the domain has checked what the hub may set (outpost.Hub)
	if _, text := misc["dns_name_template"].(string); text && !hub.Lists("dns_name_template") {
		delete(misc, "dns_name_template") // checkHost looks at it when the names are known
	}
	sent := checkLayer("misc", misc, p)
	withoutReserved(sent)
	merged = options.MergeLayer(operator, sent)
	current := func(name string) any { return b.defaults[name] }
	groups := access.GroupsOf(r.Authentication)
	opens := func(rule access.Rule) bool { return rule.Allows(groups) }
	userOptions, opensProfile := options.Decode(r.Body.UserOptions, p), opens
	if name, _ := userOptions["profile"].(string); r.Resumed && name != "" {
		// The process that accepted the start has judged the profile that it names. Without the user's groups nothing
		// else of them is opened: the pod is there, and one that has to be made again must not have more than it had.
		opensProfile = func(access.Rule) bool { return true }
	}
	removed = options.ApplyProfile(merged, resources, current, userOptions, opensProfile, p)
	options.ApplyShared(merged, opens)
	return merged, removed
}

// subjectOf is whose server a hub asks for.
func (b *Builder) subjectOf(k outpost.Key, body outpost.Body) subject {
	sub := subject{
		User: body.Env["JUPYTERHUB_USER"], Server: k.Name, UserID: -1, Hub: k.Hub, HubNamespace: b.namespace,
	}
	if id, err := strconv.Atoi(body.Env["JUPYTERHUB_USER_ID"]); err == nil {
		sub.UserID = id
	}
	return sub
}

// templatesOf are the templates of names among the settings.
func templatesOf(st options.Settings) nameTemplates {
	t := nameTemplates{
		Scheme: st.SlugScheme, Namespace: st.Namespace, Pod: st.PodNameTemplate, DNS: st.DNSNameTemplate,
		Secret: st.SecretNameTemplate, PVC: st.PVCNameTemplate,
	}
	if st.EnableUserNamespaces {
		t.UserNamespace = st.UserNamespaceTemplate
	}
	return t
}

// portOfURL returns the port of the URL that a hub gives its server, or 0. KubeSpawner ignores it, and a server then
// listens elsewhere than its Service points to.
func portOfURL(raw string) int64 {
	u, err := url.Parse(raw)
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil {
		return 0
	}
	return int64(port)
}

// certificatesOf reads the certificates of a request and notes missing ones. Every client may send them; whether the
// outpost makes Secrets of them is the operator's to say.
func (b *Builder) certificatesOf(hub outpost.Hub, r outpost.StartRequest, p *options.Problems) certificates {
	if !internalTLS(b.general, hub) && !hub.Lists("internal_ssl") {
		p.Addf("internal_ssl", "is not enabled on this outpost; its operator enables it by spawner option internal_ssl")
		return certificates{}
	}
	c := certificates{
		Key: r.Certs["keyfile"], Cert: r.Certs["certfile"], CA: r.Certs["cafile"], HubCA: r.TrustBundles["hub-ca"],
	}
	if c.Key == "" || c.Cert == "" || c.CA == "" {
		p.Addf("internal_ssl", "certs of the request lacks keyfile, certfile or cafile")
	}
	return c
}

// addHelpers adds what the pod needs beside it.
func (o *Objects) addHelpers(m metadata, expand *expander, p *options.Problems) {
	st, n := o.Settings, o.names
	if st.EnableUserNamespaces {
		o.Namespace = buildNamespace(n.Namespace, st, expand, p)
		maps.Copy(o.Namespace.Annotations, map[string]string{
			HubKey: o.Origin.Hub, InstallationKey: o.Origin.Installation,
		})
	}
	if st.StoragePVCEnsure {
		in := pvcInput{
			Name: n.PVC, Namespace: n.Namespace, Labels: m.pvcLabels, Annotations: m.pvcAnnotations,
			StorageClass: st.StorageClass, AccessModes: st.StorageAccessModes,
			Selector: expand.expandMap("storage_selector", st.StorageSelector, p),
		}
		if st.StorageCapacity != nil {
			in.Storage = *st.StorageCapacity
		}
		o.Claim = buildPVC(in, p)
	}
	if !st.ServicesEnabled && o.Secret == nil {
		return
	}
	_, port, err := ServingContainer(o.Pod)
	if err != nil {
		p.Addf("extra_container_config", "%v", err)
	}
	o.Service = buildService(n.Pod, n.Namespace, port, m.podLabels, m.labels, m.annotations)
}

// restrictServiceLinks takes the variables for other Services away unless the operator's options ask for them. It
// differs from KubeSpawner: other servers of the namespace have Services, whoever has none, and each would be seven
// variables in every later server. They show other users, cost the node time, and finally exceed what an environment
// can hold.
func (o *Objects) restrictServiceLinks(operator map[string]any) {
	if links := &o.Pod.Spec.EnableServiceLinks; *links == nil || !asksForServiceLinks(operator) {
		*links = new(false)
	}
}

// asksForServiceLinks reports whether options set enableServiceLinks of pods, by either name.
func asksForServiceLinks(values map[string]any) bool {
	config, _ := values["extra_pod_config"].(map[string]any)
	overlay, _ := values["pod_overlay"].(map[string]any)
	spec, _ := overlay["spec"].(map[string]any)
	if asked, set := spec["enableServiceLinks"]; set {
		return asked == true
	}
	return config["enableServiceLinks"] == true || config["enable_service_links"] == true
}
