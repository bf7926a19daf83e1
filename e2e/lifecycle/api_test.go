//go:build e2e

package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"
)

// api is an outpost as its hub sees it.
type api struct {
	url    string
	client *http.Client
}

// newAPI keeps a connection for each request in flight.
func newAPI(url string) *api {
	return &api{url: url, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 300}}}
}

// call makes one request as the hub's client does.
func (a *api) call(
	ctx context.Context, method, path string, body any, async bool,
) (status int, answer string, err error) {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, "", err
		}
		payload = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(ctx, method, a.url+path, payload)
	if err != nil {
		return 0, "", err
	}
	r.SetBasicAuth(hubName, password)
	r.Header.Set("Content-Type", "application/json")
	if async {
		r.Header.Set("execution-type", "async")
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// startService asks for a server; startID tells starts of one name apart.
func (a *api) startService(ctx context.Context, name, startID string, async bool) (int, string, error) {
	return a.request(ctx, startRequest{name: name, startID: startID}, async)
}

// startRequest is what a hub says of a start. All but name and startID may be empty; eventsURL takes the progress.
type startRequest struct {
	name, startID, flavor, eventsURL string
	image, username, password        string // of the user's own, and the login to its registry
}

// request asks for a server.
func (a *api) request(ctx context.Context, r startRequest, async bool) (int, string, error) {
	env := map[string]string{
		"JUPYTERHUB_USER": "u-" + r.name, "JUPYTERHUB_USER_ID": "42", "JUPYTERHUB_API_TOKEN": "token",
	}
	if r.eventsURL != "" {
		env["JUPYTERHUB_EVENTS_URL"] = r.eventsURL
	}
	options := map[string]string{"start_id": r.startID}
	if r.flavor != "" {
		options["flavor"] = r.flavor
	}
	misc := map[string]any{
		"pod_name_template": "jupyter-{username}--{servername}", "services_enabled": true, "port": 41234,
		"internal_ssl": false, "extra_labels": map[string]string{},
	}
	if r.image != "" {
		misc["image"] = r.image
	}
	body := map[string]any{"name": r.name, "env": env, "user_options": options, "misc": misc}
	if r.username != "" {
		body["registry"] = map[string]string{"username": r.username, "password": r.password}
	}
	return a.call(ctx, http.MethodPost, "/services", body, async)
}

// services returns "<name>/<start id>" of every row of the hub, sorted.
func (a *api) services(t *testing.T) []string {
	t.Helper()
	status, text, err := a.call(t.Context(), http.MethodGet, "/services/", nil, false)
	if err != nil || status != http.StatusOK {
		t.Fatalf("list: status %d, %s, %v", status, text, err)
	}
	var rows []struct {
		Name    string `json:"name"`
		StartID string `json:"start_id"`
	}
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, r := range rows {
		keys = append(keys, r.Name+"/"+r.StartID)
	}
	slices.Sort(keys)
	return keys
}
