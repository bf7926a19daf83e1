// Package authhelpers is what the CLI of the local clusters has in the place of Pulumi's helpers for Google's
// credentials. Of Pulumi's backends and secrets providers that CLI has those that bring no SDK of Google's or
// Microsoft's, which took a quarter of its build; build.sh leaves out the others, and their schemes say so here.
package authhelpers

import (
	"context"
	"fmt"
	"net/url"

	"gocloud.dev/blob"
	"gocloud.dev/secrets"
)

func init() {
	for _, scheme := range []string{"azblob", "gs"} {
		blob.DefaultURLMux().RegisterBucket(scheme, left{})
	}
	for _, scheme := range []string{"azurekeyvault", "gcpkms"} {
		secrets.DefaultURLMux().RegisterKeeper(scheme, left{})
	}
}

// left opens nothing: it stands for what this CLI does not have.
type left struct{}

// OpenBucketURL refuses the URL of a backend.
func (left) OpenBucketURL(_ context.Context, u *url.URL) (*blob.Bucket, error) { return nil, refuse(u) }

// OpenKeeperURL refuses the URL of a secrets provider.
func (left) OpenKeeperURL(_ context.Context, u *url.URL) (*secrets.Keeper, error) {
	return nil, refuse(u)
}

func refuse(u *url.URL) error {
	return fmt.Errorf("the pulumi that is built for the local clusters has no %s://; install Pulumi 3.200 or newer "+
		"(https://www.pulumi.com/docs/install), which is then used in its place", u.Scheme)
}
