package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// lastWrite is how long the reader of a stream that this process ends may take for what is being written to it.
const lastWrite = time.Second

// streams are the answers that last until somebody ends them: watches. It is safe for concurrent use.
type streams struct {
	mu     sync.Mutex
	byHub  map[string]map[*context.CancelFunc]struct{}
	closed bool
}

func newStreams() *streams { return &streams{byHub: map[string]map[*context.CancelFunc]struct{}{}} }

// begin returns the context of a stream to a hub, which ends with its request, by end, or by close. Done is called when
// the stream has ended.
func (s *streams) begin(w http.ResponseWriter, r *http.Request, hub string) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(r.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		cancel()
	}
	all := s.byHub[hub]
	if all == nil {
		all = map[*context.CancelFunc]struct{}{}
		s.byHub[hub] = all
	}
	all[&cancel] = struct{}{}
	// A write that the reader does not take would outlast the end.
	hurried := make(chan struct{})
	calm := context.AfterFunc(ctx, func() {
		defer close(hurried)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(lastWrite)) // a recorder in a test has none
	})
	return ctx, func() {
		if !calm() {
			<-hurried // nothing may touch the answer when its handler has returned
		}
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(all, &cancel); len(all) == 0 {
			delete(s.byHub, hub)
		}
	}
}

// end ends the streams of a hub.
func (s *streams) end(hub string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cancel := range s.byHub[hub] {
		(*cancel)()
	}
}

// close ends all streams, and each that begins later.
func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, all := range s.byHub {
		for cancel := range all {
			(*cancel)()
		}
	}
}
