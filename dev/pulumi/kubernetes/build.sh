#!/bin/sh
# build.sh OUT: the provider kubernetes 4.25.0 in the folder where Pulumi looks for it. The longest build of all: 19 CPU minutes
# and 4.2 GiB at its peak. The schema is 50 MB and comes from the module itself, so it is embedded through an overlay instead of a copy.
set -eu
out=$1
cd "$(dirname "$0")"
plugin=$out/plugins/resource-kubernetes-v4.25.0
mkdir -p "$plugin"
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
module=github.com/pulumi/pulumi-kubernetes/provider/v4
go mod download $module
schema=$(go list -mod=mod -m -f '{{.Dir}}' $module)/cmd/pulumi-resource-kubernetes
overlay=$(mktemp)
trap 'rm -f "$overlay"' EXIT
printf '{"Replace": {"%s/schema-embed.json": "%s/schema.json", "%s/terraform-mapping.json": "%s/terraform-mapping.json"}}' \
  "$PWD" "$schema" "$PWD" "$schema" >"$overlay"
go build -trimpath -buildvcs=false -overlay "$overlay" \
  -ldflags "-s -w -X $module/pkg/version.Version=4.25.0" -o "$plugin/pulumi-resource-kubernetes" .
