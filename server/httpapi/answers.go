package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

// Header values that are the same in every answer. They are shared and must not be changed.
var (
	typeJSON = []string{"application/json"}
	typeText = []string{"text/plain; charset=utf-8"}
)

// answer is an answer that never changes, encoded once with its headers. Most requests are polls, and a poll may cost
// no more than with a plain handler: BenchmarkPollHandler counts 7 allocations against 14.
type answer struct {
	status int
	body   []byte
	length []string
}

func newAnswer(status int, body string) answer {
	return answer{status, []byte(body), []string{strconv.Itoa(len(body))}}
}

var (
	answerPong           = newAnswer(http.StatusOK, `{"ping":"pong!"}`)
	answerRunning        = newAnswer(http.StatusOK, `{"status":null,"logs":[]}`)
	answerAccepted       = newAnswer(http.StatusAccepted, `{"service":""}`)
	answerStopping       = newAnswer(http.StatusAccepted, `{}`)
	answerUnknownPath    = newAnswer(http.StatusNotFound, `{"detail":"Not Found"}`)
	answerUnknownService = newAnswer(http.StatusNotFound, `{"detail":"`+outpost.ErrNotFound.Message+`"}`)
	answerWrongMethod    = newAnswer(http.StatusMethodNotAllowed, `{"detail":"Method Not Allowed"}`)
	answerNoLogin        = newAnswer(http.StatusUnauthorized, `{"detail":"Not authenticated"}`)
	answerWrongLogin     = newAnswer(http.StatusUnauthorized, `{"detail":"Incorrect username or password"}`)
	answerTooManyLogins  = newAnswer(http.StatusTooManyRequests,
		`{"detail":"Too many wrong passwords; try again later"}`)
	answerTooLarge = newAnswer(http.StatusRequestEntityTooLarge, `{"detail":"The request is too large"}`)
	answerTooSlow  = newAnswer(http.StatusRequestTimeout, `{"detail":"The request did not arrive in time"}`)
)

func (a answer) write(w http.ResponseWriter) {
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = typeJSON, a.length
	w.WriteHeader(a.status)
	// A client that went away needs no answer, and there is nobody else to tell.
	_, _ = w.Write(a.body)
}

// writeJSON answers with a value as the Python outpost encodes it: no blanks, UTF-8 as it is. If the value has no JSON
// form, it returns an error and writes nothing.
func writeJSON(w http.ResponseWriter, status int, value any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return err
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
	if status != statusFailed || !writeFailed(w, body) {
		write(w, status, typeJSON, body)
	}
	return nil
}

// write answers with a body of a content type.
func write(w http.ResponseWriter, status int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"], h["Content-Length"] = contentType, []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // see answer.write
}

// failedTimeout is how long a client may take to read a 419.
const failedTimeout = 10 * time.Second

// writeFailed writes a 419 whose reason phrase is empty, as the Python outpost's is (protocol 1.8). net/http would
// write "status code 419" there, so the answer goes past it, and the connection ends with it. It reports whether it
// could.
func writeFailed(w http.ResponseWriter, body []byte) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	h := w.Header().Clone()
	h["Content-Type"], h["Date"] = typeJSON, []string{time.Now().UTC().Format(http.TimeFormat)}
	answer := http.Response{
		Status: strconv.Itoa(statusFailed) + " ", StatusCode: statusFailed, ProtoMajor: 1, ProtoMinor: 1, Header: h,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Close: true,
	}
	_ = conn.SetWriteDeadline(time.Now().Add(failedTimeout)) // without one the client may take as long as it likes
	_ = answer.Write(conn)                                   // see answer.write
	_ = conn.Close()
	return true
}
