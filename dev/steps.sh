# Steps of long work, shown with their times; the output of each goes to a file that is named when it fails. Read with `.`, from the
# top of the checkout. A step that takes longer than three seconds shows what it does: the last line of its log, how long it has
# taken and how long the last time that it took as long. On a terminal that is one line in place; elsewhere a line when that changes, every
# ten seconds at most. The line of a step that has ended has its processor time too, from a tenth of a minute.
. dev/terminal.sh
steps=.state/logs
tail_lines=25 # of the log of a step that fails, which are shown
mkdir -p "$steps"
if [ -t 1 ] && [ -z "${STEPS_LOGGED-}" ]; then
  echo "Each step has its log in $steps."
  export STEPS_LOGGED=yes # once, also where a script of steps runs another
fi

logfile() { echo "$steps/$(echo "${1,,}" | tr -cs 'a-z0-9\n' - | cut -c1-40).log"; }
cpufile() { local log; log=$(logfile "$1"); echo "${log%.log}.cpu"; }

failed() { # TEXT
  echo "failed: $1; the end of $(logfile "$1"):" >&2
  tail -n $tail_lines "$(logfile "$1")" >&2
  exit 1
}

# follow TEXT BEGAN: shows the step until it is killed, or the script has ended without that
follow() {
  local text=$1 began=$2 log doing shown='' last='' took at=-60 line
  log=$(logfile "$text")
  [ ! -s "${log%.log}.seconds" ] || last=" ($(<"${log%.log}.seconds") last time)"
  while sleep 1 >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    took=$((SECONDS - began))
    [ "$took" -ge 3 ] || continue
    [ -t 1 ] || [ $((took - at)) -ge 10 ] || continue
    doing=$(tail -c 2000 "$log" | tr -d '\033' | tr '\r' '\n' | sed -n '/[^ ]/h; ${x;s/^ *//;p;}')
    if [ -t 1 ]; then
      in_place "$text $took s$last${doing:+: $doing}"
      continue
    fi
    line=$(printf '%-52s %4d s%s; log %s%s' "$text" "$took" "$last" "$log" "${doing:+: $doing}")
    if [ $((took - at)) -ge 60 ] || [ "$doing" != "$shown" ]; then
      echo "$line"
      shown=$doing at=$took
    fi
  done
}

# ended TEXT BEGAN FOLLOWER CODE: what follows when the command of a step has ended
ended() {
  local log
  log=$(logfile "$1")
  kill "$3" 2>/dev/null || true
  wait "$3" 2>/dev/null || true
  clear_line
  [ "$4" = 0 ] || failed "$1"
  [ $((SECONDS - $2)) -lt 3 ] || echo $((SECONDS - $2)) >"${log%.log}.seconds"
}

# step TEXT COMMAND...: runs it in front, where an interrupt from the keyboard reaches it
step() {
  local text=$1 began=$SECONDS code=0 follower; shift
  : >"$(logfile "$text")"
  follow "$text" "$began" &
  follower=$!
  timed "$(cpufile "$text")" "$@" >"$(logfile "$text")" 2>&1 </dev/null || code=$?
  ended "$text" "$began" $follower $code
  printf '%-52s %4d s%s\n' "$text" $((SECONDS - began)) "$(spent "$(cpufile "$text")")"
}

# beside TEXT COMMAND...: runs it in the background; finish TEXT waits for it
declare -A running started
beside() {
  local text=$1; shift
  timed "$(cpufile "$text")" "$@" >"$(logfile "$text")" 2>&1 </dev/null &
  running[$text]=$! started[$text]=$SECONDS
}

# when CONDITION TEXT COMMAND...: as beside, but the command begins when CONDITION, a command, holds, and at the latest when finish waits
# for it; from there its time counts. Where the script ends before, it never begins.
when() {
  local condition=$1 text=$2 log; shift 2
  log=$(logfile "$text")
  rm -f "${log%.log}."{began,due}
  {
    until $condition || [ -e "${log%.log}.due" ]; do
      sleep 1
      kill -0 $$ 2>/dev/null || exit 1
    done
    echo $SECONDS >"${log%.log}.began"
    timed "$(cpufile "$text")" "$@"
  } >"$log" 2>&1 </dev/null &
  running[$text]=$! started[$text]=
}

finish() {
  local began=$SECONDS code=0 follower since=${started[$1]} log
  log=$(logfile "$1")
  : >"${log%.log}.due"
  [ -n "$since" ] || since=$(cat "${log%.log}.began" 2>/dev/null) || since=$SECONDS
  follow "$1" "$since" &
  follower=$!
  wait "${running[$1]}" || code=$?
  ended "$1" "$since" $follower $code
  printf '%-52s %4d s more%s\n' "$1" $((SECONDS - began)) "$(spent "$(cpufile "$1")")"
}

stack_up() { # NAME [FLAG...]
  dev/run pulumi stack select --create "$1"
  dev/run pulumi up -s "$@" --yes --skip-preview --non-interactive
}
