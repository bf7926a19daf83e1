package kubespawner

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// builder makes the objects of starts from an outpost's options. It makes no request and is safe for concurrent use.
type Builder struct {
	outpostNamespace string         // of the outpost
	general          map[string]any // the operator's options for all hubs
	defaults         map[string]any
	lookupEnv        func(string) (string, bool) // of the process, for env_keep
}

// newBuilder checks the operator's options; a wrong one is KindInvalid, and the message names all of them. Zero and nil mean
// KubeSpawner's start_timeout and the process's environment.
func NewBuilder(
	namespace string, values map[string]any, startTimeout time.Duration, lookupEnv func(string) (string, bool),
) (*Builder, error) {
	if err := options.Check(values); err != nil {
		return nil, err
	}
	b := &Builder{
		outpostNamespace: namespace, general: options.CheckLayer(values, &options.Problems{}), defaults: options.Defaults(namespace), lookupEnv: lookupEnv,
	}
	if startTimeout > 0 {
		b.defaults["start_timeout"] = int64(startTimeout / time.Second)
	}
	if b.lookupEnv == nil {
		b.lookupEnv = os.LookupEnv
	}
	return b, nil
}

// podNamespace is where the operator's options put pods.
func (b *Builder) Namespace() string {
	if namespace, ok := b.general["namespace"].(string); ok {
		return namespace
	}
	return b.outpostNamespace
}

// objects are what one start makes: Plan.Objects.
type Objects struct {
	Origin    Origin
	Settings  options.Settings
	names     names
	fields    fields
	Namespace *corev1.Namespace             // nil unless each user has one
	Claim     *corev1.PersistentVolumeClaim // nil unless storage_pvc_ensure
	Secret    *corev1.Secret                // nil without internal TLS
	Service   *corev1.Service               // nil unless asked for
	Pod       *corev1.Pod
}

// build makes the objects of one start for the outpost whose database has this id. Every wrong option or name is reported
// at once, as KindInvalid.
func (b *Builder) Build(
	installation string, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor,
) (*Objects, error) {
	var p options.Problems
	o := b.buildObjects(installation, hub, r, flavor, &p)
	if text := p.String(); text != "" {
		return nil, outpost.Errorf(outpost.KindInvalid, "%s", text)
	}
	return o, nil
}

// buildObjects goes from options and request to objects. It is pure but for env_keep.
func (b *Builder) buildObjects(installation string, hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor, p *options.Problems) *Objects {
	merged, removed := b.mergeOptions(hub, r, flavor, p)
	if _, set := merged["port"]; !set {
		merged["port"] = portOfURL(r.Body.Env["JUPYTERHUB_SERVICE_URL"])
	}
	st, err := options.NewSettings(merged, b.defaults)
	if err != nil {
		p.Addf("options", "%v", err)
		return nil
	}
	if st.Port == 0 {
		st.Port = options.DefaultPort
	}
	if st.LifecycleHooks == nil {
		st.LifecycleHooks = map[string]any{}
	}
	sub, t := b.subjectOf(r.Name, r.Body), templatesOf(st)
	n, f := t.resolve(sub, p)
	b.checkHost(hub, r.Body.Misc, t, n, p)
	o := &Objects{Origin: Origin{installation, r.Key}, Settings: st, names: n, fields: f}
	ssl := len(r.Certs) > 0
	if st.InternalSSL != nil {
		ssl = *st.InternalSSL
	}
	in := podInput{Name: n.Pod, Namespace: n.Namespace, Settings: st}
	if ssl {
		in.SSLSecret = n.Secret
	}
	if st.WorkingDir != nil {
		in.WorkingDir, _ = f.expandAll("working_dir", *st.WorkingDir, p).(string)
	}
	if st.ServiceAccount != nil {
		account, _ := f.expandAll("service_account", *st.ServiceAccount, p).(string)
		in.Settings.ServiceAccount = &account
	}
	for _, list := range []struct {
		option string
		value  *[]any
	}{
		{"volumes", &in.Settings.Volumes},
		{"volume_mounts", &in.Settings.VolumeMounts},
		{"init_containers", &in.Settings.InitContainers},
		{"extra_containers", &in.Settings.ExtraContainers},
	} {
		*list.value, _ = f.expandAll(list.option, *list.value, p).([]any)
	}
	in.Settings.ExtraPodConfig = f.expandMap("extra_pod_config", st.ExtraPodConfig, p)
	in.Env = buildEnvironment(environmentInput{
		settings: st, fields: f, hub: r.Body.Env, removed: removed, ssl: ssl, lookup: b.lookupEnv,
	}, p)

	m := buildMetadata(o.Origin, sub, st, f, p)
	if !r.StartDate.IsZero() {
		m.annotations[DateKey] = r.StartDate.Format(time.RFC3339Nano)
	}
	in.Labels, in.Annotations = m.podLabels, m.annotations
	o.Pod = buildPod(in, p)
	b.addHelpers(o, m, ssl, r, p)
	if len(p.List) == 0 {
		checkObjects(o, ssl, p)
	}
	if state, err := json.Marshal(o.State()); err == nil { // a map of texts, numbers and booleans always encodes
		o.Pod.Annotations = maps.Clone(o.Pod.Annotations)
		o.Pod.Annotations[StateKey] = string(state)
	}
	return o
}

// subjectOf is whose server a hub asks for.
func (b *Builder) subjectOf(server string, body outpost.Body) subject {
	sub := subject{User: body.Env["JUPYTERHUB_USER"], Server: server, UserID: -1, HubNamespace: b.outpostNamespace}
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

// addHelpers adds what the pod needs beside it.
func (b *Builder) addHelpers(o *Objects, m metadata, ssl bool, r outpost.StartRequest, p *options.Problems) {
	st, n := o.Settings, o.names
	if st.EnableUserNamespaces {
		o.Namespace = buildNamespace(n.Namespace, st, o.fields, p)
	}
	if st.StoragePVCEnsure {
		in := pvcInput{
			Name: n.PVC, Namespace: n.Namespace, Labels: m.pvcLabels, Annotations: m.pvcAnnotations,
			StorageClass: st.StorageClass, AccessModes: st.StorageAccessModes,
			Selector: o.fields.expandMap("storage_selector", st.StorageSelector, p),
		}
		if st.StorageCapacity != nil {
			in.Storage = *st.StorageCapacity
		}
		o.Claim = buildPVC(in, p)
	}
	if ssl {
		c := certificates{Key: r.Certs["keyfile"], Cert: r.Certs["certfile"], CA: r.Certs["cafile"], HubCA: r.TrustBundles["hub-ca"]}
		if c.Key == "" || c.Cert == "" || c.CA == "" {
			p.Addf("internal_ssl", "the request has no keyfile, certfile or cafile in certs")
		}
		o.Secret = buildSecret(n.Secret, n.Namespace, c, m.labels, m.annotations)
	}
	if st.ServicesEnabled || ssl {
		port, err := portOf(o.Pod)
		if err != nil {
			p.Addf("extra_container_config", "%v", err)
		}
		o.Service = buildService(n.Pod, n.Namespace, port, m.podLabels, m.labels, m.annotations)
		// Every server has a Service, and each would be seven environment variables in every later server of the namespace:
		// they tell of other users, take the node's time, and in the end fill what an environment may hold. It differs from the peer.
		if o.Pod.Spec.EnableServiceLinks == nil {
			o.Pod.Spec.EnableServiceLinks = new(false)
		}
	}
}

// mergeOptions merges the layers, each over the one before: the operator's for all hubs, for this hub, the
// flavor's resources, what the hub sent in misc, and the profile. Every wrong value of every layer is noted.
// It differs from the peer, where a wrong value is skipped and takes the operator's value with it.
func (b *Builder) mergeOptions(hub outpost.Hub, r outpost.StartRequest, flavor flavor.Flavor, p *options.Problems) (map[string]any, []string) {
	merged := maps.Clone(b.general)
	layer := func(source string, values map[string]any) {
		p.Source = source
		merged = options.MergeLayer(merged, options.CheckLayer(values, p))
		p.Source = ""
	}
	layer("configuration of hub "+hub.Name, hub.Options)
	if resources, ok := flavor["resources"].(map[string]any); ok {
		layer("flavor "+r.Flavor, resources)
	}
	misc := options.Decode(r.Body.Misc, p) // what the hub may set has been checked (outpost.Hub)
	if _, text := misc["dns_name_template"].(string); text && !hub.Lists("dns_name_template") {
		delete(misc, "dns_name_template") // checkHost looks at it once the names are known
	}
	layer("misc", misc)
	removed := options.ApplyProfile(merged, func(name string) any { return b.defaults[name] }, options.Decode(r.Body.UserOptions, p), p)
	return merged, removed
}

// checkHost notes a dns_name_template of the hub's that leads elsewhere than the operator's: the hub's SSH key opens the
// address that a start is answered with (X8). The client's default comes with every start, so it is nobody's wish.
func (b *Builder) checkHost(hub outpost.Hub, misc map[string]json.RawMessage, t nameTemplates, n names, p *options.Problems) {
	if json.Unmarshal(misc["dns_name_template"], &t.DNS) != nil || t.DNS == b.defaults["dns_name_template"] || hub.Lists("dns_name_template") {
		return
	}
	if host := t.dns(n, p); host != "" && host != n.DNS {
		p.Addf("dns_name_template", "makes %q, but hub %s may only be led to %q; leave the option out at the hub, "+
			"or list dns_name_template in hubs.%s.allowedOptions of the outpost", host, hub.Name, n.DNS, hub.Name)
	}
}

// portOfURL returns the port of the URL that a hub gives its server, or 0. The peer ignores it, and a server then
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

var hostPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// checkObjects notes names, labels and variables that Kubernetes would refuse, before anything is made.
func checkObjects(o *Objects, ssl bool, p *options.Problems) {
	n := o.names
	name := func(option, value string, check func(string) []string) {
		for _, why := range check(value) {
			p.Addf(option, "makes the name %q: %s", value, why)
			break
		}
	}
	subdomain := validation.IsDNS1123Subdomain
	name("namespace", n.Namespace, validation.IsDNS1123Label)
	name("pod_name_template", n.Pod, subdomain)
	if o.Service != nil {
		name("pod_name_template", n.Pod, validation.IsDNS1035Label)
		if !hostPattern.MatchString(n.DNS) {
			p.Addf("dns_name_template", "makes %q, which is no host name", n.DNS)
		}
	}
	if ssl {
		name("secret_name_template", n.Secret, subdomain)
	}
	if o.Claim != nil {
		name("pvc_name_template", n.PVC, subdomain)
	}
	checkLabels("extra_labels and common_labels", o.Pod.Labels, p)
	if o.Claim != nil {
		checkLabels("storage_extra_labels", o.Claim.Labels, p)
	}
	for key := range o.Pod.Annotations {
		for _, why := range validation.IsQualifiedName(strings.ToLower(key)) {
			p.Addf("extra_annotations", "key %q: %s", key, why)
			break
		}
	}
	for _, v := range notebookOf(o.Pod).Env {
		if v.Name == "" || strings.ContainsFunc(v.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '=' }) {
			p.Addf("env", "%q is no name of a variable", v.Name)
		}
		if strings.ContainsRune(v.Value, 0) {
			p.Addf("env", "the value of %q has a zero byte", v.Name)
		}
	}
}

func checkLabels(option string, labels map[string]string, p *options.Problems) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		why := validation.IsQualifiedName(key)
		why = append(why, validation.IsValidLabelValue(labels[key])...)
		if len(why) > 0 {
			p.Addf(option, "label %s=%q: %s", key, labels[key], why[0])
		}
	}
}
