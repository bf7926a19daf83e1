#!/bin/sh
# build.sh OUT: CoreDNS with the 13 plugins a cluster's DNS needs, OUT/coredns.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out"
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$out/coredns" .
