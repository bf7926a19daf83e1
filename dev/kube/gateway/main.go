// Command gateway serves the Gateways of a local cluster: a controller of the Gateway API and its data plane in one
// process, on addresses of the node's own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/gatewayapi"
	"github.com/outposts-dev/outposts/dev/kube/gateway/proxy"
)

func main() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], logger); err != nil && !errors.Is(err, flag.ErrHelp) {
		logger.Error("gateway ended", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, logger *slog.Logger) error {
	flags := flag.NewFlagSet("gateway", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API server")
	pool := flags.String("pool", "", "addresses for Gateways, which must be local to this machine, e.g. 10.77.2.128/25")
	if err := flags.Parse(args); err != nil {
		return err
	}
	prefix, err := netip.ParsePrefix(*pool)
	if err != nil {
		return fmt.Errorf("--pool: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("--kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 100, 200
	gateways, err := newClient(config)
	if err != nil {
		return err
	}
	core := rest.CopyConfig(config)
	core.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(core)
	if err != nil {
		return err
	}
	if err := awaitAPI(ctx, discovery.NewDiscoveryClient(gateways), logger); err != nil {
		return err
	}
	c := controller{gateways: gateways, server: proxy.NewServer(logger), pool: prefix, logger: logger}
	return c.run(ctx, newCaches(client, gateways))
}

// newClient returns a client for the kinds of the Gateway API. That which its module brings needs a newer client-go
// than Kubernetes 1.34 has, which would be compiled for nothing else.
func newClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := gw.Install(scheme); err != nil {
		return nil, err
	}
	version := gw.SchemeGroupVersion
	own := rest.CopyConfig(config)
	own.APIPath, own.GroupVersion = "/apis", &version
	own.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	return rest.RESTClientFor(own)
}

// awaitAPI waits until the API server knows the kinds of the Gateway API: in a new cluster they come a moment after it,
// and informers that met their absence would look again only seconds later.
func awaitAPI(ctx context.Context, client discovery.DiscoveryInterface, logger *slog.Logger) error {
	for said := false; ; said = true {
		resources, err := client.ServerResourcesForGroupVersion(gw.GroupVersion.String())
		if err == nil {
			missing := map[string]bool{}
			for _, kind := range []string{
				"gatewayclasses", "gateways", "httproutes", "tlsroutes", "tcproutes", "referencegrants",
			} {
				missing[kind] = true
			}
			for _, resource := range resources.APIResources {
				delete(missing, resource.Name)
			}
			if len(missing) == 0 {
				return nil
			}
		}
		if !said {
			logger.Info("waiting for the Gateway API", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// controller keeps the data plane and the statuses as the objects have it.
type controller struct {
	gateways rest.Interface
	server   *proxy.Server
	pool     netip.Prefix
	logger   *slog.Logger
}

// run serves until ctx ends. A failed write is logged and tried again, at the latest after ten seconds.
func (c *controller) run(ctx context.Context, caches *caches) error {
	defer c.server.Close()
	changed, err := caches.start(ctx)
	if err != nil {
		return err
	}
	c.logger.Info("gateway running", "pool", c.pool)
	for {
		if err := c.sync(ctx, caches); err != nil && ctx.Err() == nil {
			c.logger.Warn("gateway: will try again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-time.After(10 * time.Second):
		}
	}
}

func (c *controller) sync(ctx context.Context, caches *caches) error {
	result := gatewayapi.Translate(caches.objects(), c.pool)
	// What is served first and then said to be.
	for address, err := range c.server.Apply(result.Config) {
		c.logger.Error("cannot listen", "address", address, "err", err)
	}
	return c.write(ctx, result)
}
