package httpapi

import (
	"errors"
	"io"
	"sync"

	"github.com/outposts-dev/outposts/server/outpost"
)

// What a start may bring along. A pod holds less than 1.5 MiB of everything, and a Secret 1 MiB.
const (
	maxVariables    = 4096
	maxEnvironment  = 1 << 20 // bytes of names and values
	maxCertificates = 1 << 20 // bytes of certs and internal_trust_bundles
)

// checkSize returns why a start brings too much; nil if it does not.
func checkSize(r outpost.StartRequest) error {
	if n := len(r.Body.Env); n > maxVariables {
		return outpost.Errorf(outpost.KindInvalid,
			"The environment has %d variables; at most %d are allowed.", n, maxVariables)
	}
	if n := bytesOf(r.Body.Env); n > maxEnvironment {
		return outpost.Errorf(outpost.KindInvalid,
			"The environment has %d bytes; at most %d are allowed.", n, maxEnvironment)
	}
	if n := bytesOf(r.Certs) + bytesOf(r.TrustBundles); n > maxCertificates {
		return outpost.Errorf(outpost.KindInvalid,
			"The certificates have %d bytes; at most %d are allowed.", n, maxCertificates)
	}
	return nil
}

func bytesOf(texts map[string]string) (n int) {
	for name, text := range texts {
		n += len(name) + len(text)
	}
	return n
}

// errBudget means that the bodies of a hub's requests hold too much memory together.
var errBudget = errors.New("too many bytes of this hub's requests are held")

// budget bounds the bytes that the bodies of each hub's requests hold at one time, so that none takes the memory of the
// others. Bytes count when they have arrived: a body that is only announced holds nothing. It is safe for concurrent
// use.
type budget struct {
	perHub int64

	mu   sync.Mutex
	held map[string]int64 // by hub
}

func newBudget(perHub int64) *budget { return &budget{perHub: perHub, held: map[string]int64{}} }

// take takes n bytes and reports whether the hub has them left; a negative n gives them back.
func (b *budget) take(hub string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 && b.held[hub]+n > b.perHub {
		return false
	}
	b.held[hub] += n
	if b.held[hub] == 0 {
		delete(b.held, hub)
	}
	return true
}

// reader returns a reader of a hub's body that takes what it reads out of the budget.
func (b *budget) reader(hub string, body io.Reader) *budgetReader {
	return &budgetReader{budget: b, hub: hub, body: body}
}

// budgetReader is the body of one request. Release gives back what it has taken.
type budgetReader struct {
	budget *budget
	hub    string
	body   io.Reader
	taken  int64
}

// Read implements io.Reader. The error is errBudget if the hub has no bytes left.
func (r *budgetReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p)
	if !r.budget.take(r.hub, int64(n)) {
		return 0, errBudget
	}
	r.taken += int64(n)
	return n, err
}

// Release gives back all bytes. It may be called once.
func (r *budgetReader) Release() { r.budget.take(r.hub, -r.taken) }
