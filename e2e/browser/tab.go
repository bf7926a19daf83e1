//go:build e2e

// Package browser is a real browser as a user of a hub has it: log in, fill a form, work in JupyterLab.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// Progress is a script's expression: what the page of a start has said so far.
const Progress = `document.querySelector("#progress-message").textContent + ` +
	`document.querySelector("#progress-log").textContent`

// Tab is a page of a headless browser, in which users of one hub log in.
type Tab struct {
	T        *testing.T // fails where an action does
	HubURL   string
	Ctx      context.Context // of the browser
	password string
}

// Open starts a browser, which ends with the test; where none is installed, the test is skipped. All users of the hub
// have the password.
func Open(t *testing.T, hubURL, password string) *Tab {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed; run dev/packages tests")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program),
		chromedp.WindowSize(1280, 900),
		chromedp.Flag("no-sandbox", true), chromedp.WSURLReadTimeout(time.Minute))
	allocator, cancelAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancelAllocator)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	// The browser lives as long as the context of the first action, so that one has no deadline.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	ctx, cancelTimeout := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancelTimeout)
	return &Tab{T: t, HubURL: hubURL, Ctx: ctx, password: password}
}

// Do does what a user does. An error fails the test with a picture of the page.
func (b *Tab) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.Ctx, actions...); err != nil {
		b.Shot("failed")
		b.T.Fatalf("%s: %v", what, err)
	}
}

// Shot keeps a picture of the page.
func (b *Tab) Shot(name string) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Ctx), 20*time.Second)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.T.Logf("no picture %s: %v", name, err)
		return
	}
	path := filepath.Join(deployed.Artefacts(b.T), strings.ReplaceAll(b.T.Name(), "/", "-")+"-"+name+".png")
	if err := os.WriteFile(path, picture, 0o644); err != nil {
		b.T.Error(err)
	}
	b.T.Logf("picture: %s", path)
}

// LogIn logs a user in.
func (b *Tab) LogIn(user string) {
	b.T.Helper()
	b.Do("log in",
		chromedp.Navigate(b.HubURL+"/hub/login"),
		chromedp.WaitVisible(chromedp.CSS("#username_input")),
		chromedp.SendKeys(chromedp.CSS("#username_input"), user),
		chromedp.SendKeys(chromedp.CSS("#password_input"), b.password),
		chromedp.Submit(chromedp.CSS("#password_input")),
		chromedp.WaitVisible(chromedp.CSS("#logout")),
	)
}

// WaitText waits until the page has the text in what the script expression gives. Pages change meanwhile.
func (b *Tab) WaitText(what, expression, text string, d time.Duration) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, d)
	defer cancel()
	err := deployed.Eventually(ctx, func(ctx context.Context) error {
		got, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
		if err != nil {
			return err
		}
		if !strings.Contains(got, text) {
			return fmt.Errorf("%q is not in %q", text, got)
		}
		return nil
	})
	if err != nil {
		b.Shot("failed")
		b.T.Fatalf("%s: %v", what, err)
	}
}

// RunCell makes a notebook by JupyterLab's launcher, which is shown, and runs one cell in it.
func (b *Tab) RunCell(code, output string) {
	b.T.Helper()
	b.Do("JupyterLab", chromedp.WaitVisible(chromedp.CSS(`.jp-LauncherCard[data-category="Notebook"]`)))
	b.Shot("3-jupyterlab")
	b.Do("a notebook", chromedp.Click(chromedp.CSS(`.jp-LauncherCard[data-category="Notebook"]`)),
		chromedp.WaitVisible(chromedp.CSS(`.jp-Notebook .cm-content`)))
	// JupyterLab takes the keyboard away once more when the kernel comes up.
	b.WaitText("the kernel", `document.body.textContent`, "| Idle", time.Minute)
	b.Do("the cell", chromedp.Click(chromedp.CSS(`.jp-Notebook .cm-content`)), chromedp.KeyEvent(code))
	b.WaitText("the cell's text", `document.querySelector(".jp-Notebook .cm-content").textContent`, code, time.Minute)
	b.Do("run the cell", chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierShift)))
	b.WaitText("the cell's output", `document.querySelector(".jp-OutputArea-output").textContent`, output, time.Minute)
}

// Evaluate returns the value of a script's expression.
func Evaluate[T any](b *Tab, expression string, options ...chromedp.EvaluateOption) T {
	b.T.Helper()
	value, err := chromedp.Run(b.Ctx, chromedp.Evaluate[T](expression, options...))
	if err != nil {
		b.Shot("failed")
		b.T.Fatal(err)
	}
	return value
}
