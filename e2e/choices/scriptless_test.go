//go:build e2e

package choices

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/e2e/deployed"
)

// scriptless is a tab whose pages run no script. Most actions of chromedp ask the page by scripts of their own, and
// wait for ever here: this one is read by the browser's tree of nodes, and used by mouse and keyboard alone.
type scriptless struct{ tab }

func (b tab) withoutScript() scriptless {
	b.T.Helper()
	_, err := chromedp.Call(b.Ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true})
	if err != nil {
		b.T.Fatal(err)
	}
	return scriptless{b}
}

// eventually waits until the answer is nil. Pages change meanwhile.
func (b scriptless) eventually(what string, ask func(context.Context) error) {
	b.T.Helper()
	ctx, cancel := context.WithTimeout(b.Ctx, time.Minute)
	defer cancel()
	if err := deployed.Eventually(ctx, ask); err != nil {
		b.Shot("failed")
		b.T.Fatalf("%s: %v", what, err)
	}
}

var errNotThere = errors.New("is not there")

// find returns the first node that the CSS selector names.
func find(ctx context.Context, selector string) (cdp.NodeID, error) {
	document, err := chromedp.Call(ctx, dom.GetDocument, dom.GetDocumentParams{})
	if err != nil {
		return 0, err
	}
	found, err := chromedp.Call(ctx, dom.QuerySelector,
		dom.QuerySelectorParams{NodeID: document.Root.NodeID, Selector: selector})
	if err == nil && found.NodeID == 0 {
		err = errNotThere
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", selector, err)
	}
	return found.NodeID, nil
}

// middle scrolls to a node and returns its middle, in pixels of the window. What is hidden has none.
func middle(ctx context.Context, selector string) (x, y float64, err error) {
	node, err := find(ctx, selector)
	if err != nil {
		return 0, 0, err
	}
	if _, err := chromedp.Call(ctx, dom.ScrollIntoViewIfNeeded,
		dom.ScrollIntoViewIfNeededParams{NodeID: node}); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", selector, err)
	}
	box, err := chromedp.Call(ctx, dom.GetBoxModel, dom.GetBoxModelParams{NodeID: node})
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", selector, err)
	}
	corners := box.Model.Content
	return (corners[0] + corners[4]) / 2, (corners[1] + corners[5]) / 2, nil
}

// click clicks on what is, or comes to be, visible.
func (b scriptless) click(selector string) {
	b.T.Helper()
	b.eventually("click", func(ctx context.Context) error {
		x, y, err := middle(ctx, selector)
		if err != nil {
			return err
		}
		return chromedp.Do(ctx, chromedp.MouseClickXY(x, y))
	})
}

// hidden holds that a node of the page that is loaded is not shown.
func (b scriptless) hidden(selector string) {
	b.T.Helper()
	node, err := find(b.Ctx, selector)
	if err != nil {
		b.T.Fatal(err)
	}
	box, err := chromedp.Call(b.Ctx, dom.GetBoxModel, dom.GetBoxModelParams{NodeID: node})
	if err == nil {
		b.Shot("failed")
		b.T.Fatalf("%s is shown, %d by %d pixels", selector, box.Model.Width, box.Model.Height)
	}
	if !strings.Contains(err.Error(), "Could not compute box model") { // it has none
		b.T.Fatalf("%s: %v", selector, err)
	}
}

// choose takes the choice of a list that begins with these letters, by the keyboard.
func (b scriptless) choose(list, letters string) {
	b.T.Helper()
	b.eventually("choose", func(ctx context.Context) error {
		if _, _, err := middle(ctx, list); err != nil {
			return err
		}
		node, err := find(ctx, list)
		if err != nil {
			return err
		}
		if _, err := chromedp.Call(ctx, dom.Focus, dom.FocusParams{NodeID: node}); err != nil {
			return fmt.Errorf("%s: %w", list, err)
		}
		return chromedp.Do(ctx, chromedp.KeyEvent(letters))
	})
}

// withoutScript holds that the form is of use where the browser runs no script.
func withoutScript(t *testing.T, s *site) {
	tab := openTab(t, s)
	tab.LogIn("bea")
	b := tab.withoutScript()
	if _, err := chromedp.Call(b.Ctx, page.Navigate,
		page.NavigateParams{URL: s.hub.URL + "/hub/spawn/bea/lab"}); err != nil {
		t.Fatal(err)
	}
	b.eventually("the form", func(ctx context.Context) error {
		_, _, err := middle(ctx, `#spawn_form button[type="submit"]`)
		return err
	})
	// Its content are nodes only where no script runs.
	if _, err := find(b.Ctx, "noscript #noscript"); err != nil {
		t.Fatalf("the browser runs scripts: %v", err)
	}
	b.hidden("#flavor-far")
	b.click("#system-far")
	b.eventually("the choices", func(ctx context.Context) error {
		_, _, err := middle(ctx, "#flavor-far")
		return err
	})
	b.hidden("#flavor-near")
	b.click("#system-near")
	b.choose("#flavor-near", "Large")
	b.Shot("form")
	b.click(`#spawn_form button[type="submit"]`)
	want := map[string]any{"system": "near", "flavor": "large"}
	b.eventually("the server", func(ctx context.Context) error {
		servers, err := s.hub.Servers(ctx, "bea")
		if diff := cmp.Diff(want, servers["lab"].UserOptions); err == nil && diff != "" {
			err = fmt.Errorf("options of the server (-want +got):\n%s", diff)
		}
		return err
	})
}
