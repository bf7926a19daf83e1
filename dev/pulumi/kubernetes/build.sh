#!/bin/sh
# build.sh OUT: the provider kubernetes 4.25.0 in the folder where Pulumi looks for it. Its schema is 50 MB and comes from the module
# itself, so it is embedded through an overlay instead of a copy. Its SDK is compiled without the types of all kinds, see kinds.
set -eu
out=$1
cd "$(dirname "$0")"
plugin=$out/plugins/resource-kubernetes-v4.25.0
mkdir -p "$plugin"
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
module=github.com/pulumi/pulumi-kubernetes/provider/v4
sdk=github.com/pulumi/pulumi-kubernetes/sdk/v4
go mod download $module $sdk
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
schema=$(go list -mod=mod -m -f '{{.Dir}}' $module)/cmd/pulumi-resource-kubernetes
printf '{"Replace": {"%s/schema-embed.json": "%s/schema.json", "%s/terraform-mapping.json": "%s/terraform-mapping.json"}}' \
  "$PWD" "$schema" "$PWD" "$schema" >"$made/overlay.json"
cp -r "$(go list -mod=mod -m -f '{{.Dir}}' $sdk)" "$made/sdk"
chmod -R u+w "$made/sdk"
typed=$made/sdk/go/kubernetes/yaml/v2/kinds.go
lists=$(sed -n '/^func IsListKind/,/^}/p' "$typed")
{ cat kinds/kinds.go; echo "$lists"; } >"$typed"
cp go.mod go.sum "$made"
go mod edit -replace=$sdk="$made/sdk" "$made/go.mod"
go build -trimpath -buildvcs=false -modfile "$made/go.mod" -overlay "$made/overlay.json" \
  -ldflags "-s -w -X $module/pkg/version.Version=4.25.0" -o "$plugin/pulumi-resource-kubernetes" .
