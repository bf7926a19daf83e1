package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/outpost"
)

// writeRights is `stacks rights FILE SUBJECT`: it prints the Roles that an operator of the stack with this file needs,
// bound to a subject, as "User:jane" or "ServiceAccount:ci/deployer". Nothing is asked of the cluster or of the state:
// a namespace counts as made if the stack makes it.
func writeRights(file, subject string, to io.Writer) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("rights: %w", err)
	}
	c, err := readConfig(text, filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("rights: %s: %w", file, err)
	}
	bound, err := subjectOf(subject)
	if err != nil {
		return fmt.Errorf("rights: %w", err)
	}
	needed := c.rights(state{}, c.exposures()...)
	for _, namespace := range slices.Sorted(maps.Keys(needed)) {
		kind, meta := "Role", map[string]any{"name": project + "-operator", "namespace": namespace}
		if namespace == "" {
			kind = "ClusterRole"
			delete(meta, "namespace")
		}
		for _, object := range []map[string]any{
			{"kind": kind, "metadata": meta, "rules": needed[namespace]},
			{
				"kind": kind + "Binding", "metadata": meta, "subjects": []any{bound},
				"roleRef": map[string]any{"apiGroup": rbacGroup, "kind": kind, "name": project + "-operator"},
			},
		} {
			object["apiVersion"] = rbacGroup + "/v1"
			text, err := yaml.Marshal(object)
			if err != nil {
				return fmt.Errorf("rights: %w", err)
			}
			if _, err := fmt.Fprintf(to, "---\n%s", text); err != nil {
				return fmt.Errorf("rights: %w", err)
			}
		}
	}
	return nil
}

// exposures are how the outpost is reached, as far as this config says; one whose hub's stack says it may be behind an
// Ingress or a Gateway.
func (c Config) exposures() []outpost.Exposure {
	switch {
	case c.told():
		return []outpost.Exposure{
			{Type: exposure.Ingress}, {Type: exposure.Gateway, SSHGateway: &exposure.GatewayRef{}},
		}
	case c.Outpost != nil:
		return []outpost.Exposure{c.Outpost.Exposure}
	}
	return nil
}

// readConfig reads the config in the text of a stack file, without what is encrypted in it, and without a check of what
// keys mean.
func readConfig(text []byte, root string) (Config, error) {
	var file struct {
		Config map[string]any `json:"config"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return Config{}, err
	}
	document := map[string]any{}
	for key, value := range file.Config {
		if name, ours := strings.CutPrefix(key, project+":"); ours {
			document[name] = withoutSecrets(value)
		}
	}
	options := takeNamespaces(document)
	plain, err := json.Marshal(document)
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := json.Unmarshal(plain, &c); err != nil {
		return Config{}, err
	}
	c.namespaceOptions = options
	c.setDefaults(root)
	if c.Hub == nil && c.Outpost == nil {
		return Config{}, errors.New("has neither a hub nor an outpost")
	}
	if c.Outpost != nil && c.Outpost.Servers == "" {
		c.Outpost.Servers = c.Outpost.Namespace
		if c.options(outpostNamespace).isMade() && !c.Outpost.placesServers() {
			c.Outpost.Servers = c.Outpost.ownServers()
		}
	}
	return c, nil
}

// withoutSecrets is a value of a stack file with an empty string in the place of each secret.
func withoutSecrets(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if _, encrypted := v["secure"].(string); encrypted && len(v) == 1 {
			return ""
		}
		made := map[string]any{}
		for key, inner := range v {
			made[key] = withoutSecrets(inner)
		}
		return made
	case []any:
		made := make([]any, len(v))
		for i, inner := range v {
			made[i] = withoutSecrets(inner)
		}
		return made
	}
	return value
}

// subjectOf is a subject of a RoleBinding.
func subjectOf(text string) (map[string]any, error) {
	kind, name, _ := strings.Cut(text, ":")
	namespace, account, inNamespace := strings.Cut(name, "/")
	switch {
	case (kind == "User" || kind == "Group") && name != "":
		return map[string]any{"kind": kind, "apiGroup": rbacGroup, "name": name}, nil
	case kind == "ServiceAccount" && inNamespace && namespace != "" && account != "":
		return map[string]any{"kind": kind, "namespace": namespace, "name": account}, nil
	}
	return nil, fmt.Errorf("%q is not a subject: want User:NAME, Group:NAME or ServiceAccount:NAMESPACE/NAME", text)
}
