package hub

import (
	"cmp"
	"net/netip"
	"net/url"
	"strings"

	helmv4 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/schema"
)

const (
	// ChartVersion is the release of zero-to-jupyterhub in ChartRepository that the values are for (10 June 2026).
	ChartVersion = "4.4.0"
	// ChartRepository is where the chart is published.
	ChartRepository = "https://hub.jupyter.org/helm-chart/"
	// chartName is the chart's name in any repository.
	chartName = "jupyterhub"
)

// Chart is where the chart comes from: Version of a repository, or Path of a local folder.
type Chart struct {
	Version    string `json:"version,omitempty"`
	Repository string `json:"repository,omitempty"` // https:// or oci://, of a Version; empty: ChartRepository
	Path       string `json:"path,omitempty"`
}

// Validate returns what is wrong with where the chart comes from. What is installed has all rights in the hub's
// namespace, so that nobody on the way may change it: plain HTTP is for a repository on this machine only.
func (c Chart) Validate() schema.Faults {
	var faults schema.Faults
	if (c.Path == "") == (c.Version == "") {
		faults = append(faults, schema.Fault{Text: "want either version or path"})
	}
	if c.Repository == "" {
		return faults
	}
	if c.Path != "" {
		faults.Add("repository", "has no effect with path")
	}
	at, err := url.Parse(c.Repository)
	switch {
	case err != nil || at.Host == "":
		faults.Add("repository", "is not a URL; want one that begins with https:// or oci://")
	case at.User != nil:
		faults.Add("repository", "has a password in it; `helm registry login` keeps one for oci://")
	case at.Scheme == "https", at.Scheme == "oci", at.Scheme == "http" && loopback(at.Hostname()):
	default:
		faults.Add("repository", "%q: want https:// or oci://", c.Repository)
	}
	return faults
}

func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// at returns where the provider finds the chart. One in a registry (oci://) is named by its URL alone.
func (c Chart) at() *helmv4.ChartArgs {
	if c.Path != "" {
		return &helmv4.ChartArgs{Chart: pulumi.String(c.Path)}
	}
	repository := cmp.Or(c.Repository, ChartRepository)
	if strings.HasPrefix(repository, "oci://") {
		at := strings.TrimSuffix(repository, "/") + "/" + chartName
		return &helmv4.ChartArgs{Chart: pulumi.String(at), Version: pulumi.String(c.Version)}
	}
	return &helmv4.ChartArgs{
		Chart: pulumi.String(chartName), Version: pulumi.String(c.Version),
		RepositoryOpts: helmv4.RepositoryOptsArgs{Repo: pulumi.String(repository)},
	}
}
