package hub

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	helmv4 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/schema"
)

const (
	// ChartVersion is the release of zero-to-jupyterhub in ChartRepository that the values are for and are tested with
	// (10 June 2026).
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
	// Untested accepts another major or minor version than that of ChartVersion.
	Untested bool `json:"untested,omitempty"`
}

// Validate returns what is wrong with where the chart comes from. What is installed has all rights in the hub's
// namespace, so that nobody on the way may change it: plain HTTP is for a repository on this machine only.
func (c Chart) Validate() schema.Faults {
	var faults schema.Faults
	if (c.Path == "") == (c.Version == "") {
		faults = append(faults, schema.Fault{Text: "want either version or path"})
	}
	faults = append(faults, c.checkVersion()...)
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

// about is what the program must know of a chart before it is installed.
type about struct {
	version string // empty if it is not zero-to-jupyterhub, or cannot be read
	image   Image  // of the hub, without values
}

// about returns what the chart is: one of a repository by its version, as zero-to-jupyterhub tags its images; one in
// a folder by its files. A folder without a chart is refused elsewhere, and is taken for ChartVersion here.
func (c Chart) about() about {
	if c.Path == "" {
		return about{c.Version, Image{StockImage, c.Version}}
	}
	var chart struct{ Name, Version string }
	var defaults struct {
		Hub struct {
			Image struct{ Name, Tag string }
		}
	}
	read(filepath.Join(c.Path, "Chart.yaml"), &chart)
	read(filepath.Join(c.Path, "values.yaml"), &defaults)
	image := defaults.Hub.Image
	made := about{image: Image{cmp.Or(image.Name, StockImage), cmp.Or(image.Tag, ChartVersion)}}
	if chart.Name == chartName {
		made.version = chart.Version
	}
	return made
}

// read reads a YAML file of a chart; what cannot be read is left out.
func read(file string, into any) {
	if text, err := os.ReadFile(file); err == nil {
		_ = yaml.Unmarshal(text, into) // the provider says what is wrong with the chart
	}
}

// versionForm is a version of a chart as it is published, such as 4.4.0 or 4.5.0-0.dev.git.7000; its group is major and
// minor.
var versionForm = regexp.MustCompile(`^v?([0-9]+\.[0-9]+)\.[0-9]+([-+].*)?$`)

// checkVersion refuses what may be another release each time, and one with another major or minor version than the one
// that was tested: what systems need may have other keys there.
func (c Chart) checkVersion() schema.Faults {
	var faults schema.Faults
	version := c.about().version
	form := versionForm.FindStringSubmatch(version)
	switch {
	case version == "":
	case form == nil:
		faults.Add(c.key(), "%q is not a version; want one such as %s", version, ChartVersion)
	case form[1] != versionForm.FindStringSubmatch(ChartVersion)[1] && !c.Untested:
		faults.Add(c.key(), "%s; set untested: true beside it to install it all the same", c.difference(version))
	}
	return faults
}

// Warnings returns what is allowed but not tested: another version than ChartVersion.
func (c Chart) Warnings() schema.Faults {
	var faults schema.Faults
	if version := c.about().version; version != "" && version != ChartVersion {
		faults.Add(c.key(), "%s", c.difference(version))
	}
	return faults
}

// key is the key that decides on the version.
func (c Chart) key() string {
	if c.Path != "" {
		return "path"
	}
	return "version"
}

func (c Chart) difference(version string) string {
	return fmt.Sprintf("zero-to-jupyterhub %s is not tested here: values are made for %s and held to its schema",
		version, ChartVersion)
}
