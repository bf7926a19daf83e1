#!/bin/sh
# build.sh OUT: the host that runs Pulumi programs written in Go, OUT/bin/pulumi-language-go.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out/bin"
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false \
  -ldflags "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.200.0" \
  -o "$out/bin/pulumi-language-go" github.com/pulumi/pulumi/sdk/go/pulumi-language-go/v3
