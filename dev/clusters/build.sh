#!/bin/sh
# build.sh OUT: the runner of the local clusters, and the program that holds a pod's namespaces.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out"
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$out/" . ./pause
