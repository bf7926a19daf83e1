#!/bin/sh
# build.sh OUT: the provider random 4.21.1 in the folder where Pulumi looks for it, without what generates schemas. The bridge has that for
# providers that are served as a part of another; it brings Pulumi's generators of code, and with them the SDK of Google's storage and
# Envoy's control plane: more than a half of what the provider compiled.
set -eu
out=$1
cd "$(dirname "$0")"
plugin=$out/plugins/resource-random-v4.21.1
mkdir -p "$plugin"
export CGO_ENABLED=0 GOFLAGS=-mod=readonly
module=github.com/pulumi/pulumi-terraform-bridge/v3
go mod download $module
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
cp -r "$(go list -mod=mod -m -f '{{.Dir}}' $module)" "$made/bridge"
chmod -R u+w "$made/bridge"
file=$made/bridge/pkg/pf/tfbridge/provider_mux.go
for script in '/^\t"github.com.*\/pkg\/tfgen"$/d' '/^\t"github.com.*\/common\/diag\(\/colors\)\?"$/d' 's|^\t"io"$|\t"errors"|' \
  '/meta == nil ||/,/^\t}$/{/^\t\t/d; /meta == nil ||/a\		return nil, errors.New("built without what generates schemas")
}'; do
  sed "$script" "$file" >"$file.new"
  ! cmp -s "$file" "$file.new" || { echo "build.sh: $file has nothing for: $script" >&2; exit 1; }
  mv "$file.new" "$file"
done
cp go.mod go.sum "$made"
go mod edit -replace=$module="$made/bridge" "$made/go.mod"
go build -trimpath -buildvcs=false -modfile "$made/go.mod" -ldflags "-s -w" -o "$plugin/pulumi-resource-random" .
