//go:build e2e

package lifecycle

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A mistake in a new file takes nothing down: the outpost goes on with what it has read, and whoever looks is told what
// is wrong, and on which line.
func TestE2EBrokenFilesTakeNothingDown(t *testing.T) {
	t.Parallel()
	c, dir := newCluster(t), t.TempDir()
	flavors := filepath.Join(dir, "flavors.yaml")
	p := c.newProcess(t, dir, "OUTPOST_FLAVORS_PATH="+flavors)
	write(t, flavors, "flavors:\n  small: {display_name: Small}\n")
	p.start(t)
	checked := func() (string, int) {
		out, err := p.command("check-config").CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), exit.ExitCode()
	}
	serves := func(t *testing.T, name, flavor string) {
		t.Helper()
		asked := startRequest{name: name, startID: "s", flavor: flavor}
		if err := wantStatus(p.request(t.Context(), asked, false)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	serves(t, "before", "small")

	t.Run("configuration", func(t *testing.T) {
		good, err := os.ReadFile(p.config)
		if err != nil {
			t.Fatal(err)
		}
		defer write(t, p.config, string(good))
		write(t, p.config, string(good)+"hubs:\n  "+hubName+":\n    spawner:\n      mem_limt: 1G\n")
		const want = "config.yaml: hubs." + hubName + ".spawner.mem_limt"
		said, code := checked()
		if code != 1 || !strings.Contains(said, want) || !strings.Contains(said, "line 6") {
			t.Errorf("check-config ends with %d, want 1 and %q at line 6:\n%s", code, want, said)
		}
		serves(t, "configuration", "small")
	})

	t.Run("flavors", func(t *testing.T) {
		write(t, flavors, "flavors:\n  small: {display_name: Small}\n  large: {resources: {mem_limt: 1G}}\n")
		wait(t, time.Minute, "the outpost has looked at the file", func() error {
			if !strings.Contains(p.logged(t), "reload failed, keeping the previous version") {
				return errors.New("it has not said so")
			}
			return nil
		})
		said, code := checked()
		const want = "line 3: flavors.large.resources.mem_limt"
		if code != 1 || !strings.Contains(said, want) {
			t.Errorf("check-config ends with %d, want 1 and %q:\n%s", code, want, said)
		}
		serves(t, "flavors", "small")
		write(t, flavors, "flavors:\n  large: {display_name: Large}\n")
		wait(t, time.Minute, "the outpost has read the file", func() error {
			if !strings.Contains(p.logged(t), `"file reloaded","component":"reload","what":"flavors"`) {
				return errors.New("it has not said so")
			}
			return nil
		})
		serves(t, "mended", "large")
	})

	want := []string{"before/s", "configuration/s", "flavors/s", "mended/s"}
	if diff := cmp.Diff(want, c.pods(t)); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if rows := p.services(t); !slices.Equal(rows, want) {
		t.Errorf("rows are %q, want %q", rows, want)
	}
}
