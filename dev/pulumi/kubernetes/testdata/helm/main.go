// Command helm installs or upgrades a release as `helm upgrade --install` does, with its hooks, and prints the notes of
// its chart; or uninstalls one. It
// is for tests, of the same module as the provider, which has these parts of Helm in it, and no part of the toolchain.
//
//	helm RELEASE CHART <values.yaml
//	helm uninstall RELEASE
//
// The cluster is that of KUBECONFIG, HELM_KUBECONTEXT and HELM_NAMESPACE.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/cli"
	"helm.sh/helm/v3/pkg/storage/driver"
)

// patience is how long Helm waits by default.
const patience = 5 * time.Minute

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: helm RELEASE CHART <values.yaml | helm uninstall RELEASE")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, first, second string) error {
	settings := cli.New()
	config := new(action.Configuration)
	quiet := func(string, ...any) {}
	if err := config.Init(settings.RESTClientGetter(), settings.Namespace(), "secret", quiet); err != nil {
		return err
	}
	if first == "uninstall" {
		_, err := action.NewUninstall(config).Run(second)
		return err
	}
	config.SetHookOutputFunc(func(_, _, _ string) io.Writer { return os.Stdout })
	return apply(ctx, config, settings.Namespace(), first, second)
}

func apply(ctx context.Context, config *action.Configuration, namespace, release, path string) error {
	chart, err := loader.Load(path)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	values, err := chartutil.ReadValues(text)
	if err != nil {
		return err
	}
	if _, err := config.Releases.Last(release); errors.Is(err, driver.ErrReleaseNotFound) {
		install := action.NewInstall(config)
		install.ReleaseName, install.Namespace, install.Timeout = release, namespace, patience
		installed, err := install.RunWithContext(ctx, chart, values)
		if err == nil {
			fmt.Println(installed.Info.Notes)
		}
		return err
	} else if err != nil {
		return err
	}
	upgrade := action.NewUpgrade(config)
	upgrade.Namespace, upgrade.Timeout = namespace, patience
	upgraded, err := upgrade.RunWithContext(ctx, release, chart, values)
	if err == nil {
		fmt.Println(upgraded.Info.Notes)
	}
	return err
}
