package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/outposts-dev/outposts/infra/hub"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// Outputs of a stack. Remote stacks read systems, operators the rest: a name here stays as it is.
const (
	// outputCluster is the uid of the cluster's namespace kube-system.
	outputCluster = "clusterId"

	// Of a stack with a hub.
	outputHubURL        = "hubUrl"        // what users open
	outputHubName       = "hubName"       // the hub's name at its outposts
	outputSystemNames   = "systemNames"   // list of names
	outputLoginPassword = "loginPassword" // secret: of the default authenticator, any user
	outputVerifyUser    = "verifyUser"    // the one user that verifyToken can act for
	outputVerifyToken   = "verifyToken"   // secret: token of JupyterHub's API
	outputSSHPublicKeys = "sshPublicKeys" // list of authorized_keys lines, for an outpost that someone else runs
	// outputSystems is secret: a map from the name of a system to what its stack needs, the JSON of systemOutput.
	outputSystems = "systems"
	// outputSystem and the name of a system are the output, secret, with that system alone: for an operator who may not
	// read the others.
	outputSystem = "system-"

	// Lists of IP addresses and host names that the cluster has given to what hub and outpost are reached by: the
	// Service of a load balancer, the Gateway, the Ingress if its controller says so. Each is there with such an
	// exposure alone.
	outputHubAddresses = "hubAddresses"        // of the hub
	outputAPIAddresses = "outpostAddresses"    // of the outpost's API
	outputSSHAddresses = "outpostSshAddresses" // of its SSH

	// Of a stack with an outpost: as hubs elsewhere reach it; one that is not exposed, as its hub does.
	outputAPIURL   = "outpostUrl"      // the outpost's API, ".../services"
	outputSSH      = "outpostSsh"      // where its SSH listens, "host:port"; not of one that connects to its hubs
	outputHostKeys = "outpostHostKeys" // list of authorized_keys lines, for a hub that someone else runs
	outputCAs      = "outpostCas"      // list of PEM, likewise; empty for the public CAs
	outputHomes    = "homes"           // whether outpost.homes, or its default, keeps users' files
)

// systemOutput is what the hub's stack tells the stack of an outpost.
type systemOutput struct {
	Hub       string           `json:"hub"`       // the hub's name, its Basic-auth user
	HubAPIURL string           `json:"hubApiUrl"` // the hub's API as seen from the outpost's cluster
	Address   string           `json:"address"`   // of the outpost
	Exposure  outpost.Exposure `json:"exposure"`  // of the outpost
	// DialOutURLs are where the outpost connects to the hub, in place of address and exposure.
	DialOutURLs   []string `json:"dialOutUrls"`
	Password      string   `json:"password"`
	SSHPublicKeys []string `json:"sshPublicKeys"` // all are accepted
	// What the outpost shows; empty where the hub was given the other half by the outpost's operator.
	HostKey        string   `json:"hostKey"`
	HostKeys       []string `json:"hostKeys"` // public halves, all trusted by the hub
	TLSCertificate string   `json:"tlsCertificate"`
	TLSKey         string   `json:"tlsKey"`
	CAs            []string `json:"cas"` // all trusted by the hub
	// Culls says that the hub ends idle servers; false in outputs from before that was told.
	Culls bool `json:"culls"`
	// Flavors are those that the hub declares; none in outputs from before that was told.
	Flavors []hub.Flavor `json:"flavors"`
	// Profiles are the slugs of those that the hub declares, likewise.
	Profiles []string `json:"profiles"`
}

// readSystems reads what the stacks of hubs tell about this stack's outpost, in the order of hubs in config; nil for
// a hub without stack. It returns no list unless all could be read.
func readSystems(ctx *pulumi.Context, c Config) ([]*systemOutput, error) {
	told := make([]*systemOutput, len(c.Hubs))
	var errs []error
	for i, p := range c.Hubs {
		if !p.tells() {
			continue
		}
		at := fmt.Sprintf("%s:hubs[%d].system", project, i)
		if p.Stack != "" {
			at = fmt.Sprintf("%s:hubs[%d].stack: %s", project, i, p.Stack)
		}
		out, err := p.read(ctx, c.Outpost.Name)
		if err == nil && out.Hub != p.Name {
			err = fmt.Errorf("is of a hub that is called %q, not %q", out.Hub, p.Name)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %w", at, err))
			continue
		}
		told[i] = &out
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return told, nil
}

// read reads what the stack of a hub that tells says about a system. The errors continue a sentence that begins with
// the key.
func (h OtherHubConfig) read(ctx *pulumi.Context, name string) (systemOutput, error) {
	if h.Stack == "" {
		value := h.System
		if text, isText := value.(string); isText {
			if err := json.Unmarshal([]byte(text), &value); err != nil { // without the text, which is secret
				return systemOutput{}, errors.New("is not JSON; want what `pulumi stack output --show-secrets " +
					outputSystem + name + "` prints in the hub's stack")
			}
		}
		return decodeSystem(value)
	}
	outputs, err := stackOutputs(ctx, h.Stack)
	if err != nil {
		return systemOutput{}, fmt.Errorf("cannot be read; run `pulumi up` on it first: %w", err)
	}
	return systemIn(outputs, name)
}

// stackOutputs returns the outputs of another stack. A pulumi.StackReference would be registered as a resource, and
// would end the program without saying what to do.
func stackOutputs(ctx *pulumi.Context, stack string) (map[string]any, error) {
	return call(ctx, readStackOutputs, map[string]any{"name": stack})
}

// errElided is of a secret output that the engine cannot decrypt: it puts {} in the place of each. The text continues a
// sentence that begins with the name of the stack.
var errElided = errors.New("cannot be decrypted: its secrets have another passphrase or key than this run was given. " +
	"Give both stacks the same PULUMI_CONFIG_PASSPHRASE, or a key service that this run may use too " +
	"(`pulumi stack change-secrets-provider`)")

// systemIn finds a system in the outputs of a hub's stack. The errors continue a sentence that begins with the name of
// the stack.
func systemIn(outputs map[string]any, name string) (systemOutput, error) {
	all, ok := outputs[outputSystems].(map[string]any)
	if _, elided := outputs[outputLoginPassword].(map[string]any); elided {
		return systemOutput{}, errElided
	}
	if !ok {
		return systemOutput{}, errors.New("has no systems yet; run `pulumi up` on it first")
	}
	value, ok := all[name]
	if !ok {
		return systemOutput{}, fmt.Errorf(
			"has no system %q: add it to %s:outposts there and run `pulumi up` on it first", name, project)
	}
	return decodeSystem(value)
}

// decodeSystem returns a system as its hub's stack tells it.
func decodeSystem(value any) (systemOutput, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return systemOutput{}, err
	}
	var out systemOutput
	if err := json.Unmarshal(text, &out); err != nil {
		return systemOutput{}, fmt.Errorf("was written by another version of this program: %w", err)
	}
	if out.Hub == "" {
		return systemOutput{}, errors.New("is not a system of a hub's stack")
	}
	return out, nil
}

// secretText marks a string that was read as plain Go as secret.
func secretText(text string) pulumi.StringOutput {
	return pulumi.ToSecret(pulumi.String(text)).(pulumi.StringOutput)
}

// secretTexts does so for each.
func secretTexts(texts []string) pulumi.StringArray {
	made := pulumi.StringArray{}
	for _, text := range texts {
		made = append(made, secretText(text))
	}
	return made
}
