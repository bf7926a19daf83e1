package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/python"
)

// readBody reads a body within the limits of size and time and of what its hub may hold, which release gives back when
// the request has ended. If it cannot, it writes the answer, and release is nil.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, hub string) (body []byte, release func()) {
	// Not every ResponseWriter has a deadline; a server's has one, and ends the limit itself when the body is read.
	control := http.NewResponseController(w)
	err := control.SetReadDeadline(time.Now().Add(s.opts.BodyTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.log.Debug("limit the time of a body", "err", err)
	}
	counted := s.bodies.reader(hub, http.MaxBytesReader(w, r.Body, s.opts.MaxBody))
	body, err = io.ReadAll(counted)
	if err == nil {
		return body, counted.Release
	}
	counted.Release()
	// What is left of the body cannot be skipped within the limits.
	w.Header()["Connection"] = []string{"close"}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		answerTooLarge.write(w)
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		answerTooSlow.write(w)
	} else if errors.Is(err, errBudget) {
		s.writeError(w, r, hub, outpost.Wrap(err, outpost.KindUnavailable,
			"Too many large requests of this hub are under way; try again later."))
	} else {
		problems{{"json_invalid", at("body", 0)}}.write(w)
	}
	return nil, nil
}

// readAs reads a body and decodes it. If it cannot, it writes the answer, and release is nil; else release is that of
// readBody.
func readAs[T any](
	s *Server, w http.ResponseWriter, r *http.Request, hub string, decode func(body []byte) (T, problems),
) (value T, release func()) {
	body, release := s.readBody(w, r, hub)
	if release == nil {
		return value, nil
	}
	value, wrong := decode(body)
	if len(wrong) > 0 {
		wrong.write(w)
		release()
		return value, nil
	}
	return value, release
}

// isJSON reports whether a body is meant as JSON; without a Content-Type it is.
func isJSON(r *http.Request) bool {
	value := r.Header.Get("Content-Type")
	if value == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(value)
	if err != nil {
		return false
	}
	return media == "application/json" || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")
}

// decodeStart decodes the body of POST /services (protocol 1.6), or returns everything that is wrong with its types.
// Other keys are ignored: no request sets a column of the row. The body is decoded as a map because encoding/json takes
// the keys of a struct in any case.
func decodeStart(body []byte) (r outpost.StartRequest, wrong problems) {
	fields, d := decodeFields(body)
	if len(d.wrong) > 0 {
		return r, d.wrong
	}
	if name, given := fields["name"]; given {
		r.Name = d.string(name, "name")
	} else {
		d.wrong = append(d.wrong, problem{"missing", at("body", "name")})
	}
	env := d.object(fields, "env")
	r.UserID = d.userID(env["JUPYTERHUB_USER_ID"])
	r.Body = outpost.Body{
		Env:         make(map[string]string, len(env)),
		UserOptions: d.object(fields, "user_options"),
		Misc:        d.object(fields, "misc"),
	}
	for name, value := range env {
		r.Body.Env[name] = python.Str(value)
	}
	r.StartID = d.startID(r.Body.UserOptions)
	r.Flavor = d.flavor(r.Body.UserOptions["flavor"], fields["flavor"])
	r.Certs = d.strings(fields, "certs")
	r.TrustBundles = d.strings(fields, "internal_trust_bundles")
	r.Authentication = d.authentication(fields)
	if login, given := fields["registry"]; given && kindOf(login) != 'n' {
		of := d.strings(fields, "registry")
		r.Login = &outpost.Login{Username: of["username"], Password: outpost.Secret(of["password"])}
	}
	return r, d.wrong
}

// decodeFields decodes a body that is to be an object, and returns what decodes its fields. If it is none, that is
// wrong.
func decodeFields(body []byte) (fields map[string]json.RawMessage, d decoder) {
	switch kind := kindOf(body); {
	case kind == 0:
		return nil, decoder{problems{{"missing", at("body")}}}
	case !json.Valid(body):
		return nil, decoder{problems{{"json_invalid", at("body", 0)}}}
	case kind == 'n':
		return nil, decoder{problems{{"missing", at("body")}}}
	case kind != '{':
		return nil, decoder{problems{{"model_attributes_type", at("body")}}}
	}
	d.into(body, &fields)
	return fields, d
}

// kindOf returns the first character of a JSON value, which shows its kind: { [ " t f n or the beginning of a number; 0
// if there is none.
func kindOf(raw []byte) byte {
	for _, c := range raw {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

// decoder collects what is wrong with the fields of a valid JSON object.
type decoder struct{ wrong problems }

// into decodes valid JSON into a type that fits; an error would be a defect here.
func (d *decoder) into(raw json.RawMessage, value any) {
	if err := json.Unmarshal(raw, value); err != nil {
		d.wrong = append(d.wrong, problem{"json_invalid", at("body")})
	}
}

func (d *decoder) string(raw json.RawMessage, where ...any) (value string) {
	if kindOf(raw) != '"' {
		d.wrong = append(d.wrong, problem{"string_type", at(append([]any{"body"}, where...)...)})
		return ""
	}
	d.into(raw, &value)
	return value
}

func (d *decoder) object(fields map[string]json.RawMessage, where string) map[string]json.RawMessage {
	object := map[string]json.RawMessage{}
	raw, given := fields[where]
	if !given {
		return object
	}
	if kindOf(raw) != '{' {
		d.wrong = append(d.wrong, problem{"dict_type", at("body", where)})
		return object
	}
	d.into(raw, &object)
	return object
}

func (d *decoder) strings(fields map[string]json.RawMessage, where string) map[string]string {
	all := map[string]string{}
	for name, value := range d.object(fields, where) {
		all[name] = d.string(value, where, name)
	}
	return all
}

// userID reads JUPYTERHUB_USER_ID: an integer or a string of one, within what the database's column holds; 0 without.
func (d *decoder) userID(raw json.RawMessage) int {
	if raw == nil {
		return 0
	}
	text := string(raw)
	if kindOf(raw) == '"' {
		text = d.string(raw)
	}
	id, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		d.wrong = append(d.wrong, problem{"value_error", at("body")})
	}
	return int(id)
}

// authentication returns a user's attributes: nil, or an object that is not empty.
func (d *decoder) authentication(fields map[string]json.RawMessage) (attributes any) {
	const name = "authentication"
	if kindOf(fields[name]) != 'n' && len(d.object(fields, name)) > 0 {
		d.into(fields[name], &attributes)
	}
	return attributes
}

// startID takes the start id out of the user options; "0" without one. An empty one could never be asked for.
func (d *decoder) startID(options map[string]json.RawMessage) string {
	raw, given := options["start_id"]
	delete(options, "start_id")
	if !given {
		return "0"
	}
	before := len(d.wrong)
	id := d.string(raw, "start_id")
	if id == "" && len(d.wrong) == before {
		d.wrong = append(d.wrong, problem{"string_too_short", at("body", "start_id")})
	}
	return id
}

// flavor returns that of the user options, else the one at the top level; null counts as none.
func (d *decoder) flavor(option, top json.RawMessage) (flavor string) {
	for _, f := range []struct {
		raw   json.RawMessage
		where []any
	}{{top, []any{"flavor"}}, {option, []any{"user_options", "flavor"}}} {
		if f.raw == nil || kindOf(f.raw) == 'n' {
			continue
		}
		if text := d.string(f.raw, f.where...); text != "" {
			flavor = text
		}
	}
	return flavor
}
