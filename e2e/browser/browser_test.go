//go:build e2e

// Package browser walks the way of a user with a real browser: log in, fill the form, watch the progress, work in
// JupyterLab.
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
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// tab is a page of a headless browser, in which users of one hub log in.
type tab struct {
	t                *testing.T
	hubURL, password string
	ctx              context.Context
}

func openTab(t *testing.T, hubURL, password string) *tab {
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
	return &tab{t: t, hubURL: hubURL, password: password, ctx: ctx}
}

func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.shot("failed")
		b.t.Fatalf("%s: %v", what, err)
	}
}

// shot keeps a picture of the page.
func (b *tab) shot(name string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 20*time.Second)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Logf("no picture %s: %v", name, err)
		return
	}
	path := filepath.Join(deployed.Artefacts(b.t), strings.ReplaceAll(b.t.Name(), "/", "-")+"-"+name+".png")
	if err := os.WriteFile(path, picture, 0o644); err != nil {
		b.t.Error(err)
	}
	b.t.Logf("picture: %s", path)
}

func (b *tab) logIn(user string) {
	b.t.Helper()
	b.do("log in",
		chromedp.Navigate(b.hubURL+"/hub/login"),
		chromedp.WaitVisible(chromedp.CSS("#username_input")),
		chromedp.SendKeys(chromedp.CSS("#username_input"), user),
		chromedp.SendKeys(chromedp.CSS("#password_input"), b.password),
		chromedp.Submit(chromedp.CSS("#password_input")),
		chromedp.WaitVisible(chromedp.CSS("#logout")),
	)
}

// fill opens the form for a server, takes a system and a flavor, and sends it.
func (b *tab) fill(user, server, system, flavor string) {
	b.t.Helper()
	b.do("fill the form",
		chromedp.Navigate(b.hubURL+"/hub/spawn/"+user+"/"+server),
		chromedp.WaitVisible(chromedp.CSS("#system-"+system)),
		chromedp.Click(chromedp.CSS("#system-"+system)),
		chromedp.SetValue(chromedp.CSS(`select[name="flavor-`+system+`"]`), flavor),
	)
	b.shot("1-form")
	b.do("send the form",
		chromedp.Click(chromedp.CSS(`#spawn_form input[type="submit"], #spawn_form button[type="submit"]`)))
}

// waitText waits until the page has the text in what the script expression gives. Pages change meanwhile.
func (b *tab) waitText(what, expression, text string, d time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, d)
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
		b.shot("failed")
		b.t.Fatalf("%s: %v", what, err)
	}
}

// runCell makes a notebook by JupyterLab's launcher, which is shown, and runs one cell in it.
func (b *tab) runCell(code, output string) {
	b.t.Helper()
	b.do("JupyterLab", chromedp.WaitVisible(chromedp.CSS(`.jp-LauncherCard[data-category="Notebook"]`)))
	b.shot("3-jupyterlab")
	b.do("a notebook", chromedp.Click(chromedp.CSS(`.jp-LauncherCard[data-category="Notebook"]`)),
		chromedp.WaitVisible(chromedp.CSS(`.jp-Notebook .cm-content`)))
	// JupyterLab takes the keyboard away once more when the kernel comes up.
	b.waitText("the kernel", `document.body.textContent`, "| Idle", time.Minute)
	b.do("the cell", chromedp.Click(chromedp.CSS(`.jp-Notebook .cm-content`)), chromedp.KeyEvent(code))
	b.waitText("the cell's text", `document.querySelector(".jp-Notebook .cm-content").textContent`, code, time.Minute)
	b.do("run the cell", chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierShift)))
	b.waitText("the cell's output", `document.querySelector(".jp-OutputArea-output").textContent`, output, time.Minute)
}

// progress is what the page of a start has said so far.
const progress = `document.querySelector("#progress-message").textContent + ` +
	`document.querySelector("#progress-log").textContent`

// TestE2EBrowser is a user's whole way, on each system.
func TestE2EBrowser(t *testing.T) {
	d := deployed.Open(t)
	for _, system := range d.Systems {
		t.Run(system, func(t *testing.T) {
			const code = "print('the answer is', 6 * 7)"
			user, server := "browser-"+system, "lab"
			hub, err := hubapi.Login(t.Context(), d.HubURL, user, d.Password)
			if err != nil {
				t.Fatal(err)
			}
			stopAtEnd(t, hub, user, server)
			b := openTab(t, d.HubURL, d.Password)
			b.logIn(user)
			b.fill(user, server, system, "large")
			b.waitText("progress page", "location.pathname", "/hub/spawn-pending/", 30*time.Second)
			b.waitText("progress", progress, "Server requested", 30*time.Second)
			b.shot("2-progress")
			b.waitText("JupyterLab's address", "location.pathname", "/user/"+user+"/"+server+"/lab", 2*time.Minute)
			// The home is kept, with what JupyterLab showed at the end of an earlier run in place of its launcher.
			b.do("an empty workspace", chromedp.Navigate(d.HubURL+"/user/"+user+"/"+server+"/lab?reset"))
			b.runCell(code, "the answer is 42")
			b.shot("4-cell")
			servers, err := hub.Servers(t.Context(), user)
			if err != nil {
				t.Fatal(err)
			}
			options := servers[server].UserOptions
			if options["system"] != system || options["flavor"] != "large" {
				t.Errorf("the server's options are %v, want system %s and flavor large", options, system)
			}
		})
	}
}

// TestE2EBrowserRefused shows that a name the systems cannot take is refused in words, on the form.
func TestE2EBrowserRefused(t *testing.T) {
	d := deployed.Open(t)
	b := openTab(t, d.HubURL, d.Password)
	b.logIn("browser-refused")
	b.fill("browser-refused", "No.Such.Name", "remote", "small")
	b.waitText("the reason", `document.body.textContent`, "at most 32 characters", 30*time.Second)
	b.shot("2-reason")
}

// TestE2EBrowserReason shows that a start that cannot work says why on the progress page, within 30 s.
func TestE2EBrowserReason(t *testing.T) {
	d := deployed.Open(t)
	d.Remote.ReplaceFlavors(t, `{"flavors": {"small": {"resources": {"image": "localhost/outposts/no-such-image:1"}}}}`)
	user, server := "browser-reason", "lab"
	hub, err := hubapi.Login(t.Context(), d.HubURL, user, d.Password)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, hub, user, server)
	b := openTab(t, d.HubURL, d.Password)
	b.logIn(user)
	b.fill(user, server, "remote", "small")
	b.waitText("the reason on the page", progress, "The image cannot be pulled", 30*time.Second)
	b.waitText("the page", "location.pathname", "/hub/spawn-pending/", 30*time.Second)
	b.shot("2-reason")
}

// TestE2EBrowserOffer shows that the form has what the outpost offers this user at the moment, also on a narrow screen.
func TestE2EBrowserOffer(t *testing.T) {
	d := deployed.Open(t)
	d.Remote.ReplaceFlavors(t, `{"flavors": {"small": {"max": 8, "maxPerUser": 1}, "large": {"max": 0}}, "users": {
		"team": {"authentication": {"name": "browser-team"}, "flavors": ["small", "large"]},
		"others": {"authentication": {"name": "browser-other"}, "flavors": ["small"]}}}`)
	for user, want := range map[string]string{
		"browser-team":  "small: 0 of 8 in use, you 0 of 1|large: 0 of 0 in use, full (disabled)",
		"browser-other": "small: 0 of 8 in use, you 0 of 1",
	} {
		t.Run(user, func(t *testing.T) {
			b := openTab(t, d.HubURL, d.Password)
			b.logIn(user)
			b.do("open the form",
				chromedp.EmulateViewport(360, 800),
				chromedp.Navigate(d.HubURL+"/hub/spawn/"+user+"/lab"),
				chromedp.WaitVisible(chromedp.CSS("#system-remote")),
				chromedp.Click(chromedp.CSS("#system-remote")),
				chromedp.WaitVisible(chromedp.CSS("#flavor-remote")))
			b.waitText("the state", `document.querySelector("#state-remote").textContent`, "Available.", 30*time.Second)
			b.waitText("the flavors", `Array.from(document.querySelector("#flavor-remote").options, function (o) {
				return o.value + o.textContent.slice(o.textContent.indexOf(":")) + (o.disabled ? " (disabled)" : "");
			}).join("|") + "."`, want+".", 30*time.Second)
			b.waitText("the width", `document.documentElement.scrollWidth <= 360`, "true", 30*time.Second)
			b.shot("1-form")
		})
	}
}

// stopAtEnd stops a server that an earlier run has left, and at the end the one of the test.
func stopAtEnd(t *testing.T, hub *hubapi.Client, user, server string) {
	t.Helper()
	stop(t, hub, user, server)
	t.Cleanup(func() { stop(t, hub, user, server) })
}

// stop stops a server and waits until it is gone.
func stop(t *testing.T, hub *hubapi.Client, user, server string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := hub.Stop(ctx, user, server); err != nil {
		t.Errorf("stop %s/%s: %v", user, server, err)
	}
	if err := hub.WaitGone(ctx, user, server); err != nil {
		t.Errorf("stop %s/%s: %v", user, server, err)
	}
}
