#!/bin/sh
# build.sh OUT: the Pulumi CLI, OUT/bin/pulumi.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out/bin"
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false \
  -ldflags "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.259.0" \
  -o "$out/bin/pulumi" github.com/pulumi/pulumi/pkg/v3/cmd/pulumi
