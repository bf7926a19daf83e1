#!/bin/sh
# build.sh OUT: the provider random 4.21.1 in the folder where Pulumi looks for it.
set -eu
out=$1
cd "$(dirname "$0")"
plugin=$out/plugins/resource-random-v4.21.1
mkdir -p "$plugin"
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$plugin/pulumi-resource-random" .
