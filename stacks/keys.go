package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/outposts-dev/outposts/infra/credentials"
)

// kept are the types of what cannot be made again: the bytes of all secrets, with what they belong to. The stack itself
// is kept for its outputs, which other stacks read and which say in which cluster it was.
var kept = []string{
	"pulumi:pulumi:Stack", "pulumi:providers:random", randomBytes,
	credentials.HubType, credentials.PairType, credentials.StoreType,
}

// writeKeys is `stacks keys`: it reduces what `pulumi stack export` prints to the keys of the stack, in the same form,
// for `pulumi stack import`. Secrets in it stay encrypted as they are; clear ones are refused.
func writeKeys(from io.Reader, to io.Writer) error {
	var exported map[string]any
	if err := json.NewDecoder(from).Decode(&exported); err != nil {
		return fmt.Errorf("keys: standard input is not what `pulumi stack export` prints: %w", err)
	}
	deployment, _ := exported["deployment"].(map[string]any)
	resources, _ := deployment["resources"].([]any)
	resources = slices.DeleteFunc(resources, func(r any) bool {
		made, _ := r.(map[string]any)
		typ, _ := made["type"].(string)
		return !slices.Contains(kept, ofToday.Replace(typ))
	})
	isKey := func(r any) bool {
		made, _ := r.(map[string]any)
		return made["type"] == randomBytes
	}
	if !slices.ContainsFunc(resources, isKey) {
		return errors.New("keys: the stack has none yet; run `pulumi up` on it first")
	}
	deployment["resources"] = resources
	delete(deployment, "pending_operations") // all of them are of what is left out
	text, err := json.MarshalIndent(exported, "", "    ")
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	if strings.Contains(string(text), `"plaintext":`) {
		return errors.New("keys: the secrets are in clear; export the stack without --show-secrets")
	}
	_, err = to.Write(append(text, '\n'))
	return err
}
