// Package addons is what a bare cluster lacks and a hosted one has: addresses for Services of type
// LoadBalancer, volumes for claims of its StorageClasses, and an Ingress controller that ends TLS. One
// process on one set of informers.
package addons

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say which cluster the addons serve and with what.
type Options struct {
	// addresses for LoadBalancer Services, e.g. 10.77.2.0/24; its first and last stay unused
	Pool      netip.Prefix
	NodeIP    string // address of the only node: where Ingresses are served
	NodeName  string // name of the only node: where volumes are
	VolumeDir string // directory on the node that holds one directory for each volume
}

// NewCommand returns the program "addons", which runs until it gets SIGINT or SIGTERM.
func NewCommand() *cobra.Command {
	var kubeconfig, pool string
	var opts Options
	cmd := &cobra.Command{
		Use:           "addons",
		Short:         "LoadBalancer addresses, volumes and Ingresses for a local cluster",
		SilenceUsage:  true,
		SilenceErrors: false,
		RunE: func(cmd *cobra.Command, _ []string) error {
			prefix, err := netip.ParsePrefix(pool)
			if err != nil {
				return fmt.Errorf("--lb-pool: %w", err)
			}
			opts.Pool = prefix
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("--kubeconfig: %w", err)
			}
			config.ContentType = "application/vnd.kubernetes.protobuf"
			config.QPS, config.Burst = 100, 200
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return Run(ctx, client, opts, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
	cmd.Flags().StringVar(&kubeconfig, "kubeconfig", "", "how to reach the API server")
	cmd.Flags().StringVar(&pool, "lb-pool", "10.77.2.0/24", "addresses for Services of type LoadBalancer")
	cmd.Flags().StringVar(&opts.NodeIP, "node-ip", "",
		"address of the node; Ingresses are served on its ports 80 and 443")
	cmd.Flags().StringVar(&opts.NodeName, "node-name", "", "name of the node that volumes are bound to")
	cmd.Flags().StringVar(&opts.VolumeDir, "volume-dir", "/var/lib/outposts/volumes",
		"directory on the node for volumes")
	return cmd
}

// changes returns a channel that holds a value when something has changed since it was last read.
func changes(informers ...cache.SharedIndexInformer) (<-chan struct{}, error) {
	changed := make(chan struct{}, 1)
	note := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: note, UpdateFunc: func(_, now any) { note(now) }, DeleteFunc: note,
	}
	for _, informer := range informers {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// Run serves the cluster until ctx ends. A failed write is logged and tried again, at the latest after ten seconds.
func Run(ctx context.Context, client kubernetes.Interface, opts Options, logger *slog.Logger) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	tlsOnly := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("type", "kubernetes.io/tls").String()
		}))
	services, ingresses := factory.Core().V1().Services(), factory.Networking().V1().Ingresses()
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	classes, secrets := factory.Storage().V1().StorageClasses(), tlsOnly.Core().V1().Secrets()

	changed, err := changes(
		services.Informer(), ingresses.Informer(), claims.Informer(), volumes.Informer(), classes.Informer())
	if err != nil {
		return err
	}
	secretLister := secrets.Lister()
	factory.Start(ctx.Done())
	tlsOnly.Start(ctx.Done())
	defer factory.Shutdown()
	defer tlsOnly.Shutdown()
	factory.WaitForCacheSync(ctx.Done())
	tlsOnly.WaitForCacheSync(ctx.Done())

	router, err := newRouter(ingresses.Lister(), services.Lister(), secretLister, logger)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- router.serve(ctx, opts.NodeIP) }()

	balancer := balancer{client: client, services: services.Lister(), pool: opts.Pool}
	provisioner := provisioner{
		client: client, claims: claims.Lister(), volumes: volumes.Lister(),
		classes: classes.Lister(), dir: opts.VolumeDir, node: opts.NodeName,
	}
	publisher := publisher{client: client, ingresses: ingresses.Lister(), address: opts.NodeIP}
	logger.Info("addons running", "pool", opts.Pool.String(), "node", opts.NodeName)
	for {
		if err := errors.Join(balancer.sync(ctx), provisioner.sync(ctx), publisher.sync(ctx)); err != nil &&
			ctx.Err() == nil {
			logger.Warn("addons: will try again", "err", err)
		}
		select {
		case <-ctx.Done():
			return <-served
		case err := <-served:
			return err
		case <-changed:
		case <-time.After(10 * time.Second):
		}
	}
}
