package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/store/storetest"
)

// pythonKey is the key of testdata/python-db.
const pythonKey = "5cPS8zP0y4mY2l2v2b6bqf3vV1Q9n1nVnUuF0V4m1nA="

// pythonRow is a row of testdata/python-db/rows.json.
type pythonRow struct {
	ID            int64  `json:"id"`
	Name          string `json:"name"`
	StartID       string `json:"start_id"`
	Hub           string `json:"jupyterhub_username"`
	LastUpdate    string `json:"last_update"`
	StartDate     string `json:"start_date"`
	EndDate       string `json:"end_date"`
	StateStored   int    `json:"state_stored"`
	StartPending  int    `json:"start_pending"`
	StopPending   int    `json:"stop_pending"`
	UserID        int    `json:"jupyterhub_user_id"`
	Flavor        string `json:"flavor"`
	Body          any    `json:"body"`
	State         any    `json:"state"`
	StartResponse any    `json:"start_response"`
}

func pythonRows(t *testing.T) []pythonRow {
	t.Helper()
	data, err := os.ReadFile("testdata/python-db/rows.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []pythonRow
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// pythonCopy returns the configuration of a copy of the Python outpost's database.
func pythonCopy(t *testing.T) Config {
	t.Helper()
	data, err := os.ReadFile("testdata/python-db/outpost.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "outpost.sqlite")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{Type: TypeSQLite, Path: path}
}

// readAsPython reads every column as the Python outpost does: typed by SQLite itself, opened with the key alone.
func readAsPython(t *testing.T, path string, open func([]byte) ([]byte, error)) []pythonRow {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// A "+" takes the declared type from a column, so that the driver shows what is stored.
	rows, err := db.Query(
		`SELECT id, name, start_id, jupyterhub_username, +last_update, +start_date, +end_date,
		+state_stored, +start_pending, +stop_pending, jupyterhub_user_id, flavor,
		typeof(body) || typeof(state) || typeof(start_response),
		body, state, start_response
		FROM service ORDER BY id`,
	)
	if err != nil {
		t.Fatal(err)
	}
	var list []pythonRow
	if err := eachRow(rows, func() error {
		var r pythonRow
		var types string
		var tokens [3][]byte
		if err := rows.Scan(&r.ID, &r.Name, &r.StartID, &r.Hub, &r.LastUpdate, &r.StartDate, &r.EndDate,
			&r.StateStored, &r.StartPending,
			&r.StopPending, &r.UserID, &r.Flavor, &types, &tokens[0], &tokens[1], &tokens[2]); err != nil {
			return err
		}
		if types != "blobblobblob" {
			t.Errorf("row %d: the sealed columns are stored as %s", r.ID, types)
		}
		for i, into := range []*any{&r.Body, &r.State, &r.StartResponse} {
			plain, err := open(tokens[i])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(plain, into); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// service is what a row of the Python outpost means here.
func (r pythonRow) service(t *testing.T) outpost.Service {
	t.Helper()
	at := func(text string) time.Time {
		parsed, err := time.Parse("2006-01-02 15:04:05.000000", text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	body, err := json.Marshal(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := outpost.Service{
		Summary: outpost.Summary{
			Key:    outpost.Key{Hub: r.Hub, Name: r.Name, StartID: r.StartID},
			UserID: r.UserID, Flavor: r.Flavor,
			StartDate: at(r.StartDate), LastUpdate: at(r.LastUpdate), EndDate: at(r.EndDate),
			StateStored: r.StateStored == 1, StartPending: r.StartPending == 1, StopPending: r.StopPending == 1,
		},
		State: outpost.State{"pid": json.Number("4711")}, Address: "http://x:8888",
	}
	if err := json.Unmarshal(body, &s.Body); err != nil {
		t.Fatal(err)
	}
	return s
}

// sameJSON compares raw JSON by what it means: Python writes blanks where Go writes none.
var sameJSON = cmp.Transformer("JSON", func(raw json.RawMessage) (value any) {
	if err := json.Unmarshal(raw, &value); err != nil {
		return string(raw)
	}
	return value
})

// See protocol 6.6.
func TestRowsOfPythonAreRead(t *testing.T) {
	var want []outpost.Stored
	for _, row := range pythonRows(t) {
		want = append(want, outpost.Stored{Service: row.service(t)})
	}
	if len(want) != 6 {
		t.Fatalf("%d rows in rows.json", len(want))
	}
	d := mustOpen(t, pythonCopy(t), ring(t, pythonKey))
	got, err := d.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameJSON); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, w := range want {
		got, err := d.Get(t.Context(), w.Key)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w.Service, got, sameJSON); diff != "" {
			t.Errorf("get (-want +got)\n%s", diff)
		}
	}
	usage, err := d.Usage(t.Context(), "jupyterhub")
	if err != nil || usage.ByFlavor["tiny"] != 6 {
		t.Errorf("usage %v, %v", usage, err)
	}
}

// An operator may go back: the Python outpost finds its rows untouched and ours as it would have written them (protocol
// 6.1).
func TestRowsAreReadableByPythonAfterwards(t *testing.T) {
	config := pythonCopy(t)
	keys := ring(t, pythonKey)
	d := mustOpen(t, config, keys)
	ours := storetest.Service("jupyterhub", "ours", "0f3c")
	if err := d.Insert(t.Context(), ours, storetest.Allow); err != nil {
		t.Fatal(err)
	}
	bare := storetest.Service("otherhub", "bare", "1")
	bare.Body = outpost.Body{}
	if err := d.Insert(t.Context(), bare, storetest.Allow); err != nil {
		t.Fatal(err)
	}
	const address = "http://jupyter-zoe.outpost.svc:41234"
	if err := d.FinishStart(t.Context(), ours.Key, storetest.State("jupyter-zoe"), address, outpost.NoEnd); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	want := append(pythonRows(t),
		pythonRow{
			ID: 7, Name: "ours", StartID: "0f3c", Hub: "jupyterhub", UserID: 42, Flavor: "tiny", StateStored: 1,
			LastUpdate: "2026-05-04 09:12:33.104500", StartDate: "2026-05-04 09:12:33.104500",
			EndDate: "9999-12-31 23:59:59.999999",
			Body: map[string]any{
				"env":          map[string]any{"JUPYTERHUB_API_TOKEN": "5d0c", "JUPYTERHUB_USER": "zoë"},
				"misc":         map[string]any{"port": 41234.0, "extra_labels": map[string]any{"team": "blue"}},
				"user_options": map[string]any{"flavor": "tiny", "system": []any{"north"}},
			},
			State: map[string]any{
				"kubespawner_version": "7.0.0", "pod_name": "jupyter-zoe", "namespace": "outpost",
				"dns_name": "jupyter-zoe.outpost.svc.cluster.local",
			},
			StartResponse: map[string]any{"service": "http://jupyter-zoe.outpost.svc:41234"},
		},
		pythonRow{
			ID: 8, Name: "bare", StartID: "1", Hub: "otherhub", UserID: 42, Flavor: "tiny", StartPending: 1,
			LastUpdate: "2026-05-04 09:12:33.104500", StartDate: "2026-05-04 09:12:33.104500",
			EndDate: "9999-12-31 23:59:59.999999",
			Body: map[string]any{
				"env": map[string]any{}, "misc": map[string]any{}, "user_options": map[string]any{},
			},
			State: map[string]any{}, StartResponse: map[string]any{},
		})
	got := readAsPython(t, config.Path, keys.Open)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The Python outpost inserts without our columns or constraints in the way, twice the same key even (protocol 2.4).
func TestPythonCanWriteAfterTheMigration(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		keys := ring(t, pythonKey)
		d := mustOpen(t, config(t), keys)
		sealed := func(plain string) []byte {
			token, err := keys.Seal([]byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		if _, err := d.write.Exec(`INSERT INTO jupyterhub (name) VALUES ('hub-a')`); err != nil {
			t.Fatal(err)
		}
		for i, state := range []string{`{"pod_name": "first"}`, `{"pod_name": "second"}`} {
			if _, err := d.write.Exec(d.dialect.bind(`INSERT INTO service (name, start_id, jupyterhub_username,
				last_update, start_date, end_date,
				state_stored, start_pending, stop_pending, body, state, start_response, jupyterhub_user_id, flavor)
				VALUES ('lab', '1', 'hub-a', ?, ?, ?, ?, ?, ?, ?, ?, ?, 42, NULL)`),
				d.dialect.time(storetest.Day), d.dialect.time(storetest.Day.Add(time.Duration(i))),
				d.dialect.time(outpost.NoEnd), true, false, false,
				sealed(`{"env": {"A": true, "B": null, "C": 1.50, "D": ["x"]}, "misc": {}, "user_options": {}}`),
				sealed(state), nil); err != nil {
				t.Fatal(err)
			}
		}
		want := outpost.Service{
			Summary: outpost.Summary{
				Key: outpost.Key{Hub: "hub-a", Name: "lab", StartID: "1"}, UserID: 42,
				StartDate: storetest.Day, LastUpdate: storetest.Day, EndDate: outpost.NoEnd, StateStored: true,
			},
			State: outpost.State{"pod_name": "first"},
			Body:  outpost.Body{Env: map[string]string{"A": "True", "B": "None", "C": "1.5", "D": `["x"]`}},
		}
		all, err := d.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]outpost.Stored{{Service: want}}, all, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("a key that was written twice is one service (-want +got)\n%s", diff)
		}
		if err := d.Delete(t.Context(), want.Key); err != nil {
			t.Fatal(err)
		}
		if all, err := d.All(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("after the delete: %v, %v", all, err)
		}
	})
}

// Older databases of the Python outpost on PostgreSQL lack the user id (protocol 6.1, 6.2).
func TestOldTablesAreCompletedAndTheYear9999IsRead(t *testing.T) {
	server := storetest.SharedPostgres(t)
	config := postgresConfig(t, server)
	old := server.Open(t, config.Name)
	if _, err := old.Exec(`CREATE TABLE jupyterhub (name VARCHAR NOT NULL, PRIMARY KEY (name));
		CREATE TABLE service (id SERIAL NOT NULL, name VARCHAR, start_id VARCHAR, jupyterhub_username VARCHAR NOT NULL,
			last_update TIMESTAMP WITH TIME ZONE, start_date TIMESTAMP WITH TIME ZONE,
			end_date TIMESTAMP WITH TIME ZONE,
			state_stored BOOLEAN, start_pending BOOLEAN, stop_pending BOOLEAN,
			body BYTEA, state BYTEA, start_response BYTEA, flavor VARCHAR,
			PRIMARY KEY (id), FOREIGN KEY(jupyterhub_username) REFERENCES jupyterhub (name));
		INSERT INTO jupyterhub VALUES ('hub-a');
		INSERT INTO service (name, start_id, jupyterhub_username, end_date)
			VALUES ('lab', '1', 'hub-a', '9999-12-31 23:59:59.999999+00')`); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, config, ring(t, keyA))
	got, err := d.Get(t.Context(), outpost.Key{Hub: "hub-a", Name: "lab", StartID: "1"})
	if err != nil {
		t.Fatal(err)
	}
	want := outpost.Service{Summary: outpost.Summary{
		Key: outpost.Key{Hub: "hub-a", Name: "lab", StartID: "1"}, EndDate: outpost.NoEnd,
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("NULL columns read as empty, year 9999 as it is (protocol 6.2) (-want +got)\n%s", diff)
	}
}

// See protocol 6.3.
func TestMigrationsRunOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, config func(t testing.TB) Config) {
		c := config(t)
		for range 3 {
			d := mustOpen(t, c, ring(t, keyA))
			var n int
			query := `SELECT count(*) FROM ` + versionTable + ` WHERE version_id > 0`
			if err := d.read.QueryRowContext(context.Background(), query).Scan(&n); err != nil {
				t.Fatal(err)
			}
			if n != 9 {
				t.Errorf("%d migrations are recorded", n)
			}
		}
	})
}
