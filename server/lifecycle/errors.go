package lifecycle

import (
	"errors"

	"github.com/outposts-dev/outposts/server/outpost"
)

var (
	// errCancelled is the result of a start that was stopped meanwhile.
	errCancelled = &outpost.Error{
		Kind: outpost.KindFailed, Reason: "cancelled", Message: "The server was stopped while it was starting.",
	}
	// errShutdown is the result of a start when this process ends; the next one deals with what is left.
	errShutdown = &outpost.Error{
		Kind: outpost.KindUnavailable, Reason: "shutdown", Message: "The outpost is restarting; try again.",
	}
)

// reasonOf is a short word for metrics: "" for success, else the error's own or its kind's.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*outpost.Error](err); ok && e.Reason != "" {
		return e.Reason
	}
	return outpost.KindOf(err).String()
}

// publicMessage is what a hub's user may read of an error.
func publicMessage(err error) string {
	if e, ok := errors.AsType[*outpost.Error](err); ok && e.Kind != outpost.KindInternal {
		return e.Message
	}
	return "The outpost could not start the server. Its operator finds the cause in the outpost's log."
}
