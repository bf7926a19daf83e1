package main

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/outposts-dev/outposts/dev/kube/gateway/gatewayapi"
)

// object is what has a status.
type object interface {
	runtime.Object
	metav1.Object
}

// write writes the statuses that are not as they have to be.
func (c *controller) write(ctx context.Context, result gatewayapi.Result) error {
	var errs []error
	for _, class := range result.Classes {
		errs = append(errs, c.writeStatus(ctx, "gatewayclasses", class))
	}
	for _, gateway := range result.Gateways {
		errs = append(errs, c.writeStatus(ctx, "gateways", gateway))
	}
	for _, route := range result.HTTPRoutes {
		errs = append(errs, c.writeStatus(ctx, "httproutes", route))
	}
	for _, route := range result.TLSRoutes {
		errs = append(errs, c.writeStatus(ctx, "tlsroutes", route))
	}
	for _, route := range result.TCPRoutes {
		errs = append(errs, c.writeStatus(ctx, "tcproutes", route))
	}
	return errors.Join(errs...)
}

// writeStatus writes one status. An object that has changed or gone since it was read brings the next run with it.
func (c *controller) writeStatus(ctx context.Context, resource string, object object) error {
	namespace, name := object.GetNamespace(), object.GetName()
	err := c.gateways.Put().NamespaceIfScoped(namespace, namespace != "").Resource(resource).Name(name).
		SubResource("status").Body(object).Do(ctx).Error()
	if err == nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("status of %s %s/%s: %w", resource, namespace, name, err)
}
