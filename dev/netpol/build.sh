#!/bin/sh
# build.sh OUT: kube-router, of which the nodes run the firewall that enforces NetworkPolicies, OUT/kube-router.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out"
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$out/kube-router" \
  github.com/cloudnativelabs/kube-router/v2/cmd/kube-router
