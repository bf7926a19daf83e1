#!/bin/sh
# build.sh OUT: one multi-call binary, OUT/bin/kube, with a link for each of its programs. From empty caches 17 CPU minutes.
# Beside it OUT/bin/gateway, and in OUT/gateway-api the definitions of its API as that release ships them.
# kubelet and kubectl report the version that is stamped in here; without it they refuse to talk to each other.
set -eu
out=$1
cd "$(dirname "$0")"
mkdir -p "$out/bin"
stamp="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamp="$stamp -X $package.gitVersion=v1.34.4 -X $package.gitMajor=1 -X $package.gitMinor=34"
  stamp="$stamp -X $package.gitTreeState=clean -X $package.gitCommit=goproxy -X $package.buildDate=2026-01-01T00:00:00Z"
done
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "$stamp" -o "$out/bin/kube" .
for program in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl addons; do
  ln -sf kube "$out/bin/$program"
done
cd gateway
CGO_ENABLED=0 GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -ldflags "-s -w" -o "$out/bin/gateway" .
mkdir -p "$out/gateway-api"
cp "$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)"/config/crd/standard/*.yaml "$out/gateway-api/"
chmod u+w "$out"/gateway-api/*.yaml
