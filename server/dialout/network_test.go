package dialout

import (
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/outposts-dev/outposts/server/nettest"
)

// inTime runs a test under a clock of its own, with a front in memory that has no TLS.
func inTime(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, memory: nettest.Listen(), log: &lockedBuffer{}, from: "192.0.2.1"}
		front := &http.Server{Handler: w, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		var tasks sync.WaitGroup
		tasks.Go(func() { _ = front.Serve(w.memory) }) // until it is closed
		t.Cleanup(func() {
			front.Close()
			w.memory.Cut()
			tasks.Wait()
		})
		test(t, w)
	})
}
