package dev

import (
	"regexp"
	"strings"
	"testing"
)

// pin is a module whose version a row of CONTRIBUTING's tables names, as the go.mod of a folder has it.
type pin struct{ folder, module string }

// stays are the rows of the modules that stay behind the newest version, with the pins of their versions in order.
var stays = map[string][]pin{
	"`k8s.io/{api,apimachinery,client-go}`, and `klog/v2`, `sigs.k8s.io/json` with them": {{"..", "k8s.io/client-go"}},
	"`helm.sh/helm/v3` (tests)":  {{"..", "helm.sh/helm/v3"}},
	"`chromedp/cdproto` (tests)": {{"..", "github.com/chromedp/cdproto"}},
	"`pulumi-kubernetes/sdk/v4`": {{"..", "github.com/pulumi/pulumi-kubernetes/sdk/v4"}},
	"`pulumi-random/sdk/v4`":     {{"..", "github.com/pulumi/pulumi-random/sdk/v4"}},
	"`coredns` (`dns`)":          {{"dns", "github.com/coredns/coredns"}},
	"`pflag` (`netpol`)":         {{"netpol", "github.com/spf13/pflag"}},
	"Pulumi's language host":     {{"pulumi/language-go", "github.com/pulumi/pulumi/sdk/v3"}},
	"`cert-manager`, Pebble (`acme`)": {
		{"acme", "github.com/cert-manager/cert-manager"}, {"acme", "github.com/letsencrypt/pebble/v2"},
	},
	"`gateway-api` (`kube/gateway`), `sigstore` (`release`)": {
		{"kube/gateway", "sigs.k8s.io/gateway-api"}, {"release", "github.com/sigstore/sigstore"},
	},
	"`k8s.io/kubernetes` (`kube`), and `etcd` with it": {
		{"kube", "k8s.io/kubernetes"}, {"kube", "go.etcd.io/etcd/server/v3"},
	},
	"`containerd`, the CNI plugins (`runtime`)": {
		{"runtime", "github.com/containerd/containerd/v2"}, {"runtime", "github.com/containernetworking/plugins"},
	},
	"Pulumi's providers": {
		{"pulumi/kubernetes", "github.com/pulumi/pulumi-kubernetes/sdk/v4"},
		{"..", "github.com/pulumi/pulumi-random/sdk/v4"}, // TestProvidersAreOfTheirSDK: the provider's is the same
	},
}

var numbers = regexp.MustCompile(`\d+(\.\d+)+`)

// TestStaysAt holds that the versions in CONTRIBUTING's tables are those of the go.mod files, row by row.
func TestStaysAt(t *testing.T) {
	found := map[string]bool{}
	for _, table := range strings.Split(read(t, "../CONTRIBUTING.md"), "\n| module | stays at | because |\n")[1:] {
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, "| ---") {
				continue
			}
			columns := strings.Split(line, " | ")
			if len(columns) != 3 {
				break
			}
			name, versions := strings.TrimPrefix(columns[0], "| "), numbers.FindAllString(columns[1], -1)
			pins, known := stays[name]
			found[name] = true
			if !known || len(pins) != len(versions) {
				t.Errorf("%s stays at %q, and the test knows %d pins of it", name, versions, len(pins))
				continue
			}
			for i, pin := range pins {
				is := strings.TrimPrefix(required(t, pin.folder)[pin.module], "v")
				if is != versions[i] && !strings.HasPrefix(is, versions[i]+".") {
					t.Errorf("%s stays at %s, and %s/go.mod has %s", name, versions[i], pin.folder, is)
				}
			}
		}
	}
	for name := range stays {
		if !found[name] {
			t.Errorf("no row for %s", name)
		}
	}
}

// TestProvidersAreOfTheirSDK holds that the providers that are built have the versions that the program asks Pulumi
// for.
func TestProvidersAreOfTheirSDK(t *testing.T) {
	for _, name := range []string{"kubernetes", "random"} {
		want := "resource-" + name + "-" + required(t, "..")["github.com/pulumi/pulumi-"+name+"/sdk/v4"] + "\n"
		if !strings.Contains(read(t, "pulumi/"+name+"/build.sh"), want) {
			t.Errorf("pulumi/%s/build.sh does not make %s", name, want)
		}
	}
}

// TestCLIIsOfTheSDK holds that the Pulumi CLI that is built is of the release of the SDK in the program, as the CLI and
// the manual say.
func TestCLIIsOfTheSDK(t *testing.T) {
	sdk := required(t, "..")["github.com/pulumi/pulumi/sdk/v3"]
	if cli := required(t, "pulumi/cli")["github.com/pulumi/pulumi/pkg/v3"]; cli != sdk {
		t.Errorf("pulumi/cli/go.mod has the CLI of %s, and ../go.mod the SDK of %s", cli, sdk)
	}
	if stamp := "version.Version=" + sdk + `" `; !strings.Contains(read(t, "pulumi/cli/build.sh"), stamp) {
		t.Errorf("pulumi/cli/build.sh does not stamp the CLI with %s", stamp)
	}
	release := strings.TrimSuffix(strings.TrimPrefix(sdk, "v"), ".0")
	if said := "of release " + release + ", as is the SDK"; !strings.Contains(read(t, "../docs/stacks.md"), said) {
		t.Errorf("docs/stacks.md does not say %q", said)
	}
}
