package cluster

import (
	"context"
	"io"
	"net/http"
	"time"
)

// answerTimeout bounds each answer of a cluster.
const answerTimeout = 15 * time.Second

// timed bounds the time from a request to the end of its answer.
type timed struct {
	next  http.RoundTripper
	limit time.Duration
}

func (t timed) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.limit)
	answer, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	answer.Body = released{answer.Body, cancel}
	return answer, nil
}

// released is a body that gives up its time when it is closed.
type released struct {
	io.ReadCloser
	release context.CancelFunc
}

func (b released) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
