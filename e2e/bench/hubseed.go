package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	_ "modernc.org/sqlite" // the hub's database
)

// seed makes servers run that the hub has started before it was stopped, by copying the one of a user: rows of the
// hub's database, and services of the outpost or pods of KubeSpawner. The copies' users are called "seed-FIRST" to
// "seed-LAST". The hub must be stopped.
func (w *hubWorld) seed(ctx context.Context, user string, first, last int) (err error) {
	db, err := sql.Open("sqlite", w.path("hub.sqlite"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to roll back after the commit
	s := seeder{ctx: ctx, tx: tx}
	owner := s.row("users", "name", user)
	spawner := s.row("spawners", "user_id", owner["id"])
	server := s.row("servers", "id", spawner["server_id"])
	client := s.row("oauth_clients", "identifier", spawner["oauth_client_id"])
	role := s.row("user_role_map", "user_id", owner["id"])
	start, _ := spawner["state"].(string)
	var state struct {
		StartID string `json:"start_id"`
	}
	if err := errors.Join(s.err, json.Unmarshal([]byte(start), &state)); err != nil {
		return err
	}
	for i := first; i <= last; i++ {
		const free = 1_000_000 // no row of the hub's own has such an ID
		id, name := free+i, fmt.Sprintf("seed-%d", i)
		text := strings.ReplaceAll(start, user, name)
		if state.StartID != "" {
			text = strings.ReplaceAll(text, state.StartID, seededStart(i))
		}
		s.insert("users", owner, map[string]any{"id": id, "name": name, "cookie_id": name})
		s.insert("user_role_map", role, map[string]any{"user_id": id})
		s.insert("servers", server, map[string]any{"id": id, "base_url": "/user/" + name + "/"})
		s.insert("oauth_clients", client, map[string]any{"id": id, "identifier": "jupyterhub-user-" + name})
		s.insert("spawners", spawner, map[string]any{
			"id": id, "user_id": id, "server_id": id, "state": text, "oauth_client_id": "jupyterhub-user-" + name,
		})
	}
	if err := errors.Join(s.err, tx.Commit()); err != nil {
		return err
	}
	if w.spawner == kubeSpawner {
		return w.seedPods(ctx, user, first, last)
	}
	_, err = w.near.load(16, last-first+1, 0, func(i int) apiRequest {
		r := startRequest(first+i, "")
		r.hub = 0
		r.body = strings.Replace(r.body, `"start_id":"s"`, fmt.Sprintf(`"start_id":%q`, seededStart(first+i)), 1)
		r.body = strings.Replace(r.body, `"system":["north"]`, `"system":"`+nearSystem+`"`, 1)
		return r
	})
	return err
}

func seededStart(i int) string { return fmt.Sprintf("%032x", i) }

// seedPods copies the pod of a user of KubeSpawner.
func (w *hubWorld) seedPods(ctx context.Context, user string, first, last int) error {
	_, pod, err := w.podOf(ctx, user)
	if err != nil {
		return err
	}
	for i := first; i <= last; i++ {
		text := strings.ReplaceAll(string(pod), user, fmt.Sprintf("seed-%d", i))
		if _, err := w.ask(ctx, http.MethodPost, w.podsURL(nearSystem), text); err != nil {
			return err
		}
	}
	return nil
}

// seeder copies rows. After its first error it does nothing.
type seeder struct {
	ctx context.Context
	tx  *sql.Tx
	err error
}

// row returns the first row with a value, by column.
func (s *seeder) row(table, column string, value any) map[string]any {
	if s.err != nil {
		return nil
	}
	rows, err := s.tx.QueryContext(s.ctx, fmt.Sprintf("SELECT * FROM %s WHERE %s = ?", table, column), value)
	if err != nil {
		s.err = err
		return nil
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil || !rows.Next() {
		s.err = errors.Join(fmt.Errorf("%s: no row with %s %v", table, column, value), err, rows.Err())
		return nil
	}
	values, places := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	s.err = rows.Scan(places...)
	row := map[string]any{}
	for i, c := range columns {
		row[c] = values[i]
	}
	return row
}

// insert copies a row with other values, by column.
func (s *seeder) insert(table string, like, with map[string]any) {
	if s.err != nil {
		return
	}
	// The database copies what stays: the driver would give dates back in another form.
	columns := slices.Sorted(maps.Keys(like))
	from, values := slices.Clone(columns), []any{}
	for i, c := range columns {
		if v, ok := with[c]; ok {
			from[i] = "?"
			values = append(values, v)
		}
	}
	key := "id"
	if like[key] == nil {
		key = "user_id"
	}
	_, s.err = s.tx.ExecContext(s.ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %[1]s WHERE %[4]s = ?",
		table, strings.Join(columns, ","), strings.Join(from, ","), key), append(values, like[key])...)
}
