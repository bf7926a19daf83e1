package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"sigs.k8s.io/yaml"

	"github.com/outposts-dev/outposts/infra/infratest"
	"github.com/outposts-dev/outposts/infra/values"
)

// fileOf is the file of a stack in which the values at paths are encrypted.
func fileOf(t *testing.T, raw map[string]string, secret ...string) []byte {
	t.Helper()
	document := documentOf(raw)
	for _, path := range secret {
		encrypt(t, document, strings.Split(path, "."))
	}
	config := map[string]any{}
	for name, value := range document {
		config[project+":"+name] = value
	}
	text, err := yaml.Marshal(map[string]any{"config": config, "encryptionsalt": "v1:x"})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// encrypt replaces the value at a path by what Pulumi writes in its place.
func encrypt(t *testing.T, in any, path []string) {
	t.Helper()
	secure := map[string]any{"secure": "v1:y"}
	switch v := in.(type) {
	case map[string]any:
		if len(path) == 1 {
			v[path[0]] = secure
			return
		}
		encrypt(t, v[path[0]], path[1:])
	case []any:
		i, err := strconv.Atoi(path[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(path) == 1 {
			v[i] = secure
			return
		}
		encrypt(t, v[i], path[1:])
	default:
		t.Fatalf("nothing at %v", path)
	}
}

func TestSecretValuesThatWouldEndInClearAreRefused(t *testing.T) {
	raw := map[string]string{
		"outposts:cluster": `{"kubeconfig": "k", "context": "c"}`,
		"outposts:outpost": `{"name": "x", "cryptKeys": ["one"],
			"values": {"extraEnvVars": [{"name": "A", "value": "b"}]},
			"config": {"spawner": {"environment": {"S3_SECRET": "s"}}}, "flavors": {"flavors": {"a": {"x": "y"}}},
			"credits": {"credits": {"a": 1}}}`,
		"outposts:hubs": `[{"name": "h", "password": "p"}]`,
		"outposts:hub": `{"url": "u", "values": {"hub": {"config": {"GitHubOAuthenticator": {"client_secret": "s"}},
			"extraEnv": {"TOKEN": "t"}}, "custom": {"a": {"b": "c"}}}}`,
		"outposts:allowDataLoss": `["a/b"]`,
	}
	const use = "; use `pulumi config set --secret --path` for what is secret in it"
	text := func(path string) string { return clearPlace(strings.Split(path, ".")) }
	for _, c := range []struct {
		name   string
		secret []string
		want   []string
	}{
		{"what takes secrets", []string{
			"outpost.cryptKeys.0", "outpost.cryptKeys", "hubs.0.password", "hub.values.custom",
			"hub.values.hub.config.GitHubOAuthenticator.client_secret", "hub.values.hub.config",
		}, nil},
		{"the outpost's config", []string{"outpost.config.spawner.environment.S3_SECRET"}, []string{
			"outposts:outpost.config.spawner.environment.S3_SECRET: is set as secret, but " + text("outpost.config.x"),
		}},
		{"the outpost's files", []string{"outpost.flavors.flavors.a.x", "outpost.credits.credits.a"}, []string{
			"outposts:outpost.credits.credits.a: is set as secret, but " + text("outpost.credits.x"),
			"outposts:outpost.flavors.flavors.a.x: is set as secret, but " + text("outpost.flavors.x"),
		}},
		{"a variable of the outpost", []string{"outpost.values.extraEnvVars.0.value"}, []string{
			"outposts:outpost.values.extraEnvVars[0].value: is set as secret, but " + text("outpost.values.x"),
		}},
		{"a variable of the hub", []string{"hub.values.hub.extraEnv.TOKEN"}, []string{
			"outposts:hub.values.hub.extraEnv.TOKEN: is set as secret, but " + text("hub.values.x"),
		}},
		{"a whole key", []string{"hubs", "outpost.values", "cluster"}, []string{
			"outposts:cluster: is secret as a whole, but cluster.context " + text("cluster.context") + use,
			"outposts:hubs: is secret as a whole, but hubs[0].name " + text("hubs.0.name") + use,
			"outposts:outpost.values: is secret as a whole, but outpost.values.extraEnvVars[0].name " +
				text("outpost.values.x") + use,
		}},
		{"a name and a list", []string{"outpost.name", "allowDataLoss.0"}, []string{
			"outposts:allowDataLoss[0]: is set as secret, but " + text("allowDataLoss.0"),
			"outposts:outpost.name: is set as secret, but " + text("outpost.name"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var keys []string
			for _, path := range c.secret {
				name, _, _ := strings.Cut(path, ".")
				if key := project + ":" + name; !slices.Contains(keys, key) {
					keys = append(keys, key)
				}
			}
			// Of two marks, one in the other, Pulumi writes the outer one.
			for i := range c.secret {
				inner := func(other string) bool { return strings.HasPrefix(c.secret[i], other+".") }
				if slices.ContainsFunc(c.secret, inner) {
					c.secret[i] = ""
				}
			}
			c.secret = slices.DeleteFunc(c.secret, func(path string) bool { return path == "" })
			marks, unplaced := secretMarks(raw, keys, fileOf(t, raw, c.secret...))
			if unplaced != nil {
				t.Errorf("not placed: %v", unplaced)
			}
			var got []string
			if err := refuseMarks(marks); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
		})
	}
}

// A file that is not that of the config says nothing about what is secret: then it is said that nothing is known.
func TestSecretsOfAnotherFile(t *testing.T) {
	raw := map[string]string{"outposts:hubs": `[{"name": "h", "password": "p"}]`, "kubernetes:x": "y"}
	keys := []string{"outposts:hubs", "kubernetes:x"}
	for name, file := range map[string]string{
		"none":             "",
		"no YAML":          "config: [",
		"without the key":  "config: {outposts:hub: {secure: a}}",
		"without marks":    "config: {outposts:hubs: [{name: h, password: p}]}",
		"other hubs":       "config: {outposts:hubs: [{name: h, password: {secure: a}}, {name: i}]}",
		"other keys":       "config: {outposts:hubs: [{name: h, apiUrl: u, password: {secure: a}}]}",
		"a map for a list": "config: {outposts:hubs: {password: {secure: a}}}",
	} {
		marks, unplaced := secretMarks(raw, keys, []byte(file))
		if marks != nil || !slices.Equal(unplaced, []string{"hubs"}) {
			t.Errorf("%s: marks %v, not placed %v", name, marks, unplaced)
		}
	}
}

// Secrets of the operator's.
const (
	planted    = "planted-in-the-config-0123456789"
	plantedKey = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM=" // a Fernet key
)

// plantedConfig is the config of a stack with a secret at every key that takes one.
func plantedConfig(t *testing.T, stack string) map[string]string {
	t.Helper()
	document := documentOf(configFrom(t, map[string]string{"local": localConfig, "remote": remoteConfig}[stack]))
	changes := map[string]string{
		"hubs": `[{name: other, password: PLANTED, sshPublicKeys: [` + publicKey + `]}]`,
		"outpost": `{address: 10.0.0.3, cryptKeys: [` + plantedKey + `], rotation: {cryptKey: a},
			exposure: {type: nodePort, apiNodePort: 30080, sshNodePort: 30022}}`,
	}
	if stack == "local" {
		changes = map[string]string{
			"outposts": `[{name: local}, {name: remote, address: 10.0.0.3, password: PLANTED,
				exposure: {type: nodePort, apiNodePort: 30080, sshNodePort: 30022}}]`,
			"hub": `{url: "https://hub.example.org", exposure: {type: nodePort, nodePort: 30000}, values: {
				hub: {config: {GitHubOAuthenticator: {client_secret: PLANTED}}, extraConfig: {x: PLANTED},
					db: {type: postgres, password: PLANTED, url: PLANTED},
					services: {s: {apiToken: PLANTED, api_token: PLANTED}},
					extraFiles: {f: {mountPath: /f, stringData: PLANTED}, g: {mountPath: /g, binaryData: PLANTED},
						h: {mountPath: /h, data: {a: PLANTED}}}},
				custom: {c: [PLANTED]}, imagePullSecret: {create: true, password: PLANTED},
				proxy: {secretToken: PLANTED, https: {enabled: true, type: manual, manual: {key: PLANTED}}}}}`,
		}
	}
	changes["cluster"] = `{kubeconfig: '{"users": [{"name": "u", "user": {"token": "PLANTED"}}]}'}`
	for name, change := range changes {
		var value any
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(change, "PLANTED", planted)), &value); err != nil {
			t.Fatal(err)
		}
		document[name] = value
	}
	return rawConfig(t, document)
}

// A secret at any place of the config is either refused, before anything is registered, or marked wherever it is
// registered.
func TestSecretsOfTheOperatorStayMarked(t *testing.T) {
	stacks := map[string]map[string]any{"organization/outposts/local": localOutputs(t)}
	for _, stack := range []string{"local", "remote"} {
		raw := plantedConfig(t, stack)
		run := func(keys []string, file []byte) (*infratest.Recorder, error) {
			w := testWorld(raw)
			w.secretKeys, w.stackFile = keys, func(string, string) []byte { return file }
			r := &infratest.Recorder{Stacks: stacks}
			return r, runStack(t, r, stack, w)
		}
		var keys, taken []string
		for _, leaf := range values.Leaves(documentOf(raw)) {
			key, path := project+":"+leaf[0], strings.Join(leaf, ".")
			text := clearPlace(leaf)
			if text == "" {
				taken = append(taken, path)
				keys = append(keys, key)
				continue
			}
			r, err := run([]string{key}, fileOf(t, raw, path))
			if err == nil || !strings.Contains(err.Error(), text) || len(r.Resources()) > 0 {
				t.Errorf("%s is secret: error %v, %d resources", path, err, len(r.Resources()))
			}
		}
		slices.Sort(keys)
		for name, file := range map[string][]byte{"placed": fileOf(t, raw, taken...), "not placed": nil} {
			r, err := run(slices.Compact(keys), file)
			if err != nil {
				t.Fatalf("%s: %v: %v", stack, name, err)
			}
			for _, made := range r.Resources() {
				for _, clear := range infratest.ClearTexts(resource.NewProperty(made.Inputs)) {
					if strings.Contains(clear, planted) || strings.Contains(clear, plantedKey) {
						t.Errorf("%s: %s: in clear in %s %s", stack, name, made.Type, made.Name)
					}
				}
			}
		}
		if want := map[string]int{"local": 15, "remote": 3}[stack]; len(taken) != want {
			t.Errorf("%s: %d places take a secret, want %d: %v", stack, len(taken), want, taken)
		}
	}
}
