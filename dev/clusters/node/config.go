package node

import (
	"bytes"
	"embed"
	"text/template"

	"github.com/outposts-dev/outposts/dev/clusters/plan"
)

//go:embed config
var configFiles embed.FS

var templates = template.Must(template.ParseFS(configFiles, "config/*"))

// places says where in the node each file of config/ goes.
var places = map[string]string{
	"containerd.toml":      at("config/containerd.toml"),
	"hosts.toml":           at("config/certs.d/_default/hosts.toml"),
	"kubelet.yaml":         at("config/kubelet.yaml"),
	"kube-proxy.yaml":      at("config/kube-proxy.yaml"),
	"resolv.conf":          at("config/resolv.conf"),
	"10-outposts.conflist": at("config/cni/10-outposts.conflist"),
}

// values are what the files of config/ are filled with.
type values struct {
	plan.Cluster
	Root   string
	Cgroup string
	Pause  string
}

func render(name string, cluster plan.Cluster, cgroup string) (string, error) {
	var out bytes.Buffer
	err := templates.ExecuteTemplate(&out, name, values{Cluster: cluster, Root: root, Cgroup: cgroup, Pause: PauseImage})
	return out.String(), err
}

func writeConfig(cluster plan.Cluster, cgroup string) error {
	for name, target := range places {
		text, err := render(name, cluster, cgroup)
		if err != nil {
			return err
		}
		if err := write(target, text); err != nil {
			return err
		}
	}
	return nil
}
