package store

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/python"
)

// Columns that may be shown, and the sealed ones with the row's id in front.
const (
	shownColumns = `name, start_id, jupyterhub_username, last_update, start_date, end_date,
		state_stored, start_pending, stop_pending, jupyterhub_user_id, flavor`
	sealedColumns = `id, body, state, start_response`
)

// shownRow is what can be read without a key. Every column but the hub may be NULL.
type shownRow struct {
	name, startID, flavor                  sql.NullString
	hub                                    string
	lastUpdate, startDate, endDate         dbTime
	stateStored, startPending, stopPending sql.NullBool
	userID                                 sql.NullInt64
}

func (r *shownRow) into() []any {
	return []any{
		&r.name, &r.startID, &r.hub, &r.lastUpdate, &r.startDate, &r.endDate,
		&r.stateStored, &r.startPending, &r.stopPending, &r.userID, &r.flavor,
	}
}

func (r *shownRow) summary() outpost.Summary {
	return outpost.Summary{
		Key:    outpost.Key{Hub: r.hub, Name: r.name.String, StartID: r.startID.String},
		UserID: int(r.userID.Int64), Flavor: r.flavor.String,
		StartDate: r.startDate.Time, LastUpdate: r.lastUpdate.Time, EndDate: r.endDate.Time,
		StateStored: r.stateStored.Bool, StartPending: r.startPending.Bool, StopPending: r.stopPending.Bool,
	}
}

// sealedRow is the tokens of a row; nil where the column is NULL.
type sealedRow struct {
	id                         int64
	body, state, startResponse []byte
}

func (r *sealedRow) into() []any { return []any{&r.id, &r.body, &r.state, &r.startResponse} }

func (r *sealedRow) tokens() []*[]byte { return []*[]byte{&r.body, &r.state, &r.startResponse} }

// open returns the service of a row. On an error the service has no body, state and address.
func (d *DB) open(shown shownRow, sealed sealedRow) (outpost.Service, error) {
	s := outpost.Service{Summary: shown.summary()}
	var body storedBody
	var state outpost.State
	var response struct{ Service any }
	if err := errors.Join(
		d.unseal("body", sealed.body, &body),
		d.unseal("state", sealed.state, &state),
		d.unseal("start_response", sealed.startResponse, &response),
	); err != nil {
		return s, err
	}
	s.Body, s.State = body.body(), state
	s.Address, _ = response.Service.(string)
	return s, nil
}

// unseal decodes what a token holds; NULL and nothing read as {}. Numbers keep their digits.
func (d *DB) unseal(column string, token []byte, into any) error {
	if len(token) == 0 {
		return nil
	}
	plain, err := d.ring.Open(token)
	if err != nil {
		return fmt.Errorf("%s: %w", column, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		// The decoder's text may repeat what it read.
		return fmt.Errorf("%s: holds no JSON of the expected shape", column)
	}
	return nil
}

// sealBody seals a request's body.
func (d *DB) sealBody(b outpost.Body) ([]byte, error) {
	return d.sealJSON(outpost.Body{Env: orEmpty(b.Env), Misc: orEmpty(b.Misc), UserOptions: orEmpty(b.UserOptions)})
}

// sealState seals the spawner's state; none is {}.
func (d *DB) sealState(state outpost.State) ([]byte, error) {
	return d.sealJSON(orEmpty(state))
}

// sealAddress seals the start response; without an address it is {}.
func (d *DB) sealAddress(address string) ([]byte, error) {
	if address == "" {
		return d.sealJSON(struct{}{})
	}
	return d.sealJSON(map[string]string{"service": address})
}

func (d *DB) sealJSON(value any) ([]byte, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return nil, outpost.Wrap(err, outpost.KindInvalid, "A value of the request cannot be stored.")
	}
	return d.ring.Seal(plain)
}

// storedBody is column body as either server writes it. The Python outpost keeps values of env as the hub sent them.
type storedBody struct {
	Env         map[string]json.RawMessage `json:"env"`
	Misc        map[string]json.RawMessage `json:"misc"`
	UserOptions map[string]json.RawMessage `json:"user_options"`
}

func (b storedBody) body() outpost.Body {
	env := make(map[string]string, len(b.Env))
	for name, value := range b.Env {
		env[name] = python.Str(value)
	}
	return outpost.Body{Env: env, Misc: orEmpty(b.Misc), UserOptions: orEmpty(b.UserOptions)}
}

func orEmpty[M ~map[string]V, V any](m M) M {
	if m == nil {
		return M{}
	}
	return m
}

// dbTime reads a time of either database as UTC; NULL is the zero time.
type dbTime struct{ time.Time }

// Scan implements sql.Scanner.
func (t *dbTime) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		t.Time = time.Time{}
	case time.Time:
		t.Time = v.UTC()
	case string:
		parsed, err := time.Parse("2006-01-02 15:04:05", strings.Replace(v, "T", " ", 1)) // takes a fraction, too
		if err != nil {
			return fmt.Errorf("%q is not a time", v)
		}
		t.Time = parsed
	default:
		return fmt.Errorf("%T is not a time", value)
	}
	return nil
}
