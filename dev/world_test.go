package dev

import (
	"path/filepath"
	"strings"
	"testing"
)

// Scripts for what is deployed run in a world: a folder WORLD whose files are what there is. Stand-ins for pulumi and
// kubectl look there, and change it. fakeStep is what they begin with: each call is written into the file log, and the
// one of number ABORT ends before it has any effect, or with LATE=yes after it.
const fakeStep = `
set -eu
cd "$WORLD"
n=$(($(cat n) + 1)); echo $n > n; echo "${0##*/} $*" >> log
early() { [ "$n" != "${ABORT-}" ] || [ -n "${LATE-}" ] || exit 137; }
late() { [ "$n" != "${ABORT-}" ] || exit 137; }
fail() { echo "error: $1" >&2; exit 255; }
lookup() { # FILE KEY
  while IFS= read -r line; do
    case $line in "$2="*) found=${line#"$2="}; return ;; esac
  done < "$1"
  return 1
}
early
`

// makeWorld makes a world that differs in some files. What these have for config and versions comes first, and the
// first line that fits counts.
func makeWorld(t *testing.T, all, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		if name == "config" || name == "versions" {
			text += all[name]
		}
		all[name] = text
	}
	world := t.TempDir()
	write(t, filepath.Join(world, "log"), "")
	for name, text := range all {
		write(t, filepath.Join(world, name), text)
	}
	return world
}

// play runs a script in a world, with what pulumi and kubectl do there.
func (m machine) play(t *testing.T, world, pulumi, kubectl string, argv ...string) (out string, code int) {
	t.Helper()
	m.program(t, "pulumi", fakeStep+pulumi+"late")
	m.program(t, "kubectl", fakeStep+kubectl+"late")
	m.env = append(m.env, "WORLD="+world, "PULUMI=pulumi")
	write(t, filepath.Join(world, "n"), "0") // the number of the call
	return m.run(t, append([]string{filepath.Join(m.bin, "bash")}, argv...)...)
}

// logOf are the calls in a world, the last play's after those before.
func logOf(t *testing.T, world string) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(read(t, filepath.Join(world, "log"))), "\n")
}
