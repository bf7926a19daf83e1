package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

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

	// Of a stack with an outpost: as hubs elsewhere reach it; one that is not exposed, as its hub does.
	outputAPIURL   = "outpostUrl"      // the outpost's API, ".../services"
	outputSSH      = "outpostSsh"      // where its SSH listens, "host:port"
	outputHostKeys = "outpostHostKeys" // list of authorized_keys lines, for a hub that someone else runs
	outputCAs      = "outpostCas"      // list of PEM, likewise; empty for the public CAs
)

// systemOutput is what the hub's stack tells the stack of an outpost.
type systemOutput struct {
	Hub           string           `json:"hub"`       // the hub's name, its Basic-auth user
	HubAPIURL     string           `json:"hubApiUrl"` // the hub's API as seen from the outpost's cluster
	Address       string           `json:"address"`   // of the outpost
	Exposure      outpost.Exposure `json:"exposure"`  // of the outpost
	Password      string           `json:"password"`
	SSHPublicKeys []string         `json:"sshPublicKeys"` // all are accepted
	// What the outpost shows; empty where the hub was given the other half by the outpost's operator.
	HostKey        string   `json:"hostKey"`
	HostKeys       []string `json:"hostKeys"` // public halves, all trusted by the hub
	TLSCertificate string   `json:"tlsCertificate"`
	TLSKey         string   `json:"tlsKey"`
	CAs            []string `json:"cas"` // all trusted by the hub
}

// readSystems reads what the stacks of hubs tell about this stack's outpost, in the order of hubs in config; nil for
// a hub without stack. It returns no list unless all could be read.
func readSystems(ctx *pulumi.Context, c Config) ([]*systemOutput, error) {
	told := make([]*systemOutput, len(c.Hubs))
	var errs []error
	for i, p := range c.Hubs {
		if p.Stack == "" {
			continue
		}
		at := fmt.Sprintf("%s:hubs[%d].stack: %s", project, i, p.Stack)
		outputs, err := stackOutputs(ctx, p.Stack)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s cannot be read; run `pulumi up` on it first: %w", at, err))
			continue
		}
		out, err := systemIn(outputs, c.Outpost.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %w", at, err))
			continue
		}
		if out.Hub != p.Name {
			errs = append(errs, fmt.Errorf("%s: its hub is called %q, not %q", at, out.Hub, p.Name))
		}
		told[i] = &out
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return told, nil
}

// stackOutputs returns the outputs of another stack. It makes the call that is behind pulumi.StackReference; as a
// resource that would be registered, and would end the program without saying what to do.
func stackOutputs(ctx *pulumi.Context, stack string) (map[string]any, error) {
	answer, err := await(ctx, "pulumi:pulumi:readStackOutputs", map[string]any{"name": stack})
	if err != nil {
		return nil, err
	}
	outputs, _ := answer["outputs"].(map[string]any)
	return outputs, nil
}

// systemIn finds a system in the outputs of a hub's stack. The errors continue a sentence that begins with the name of
// the stack.
func systemIn(outputs map[string]any, name string) (systemOutput, error) {
	all, ok := outputs[outputSystems].(map[string]any)
	if _, elided := outputs[outputLoginPassword].(map[string]any); elided {
		// The engine puts {} in the place of each secret that it cannot decrypt, systems among them.
		return systemOutput{}, errors.New("cannot be decrypted: its secrets have another passphrase or key than this " +
			"run was given. Give both stacks the same PULUMI_CONFIG_PASSPHRASE, or a key service that this run may " +
			"use too (`pulumi stack change-secrets-provider`)")
	}
	if !ok {
		return systemOutput{}, errors.New("has no systems yet; run `pulumi up` on it first")
	}
	value, ok := all[name]
	if !ok {
		return systemOutput{}, fmt.Errorf(
			"has no system %q: add it to %s:outposts there and run `pulumi up` on it first", name, project)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return systemOutput{}, err
	}
	var out systemOutput
	if err := json.Unmarshal(text, &out); err != nil {
		return systemOutput{}, fmt.Errorf("was written by another version of this program: %w", err)
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
