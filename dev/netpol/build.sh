#!/bin/sh
# build.sh OUT: the firewall of kube-router, which enforces NetworkPolicies on the nodes, OUT/kube-router.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out"
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$out/kube-router" .
