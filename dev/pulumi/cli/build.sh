#!/bin/sh
# build.sh OUT: the Pulumi CLI, OUT/bin/pulumi, without what talks to Google's and Microsoft's clouds, which is a quarter of its
# source: backends gs:// and azblob://, secrets providers gcpkms:// and azurekeyvault:// (see left), and `pulumi env setup`; and without
# Pulumi Cloud's agent, `pulumi neo`, which brings a second kit for user interfaces in terminals.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out/bin"
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
module=github.com/pulumi/pulumi/pkg/v3
go mod download $module
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
cp -r "$(go list -mod=mod -m -f '{{.Dir}}' $module)" "$made/pkg"
chmod -R u+w "$made/pkg"
edit() { # FILE SCRIPT...: fails where the source is another than the one that the scripts are for
  file=$made/pkg/$1; shift
  for script in "$@"; do
    sed "$script" "$file" >"$file.new"
    ! cmp -s "$file" "$file.new" || { echo "build.sh: $file has nothing for: $script" >&2; exit 1; }
    mv "$file.new" "$file"
  done
}
own='s|^\t\("github.com/pulumi/pulumi/pkg/v3/authhelpers"\)|\t_ \1|'
cp left/left.go "$made/pkg/authhelpers/gcpauth.go"
edit backend/diy/backend.go "$own" '/"gocloud.dev\/blob\/azureblob"/d' '/"gocloud.dev\/blob\/gcsblob"/d' \
  '/for gcp we want/,/bucket, err := blobmux/{/bucket, err := blobmux/!d}'
edit secrets/cloud/manager.go "$own" '/"gocloud.dev\/secrets\/azurekeyvault"/d' '/"gocloud.dev\/secrets\/gcpkms"/d' '/cloudkms\/v1"/d' \
  '/netUrl "net\/url"/d' '/u, err := netUrl.Parse/,/^}/c\	return gosecrets.OpenKeeper(ctx, url)\n}'
edit cmd/esc/cli/env.go '/newEnvSetupCmd/d'
rm "$made"/pkg/cmd/esc/cli/setup.go "$made"/pkg/cmd/esc/cli/setup_aws.go "$made"/pkg/cmd/esc/cli/setup_azure.go "$made"/pkg/cmd/esc/cli/setup_gcp.go
edit cmd/pulumi/pulumi.go '/\/cmd\/pulumi\/neo"$/d' '/neo\.NewNeoCmd()/d'
cp go.mod go.sum "$made"
go mod edit -replace=$module="$made/pkg" "$made/go.mod"
go build -trimpath -buildvcs=false -modfile "$made/go.mod" \
  -ldflags "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.276.0" \
  -o "$out/bin/pulumi" $module/cmd/pulumi
