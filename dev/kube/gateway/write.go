package main

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/dev/kube/gateway/gatewayapi"
)

// updater writes the status of objects of one kind.
type updater[O metav1.Object] interface {
	UpdateStatus(ctx context.Context, object O, opts metav1.UpdateOptions) (O, error)
}

// write writes the statuses that are not as they have to be.
func (c *controller) write(ctx context.Context, result gatewayapi.Result) error {
	api := c.gateways.GatewayV1()
	var errs []error
	for _, class := range result.Classes {
		errs = append(errs, writeStatus(ctx, api.GatewayClasses(), class, "GatewayClass"))
	}
	for _, gateway := range result.Gateways {
		errs = append(errs, writeStatus(ctx, api.Gateways(gateway.Namespace), gateway, "Gateway"))
	}
	for _, route := range result.HTTPRoutes {
		errs = append(errs, writeStatus(ctx, api.HTTPRoutes(route.Namespace), route, "HTTPRoute"))
	}
	for _, route := range result.TLSRoutes {
		errs = append(errs, writeStatus(ctx, api.TLSRoutes(route.Namespace), route, "TLSRoute"))
	}
	for _, route := range result.TCPRoutes {
		errs = append(errs, writeStatus(ctx, api.TCPRoutes(route.Namespace), route, "TCPRoute"))
	}
	return errors.Join(errs...)
}

// writeStatus writes one status. An object that has changed or gone since it was read brings the next run with it.
func writeStatus[O metav1.Object](ctx context.Context, to updater[O], object O, kind string) error {
	_, err := to.UpdateStatus(ctx, object, metav1.UpdateOptions{})
	if err == nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("status of %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err)
}
