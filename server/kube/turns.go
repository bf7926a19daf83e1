package kube

import "net/http"

// changesAtOnce is how many objects may be made, changed or removed at the same moment. A class that starts or ends at once
// asks for hundreds; sent all together their answers come together, and a hub's poll would wait behind all of them.
const changesAtOnce = 16

// turns lets requests that change something go on a few at a time. Reading and watching wait for nobody.
type turns struct {
	next  http.RoundTripper
	slots chan struct{}
}

func newTurns(next http.RoundTripper) http.RoundTripper {
	return &turns{next, make(chan struct{}, changesAtOnce)}
}

// RoundTrip implements http.RoundTripper.
func (t *turns) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return t.next.RoundTrip(r)
	}
	select {
	case t.slots <- struct{}{}:
	case <-r.Context().Done():
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; nothing was read
		}
		return nil, r.Context().Err()
	}
	defer func() { <-t.slots }()
	return t.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport below.
func (t *turns) WrappedRoundTripper() http.RoundTripper { return t.next }
