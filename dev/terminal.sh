# How dev/build and dev/steps.sh show what goes on: on a terminal in one line that changes, elsewhere in lines. Read with `.`.

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
