//go:build e2e

package choices

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axePin is the package of npm with the checker, and the digest that npm has for it.
//
//go:embed axe.pin
var axePin string

// axeScript fetches the checker, as it was when it was pinned.
func axeScript(t *testing.T) string {
	t.Helper()
	pinned, integrity, _ := strings.Cut(strings.TrimSpace(axePin), " ")
	cmd := exec.CommandContext(t.Context(), "npm", "pack", "--silent", "--prefer-offline", pinned)
	cmd.Dir, cmd.Stderr = t.TempDir(), t.Output()
	name, err := cmd.Output()
	if err != nil {
		t.Fatalf("npm pack %s: %v; npm is installed by dev/packages tests", pinned, err)
	}
	archive, err := os.ReadFile(filepath.Join(cmd.Dir, strings.TrimSpace(string(name))))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(archive)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != integrity {
		t.Fatalf("%s is %s, want %s", pinned, got, integrity)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(unzipped); ; {
		file, err := files.Next()
		if err != nil {
			t.Fatalf("%s has no axe.min.js: %v", pinned, err)
		}
		if file.Name == "package/axe.min.js" {
			script, err := io.ReadAll(files)
			if err != nil {
				t.Fatal(err)
			}
			return string(script)
		}
	}
}

// page holds that the page of a hub that is shown is accessible, and takes the manual's picture of it, with the default
// pair of versions.
func (b tab) page(s *site, name, axe string) {
	b.T.Helper()
	b.accessible(name, axe)
	if s.pair == "jupyterhub-5.5" {
		b.Picture(name, 720, 1)
	}
}

// accessible holds that the checker finds nothing to complain of on the page, by any of its rules, on a wide screen and
// on that of a telephone, which the page fits.
func (b tab) accessible(page, script string) {
	b.T.Helper()
	evaluate[bool](b, script+"; true")
	const ask = `axe.run().then(function (result) { return result.violations.flatMap(function (rule) {
		return rule.nodes.map(function (node) {
			return [rule.impact, rule.id, node.target.join(" "), node.failureSummary].join(": "); }); }); })`
	for _, w := range []int64{width, 360} {
		b.Do("size of the window", chromedp.EmulateViewport(w, height))
		if found := evaluate[[]string](b, ask, chromedp.EvalAwaitPromise); len(found) > 0 {
			b.Shot(fmt.Sprintf("%s-%d-not-accessible", page, w))
			b.T.Errorf("%s, %d pixels wide:\n%s", page, w, strings.Join(found, "\n"))
		}
		if needs := evaluate[int64](b, "document.documentElement.scrollWidth"); needs > w {
			b.Shot(fmt.Sprintf("%s-%d-wide", page, w))
			b.T.Errorf("%s, %d pixels wide, needs %d", page, w, needs)
		}
	}
	b.Do("size of the window", chromedp.EmulateViewport(width, height))
}
