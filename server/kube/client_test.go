package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// slowTransport answers a change when the test says so, and whoever reads at once.
type slowTransport struct{ begun, answer chan struct{} }

func (s slowTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		s.begun <- struct{}{}
		<-s.answer
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// closing notes whether a body was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestChangesAreSentAFewAtATime(t *testing.T) {
	const changes = 3 * changesAtOnce
	slow := slowTransport{make(chan struct{}, changes), make(chan struct{})}
	transport := newChangeLimiter(slow)
	send := func(ctx context.Context, method string, body io.ReadCloser) error {
		r := httptest.NewRequestWithContext(ctx, method, "https://kubernetes/api/v1/pods", nil)
		r.Body = body
		answer, err := transport.RoundTrip(r)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	}
	done := make(chan error, changes)
	for range changes {
		go func() { done <- send(t.Context(), http.MethodDelete, nil) }()
	}
	for range changesAtOnce {
		<-slow.begun
	}

	// All places are taken. Who gives up waiting is told so, and its body is closed.
	given, cancel := context.WithCancel(t.Context())
	cancel()
	body := &closing{Reader: strings.NewReader("{}")}
	if err := send(given, http.MethodPost, body); !errors.Is(err, context.Canceled) || !body.closed {
		t.Errorf("a change that gave up: %v, its body is closed: %v", err, body.closed)
	}
	// Reading waits for nobody.
	if err := send(t.Context(), http.MethodGet, nil); err != nil {
		t.Error(err)
	}
	if n := len(slow.begun); n != 0 {
		t.Errorf("%d changes more than %d are under way at once", n, changesAtOnce)
	}

	// One answer makes room for one more.
	for range changes - changesAtOnce {
		slow.answer <- struct{}{}
		<-slow.begun
	}
	close(slow.answer)
	for range changes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
