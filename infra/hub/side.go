package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	helmv4 "github.com/pulumi/pulumi-kubernetes/sdk/v4/go/kubernetes/helm/v4"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/charts"
	"github.com/outposts-dev/outposts/infra/effect"
	"github.com/outposts-dev/outposts/infra/release"
	"github.com/outposts-dev/outposts/infra/schema"
	"github.com/outposts-dev/outposts/infra/values"
)

const (
	// SideRelease is the release of our chart beside JupyterHub's, and the first part of the names of its objects.
	SideRelease = "outposts-hub"
	// TunnelsDeployment is the Deployment of the tunnels; their account and its Role have the same name.
	TunnelsDeployment = SideRelease + "-tunnels"
)

// tunnelsLabel is on the pods of the tunnels, by which the Services of servers select them.
const tunnelsLabel = "outposts.dev/tunnels"

// Tunnels are what an operator may choose for the processes that lead to servers of other clusters. The zero value is
// the defaults of our chart, whose names these are. The JSON names are those of the stack config.
type Tunnels struct {
	// Image is that of the outpost, of which they are a command.
	Image OutpostImage `json:"image,omitzero"`
	// ReplicaCount is how many there are.
	ReplicaCount *int `json:"replicaCount,omitempty"`
	// Ports is the range that Services of servers have at them, such as 20000-29999. The hub starts again for another.
	Ports string `json:"ports,omitempty"`
	// Drain is how many seconds open streams may last when one is to end.
	Drain *int `json:"drain,omitempty"`
	// Resources are those of a container.
	Resources map[string]any `json:"resources,omitempty"`
	// Values are further values of our chart. Lists are added to those of this component.
	Values map[string]any `json:"values,omitempty"`
}

// OutpostImage is a container image: digest over tag over our chart's own version.
type OutpostImage struct {
	Repository string `json:"repository,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Digest     string `json:"digest,omitempty"`
	PullPolicy string `json:"pullPolicy,omitempty"`
}

// side is our chart as it is installed beside JupyterHub.
func (a Args) side(made func(pulumi.Resource)) release.Chart {
	return release.Chart{
		Role: "side",
		Chart: &helmv4.ChartArgs{
			Name: pulumi.String(SideRelease), Namespace: pulumi.String(a.Namespace), Chart: pulumi.String(a.Side),
		},
		Values: a.sideValues(), Made: made,
	}
}

// afterSide is the transform of what of JupyterHub's chart comes after ours, once that is ready: the Secret that the
// hub's pod mounts and the NetworkPolicies of the chart, so that a hub from before, with ssh in its pod, serves its
// users until then. The Deployments wait for that Secret (afterSecrets), so that a hub which starts finds its data and
// the tunnels. The rest does not wait, volume claims least of all: one that is protected outlives the tunnels.
func afterSide(p *pulumi.Context, name, namespace string, side func() pulumi.Resource) pulumi.ResourceTransform {
	own := name + ":" + namespace + "/" // no name of our chart begins so: it would wait for itself
	return func(_ context.Context, args *pulumi.ResourceTransformArgs) *pulumi.ResourceTransformResult {
		var waits bool
		switch args.Type {
		case secretType:
			waits = args.Name == own+KeysSecret
		case "kubernetes:networking.k8s.io/v1:NetworkPolicy":
			waits = strings.HasPrefix(args.Name, own)
		}
		if p.DryRun() || !waits {
			return nil
		}
		return after(args, side().URN())
	}
}

// sideValues turns Args into the values of our chart, the operator's own over ours. It is pure, and everything in it is
// known before anything is made.
func (a Args) sideValues() map[string]any {
	needed := a.sideNeeded()
	return values.Add(needed, sideUnused.Meant(a.Tunnels.Values, needed))
}

// sideNeeded are the values of our chart that the operator's must not take the place of: those of other settings among
// them.
func (a Args) sideNeeded() map[string]any {
	made := a.Tunnels.chosen()
	maps.Copy(made, map[string]any{
		"fullnameOverride": SideRelease,
		"hubRelease":       a.release(),
		"namePrefix":       a.Name,
		"authSecret":       authSecret,
		"sshKeySecret":     sshSecret,
		"trustConfigMap":   trustConfigMap,
		"systems":          a.sideSystems(),
	})
	return made
}

// chosen are the settings but Values, as values of our chart.
func (t Tunnels) chosen() map[string]any {
	t.Values = nil
	return values.Of(t)
}

// sideSystems are the systems as our chart has them. What they are trusted by is in the ConfigMap of newTrust.
func (a Args) sideSystems() map[string]any {
	systems := map[string]any{}
	for _, s := range a.Systems {
		var flavors, profiles []any
		for _, flavor := range s.Flavors {
			flavors = append(flavors, values.Of(flavor))
		}
		for _, profile := range s.Profiles {
			profiles = append(profiles, values.Of(profile))
		}
		system := values.Given(map[string]any{
			"formerNames": values.List(s.FormerNames), "description": s.Description,
			"flavor": s.Flavor, "flavors": flavors, "profiles": profiles,
			"concurrentStarts": s.ConcurrentStarts, "sendAuthState": values.List(s.SendAuthState),
		})
		system["displayName"], system["hubApiUrl"] = cmp.Or(s.DisplayName, s.Name), s.HubAPIURL
		if s.DialsOut {
			system["connect"] = dialOut
		} else {
			system["url"] = s.URL
		}
		if len(s.CAs) > 0 {
			system["caKey"] = caKey(s.Name)
		}
		if s.SSH != nil {
			system["ssh"] = map[string]any{"host": s.SSH.Host, "port": s.SSH.Port}
		}
		systems[s.Name] = system
	}
	return systems
}

// caKey is the key of trustConfigMap with the CAs of a system.
func caKey(system string) string { return system + ".crt" }

// sideVersion is another text for another module, and for other data that a hub reads only when it starts.
func (a Args) sideVersion() string {
	data := fmt.Appendf(nil, "%s\n%v\n%s", a.Name, values.At(a.sideValues(), "ports"), moduleText())
	if a.dialsOut() {
		data = append(data, dialOut...) // the hub makes its service when it starts
	}
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%x", sum[:8])
}

// sideUnused are the values of our chart that have no effect here, and those that other settings decide.
var sideUnused = effect.Table{
	Defaults: values.Parse(charts.HubValues),
	Refusals: []effect.Refusal{
		effect.Refuse("systems.**", fromSystems),
		effect.Refuse("nameOverride", "would change labels that checks rely on; leave it out"),
		effect.Refuse("global.**", "has no effect: no chart is inside this one; leave it out"),
	},
	Conditions: []effect.Condition{
		effect.While("networkPolicy.**", "networkPolicy.enabled", true),
		effect.While("serviceAccount.annotations.**", "serviceAccount.create", true),
		effect.While("podDisruptionBudget.**", "podDisruptionBudget.enabled", true),
		effect.While("serviceMonitor.**", "serviceMonitor.enabled", true),
		effect.While("prometheusRule.**", "prometheusRule.enabled", true),
		effect.While("grafanaDashboard.**", "grafanaDashboard.enabled", true),
	},
	Conflicts: []effect.Refusal{
		effect.Refuse("hubRelease", "is the name of the hub's release; set hub.release"),
		effect.Refuse("namePrefix", "is the name of the hub; set hub.name"),
		effect.Refuse("authSecret", "is the Secret that this stack makes; leave it out"),
		effect.Refuse("sshKeySecret", "is the Secret that this stack makes; leave it out"),
		effect.Refuse("trustConfigMap", "is the ConfigMap that this stack makes; leave it out"),
		effect.Refuse("image.**", "has another value in hub.tunnels.image or outpost.image; leave one of them out"),
		effect.Refuse("replicaCount", "has another value in hub.tunnels.replicaCount; leave one of them out"),
		effect.Refuse("ports", "has another value in hub.tunnels.ports; leave one of them out"),
		effect.Refuse("drain", "has another value in hub.tunnels.drain; leave one of them out"),
		effect.Refuse("resources.**", "has another value in hub.tunnels.resources; leave one of them out"),
	},
}

var sideSchema = schema.Parse(charts.HubSchema)

// checkSide finds what is wrong with the values of our chart. Faults are named by their place in Args:
// "tunnels.values.drain", "tunnels.drain".
func (a Args) checkSide() []schema.Fault {
	faults := sideUnused.Faults(a.Tunnels.Values, a.sideNeeded(), a.sideValues())
	for _, fault := range sideSchema.CheckValues(values.Add(a.Tunnels.chosen(), a.Tunnels.Values)) {
		said := slices.ContainsFunc(faults, func(f schema.Fault) bool { return slices.Equal(f.Path, fault.Path) })
		if !said && !effect.Within(fault.Path, []string{"systems"}) { // which are refused as a whole
			faults = append(faults, fault)
		}
	}
	for i, fault := range faults {
		at := []string{"tunnels"}
		if len(fault.Path) > 0 && values.At(a.Tunnels.Values, fault.Path[0]) != nil {
			at = append(at, "values")
		}
		faults[i] = fault.Below(at...)
	}
	return faults
}
