package hubapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/google/go-cmp/cmp"
)

// hub answers what a test gives it, by method and path, and notes what it was asked.
func hub(t *testing.T, answers map[string]func(http.ResponseWriter, *http.Request)) (*Client, *[]string) {
	t.Helper()
	asked := new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Method + " " + r.URL.EscapedPath()
		*asked = append(*asked, key)
		if r.Header.Get("Authorization") != "token secret" {
			t.Errorf("%s: Authorization = %q", key, r.Header.Get("Authorization"))
		}
		answer, ok := answers[key]
		if !ok {
			http.NotFound(w, r)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return &Client{URL: server.URL + "/", Token: "secret"}, asked
}

func text(code int, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func TestPaths(t *testing.T) {
	client, asked := hub(t, map[string]func(http.ResponseWriter, *http.Request){
		"POST /hub/api/users/ann%20b":               text(http.StatusConflict, "{}"),
		"POST /hub/api/groups/gpu%2Fa":              text(http.StatusConflict, "{}"),
		"POST /hub/api/groups/gpu%2Fa/users":        text(http.StatusOK, "{}"),
		"POST /hub/api/users/ann%20b/servers/lab":   text(http.StatusAccepted, ""),
		"POST /hub/api/users/ann%20b/server":        text(http.StatusCreated, ""),
		"DELETE /hub/api/users/ann%20b/servers/lab": text(http.StatusNoContent, ""),
		"GET /user/ann%20b/lab/api/status":          text(http.StatusOK, "{}"),
		"GET /user/ann%20b/api/status":              text(http.StatusOK, "{}"),
	})
	ctx := t.Context()
	for _, err := range []error{
		client.EnsureUser(ctx, "ann b"),
		client.EnsureGroup(ctx, "gpu/a", "ann b"),
		client.Start(ctx, "ann b", "lab", map[string]any{"system": "local"}),
		client.Start(ctx, "ann b", "", nil),
		client.Stop(ctx, "ann b", "lab"),
		client.Stop(ctx, "ann b", ""), // does not exist: not an error
		client.WaitReachable(ctx, "ann b", "lab"),
		client.WaitReachable(ctx, "ann b", ""),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"POST /hub/api/users/ann%20b", "POST /hub/api/groups/gpu%2Fa", "POST /hub/api/groups/gpu%2Fa/users",
		"POST /hub/api/users/ann%20b/servers/lab", "POST /hub/api/users/ann%20b/server",
		"DELETE /hub/api/users/ann%20b/servers/lab", "DELETE /hub/api/users/ann%20b/server",
		"GET /user/ann%20b/lab/api/status", "GET /user/ann%20b/api/status",
	}
	if diff := cmp.Diff(want, *asked); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}

func TestAuthState(t *testing.T) {
	client, _ := hub(t, map[string]func(http.ResponseWriter, *http.Request){
		"GET /hub/api/users/ann": text(http.StatusOK, `{"name": "ann", "auth_state": {"groups": ["staff"]}}`),
	})
	state, err := client.AuthState(t.Context(), "ann")
	if diff := cmp.Diff(map[string]any{"groups": []any{"staff"}}, state); diff != "" || err != nil {
		t.Errorf("%v, (-want +got)\n%s", err, diff)
	}
}

func TestVersionNeedsTheToken(t *testing.T) {
	answers := map[string]func(http.ResponseWriter, *http.Request){
		"GET /hub/api/":     text(http.StatusOK, `{"version": "5.5.4"}`),
		"GET /hub/api/user": text(http.StatusOK, `{"kind": "service"}`),
	}
	client, _ := hub(t, answers)
	if version, err := client.Version(t.Context()); err != nil || version != "5.5.4" {
		t.Errorf("version %q, %v", version, err)
	}
	// A hub tells its version to anyone.
	answers["GET /hub/api/user"] = text(http.StatusForbidden, `{"message": "Missing or invalid credentials."}`)
	if _, err := client.Version(t.Context()); !IsCode(err, http.StatusForbidden) {
		t.Errorf("a token that the hub refuses: %v", err)
	}
}

// TestReasonsAreKept holds that what the hub says about a refusal is in the error.
func TestReasonsAreKept(t *testing.T) {
	client, _ := hub(t, map[string]func(http.ResponseWriter, *http.Request){
		"POST /hub/api/users/ann/servers/lab": text(http.StatusBadRequest, `{"status":400,"message":"no such flavor"}`),
		"GET /user/ann/lab/api/status": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/hub/login", http.StatusFound)
		},
	})
	err := client.Start(t.Context(), "ann", "lab", nil)
	if !IsCode(err, http.StatusBadRequest) || !strings.Contains(err.Error(), "no such flavor") {
		t.Errorf("error = %v", err)
	}
	// A login page is not the server, although it answers 200.
	if _, err := client.Get(t.Context(), "ann", "lab", "api/status"); !IsCode(err, http.StatusFound) {
		t.Errorf("error = %v, want code 302", err)
	}
}

func TestProgress(t *testing.T) {
	tests := []struct {
		name, stream, want string
		events             int
	}{
		{
			"ready",
			"data: {\"progress\": 0, \"message\": \"a\"}\n\n\n\ndata: {\"progress\": 100, \"ready\": true}\n\n",
			"", 2,
		},
		{
			"failed, the longest reason",
			"data: {\"failed\": true, \"message\": \"no image x\"}\n\n" +
				"data: {\"failed\": true, \"message\": \"no\"}\n\n",
			"no image x", 2,
		},
		{
			"cut off", "data: {\"progress\": 50, \"message\": \"a\"}\n\n",
			"without saying whether the server is ready", 1,
		},
		{"empty", "", "without saying whether the server is ready", 0},
		{"no JSON", "data: {\n\n", "progress of server \"lab\"", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, _ := hub(t, map[string]func(http.ResponseWriter, *http.Request){
				"GET /hub/api/users/ann/servers/lab/progress": text(http.StatusOK, test.stream),
			})
			events := 0
			err := client.Progress(t.Context(), "ann", "lab", func(Event) { events++ })
			if test.want == "" && err != nil ||
				test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error = %v, want %q", err, test.want)
			}
			if events != test.events {
				t.Errorf("events = %d, want %d", events, test.events)
			}
			var start *StartError
			if test.name == "cut off" && !errors.As(err, &start) {
				t.Errorf("error is a %T", err)
			}
		})
	}
}

// kernel answers one execute_request as jupyter_server does, with another cell's messages between.
func kernel(reply map[string]any) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		ctx := context.WithoutCancel(r.Context())
		var request struct {
			Header map[string]any `json:"header"`
		}
		if wsjson.Read(ctx, conn, &request) != nil {
			return
		}
		send := func(kind string, parent any, content map[string]any) {
			_ = wsjson.Write(ctx, conn, map[string]any{
				"header":        map[string]any{"msg_type": kind},
				"parent_header": map[string]any{"msg_id": parent}, "content": content,
			})
		}
		id := request.Header["msg_id"]
		send("stream", "another", map[string]any{"text": "not mine"})
		send("stream", id, map[string]any{"text": "4"})
		send("stream", id, map[string]any{"text": "2\n"})
		send("execute_reply", id, reply)
		send("status", id, map[string]any{"execution_state": "idle"})
		var more json.RawMessage
		_ = wsjson.Read(ctx, conn, &more)
	}
}

func TestKernel(t *testing.T) {
	tests := []struct {
		name    string
		reply   map[string]any
		printed string
		want    string
	}{
		{"ok", map[string]any{"status": "ok"}, "42\n", ""},
		{
			"exception",
			map[string]any{"status": "error", "ename": "NameError", "evalue": "x"},
			"42\n",
			"the cell raised NameError: x",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client, asked := hub(t, map[string]func(http.ResponseWriter, *http.Request){
				"POST /user/ann/lab/api/kernels":            text(http.StatusCreated, `{"id":"k1"}`),
				"GET /user/ann/lab/api/kernels/k1/channels": kernel(test.reply),
				"DELETE /user/ann/lab/api/kernels/k1":       text(http.StatusNoContent, ""),
			})
			k, err := client.OpenKernel(t.Context(), "ann", "lab")
			if err != nil {
				t.Fatal(err)
			}
			printed, err := k.Run(t.Context(), "print(42)")
			if printed != test.printed || test.want == "" && err != nil ||
				test.want != "" && (err == nil || err.Error() != test.want) {
				t.Errorf("Run = %q, %v", printed, err)
			}
			if err := k.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if last := (*asked)[len(*asked)-1]; last != "DELETE /user/ann/lab/api/kernels/k1" {
				t.Errorf("last request = %s", last)
			}
		})
	}
}
