//go:build e2e

package browser

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/outposts-dev/outposts/e2e/deployed"
	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// fill opens the form for a server, takes a system and a flavor, and sends it.
func fill(b *Tab, user, server, system, flavor string) {
	b.T.Helper()
	b.Do("fill the form",
		chromedp.Navigate(b.HubURL+"/hub/spawn/"+user+"/"+server),
		chromedp.WaitVisible(chromedp.CSS("#system-"+system)),
		chromedp.Click(chromedp.CSS("#system-"+system)),
		chromedp.SetValue(chromedp.CSS(`select[name="flavor-`+system+`"]`), flavor),
	)
	b.Shot("1-form")
	b.Do("send the form",
		chromedp.Click(chromedp.CSS(`#spawn_form input[type="submit"], #spawn_form button[type="submit"]`)))
}

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
			deployed.StopAtEnd(t, hub, user, server)
			b := Open(t, d.HubURL, d.Password)
			b.LogIn(user)
			fill(b, user, server, system, "large")
			b.WaitText("progress page", "location.pathname", "/hub/spawn-pending/", 30*time.Second)
			b.WaitText("progress", Progress, "Server requested", 30*time.Second)
			b.Shot("2-progress")
			b.WaitText("JupyterLab's address", "location.pathname", "/user/"+user+"/"+server+"/lab", 2*time.Minute)
			// The home is kept, with what JupyterLab showed at the end of an earlier run in place of its launcher.
			b.Do("an empty workspace", chromedp.Navigate(d.HubURL+"/user/"+user+"/"+server+"/lab?reset"))
			b.RunCell(code, "the answer is 42")
			b.Shot("4-cell")
			if system == "remote" {
				b.Picture("jupyterlab", 1280, 480)
			}
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
	b := Open(t, d.HubURL, d.Password)
	b.LogIn("browser-refused")
	fill(b, "browser-refused", "No.Such.Name", "remote", "small")
	b.WaitText("the reason", `document.body.textContent`, "at most 32 characters", 30*time.Second)
	b.Shot("2-reason")
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
	deployed.StopAtEnd(t, hub, user, server)
	b := Open(t, d.HubURL, d.Password)
	b.LogIn(user)
	fill(b, user, server, "remote", "small")
	b.WaitText("the reason on the page", Progress, "The image cannot be pulled", 30*time.Second)
	b.WaitText("the page", "location.pathname", "/hub/spawn-pending/", 30*time.Second)
	b.Shot("2-reason")
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
			b := Open(t, d.HubURL, d.Password)
			b.LogIn(user)
			b.Do("open the form",
				chromedp.EmulateViewport(360, 800),
				chromedp.Navigate(d.HubURL+"/hub/spawn/"+user+"/lab"),
				chromedp.WaitVisible(chromedp.CSS("#system-remote")),
				chromedp.Click(chromedp.CSS("#system-remote")),
				chromedp.WaitVisible(chromedp.CSS("#flavor-remote")))
			b.WaitText("the state", `document.querySelector("#state-remote").textContent`, "Available.", 30*time.Second)
			b.WaitText("the flavors", `Array.from(document.querySelector("#flavor-remote").options, function (o) {
				return o.value + o.textContent.slice(o.textContent.indexOf(":")) + (o.disabled ? " (disabled)" : "");
			}).join("|") + "."`, want+".", 30*time.Second)
			b.WaitText("the width", `document.documentElement.scrollWidth <= 360`, "true", 30*time.Second)
			b.Shot("1-form")
		})
	}
}
