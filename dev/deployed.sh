# What is deployed: the config of stacks, and kubectl of the cluster that a stack was made in. Read with `.`, from the top of the checkout,
# by a script with a function `say` that tells people something.
pulumi=${PULUMI:-dev/run pulumi}
hint='' # what may be done where a cluster is not reached
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

changed='nothing was changed' # what a refusal says of it
refuse() { say "$1; $changed" >&2; exit 1; }

# setting STACK PATH: value becomes what the config has there. It fails if there is nothing; what cannot be read is refused.
setting() {
  value=''
  if value=$($pulumi config get -s "$1" --path "outposts:$2" 2>"$folder/said"); then return; fi
  value=''
  [[ $(<"$folder/said") == *"not found for stack"* ]] || { cat "$folder/said" >&2; refuse "outposts:$2 of stack $1 cannot be read"; }
  return 1
}

# namespace_in STACK PATH DEFAULT: value becomes the namespace that the config has there, as a map or by its name alone.
namespace_in() { setting "$1" "$2.name" || setting "$1" "$2" || value=$3; }

# use_cluster [NAMESPACE...]: kubectl becomes that of the outpost's namespace, in the cluster that stack was made in, which has state. The
# other namespaces are of the stack too.
use_cluster() {
  local from kubeconfig context at uid
  if setting "$stack" cluster.stack; then
    from=$value
    setting "$stack" cluster.output || value=kubeconfig
    # By the first -s dev/run finds the backend, which has both stacks; for Pulumi the last one counts.
    kubeconfig=$($pulumi stack output -s "$stack" -s "$from" --show-secrets "$value") ||
      refuse "output $value of stack $from, the kubeconfig of stack $stack, cannot be read"
    [[ $kubeconfig == *[$'\n{']* ]] || refuse "output $value of stack $from is no kubeconfig"
  else
    setting "$stack" cluster.kubeconfig || : # else as kubectl does
    kubeconfig=$value
  fi
  if [[ $kubeconfig == *[$'\n{']* ]]; then
    (umask 077; printf '%s\n' "$kubeconfig" >"$folder/kubeconfig")
    kubeconfig=$folder/kubeconfig
  fi
  kubeconfig=${kubeconfig/#\~\//$HOME/}
  setting "$stack" cluster.context || :
  context=$value
  namespace_in "$stack" outpost.namespace outpost
  namespace=$value
  kubectl=(${KUBECTL:-$(command -v kubectl || echo dev/run kubectl)} ${kubeconfig:+--kubeconfig "$kubeconfig"} ${context:+--context "$context"})
  kubectl+=(--namespace "$namespace")
  # Who may not read kube-system, or made the stack when that was so, knows the cluster by a namespace.
  for at in kube-system "$namespace" "$@"; do
    uid=$("${kubectl[@]}" get namespace "$at" -o 'jsonpath={.metadata.uid}') || continue
    [ -z "$uid" ] || [[ $state != *"\"$uid\""* ]] || return 0
  done
  refuse "kubectl does not reach the cluster that stack $stack was made in (its output clusterId); check outposts:cluster of stack $stack, and \
KUBECONFIG where that names no kubeconfig$hint"
}

# apply COMMAND STACK [FLAG...]: runs a command of Pulumi that changes a stack. Where the stack is locked, it says by whom, and what to type: a
# Pulumi that is killed leaves its lock behind.
apply() {
  local code=0 by
  # tee outlives an interrupt, which Pulumi answers in its own time.
  { $pulumi "$1" -s "$2" "${@:3}" 2>&1 >&3 3>&- | tee -i "$folder/said" >&2 3>&-; } 3>&1 || code=$?
  [ $code != 0 ] || return 0
  case $(<"$folder/said") in
    *"the stack is currently locked by "*)
      by=$(sed -n 's/^.*: created by \(.*\) (pid \([0-9]*\)) at \([-+:0-9TZ]*\).*/\1 (process \2) since \3/p' "$folder/said") ;;
    *"Another update is currently in progress"*) by='another run of Pulumi' ;;
    *) return $code ;;
  esac
  refuse "stack $2 is locked by ${by//$'\n'/, }: wait for the end of that run, or, if it was killed, remove its lock by \`$pulumi cancel \
-s $2\`. Then the same command goes on"
}

outpost() { "${kubectl[@]}" exec deploy/outpost -c outpost -- outpost "$@"; }
