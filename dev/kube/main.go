// Command kube is a whole Kubernetes in one file: etcd, kube-apiserver, kube-controller-manager, kube-scheduler,
// kubelet, kube-proxy, kubectl and the addons of the local clusters. The name it is called by, or else its first
// argument, says which one it is. One file instead of eight saves 370 MB of disk and most of the memory for program
// text.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"github.com/outposts-dev/outposts/dev/kube/addons"
)

// programs holds every program but etcd, which brings its own main.
var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          func() *cobra.Command { return apiserver.NewAPIServerCommand() },
	"kube-controller-manager": func() *cobra.Command { return controllermanager.NewControllerManagerCommand() },
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kube-proxy":              func() *cobra.Command { return proxy.NewProxyCommand() },
	"addons":                  addons.NewCommand,
}

func main() {
	args := os.Args
	if !known(filepath.Base(args[0])) {
		args = args[1:]
	}
	if len(args) == 0 || !known(filepath.Base(args[0])) {
		fmt.Fprintln(os.Stderr, "usage: kube <etcd|kube-apiserver|kube-controller-manager|kube-scheduler|"+
			"kubelet|kube-proxy|kubectl|addons> ...")
		os.Exit(2)
	}
	// Each of the programs reads os.Args itself in one place or another.
	os.Args = args
	switch name := filepath.Base(args[0]); name {
	case "etcd":
		etcdmain.Main(args)
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		cmd := programs[name]()
		cmd.SetArgs(args[1:])
		os.Exit(cli.Run(cmd))
	}
}

// known says whether name is one of the programs in this file.
func known(name string) bool {
	return name == "etcd" || name == "kubectl" || programs[name] != nil
}
