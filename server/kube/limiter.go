package kube

import "net/http"

// changesAtOnce is how many requests may create, change or delete objects at a time. A class that starts or ends at
// once needs hundreds; sent all together, their answers come together, and a hub's poll would wait behind all of them.
const changesAtOnce = 16

// changeLimiter sends requests that change something a few at a time. Reading and watching never wait.
type changeLimiter struct {
	next  http.RoundTripper
	slots chan struct{}
}

func newChangeLimiter(next http.RoundTripper) http.RoundTripper {
	return &changeLimiter{next, make(chan struct{}, changesAtOnce)}
}

// RoundTrip implements http.RoundTripper.
func (l *changeLimiter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return l.next.RoundTrip(r)
	}
	select {
	case l.slots <- struct{}{}:
	case <-r.Context().Done():
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; nothing was read
		}
		return nil, r.Context().Err()
	}
	defer func() { <-l.slots }()
	return l.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport below.
func (l *changeLimiter) WrappedRoundTripper() http.RoundTripper { return l.next }
