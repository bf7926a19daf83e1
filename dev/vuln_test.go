package dev

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestVuln holds what is looked at, with which database and toolchain, and how the script ends.
func TestVuln(t *testing.T) {
	const scan = `run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -db file:///modules/vulndb@v1/data/osv `
	for _, test := range []struct {
		name, run string // lines of shell in place of the scanner
		download  string // and of the download
		args      []string
		env       string
		code      int
		calls     string
		want      string
	}{
		{name: "what is shipped", calls: "auto " + scan + "./server/cmd/outpost\nauto " + scan + "./stacks\n"},
		{name: "one package", args: []string{"./stacks"}, calls: "auto " + scan + "./stacks\n"},
		{
			name: "a toolchain of the user", env: "GOTOOLCHAIN=local", args: []string{"./stacks"},
			calls: "local " + scan + "./stacks\n",
		},
		{
			name: "a vulnerability", run: "exit 1", code: 1, calls: "auto " + scan + "./server/cmd/outpost\n",
			want: "vuln: ./server/cmd/outpost with go1.26.10",
		},
		{
			name: "out of time", run: "exit 124", env: "VULN_TIMEOUT=2s", code: 1, want: "is not done within 2s",
			calls: "auto " + scan + "./server/cmd/outpost\n",
		},
		{
			name: "no database", download: `echo '	"Error": "not served"'; exit 1`,
			code: 1, want: "cannot be downloaded",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newMachine(t, "dirname")
			calls := filepath.Join(t.TempDir(), "calls")
			write(t, calls, "")
			m.program(t, "timeout", `shift; exec "$@"`)
			m.program(t, "go", `case $1 in
mod) `+or(test.download, `printf '{\n\t"Path": "x",\n\t"Dir": "/modules/vulndb@v1",\n\t"Sum": "h1"\n}\n'`)+` ;;
env) echo go1.26.10 ;;
*) echo "$GOTOOLCHAIN $*" >>`+calls+"; "+or(test.run, ":")+` ;;
esac`)
			m.env = append(m.env, test.env)
			out, code := m.run(t, append([]string{abs(t, "vuln")}, test.args...)...)
			got, err := os.ReadFile(calls)
			if err != nil || code != test.code || string(got) != test.calls || !strings.Contains(out, test.want) {
				t.Errorf("exit %d, want %d; %v; want %q in\n%s\ncalls (-want +got)\n%s",
					code, test.code, err, test.want, out, cmp.Diff(test.calls, string(got)))
			}
		})
	}
}
