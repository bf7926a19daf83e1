package kube

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

	"github.com/outposts-dev/outposts/server/outpost"
)

// builder makes the objects of starts from an outpost's options. It makes no request and is safe for concurrent use.
type builder struct {
	namespace string         // of the outpost
	general   map[string]any // the operator's options for all hubs
	defaults  map[string]any
	lookupEnv func(string) (string, bool) // of the process, for env_keep
}

// newBuilder checks the operator's options; a wrong one is KindInvalid, and the message names all of them. Zero and nil mean
// KubeSpawner's start_timeout and the process's environment.
func newBuilder(
	namespace string, options map[string]any, startTimeout time.Duration, lookupEnv func(string) (string, bool),
) (*builder, error) {
	if err := CheckOptions(options); err != nil {
		return nil, err
	}
	b := &builder{
		namespace: namespace, general: checkLayer(options, &problems{}), defaults: defaults(namespace), lookupEnv: lookupEnv,
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
func (b *builder) podNamespace() string {
	if namespace, ok := b.general["namespace"].(string); ok {
		return namespace
	}
	return b.namespace
}

// objects are what one start makes: Plan.Objects.
type objects struct {
	id        identity
	settings  settings
	names     names
	fields    fields
	namespace *corev1.Namespace             // nil unless each user has one
	claim     *corev1.PersistentVolumeClaim // nil unless storage_pvc_ensure
	secret    *corev1.Secret                // nil without internal TLS
	service   *corev1.Service               // nil unless asked for
	pod       *corev1.Pod
}

// build makes the objects of one start for the outpost whose database has this id. Every wrong option or name is reported
// at once, as KindInvalid.
func (b *builder) build(
	installation string, hub outpost.Hub, r outpost.StartRequest, flavor outpost.Flavor,
) (*objects, error) {
	var p problems
	o := b.buildObjects(installation, hub, r, flavor, &p)
	if text := p.String(); text != "" {
		return nil, outpost.Errorf(outpost.KindInvalid, "%s", text)
	}
	return o, nil
}

// buildObjects goes from options and request to objects. It is pure but for env_keep.
func (b *builder) buildObjects(installation string, hub outpost.Hub, r outpost.StartRequest, flavor outpost.Flavor, p *problems) *objects {
	merged, removed := b.mergeOptions(hub, r, flavor, p)
	if _, set := merged["port"]; !set {
		merged["port"] = portOfURL(r.Body.Env["JUPYTERHUB_SERVICE_URL"])
	}
	st, err := newSettings(merged, b.defaults)
	if err != nil {
		p.addf("options", "%v", err)
		return nil
	}
	if st.Port == 0 {
		st.Port = defaultPort
	}
	if st.LifecycleHooks == nil {
		st.LifecycleHooks = map[string]any{}
	}
	sub, t := b.subjectOf(r.Name, r.Body), templatesOf(st)
	n, f := t.resolve(sub, p)
	b.checkHost(hub, r.Body.Misc, t, n, p)
	o := &objects{id: identity{installation, r.Key}, settings: st, names: n, fields: f}
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

	m := buildMetadata(o.id, sub, st, f, p)
	if !r.StartDate.IsZero() {
		m.annotations[dateKey] = r.StartDate.Format(time.RFC3339Nano)
	}
	in.Labels, in.Annotations = m.podLabels, m.annotations
	o.pod = buildPod(in, p)
	b.addHelpers(o, m, ssl, r, p)
	if len(p.list) == 0 {
		checkObjects(o, ssl, p)
	}
	if state, err := json.Marshal(o.state()); err == nil { // a map of texts, numbers and booleans always encodes
		o.pod.Annotations = maps.Clone(o.pod.Annotations)
		o.pod.Annotations[stateKey] = string(state)
	}
	return o
}

// subjectOf is whose server a hub asks for.
func (b *builder) subjectOf(server string, body outpost.Body) subject {
	sub := subject{User: body.Env["JUPYTERHUB_USER"], Server: server, UserID: -1, HubNamespace: b.namespace}
	if id, err := strconv.Atoi(body.Env["JUPYTERHUB_USER_ID"]); err == nil {
		sub.UserID = id
	}
	return sub
}

// templatesOf are the templates of names among the settings.
func templatesOf(st settings) nameTemplates {
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
func (b *builder) addHelpers(o *objects, m metadata, ssl bool, r outpost.StartRequest, p *problems) {
	st, n := o.settings, o.names
	if st.EnableUserNamespaces {
		o.namespace = buildNamespace(n.Namespace, st, o.fields, p)
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
		o.claim = buildPVC(in, p)
	}
	if ssl {
		c := certificates{Key: r.Certs["keyfile"], Cert: r.Certs["certfile"], CA: r.Certs["cafile"], HubCA: r.TrustBundles["hub-ca"]}
		if c.Key == "" || c.Cert == "" || c.CA == "" {
			p.addf("internal_ssl", "the request has no keyfile, certfile or cafile in certs")
		}
		o.secret = buildSecret(n.Secret, n.Namespace, c, m.labels, m.annotations)
	}
	if st.ServicesEnabled || ssl {
		port, err := portOf(o.pod)
		if err != nil {
			p.addf("extra_container_config", "%v", err)
		}
		o.service = buildService(n.Pod, n.Namespace, port, m.podLabels, m.labels, m.annotations)
		// Every server has a Service, and each would be seven environment variables in every later server of the namespace:
		// they tell of other users, take the node's time, and in the end fill what an environment may hold. It differs from the peer.
		if o.pod.Spec.EnableServiceLinks == nil {
			o.pod.Spec.EnableServiceLinks = new(false)
		}
	}
}

// mergeOptions merges the layers, each over the one before: the operator's for all hubs, for this hub, the
// flavor's resources, what the hub sent in misc, and the profile. Every wrong value of every layer is noted.
// It differs from the peer, where a wrong value is skipped and takes the operator's value with it.
func (b *builder) mergeOptions(hub outpost.Hub, r outpost.StartRequest, flavor outpost.Flavor, p *problems) (map[string]any, []string) {
	merged := maps.Clone(b.general)
	layer := func(source string, values map[string]any) {
		p.source = source
		merged = mergeLayer(merged, checkLayer(values, p))
		p.source = ""
	}
	layer("configuration of hub "+hub.Name, hub.Options)
	if resources, ok := flavor["resources"].(map[string]any); ok {
		layer("flavor "+r.Flavor, resources)
	}
	misc := asValues(r.Body.Misc, p) // what the hub may set has been checked (outpost.Hub)
	if _, text := misc["dns_name_template"].(string); text && !hub.Lists("dns_name_template") {
		delete(misc, "dns_name_template") // checkHost looks at it once the names are known
	}
	layer("misc", misc)
	removed := applyProfile(merged, func(name string) any { return b.defaults[name] }, asValues(r.Body.UserOptions, p), p)
	return merged, removed
}

// checkHost notes a dns_name_template of the hub's that leads elsewhere than the operator's: the hub's SSH key opens the
// address that a start is answered with (X8). The client's default comes with every start, so it is nobody's wish.
func (b *builder) checkHost(hub outpost.Hub, misc map[string]json.RawMessage, t nameTemplates, n names, p *problems) {
	if json.Unmarshal(misc["dns_name_template"], &t.DNS) != nil || t.DNS == b.defaults["dns_name_template"] || hub.Lists("dns_name_template") {
		return
	}
	if host := t.dns(n, p); host != "" && host != n.DNS {
		p.addf("dns_name_template", "makes %q, but hub %s may only be led to %q; leave the option out at the hub, "+
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
func checkObjects(o *objects, ssl bool, p *problems) {
	n := o.names
	name := func(option, value string, check func(string) []string) {
		for _, why := range check(value) {
			p.addf(option, "makes the name %q: %s", value, why)
			break
		}
	}
	subdomain := validation.IsDNS1123Subdomain
	name("namespace", n.Namespace, validation.IsDNS1123Label)
	name("pod_name_template", n.Pod, subdomain)
	if o.service != nil {
		name("pod_name_template", n.Pod, validation.IsDNS1035Label)
		if !hostPattern.MatchString(n.DNS) {
			p.addf("dns_name_template", "makes %q, which is no host name", n.DNS)
		}
	}
	if ssl {
		name("secret_name_template", n.Secret, subdomain)
	}
	if o.claim != nil {
		name("pvc_name_template", n.PVC, subdomain)
	}
	checkLabels("extra_labels and common_labels", o.pod.Labels, p)
	if o.claim != nil {
		checkLabels("storage_extra_labels", o.claim.Labels, p)
	}
	for key := range o.pod.Annotations {
		for _, why := range validation.IsQualifiedName(strings.ToLower(key)) {
			p.addf("extra_annotations", "key %q: %s", key, why)
			break
		}
	}
	for _, v := range notebookOf(o.pod).Env {
		if v.Name == "" || strings.ContainsFunc(v.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == '=' }) {
			p.addf("env", "%q is no name of a variable", v.Name)
		}
		if strings.ContainsRune(v.Value, 0) {
			p.addf("env", "the value of %q has a zero byte", v.Name)
		}
	}
}

func checkLabels(option string, labels map[string]string, p *problems) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		why := validation.IsQualifiedName(key)
		why = append(why, validation.IsValidLabelValue(labels[key])...)
		if len(why) > 0 {
			p.addf(option, "label %s=%q: %s", key, labels[key], why[0])
		}
	}
}
