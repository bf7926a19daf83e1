# Steps of long work, shown with their times; the output of each goes to a file that is named when it fails. Read with `.`, from the
# top of the checkout.
steps=$PWD/.state/logs
mkdir -p "$steps"

logfile() { echo "$steps/$(echo "$1" | tr -c 'a-z0-9\n' - | cut -c1-40).log"; }

failed() { # TEXT
  echo "failed: $1; the end of $(logfile "$1"):" >&2
  tail -n 25 "$(logfile "$1")" >&2
  exit 1
}

# step TEXT COMMAND...: runs it in front
step() {
  local text=$1 began=$SECONDS; shift
  printf '%-52s ' "$text"
  "$@" >"$(logfile "$text")" 2>&1 </dev/null || { echo; failed "$text"; }
  printf '%4d s\n' $((SECONDS - began))
}

# beside TEXT COMMAND...: runs it in the background; finish TEXT waits for it
declare -A running
beside() {
  local text=$1; shift
  "$@" >"$(logfile "$text")" 2>&1 </dev/null &
  running[$text]=$!
}
finish() {
  local began=$SECONDS
  printf '%-52s ' "$1"
  wait "${running[$1]}" || { echo; failed "$1"; }
  printf '%4d s more\n' $((SECONDS - began))
}

stack_up() { # NAME
  dev/run pulumi stack select --create "$1"
  dev/run pulumi up -s "$1" --yes --skip-preview --non-interactive
}
