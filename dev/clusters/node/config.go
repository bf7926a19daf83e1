package node

import (
	"bytes"
	"embed"
	"fmt"
	"os"
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
	Root     string
	Cgroup   string
	Pause    string
	Volatile bool
}

func render(name string, cluster plan.Cluster, cgroup, kernel string) (string, error) {
	var out bytes.Buffer
	err := templates.ExecuteTemplate(&out, name,
		values{Cluster: cluster, Root: root, Cgroup: cgroup, Pause: PauseImage, Volatile: volatile(kernel)})
	return out.String(), err
}

// volatile reports whether the overlayfs of a kernel release, such as 6.1.0-42-amd64, can leave out that every unmount
// writes the whole disk behind it: since Linux 5.10.
func volatile(release string) bool {
	var major, minor int
	_, err := fmt.Sscanf(release, "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 10)
}

func writeConfig(cluster plan.Cluster, cgroup string) error {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	for name, target := range places {
		text, err := render(name, cluster, cgroup, string(kernel))
		if err != nil {
			return err
		}
		if err := write(target, text); err != nil {
			return err
		}
	}
	return nil
}
