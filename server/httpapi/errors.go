package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/outposts-dev/outposts/server/outpost"
)

// statusFailed is how the Python outpost answers a start, poll or stop that was understood and failed. The hub's client
// shows args to the user.
const statusFailed = 419

// failure is the body of a 419 and of a 503 (protocol 1.8): the client needs all five keys, prints module and class in
// front of args and logs the traceback, which is always empty here.
type failure struct {
	Module    string         `json:"module"`
	Class     string         `json:"class"`
	Traceback string         `json:"traceback"`
	Args      []string       `json:"args"`
	Kwargs    map[string]any `json:"kwargs"`
}

func newFailure(class, sentence string) failure {
	return failure{Class: class, Args: []string{sentence}, Kwargs: map[string]any{}}
}

// internalSentence stands for errors whose text is for the operator only.
const internalSentence = "The outpost failed. Its operator finds the cause in the outpost's log."

// writeError is the only place that turns an error into an answer.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, hub string, err error) {
	kind := outpost.KindOf(err)
	sentence := internalSentence
	if e, ok := errors.AsType[*outpost.Error](err); ok && kind != outpost.KindInternal {
		sentence = e.Message
	}
	switch kind {
	case outpost.KindNotFound:
		answerUnknownService.write(w)
	case outpost.KindUnauthorized:
		w.Header()["Www-Authenticate"] = basicChallenge
		answerWrongLogin.write(w)
	case outpost.KindUnavailable:
		// Never a 404: the hub would stop the server.
		if !errors.Is(err, context.Canceled) {
			s.log.Warn("request failed for now", "method", r.Method, "hub", hub, "err", err)
		}
		w.Header()["Retry-After"] = []string{"10"}
		s.write(w, r, hub, http.StatusServiceUnavailable, newFailure("Unavailable", sentence))
	case outpost.KindInvalid, outpost.KindQuota:
		// The class of the Python outpost's own refusals.
		s.write(w, r, hub, statusFailed, newFailure("Exception", sentence))
	case outpost.KindConflict:
		s.write(w, r, hub, statusFailed, newFailure("Conflict", sentence))
	case outpost.KindFailed:
		s.write(w, r, hub, statusFailed, newFailure("Failed", sentence))
	default:
		s.log.Error("request failed", "method", r.Method, "hub", hub, "err", err)
		s.write(w, r, hub, statusFailed, newFailure("InternalError", internalSentence))
	}
}

// write answers with a value. One without a JSON form, such as a flavor with an infinite number, is an internal error.
func (s *Server) write(w http.ResponseWriter, r *http.Request, hub string, status int, value any) {
	if err := writeJSON(w, status, value); err != nil {
		s.writeError(w, r, hub, err)
	}
}
