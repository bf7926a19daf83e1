package main

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	gwclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
	gwinformers "sigs.k8s.io/gateway-api/pkg/client/informers/externalversions"

	"github.com/outposts-dev/outposts/dev/kube/gateway/gatewayapi"
)

// caches hold the objects that matter as the API server last told.
type caches struct {
	core, secrets informers.SharedInformerFactory
	gateways      gwinformers.SharedInformerFactory
}

func newCaches(client kubernetes.Interface, gateways gwclient.Interface) *caches {
	return &caches{
		core: informers.NewSharedInformerFactory(client, 0),
		secrets: informers.NewSharedInformerFactoryWithOptions(client, 0,
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector("type", "kubernetes.io/tls").String()
			})),
		gateways: gwinformers.NewSharedInformerFactory(gateways, 0),
	}
}

// start fills the caches, and returns a channel that holds a value when something has changed since it was last read.
func (c *caches) start(ctx context.Context) (<-chan struct{}, error) {
	api := c.gateways.Gateway().V1()
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
	for _, informer := range []cache.SharedIndexInformer{
		c.core.Core().V1().Services().Informer(), c.core.Core().V1().Namespaces().Informer(),
		c.core.Discovery().V1().EndpointSlices().Informer(), c.secrets.Core().V1().Secrets().Informer(),
		api.GatewayClasses().Informer(), api.Gateways().Informer(), api.HTTPRoutes().Informer(),
		api.TLSRoutes().Informer(), api.TCPRoutes().Informer(), api.ReferenceGrants().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	for _, factory := range []interface{ Start(<-chan struct{}) }{c.core, c.secrets, c.gateways} {
		factory.Start(ctx.Done())
	}
	c.core.WaitForCacheSync(ctx.Done())
	c.secrets.WaitForCacheSync(ctx.Done())
	c.gateways.WaitForCacheSync(ctx.Done())
	return changed, nil
}

func (c *caches) objects() (gatewayapi.Objects, error) {
	api, all := c.gateways.Gateway().V1(), labels.Everything()
	var o gatewayapi.Objects
	var errs [10]error
	o.Classes, errs[0] = api.GatewayClasses().Lister().List(all)
	o.Gateways, errs[1] = api.Gateways().Lister().List(all)
	o.HTTPRoutes, errs[2] = api.HTTPRoutes().Lister().List(all)
	o.TLSRoutes, errs[3] = api.TLSRoutes().Lister().List(all)
	o.TCPRoutes, errs[4] = api.TCPRoutes().Lister().List(all)
	o.Grants, errs[5] = api.ReferenceGrants().Lister().List(all)
	o.Namespaces, errs[6] = c.core.Core().V1().Namespaces().Lister().List(all)
	o.Services, errs[7] = c.core.Core().V1().Services().Lister().List(all)
	o.Slices, errs[8] = c.core.Discovery().V1().EndpointSlices().Lister().List(all)
	o.Secrets, errs[9] = c.secrets.Core().V1().Secrets().Lister().List(all)
	return o, errors.Join(errs[:]...)
}
