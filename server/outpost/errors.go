package outpost

import (
	"errors"
	"fmt"

	"github.com/outposts-dev/outposts/server/excerpt"
)

// Kind says what an [Error] means for whoever asked; httpapi turns it into a status.
type Kind int

// String returns the kind in one word, for metrics.
func (k Kind) String() string { return kindNames[k] }

// The kinds of errors. The zero value is KindInternal: an error that nobody classified is a defect or
// a failure of something behind us, and its text stays in the log.
const (
	KindInternal     Kind = iota
	KindInvalid           // the request is wrong and stays wrong
	KindUnauthorized      // no or wrong credentials
	KindNotFound          // no such service of this hub
	KindConflict          // the service exists, or changed meanwhile
	KindQuota             // a limit of a flavor or a user is reached
	KindFailed            // a start or stop was tried and failed; the message is fit for the user
	KindUnavailable       // database or Kubernetes do not answer; try again
)

var kindNames = [...]string{
	KindInternal: "internal", KindInvalid: "invalid", KindUnauthorized: "unauthorized", KindNotFound: "not_found",
	KindConflict: "conflict", KindQuota: "quota", KindFailed: "failed", KindUnavailable: "unavailable",
}

// Error is an error with a kind and a message that a hub's user may read. Cause goes to the log only.
type Error struct {
	Kind    Kind
	Message string // one sentence without secrets, names or paths of this process
	Cause   error
	Reason  string // a short word of a closed set for metrics, such as "image" or "unschedulable"; may be empty
}

// Errorf makes an [Error] without a cause.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes an [Error] with a cause; nil is none.
func Wrap(cause error, kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// ErrNotFound is the error of a service that does not exist; the text is the Python outpost's.
var ErrNotFound = Errorf(KindNotFound, "Item not found")

// Duplicate is the error of a second start of a key (protocol 2.4).
func Duplicate(k Key) *Error {
	return &Error{Kind: KindConflict, Reason: "duplicate", Message: excerpt.Of(k.Name, excerpt.Name) +
		" - This server is already started or being stopped (start id " + excerpt.Of(k.StartID, excerpt.Name) +
		"); a new start needs a new start id."}
}

// Unopened is the error of a row that no key of the ring opens (protocol 6.4): nothing is done with its service.
func Unopened(cause error) *Error {
	return &Error{
		Kind: KindInternal, Reason: "unopened",
		Message: "The stored service cannot be opened with the outpost's keys.", Cause: cause,
	}
}

// StoreError gives an error of a [Store] that has no kind the kind "unavailable": the database failed.
func StoreError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{
		Kind: KindUnavailable, Reason: "database", Cause: err,
		Message: "The outpost's database does not answer; try again.",
	}
}

// Starting is the error of a call that waited in vain for this process to be ready for it.
func Starting(cause error) *Error {
	return Wrap(cause, KindUnavailable, "The outpost is starting; try again.")
}

// NotListed is the error of a [Spawner] that does not know yet which pods there are; cause may be nil.
func NotListed(cause error) *Error {
	return Wrap(cause, KindUnavailable, "The outpost is still reading the list of running servers; try again.")
}

// Error returns message and cause; it is for logs. Users get Message alone.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of the first [Error] in err's chain, else KindInternal. Nil has no kind: look at it before.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}
