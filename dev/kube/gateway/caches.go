package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/gatewayapi"
)

// caches hold the objects that matter as the API server last told.
type caches struct {
	classes, gateways, httpRoutes, tlsRoutes, tcpRoutes, grants cache.SharedIndexInformer
	namespaces, services, slices, secrets                       cache.SharedIndexInformer
}

func newCaches(client kubernetes.Interface, gateways cache.Getter) *caches {
	of := func(
		client cache.Getter, resource string, object runtime.Object, only fields.Selector,
	) cache.SharedIndexInformer {
		list := cache.NewListWatchFromClient(client, resource, metav1.NamespaceAll, only)
		return cache.NewSharedIndexInformer(list, object, 0, nil)
	}
	core, all := client.CoreV1().RESTClient(), fields.Everything()
	certificates := fields.OneTermEqualSelector("type", string(corev1.SecretTypeTLS))
	return &caches{
		classes:    of(gateways, "gatewayclasses", &gw.GatewayClass{}, all),
		gateways:   of(gateways, "gateways", &gw.Gateway{}, all),
		httpRoutes: of(gateways, "httproutes", &gw.HTTPRoute{}, all),
		tlsRoutes:  of(gateways, "tlsroutes", &gw.TLSRoute{}, all),
		tcpRoutes:  of(gateways, "tcproutes", &gw.TCPRoute{}, all),
		grants:     of(gateways, "referencegrants", &gw.ReferenceGrant{}, all),
		namespaces: of(core, "namespaces", &corev1.Namespace{}, all),
		services:   of(core, "services", &corev1.Service{}, all),
		slices:     of(client.DiscoveryV1().RESTClient(), "endpointslices", &discoveryv1.EndpointSlice{}, all),
		secrets:    of(core, "secrets", &corev1.Secret{}, certificates),
	}
}

// start fills the caches, and returns a channel that holds a value when something has changed since it was last read.
func (c *caches) start(ctx context.Context) (<-chan struct{}, error) {
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
	var synced []cache.InformerSynced
	for _, informer := range []cache.SharedIndexInformer{
		c.classes, c.gateways, c.httpRoutes, c.tlsRoutes, c.tcpRoutes, c.grants,
		c.namespaces, c.services, c.slices, c.secrets,
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
		go informer.RunWithContext(ctx)
		synced = append(synced, informer.HasSynced)
	}
	cache.WaitForCacheSync(ctx.Done(), synced...)
	return changed, nil
}

func (c *caches) objects() gatewayapi.Objects {
	return gatewayapi.Objects{
		Classes: all[*gw.GatewayClass](c.classes), Gateways: all[*gw.Gateway](c.gateways),
		HTTPRoutes: all[*gw.HTTPRoute](c.httpRoutes), TLSRoutes: all[*gw.TLSRoute](c.tlsRoutes),
		TCPRoutes: all[*gw.TCPRoute](c.tcpRoutes), Grants: all[*gw.ReferenceGrant](c.grants),
		Namespaces: all[*corev1.Namespace](c.namespaces), Services: all[*corev1.Service](c.services),
		Slices: all[*discoveryv1.EndpointSlice](c.slices), Secrets: all[*corev1.Secret](c.secrets),
	}
}

// all returns what a cache holds.
func all[O any](of cache.SharedIndexInformer) []O {
	var objects []O
	for _, object := range of.GetStore().List() {
		objects = append(objects, object.(O))
	}
	return objects
}
