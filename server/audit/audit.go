// Package audit records who did what with single-user servers: a line of JSON for each start, refusal, end and stop, in
// a stream of its own.
package audit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/outpost"
)

// What lines say of names: of users, of their servers, and of what is named after them.
const (
	KeepNames = "keep" // as they are
	HashNames = "hash" // the same name gives the same 16 hexadecimal digits, which tell nothing without the key
	OmitNames = "omit" // nothing
)

// Events, and the outcome of each.
const (
	eventRefused = "start_refused" // outcome: why, a short word
	eventStarted = "started"       // outcome: "running"
	eventFailed  = "start_failed"  // outcome: why, a short word
	eventEnded   = "ended"         // outcome: Kubernetes' word, with the exit code
	eventStopped = "stopped"       // outcome: what stopped it: asked, failed, ended, unknown, lost or evicted
)

// Options is how a Log writes. The zero value keeps names.
type Options struct {
	Names string // one of the constants; empty is KeepNames
	Key   []byte // of hashes
	// Static reports whether a namespace is named in the configuration: other ones are named after users.
	Static func(namespace string) bool
	// Dropped is called for each line that is lost because writing is too slow or fails. May be nil.
	Dropped func()
	Logger  *slog.Logger     // nil discards
	Now     func() time.Time // nil is time.Now
}

// seats is how many lines may wait to be written: of some minutes of a busy outpost.
const seats = 4096

// Open makes a Log that writes to a file, or to stdout if its name is "-".
func Open(file string, stdout io.Writer, next outpost.Observer, o Options) (*Log, error) {
	if file == "-" {
		return New(stdout, next, o), nil
	}
	f, err := OpenFile(file)
	if err != nil {
		return nil, err
	}
	l := New(f, next, o)
	l.file = f
	return l, nil
}

// Close closes the file that Open has opened. Run has ended.
func (l *Log) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Log is an Observer that writes lines and passes everything on. Make it with [New], and let [Log.Run] run.
type Log struct {
	outpost.Observer

	o     Options
	w     io.Writer
	file  *File // nil for standard output
	lines chan []byte
}

// New makes a Log that writes to w, in one call for each line.
func New(w io.Writer, next outpost.Observer, o Options) *Log {
	if o.Static == nil {
		o.Static = func(string) bool { return true }
	}
	if o.Dropped == nil {
		o.Dropped = func() {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Log{Observer: next, o: o, w: w, lines: make(chan []byte, seats)}
}

// Run writes lines until ctx ends, and then those that wait.
func (l *Log) Run(ctx context.Context) error {
	failed := false
	write := func(line []byte) {
		_, err := l.w.Write(line)
		if err != nil {
			l.o.Dropped()
			if !failed {
				l.o.Logger.Error("audit lines cannot be written", "err", err)
			}
		}
		failed = err != nil
	}
	for {
		select {
		case line := <-l.lines:
			write(line)
			continue
		case <-ctx.Done():
		}
		for {
			select {
			case line := <-l.lines:
				write(line)
			default:
				return nil
			}
		}
	}
}

// record is a line.
type record struct {
	Audit     string   `json:"audit"` // the mark of these lines, "outpost"
	Time      string   `json:"time"`  // UTC, RFC 3339
	Event     string   `json:"event"`
	Outcome   string   `json:"outcome"`
	Hub       string   `json:"hub"`
	User      string   `json:"user,omitempty"`
	UserID    string   `json:"user_id,omitempty"`
	Server    *string  `json:"server,omitempty"` // empty for the default server
	StartID   string   `json:"start_id"`
	Flavor    string   `json:"flavor,omitempty"`
	Image     string   `json:"image,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
	Pod       string   `json:"pod,omitempty"`
	ExitCode  *int     `json:"exit_code,omitempty"`
	Seconds   *float64 `json:"seconds,omitempty"` // that the start or the stop took
}

// ServiceStarted implements [outpost.Observer].
func (l *Log) ServiceStarted(s outpost.Subject, d time.Duration, reason string) {
	l.Observer.ServiceStarted(s, d, reason)
	event, outcome := eventStarted, "running"
	if reason != "" {
		event, outcome = eventFailed, reason
	}
	l.put(s, record{Event: event, Outcome: outcome, Seconds: seconds(d)})
}

// StartRefused implements [outpost.Observer].
func (l *Log) StartRefused(s outpost.Subject, reason string) {
	l.Observer.StartRefused(s, reason)
	l.put(s, record{Event: eventRefused, Outcome: reason})
}

// ServiceEnded implements [outpost.Observer].
func (l *Log) ServiceEnded(s outpost.Subject, exitCode int, reason string) {
	l.Observer.ServiceEnded(s, exitCode, reason)
	l.put(s, record{Event: eventEnded, Outcome: excerpt.Of(reason, excerpt.Name), ExitCode: &exitCode})
}

// ServiceStopped implements [outpost.Observer].
func (l *Log) ServiceStopped(s outpost.Subject, d time.Duration, why string) {
	l.Observer.ServiceStopped(s, d, why)
	l.put(s, record{Event: eventStopped, Outcome: why, Seconds: seconds(d)})
}

// put fills in what a record says of the service, and lets it be written. It never waits.
func (l *Log) put(s outpost.Subject, r record) {
	of := func(key string) string { text, _ := s.State[key].(string); return excerpt.Of(text, excerpt.Name) }
	r.Audit, r.Time = "outpost", l.o.Now().UTC().Format(time.RFC3339Nano)
	r.Hub, r.StartID = excerpt.Of(s.Hub, excerpt.Name), excerpt.Of(s.StartID, excerpt.Name)
	r.Flavor, r.Image = excerpt.Of(s.Flavor, excerpt.Name), of("image")
	r.User, r.Pod = l.name("user", s.User), l.name("pod", of("pod_name"))
	r.UserID = l.name("user_id", strconv.Itoa(s.UserID))
	if r.Namespace = of("namespace"); !l.o.Static(r.Namespace) {
		r.Namespace = l.name("namespace", r.Namespace)
	}
	if l.o.Names != OmitNames {
		server := l.name("server", s.Name)
		r.Server = &server
	}
	line, err := json.Marshal(r)
	if err != nil { // it has strings and numbers only
		return
	}
	select {
	case l.lines <- append(line, '\n'):
	default:
		l.o.Dropped()
	}
}

// name is what lines say of a name. Hashes of two kinds of names cannot be compared.
func (l *Log) name(kind, text string) string {
	switch {
	case text == "" || l.o.Names == OmitNames:
		return ""
	case l.o.Names == HashNames:
		mac := hmac.New(sha256.New, l.o.Key)
		mac.Write([]byte(kind + "\x00" + text))
		return hex.EncodeToString(mac.Sum(nil)[:8])
	}
	return excerpt.Of(text, excerpt.Name)
}

// seconds is a time to the millisecond.
func seconds(d time.Duration) *float64 {
	return new(math.Round(d.Seconds()*1000) / 1000)
}
