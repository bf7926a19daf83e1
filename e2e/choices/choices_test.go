//go:build e2e

// Package choices holds what users see of what they may start, in a real browser at hubs of both pairs of versions.
package choices

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/outposts-dev/outposts/e2e/browser"
	"github.com/outposts-dev/outposts/e2e/deployed"
)

const width, height = 1000, 800 // of the browser's window, in pixels

// card is a system as its user reads it; what cannot be chosen has an x before it.
type card struct {
	System, Notes, Data string
	Profiles, Flavors   []string
}

// cards has TIME in place of times, which differ from run to run.
const cards = `Array.from(document.querySelectorAll(".outpost-system"), function (card) {
	function text(element) { return element.textContent.trim().replace(/\s+/g, " "); }
	function many(selector, textOf) { return Array.from(card.querySelectorAll(selector), function (element) {
		return (element.disabled ? "x " : "") + textOf(element); }); }
	return {
		System: (card.querySelector("input").disabled ? "x " : "") + text(card.querySelector("label")),
		Notes: many("[id^=state-] p", text).join(" ").replace(/([0-9/]+ )?\d+:\d\d( [AP]M)?/g, "TIME"),
		Data: many(":scope > .outpost-choices > p:not([id])", text).join(" "),
		Profiles: many(".outpost-profile > input", function (input) {
			return Array.from(input.parentElement.querySelectorAll(":scope > label, :scope > p"), text).join(": "); }),
		Flavors: many("select[name^=flavor] option", text)
	};
})`

// cardsOf are the systems as a user in the group gpu sees them, or as one who is not.
func cardsOf(inGPU bool) []card {
	far := card{
		System: "Computing centre", Notes: "Available.", Data: "Home: 1 GB, kept.",
		Profiles: []string{
			"Notebook: Python with the usual packages.", "x MATLAB: For members of the faculties that pay for it.",
		},
		Flavors: []string{
			"Small (2 CPUs, 4 GB): 0 of 8 in use, you 0 of 1", "x Large (16 CPUs, 64 GB): 1 of 1 in use, full",
			"x One GPU (8 CPUs, 32 GB): 0 of 4 in use, you 0 of 1: Ask for the group gpu.",
		},
	}
	var shown []card
	if inGPU {
		far.Profiles = []string{far.Profiles[0], "Training: Frameworks for a GPU.", far.Profiles[1]}
		far.Flavors[2] = "One GPU (8 CPUs, 32 GB): 0 of 4 in use, you 0 of 1"
		shown = []card{{
			System: "GPU partition", Notes: "Available.", Data: "Home: 1 GB, kept.",
			Profiles: []string{}, Flavors: []string{"One GPU (16 CPUs, 128 GB): 0 of 16 in use"},
		}}
	}
	campus := card{
		System: "Campus", Notes: "Available.", Data: "Nothing is kept here: files are gone when the server ends.",
		Profiles: []string{},
		Flavors:  []string{"Small (1 CPU, 2 GB)", "Large (4 CPUs, 16 GB)", "A node (64 CPUs, 512 GB)"},
	}
	away := card{System: "Island", Notes: "Not reachable since TIME.", Profiles: []string{}, Flavors: []string{}}
	maintained := card{
		System: "x Old mill", Notes: "Old mill is in maintenance until TIME: New disks.",
		Profiles: []string{}, Flavors: []string{},
	}
	return append([]card{campus, far}, append(shown, away, maintained)...)
}

// TestE2EChoices is the way of two users, of whom one is in the group gpu, at hubs of both pairs of versions.
// What they may start differs; what the one writes into the home is there again at the next start, and nowhere else:
// users of the two hubs have the same names and the same outposts.
func TestE2EChoices(t *testing.T) {
	p := openPlace(t)
	axe := axeScript(t)
	for _, s := range p.sites {
		t.Run(s.pair, func(t *testing.T) {
			image := p.users(t, s)
			t.Run("in no group", func(t *testing.T) { openForm(t, s, "bea").sees(cardsOf(false)) })
			t.Run("in group gpu", func(t *testing.T) {
				b := openForm(t, s, "ann")
				b.sees(cardsOf(true))
				b.choose(image)
				b.page(s, "form", axe)
				b.byKeyboard()
				b.startLab("ann", "first")
				b.keeps("nothing", "the file of ann at "+s.name)
				p.runs(t, image)
				b = openTab(t, s) // the first one would ask whether to leave the notebook
				b.LogIn("ann")
				b.Do("home page", chromedp.Navigate(s.hub.URL+"/hub/home"),
					chromedp.WaitVisible(chromedp.CSS("#stop-lab")))
				b.page(s, "home", axe)
				b.Do("stop and start", chromedp.Click(chromedp.CSS("#stop-lab")),
					chromedp.WaitVisible(chromedp.CSS("#start-lab")), chromedp.Click(chromedp.CSS("#start-lab")),
					chromedp.WaitVisible(chromedp.CSS("#system-far")))
				b.chosen(image)
				b.startLab("ann", "second")
				b.keeps("the file of ann at "+s.name, "it again")
			})
			t.Run("progress", func(t *testing.T) { waits(t, s, axe) })
			t.Run("without script", func(t *testing.T) { withoutScript(t, s) })
		})
	}
}

// users makes the users of a hub: ann is in the group gpu, bea is not, and cal has the only large server of far. It
// returns the name of that server's image by its digest, which is nobody's default.
func (p *place) users(t *testing.T, s *site) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for _, user := range []string{"ann", "bea", "cal"} {
		if err := s.hub.EnsureUser(ctx, user); err != nil {
			t.Fatal(err)
		}
		deployed.StopAtEnd(t, s.hub, user, "lab")
	}
	if err := s.hub.EnsureGroup(ctx, "gpu", "ann"); err != nil {
		t.Fatal(err)
	}
	if err := s.hub.Start(ctx, "cal", "lab", map[string]any{"system": "far", "flavor": "large"}); err != nil {
		t.Fatal(err)
	}
	if err := s.hub.Progress(ctx, "cal", "lab", nil); err != nil {
		t.Fatal(err)
	}
	for _, pod := range p.servers(t) {
		return pod.Status.ContainerStatuses[0].ImageID
	}
	t.Fatal("cal has no pod")
	return ""
}

// servers are the pods of users' servers at the outpost far.
func (p *place) servers(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, err := p.remote.API.CoreV1().Pods(farNamespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: deployed.ServerPods})
	if err != nil {
		t.Fatal(err)
	}
	return pods.Items
}

// runs holds that a server of far has the image.
func (p *place) runs(t *testing.T, image string) {
	t.Helper()
	var images []string
	for _, pod := range p.servers(t) {
		images = append(images, pod.Spec.Containers[0].Image)
	}
	if !slices.Contains(images, image) {
		t.Errorf("servers of far have the images %q, none has %s", images, image)
	}
}

// tab is a page of a browser, on which this test looks at a hub's pages.
type tab struct{ *browser.Tab }

func openTab(t *testing.T, s *site) tab {
	t.Helper()
	return tab{browser.Open(t, s.hub.URL, word)}
}

// evaluate returns the value of a script's expression.
func evaluate[T any](b tab, expression string, options ...chromedp.EvaluateOption) T {
	b.T.Helper()
	return browser.Evaluate[T](b.Tab, expression, options...)
}

// openForm opens the form of a user for the server lab in a new browser.
func openForm(t *testing.T, s *site, user string) tab {
	t.Helper()
	b := openTab(t, s)
	b.Do("size of the window", chromedp.EmulateViewport(width, height))
	b.LogIn(user)
	b.Do("open the form", chromedp.Navigate(s.hub.URL+"/hub/spawn/"+user+"/lab"),
		chromedp.WaitVisible(chromedp.CSS("#system-far")))
	return b
}

// sees holds what the form shows.
func (b tab) sees(want []card) {
	b.T.Helper()
	if diff := cmp.Diff(want, evaluate[[]card](b, cards)); diff != "" {
		b.Shot("form")
		b.T.Errorf("the form (-want +got):\n%s", diff)
	}
}

// choose makes all the choices that far has for who is in the group gpu.
func (b tab) choose(image string) {
	b.T.Helper()
	b.Do("make the choices",
		chromedp.Click(chromedp.CSS("#system-far")),
		chromedp.Click(chromedp.CSS(`input[name="profile-far"][value="training"]`)),
		chromedp.SetValue(chromedp.CSS(`select[name="option:far:training:framework"]`), "jax"),
		chromedp.SetValue(chromedp.CSS("#flavor-far"), "gpu"),
		chromedp.SetValue(chromedp.CSS("#image-far"), image),
	)
}

// chosen holds that the form begins with the choices of the last start.
func (b tab) chosen(image string) {
	b.T.Helper()
	want := []string{
		"system=far", "profile-far=training", "option:far:training:framework=jax", "flavor-far=gpu",
		"image-far=" + image,
	}
	got := evaluate[[]string](b, `Array.from(new FormData(document.getElementById("spawn_form")), function (pair) {
		return pair.join("="); }).filter(function (pair) { return /^system|far[=:]/.test(pair); })`)
	if diff := cmp.Diff(want, got); diff != "" {
		b.Shot("choices")
		b.T.Errorf("the choices (-want +got):\n%s", diff)
	}
}

// byKeyboard holds that the Tab key leads through the choices in their order, to the button, and nowhere else.
func (b tab) byKeyboard() {
	b.T.Helper()
	want := []string{"system-far", "profile:far:1", "profile:far:1:0", "flavor-far", "image-far", "Start"}
	b.Do("the first field", chromedp.Focus(chromedp.CSS("#system-far")))
	var got []string
	for range want {
		got = append(got, evaluate[string](b, `document.activeElement.id || document.activeElement.textContent.trim()`))
		b.Do("the next field", chromedp.KeyEvent(kb.Tab))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.T.Errorf("the Tab key (-want +got):\n%s", diff)
	}
	if alone := evaluate[[]string](b, `Array.from(document.querySelectorAll("#outposts input[type=radio]")).filter(
		function (radio) { var group = radio.closest("fieldset"); return !group || !group.querySelector("legend"); }
	).map(function (radio) { return radio.id; })`); len(alone) > 0 {
		b.T.Errorf("choices in no group with a name: %q", alone)
	}
}

// startLab sends the form, waits for JupyterLab, and opens a workspace in which nothing is open yet.
func (b tab) startLab(user, workspace string) {
	b.T.Helper()
	b.Do("send the form", chromedp.Click(chromedp.CSS(`#spawn_form button[type="submit"]`)))
	b.WaitText("JupyterLab's address", "location.pathname", "/user/"+user+"/lab/lab", 3*time.Minute)
	b.Do("a workspace", chromedp.Navigate(b.HubURL+"/user/"+user+"/lab/lab/workspaces/"+workspace))
}

// keeps runs a cell that reads a file in the home, which has the first text, and writes the second one into it.
func (b tab) keeps(found, left string) {
	b.T.Helper()
	const code = `import os, pathlib; kept = pathlib.Path.home() / "kept.txt"; ` +
		`print(kept.read_text() if kept.exists() else "nothing", "with", os.environ["FRAMEWORK"]); ` +
		`kept.write_text("%s")`
	b.RunCell(fmt.Sprintf(code, left), found+" with JAX")
}

// waits looks at the page of a start that lasts: no node has room for the server.
func waits(t *testing.T, s *site, axe string) {
	b := openForm(t, s, "bea")
	b.Do("send the form", chromedp.Click(chromedp.CSS("#system-near")),
		chromedp.SetValue(chromedp.CSS("#flavor-near"), "node"),
		chromedp.Click(chromedp.CSS(`#spawn_form button[type="submit"]`)))
	b.WaitText("the reason", browser.Progress, "Waiting for a node with room for this server", time.Minute)
	b.page(s, "progress", axe)
	deployed.Stop(t, s.hub, "bea", "lab")
}
