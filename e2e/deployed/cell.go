package deployed

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// RunCell starts a server and runs a cell in it.
func RunCell(t testing.TB, hub *hubapi.Client, user, server string, options map[string]any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := hub.EnsureUser(ctx, user); err != nil {
		t.Fatal(err)
	}
	if err := hub.Start(ctx, user, server, options); err != nil {
		t.Fatal(err)
	}
	if err := hub.Progress(ctx, user, server, func(e hubapi.Event) { t.Log(e.Message) }); err != nil {
		t.Fatalf("server %s: %v", server, err)
	}
	kernel, err := hub.OpenKernel(ctx, user, server)
	if err != nil {
		t.Fatal(err)
	}
	if printed, err := kernel.Run(ctx, "print(6 * 7)"); err != nil || strings.TrimSpace(printed) != "42" {
		t.Errorf("server %s: a cell printed %q, %v", server, printed, err)
	}
}
