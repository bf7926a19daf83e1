package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	// What the provider takes is taken here too: users of a kubeconfig with an auth-provider.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

// Access says how a cluster is reached. The operators of a stack share what the provider is given of it, which is in
// the state; so it means the same to each of them. Without Path and Content a cluster is reached as kubectl does: by
// the files that KUBECONFIG lists, else ~/.kube/config, else, in a pod, by its ServiceAccount.
type Access struct {
	// Path is a kubeconfig file: absolute, in the user's home folder ("~/..."), or relative to the folder in which
	// Pulumi runs the program and its providers.
	Path string
	// Content is a kubeconfig itself, YAML or JSON. It may hold credentials.
	Content string
	// Context is the name of a context. Empty: the only one that there is.
	Context string
	// Secret says that Path is to be kept as a secret; Content is in any case.
	Secret bool
}

// source names where the contexts come from.
func (a Access) source() string {
	switch {
	case a.Content != "":
		return "the given kubeconfig"
	case a.Path != "":
		return "kubeconfig " + a.Path
	}
	return cmp.Or(os.Getenv(clientcmd.RecommendedConfigPathEnvVar), clientcmd.RecommendedHomeFile)
}

// opened is a kubeconfig as it was read.
type opened struct {
	config *api.Config
	// context is the one that is meant; empty in a pod without a kubeconfig.
	context string
	// relative says that there are paths of files in it that are relative to itself, as for kubectl. They are absolute
	// in config.
	relative bool
}

// open reads what there is. An error begins with the argument that is wrong, kubeconfig or context.
func (a Access) open() (opened, error) {
	o, err := a.read()
	if err != nil {
		return opened{}, err
	}
	names := slices.Sorted(maps.Keys(o.config.Contexts))
	has := strings.Join(names, ", ")
	switch {
	case len(names) == 0 && a.elsewhere() && a.Context == "" && inPod():
		return o, nil
	case len(names) == 0 && a.elsewhere():
		return opened{}, fmt.Errorf("kubeconfig: there is none at %s, where kubectl looks; name one, or set "+
			"KUBECONFIG. Relative paths in it are below %s", a.source(), folder())
	case a.Context != "" && !slices.Contains(names, a.Context):
		return opened{}, fmt.Errorf("context: %s has no context %q; it has: %s", a.source(), a.Context, has)
	case a.Context == "" && len(names) == 0:
		return opened{}, fmt.Errorf("kubeconfig: %s has no context", a.source())
	case a.Context == "" && len(names) > 1:
		return opened{}, fmt.Errorf("context is missing: %s has %s; name the one that is meant", a.source(), has)
	}
	o.context = cmp.Or(a.Context, names[0])
	return o, nil
}

// elsewhere reports whether the kubeconfig is where kubectl finds it.
func (a Access) elsewhere() bool { return a.Path == "" && a.Content == "" }

// inPod reports whether there is a ServiceAccount to reach a cluster by.
func inPod() bool {
	_, err := rest.InClusterConfig()
	return err == nil
}

// folder is where this program runs, for messages.
func folder() string {
	at, err := os.Getwd()
	if err != nil {
		return "the folder of this program"
	}
	return at
}

func (a Access) read() (opened, error) {
	switch {
	case a.Content != "":
		config, err := clientcmd.Load([]byte(a.Content))
		if err != nil { // without the parser's words, which may quote it
			return opened{}, errors.New("kubeconfig: is neither the path nor the content of a kubeconfig")
		}
		return opened{config: config}, nil
	case a.Path != "":
		return readFile(a.Path)
	}
	config, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	if err != nil {
		return opened{}, fmt.Errorf("kubeconfig: read %s: %w", a.source(), err)
	}
	return opened{config: config}, nil
}

func readFile(path string) (opened, error) {
	at, err := expanded(path)
	if err != nil {
		return opened{}, fmt.Errorf("kubeconfig: %s: %w", path, err)
	}
	written, err := clientcmd.LoadFromFile(at)
	if errors.Is(err, fs.ErrNotExist) {
		return opened{}, fmt.Errorf("kubeconfig: no file %s; name one that is there", at)
	}
	if err != nil {
		return opened{}, fmt.Errorf("kubeconfig: read %s: %w", at, err)
	}
	config := written.DeepCopy()
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return opened{}, fmt.Errorf("kubeconfig: read %s: %w", at, err)
	}
	return opened{config: config, relative: !slices.Equal(filesOf(written), filesOf(config))}, nil
}

// filesOf are the files that a kubeconfig refers to.
func filesOf(config *api.Config) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(config.Clusters)) {
		all = append(all, config.Clusters[name].CertificateAuthority)
	}
	for _, name := range slices.Sorted(maps.Keys(config.AuthInfos)) {
		user := config.AuthInfos[name]
		all = append(all, user.ClientCertificate, user.ClientKey, user.TokenFile)
	}
	return all
}

// expanded is a path with the home folder in the place of ~: that of the user, as the provider has it, whatever HOME
// says.
func expanded(path string) (string, error) {
	rest, below := strings.CutPrefix(path, "~/")
	if !below {
		return filepath.Abs(path)
	}
	u, err := user.Current()
	if err != nil {
		return "", err
	}
	return filepath.Join(u.HomeDir, rest), nil
}

// clientConfig is what a client of the cluster needs, resolved by the same rules as the provider's.
func (a Access) clientConfig() (*rest.Config, error) {
	o, err := a.open()
	if err != nil {
		return nil, err
	}
	var config *rest.Config
	if o.context == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.NewNonInteractiveClientConfig(*o.config, o.context, nil, nil).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("context: %s: %w", o.context, err)
	}
	return config, nil
}

// given is what the provider is given.
type given struct {
	kubeconfig string // path or content; empty for that of kubectl
	context    string // empty for the kubeconfig's own
	secret     bool   // whether kubeconfig may hold credentials
}

// given returns what the provider is given: nothing that is the operator's own or the machine's. The provider takes
// relative paths in a kubeconfig for relative to another folder; of such a file it gets the content, with what those
// files hold, as far as the context needs it.
func (a Access) given() (given, error) {
	g := given{kubeconfig: cmp.Or(a.Content, a.Path), context: a.Context, secret: a.Secret || a.Content != ""}
	o, err := a.open()
	if err != nil {
		return g, nil // Open has said so
	}
	if g.context == "" && o.config.CurrentContext != o.context {
		g.context = o.context
	}
	if !o.relative {
		return g, nil
	}
	o.config.CurrentContext = o.context
	if err := api.MinifyConfig(o.config); err != nil {
		return given{}, fmt.Errorf("kubeconfig: %s: %w", a.Path, err)
	}
	for _, user := range o.config.AuthInfos {
		if user.TokenFile != "" {
			return given{}, fmt.Errorf("kubeconfig: %s refers to a token by a relative path; make that absolute, or "+
				"name the file by KUBECONFIG", a.Path)
		}
	}
	if err := api.FlattenConfig(o.config); err != nil {
		return given{}, fmt.Errorf("kubeconfig: %s: %w", a.Path, err)
	}
	content, err := clientcmd.Write(*o.config)
	if err != nil {
		return given{}, fmt.Errorf("kubeconfig: %s: %w", a.Path, err)
	}
	g.kubeconfig, g.secret = string(content), true
	return g, nil
}
