package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/exposure"
	"github.com/outposts-dev/outposts/infra/outpost"
	"github.com/outposts-dev/outposts/infra/values"
)

// writeRights is `stacks rights FILE SUBJECT`: it prints the Roles that an operator of the stack with this file,
// Pulumi.<stack>.yaml, needs, bound to a subject, as "User:jane" or "ServiceAccount:ci/deployer". Nothing is asked of
// the cluster or of the state: a namespace counts as made if the stack makes it. Such namespaces are only in a comment:
// whoever takes the rights away by `kubectl delete -f` would delete them with all that is in them.
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
	var objects []map[string]any
	comment := ""
	for _, namespace := range c.made() {
		if comment == "" {
			comment = "# Roles need their namespaces. Make those that are not there; the stack takes over empty ones.\n"
		}
		comment += "#   kubectl create namespace " + namespace.Name + "\n"
	}
	stack := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "Pulumi."), ".yaml")
	role, binding := objectName(stack), objectName(stack+" "+subject)
	needed := c.rights(state{}, c.exposures()...)
	for _, namespace := range slices.Sorted(maps.Keys(needed)) {
		objects = append(objects, rolesIn(namespace, needed[namespace], role, binding, bound)...)
	}
	if _, err := io.WriteString(to, comment); err != nil {
		return fmt.Errorf("rights: %w", err)
	}
	for _, object := range objects {
		text, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("rights: %w", err)
		}
		if _, err := fmt.Fprintf(to, "---\n%s", text); err != nil {
			return fmt.Errorf("rights: %w", err)
		}
	}
	return nil
}

// rolesIn are a Role with rules in a namespace, or a ClusterRole where that is empty, and what binds a subject to it.
func rolesIn(namespace string, rules []rule, role, binding string, subject map[string]any) []map[string]any {
	kind := "Role"
	if namespace == "" {
		kind = "ClusterRole"
	}
	meta := func(name string) map[string]any {
		return values.Given(map[string]any{"name": name, "namespace": namespace})
	}
	return []map[string]any{
		{"apiVersion": rbacGroup + "/v1", "kind": kind, "metadata": meta(role), "rules": rules},
		{
			"apiVersion": rbacGroup + "/v1", "kind": kind + "Binding", "metadata": meta(binding),
			"subjects": []any{subject},
			"roleRef":  map[string]any{"apiGroup": rbacGroup, "kind": kind, "name": role},
		},
	}
}

var notInLabel = regexp.MustCompile(`[^a-z0-9]+`)

// objectName is the name of an object for a text, the same in each run: a DNS label of at most 58 characters, which
// ends in a hash of the text, since what a label cannot hold is left out.
func objectName(text string) string {
	slug := notInLabel.ReplaceAllString(strings.ToLower(text), "-")
	slug = strings.Trim(slug[:min(len(slug), 40)], "-")
	return fmt.Sprintf("%s-%s-%.4x", project, slug, sha256.Sum256([]byte(text)))
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
	written, err := configIn(text)
	if err != nil {
		return Config{}, err
	}
	document := map[string]any{}
	for key, value := range written {
		name, ours := strings.CutPrefix(key, project+":")
		if !ours {
			continue
		}
		if text, isText := value.(string); isText { // as `pulumi config set` writes it without --path
			value = valueOf(text)
		}
		document[name] = withoutSecrets(value)
	}
	c, err := configOf(document, root)
	if err != nil {
		return Config{}, err
	}
	if c.Hub == nil && c.Outpost == nil {
		return Config{}, errors.New("has neither a hub nor an outpost")
	}
	// A namespace that the stack does not make is there, and servers run in it.
	if err := c.placeServers(!c.options(outpostNamespace).isMade(), false); err != nil {
		return Config{}, err
	}
	return c, nil
}

// withoutSecrets is a value of a stack file with an empty string in the place of each secret.
func withoutSecrets(value any) any {
	switch v := value.(type) {
	case map[string]any:
		if encrypted(v) {
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
