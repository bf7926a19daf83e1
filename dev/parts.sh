# What scripts share that look into the cache: where it is, the parts, and the folder of each. Read with `.`; `folder` wants $dev set.

# Every part is a folder under dev/ with a build.sh, in the order in which dev/build takes them: those that take longest come first, but
# two that share most of their packages do not follow each other, as builds at one time compile the same package twice.
parts="kube pulumi/cli pulumi/kubernetes acme pulumi/random runtime netpol dns pulumi/language-go clusters"
cluster_parts="kube runtime netpol dns clusters"
pulumi_parts="pulumi/kubernetes pulumi/cli pulumi/random pulumi/language-go"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/outposts

# folder PART: the folder of the cache that holds PART as this checkout describes it. The name carries a hash of what the part is
# built from: its sources and its pins, not its tests and texts. The part `pulumi` is the CLI and its plugins put together.
folder() {
  case $1 in
    pulumi) echo "$cache/pulumi-$(for p in $pulumi_parts; do folder "$p"; done | sha256sum | cut -c1-12)" ;;
    *)
      [ -f "$dev/$1/build.sh" ] || { echo "dev: no part is called $1; the parts are: pulumi $parts" >&2; return 2; }
      echo "$cache/$(echo "$1" | tr / -)-$(cd "$dev/$1" && { uname -m; find . -type f ! -name '*_test.go' ! -path '*/testdata/*' ! -name '*.md' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-12)" ;;
  esac
}
