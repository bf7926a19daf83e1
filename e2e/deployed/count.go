package deployed

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/e2e/hubapi"
)

// fewest is how many numbers a count has at least.
const fewest = 100

// Count is a kernel that counts, and what has come of it: frames of one WebSocket.
type Count struct {
	hub          *hubapi.Client
	user, server string
	ended        string // the file that ends it
	began        time.Time
	result       chan counting
}

type counting struct {
	printed string
	err     error
}

// StartCount starts to count on a server, ten numbers a second.
func StartCount(ctx context.Context, t testing.TB, hub *hubapi.Client, user, server string) *Count {
	t.Helper()
	kernel, err := hub.OpenKernel(ctx, user, server)
	if err != nil {
		t.Fatal(err)
	}
	c := &Count{hub: hub, user: user, server: server, began: time.Now(), result: make(chan counting, 1)}
	c.ended = fmt.Sprintf("/tmp/counted-%d", c.began.UnixNano())
	go func() {
		printed, err := kernel.Run(ctx, fmt.Sprintf(`
import os, time
i = 0
while i < %d or not os.path.exists(%q):
    print(i, flush=True)
    i += 1
    time.sleep(0.1)
`, fewest, c.ended))
		if err == nil {
			err = kernel.Close(ctx)
		}
		c.result <- counting{printed, err}
	}()
	return c
}

// Whole ends the count, and holds that every number has come, in one stream.
func (c *Count) Whole(ctx context.Context, t testing.TB) {
	t.Helper()
	kernel, err := c.hub.OpenKernel(ctx, c.user, c.server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kernel.Run(ctx, fmt.Sprintf("open(%q, 'w').close()", c.ended)); err != nil {
		t.Fatal(err)
	}
	if err := kernel.Close(ctx); err != nil {
		t.Fatal(err)
	}
	took := time.Since(c.began)
	result := <-c.result
	if result.err != nil {
		t.Fatalf("the stream has broken: %v", result.err)
	}
	numbers := strings.Fields(result.printed)
	want := make([]string, len(numbers))
	for i := range want {
		want[i] = fmt.Sprint(i)
	}
	if diff := cmp.Diff(want, numbers); diff != "" || len(numbers) < fewest {
		t.Errorf("%d numbers were counted (-want +got):\n%s", len(numbers), diff)
	}
	t.Logf("%d numbers came in one stream of %.1f s", len(numbers), took.Seconds())
}
