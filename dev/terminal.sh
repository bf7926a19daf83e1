# How dev/build and dev/steps.sh show what goes on: on a terminal in one line that changes, elsewhere in lines; and what it took. Read with `.`.

# in_place TEXT: shows it in the line of the cursor, cut to the terminal, in place of what was there
in_place() {
  local size
  size=$(stty size 2>/dev/null </dev/tty) || size='24 100'
  printf '\r\033[K%s' "${1:0:$((${size#* } - 1))}"
}

# say TEXT: shows a line that stays
say() {
  clear_line
  echo "$1"
}

clear_line() { if [ -t 1 ]; then printf '\r\033[K'; fi; }

# timed FILE COMMAND...: runs it in a process of its own, and writes the seconds of processor time that it took, of user and of system,
# to the file. What other processes of the script take meanwhile is not in it.
timed() (
  file=$1 TIMEFORMAT='%0U %0S'; shift
  { time "$@" 2>&3 3>&-; } 3>&2 2>"$file"
)

# spent FILE: what timed has written there, in minutes, for a line; nothing where it is less than a tenth
spent() {
  local user=0 system=0 tenths
  read -r user system 2>/dev/null <"$1" || return 0
  tenths=$(((user + system + 3) / 6))
  [ $tenths = 0 ] || printf ', %d.%d CPU-min' $((tenths / 10)) $((tenths % 10))
}
