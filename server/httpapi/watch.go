package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/excerpt"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/watch"
)

const (
	maxLine  = 64 << 10 // bytes of one line of a watch, with its end
	maxKnown = 1000     // services in one body of POST /watch/known
)

var typeLines = []string{"application/x-ndjson"}

// EndWatches ends all watches, and each that begins later: this process stops.
func (s *Server) EndWatches() { s.streams.close() }

// watchServices answers GET /watch (protocol 1.13) until the hub goes away, its login changes or this process ends.
func watchServices(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	hub := k.Hub
	ctx, done := s.streams.begin(w, r, hub)
	defer done()
	if !s.stillRight(r) { // SetUsers has ended what had begun before
		w.Header()["Www-Authenticate"] = basicChallenge
		answerWrongLogin.write(w)
		return
	}
	if err := ctx.Err(); err != nil {
		s.writeError(w, r, hub, outpost.Wrap(err, outpost.KindUnavailable, "The outpost is restarting; try again."))
		return
	}
	services, err := s.manager.Watch(ctx, hub)
	if err != nil {
		s.writeError(w, r, hub, err)
		return
	}
	defer services.Close()
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Connection"] = typeLines, []string{"no-store"}, []string{"close"}
	h["X-Accel-Buffering"] = []string{"no"} // nginx would hold lines back
	w.WriteHeader(http.StatusOK)
	for {
		events, err := services.Next(ctx)
		if err != nil {
			return
		}
		for _, e := range events {
			if _, err := w.Write(lineOf(e)); err != nil {
				return
			}
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
	}
}

// stillRight reports whether the login of a request is right, now that its stream can be ended.
func (s *Server) stillRight(r *http.Request) bool {
	name, password, ok := parseBasic(r.Header["Authorization"], nil)
	if ok {
		_, ok = s.check(name, password)
	}
	return ok
}

// watchLine is one line of a watch: one of its fields.
type watchLine struct {
	Service   *watchedService `json:"service,omitempty"`
	Gone      *watchedKey     `json:"gone,omitempty"`
	Unknown   *watchedKey     `json:"unknown,omitempty"`
	Synced    *watchSynced    `json:"synced,omitempty"`
	Resync    *struct{}       `json:"resync,omitempty"`
	Heartbeat *struct{}       `json:"heartbeat,omitempty"`
}

// announcement is a line of a watch, too, whose field may be null.
type announcement struct {
	Maintenance *catalog.Maintenance `json:"maintenance"`
}

// announced is a maintenance with words that fit a line; a database may have longer ones.
func announced(m *catalog.Maintenance) *catalog.Maintenance {
	if m == nil {
		return nil
	}
	shown := *m
	shown.Text = excerpt.Of(m.Text, excerpt.Sentence)
	return &shown
}

type watchedKey struct {
	Name    string `json:"name"`
	StartID string `json:"start_id"`
}

// watchedService is what a poll would be answered; logs are left out while they are read, and while the service runs.
type watchedService struct {
	watchedKey
	Status *int     `json:"status"`
	Logs   []string `json:"logs,omitzero"`
	Reason string   `json:"reason,omitempty"`
}

type watchSynced struct {
	Services  int `json:"services"`
	Heartbeat int `json:"heartbeat"` // seconds
}

// lineOf returns an event as a line. Of a log that does not fit it has the end.
func lineOf(e watch.Event) []byte {
	key := watchedKey{e.Key.Name, e.Key.StartID}
	switch e.Kind {
	case watch.KindGone:
		return encodeLine(watchLine{Gone: &key})
	case watch.KindUnknown:
		return encodeLine(watchLine{Unknown: &key})
	case watch.KindSynced:
		return encodeLine(watchLine{Synced: &watchSynced{e.Services, int(watch.Heartbeat / time.Second)}})
	case watch.KindResync:
		return encodeLine(watchLine{Resync: &struct{}{}})
	case watch.KindMaintenance:
		return encodeLine(announcement{announced(e.Maintenance)})
	case watch.KindHeartbeat:
		return encodeLine(watchLine{Heartbeat: &struct{}{}})
	}
	service := &watchedService{watchedKey: key}
	if e.Result.Ended {
		service.Status, service.Reason = &e.Result.ExitCode, excerpt.Of(e.Result.KubeReason, excerpt.Name)
		if !e.Result.LogsDue {
			service.Logs = []string{}
		}
	}
	line := encodeLine(watchLine{Service: service})
	if room := maxLine - len(line); len(e.Result.Logs) > 0 {
		service.Logs = lastLines(e.Result.Logs, room)
		line = encodeLine(watchLine{Service: service})
	}
	return line
}

// lastLines returns the last lines of a log whose JSON has at most so many bytes. A line that does not fit at all is
// cut.
func lastLines(logs []string, room int) []string {
	first := len(logs)
	for first > 0 {
		size := len(encodeLine(logs[first-1])) // with a newline, as long as with a comma
		if size > room {
			break
		}
		room -= size
		first--
	}
	if first == len(logs) {
		const escaped = 6 // bytes of one that JSON escapes
		return []string{excerpt.Of(logs[first-1], max(0, room/escaped-1))}
	}
	return logs[first:]
}

// encodeLine returns a value as one line of JSON.
func encodeLine(value any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		panic(err) // strings and numbers have a JSON form
	}
	return b.Bytes()
}

// known answers POST /watch/known (protocol 1.13).
func known(s *Server, w http.ResponseWriter, r *http.Request, k outpost.Key) {
	hub := k.Hub
	keys, release := readAs(s, w, r, hub, func(body []byte) ([]outpost.Key, problems) { return decodeKnown(body, hub) })
	if release == nil {
		return
	}
	defer release()
	if err := s.manager.Known(r.Context(), hub, keys); err != nil {
		s.writeError(w, r, hub, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// decodeKnown decodes the body of POST /watch/known, or returns everything that is wrong with it.
func decodeKnown(body []byte, hub string) (keys []outpost.Key, wrong problems) {
	fields, d := decodeFields(body)
	if len(d.wrong) > 0 {
		return nil, d.wrong
	}
	list, given := fields["services"]
	switch {
	case !given:
		return nil, problems{{"missing", at("body", "services")}}
	case kindOf(list) != '[':
		return nil, problems{{"list_type", at("body", "services")}}
	}
	var pairs []json.RawMessage
	d.into(list, &pairs)
	if len(pairs) > maxKnown {
		return nil, problems{{"too_long", at("body", "services")}}
	}
	for i, raw := range pairs {
		var pair []*string
		if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 || pair[0] == nil || pair[1] == nil {
			d.wrong = append(d.wrong, problem{"tuple_type", at("body", "services", i)})
			continue
		}
		keys = append(keys, outpost.Key{Hub: hub, Name: *pair[0], StartID: *pair[1]})
	}
	return keys, d.wrong
}
