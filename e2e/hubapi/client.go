// Package hubapi asks a running JupyterHub for servers the way a user's script would: through its REST API and its
// proxy, with a token. It exists because both `make verify` and the end-to-end tests start servers.
package hubapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Client talks to one hub. It is safe for concurrent use.
type Client struct {
	// URL is where users open the hub, without /hub: http://10.77.0.2:30000 or https://host/prefix.
	URL string
	// Token is an API token with the scopes admin:users, admin:servers and access:servers for the users asked about.
	Token string
	// HTTP makes the requests; http.DefaultClient when nil. Its Timeout must be zero: progress is a long answer.
	HTTP *http.Client
}

// StatusError is an answer of the hub, or of a server behind it, with an unexpected status code.
type StatusError struct {
	Method, URL string
	Code        int
	// Message is the reason that the answer gives, "" when it gives none.
	Message string
}

// Error returns request, code and message: "GET http://hub/hub/api/: 403 Forbidden: no such token".
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Version returns the hub's version. That proves that the hub answers and accepts the token: the version is open to
// anyone, so the hub is also asked whom the token belongs to.
func (c *Client) Version(ctx context.Context) (string, error) {
	var info struct {
		Version string `json:"version"`
	}
	if err := c.call(ctx, http.MethodGet, "/hub/api/", nil, &info, http.StatusOK); err != nil {
		return "", err
	}
	return info.Version, c.call(ctx, http.MethodGet, "/hub/api/user", nil, nil, http.StatusOK)
}

// WaitThere waits until the hub answers through its proxy, which is a little after its pods are ready. It returns the
// last error when ctx ends first.
func (c *Client) WaitThere(ctx context.Context) error {
	for {
		_, err := c.Version(ctx)
		if err == nil {
			return nil
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			return err
		}
	}
}

// EnsureUser creates the user unless it exists.
func (c *Client) EnsureUser(ctx context.Context, user string) error {
	return c.call(ctx, http.MethodPost, "/hub/api/users/"+url.PathEscape(user), nil, nil,
		http.StatusCreated, http.StatusConflict)
}

// EnsureGroup makes a group of users, who exist; where the group is there already, they are added. It needs the scope
// admin:groups.
func (c *Client) EnsureGroup(ctx context.Context, group string, users ...string) error {
	path, members := "/hub/api/groups/"+url.PathEscape(group), map[string]any{"users": users}
	err := c.call(ctx, http.MethodPost, path, nil, nil, http.StatusCreated, http.StatusConflict)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, path+"/users", members, nil, http.StatusOK)
}

// Start asks for a server; options are its user options. The default server has the name "". No error means that the
// start has begun; Progress reports how it ends.
func (c *Client) Start(ctx context.Context, user, server string, options map[string]any) error {
	return c.call(ctx, http.MethodPost, serverPath(user, server), options, nil, http.StatusCreated, http.StatusAccepted)
}

// Stop stops a server and removes it. A server that does not exist is not an error.
func (c *Client) Stop(ctx context.Context, user, server string) error {
	var body any
	if server != "" {
		body = map[string]any{"remove": true}
	}
	return whileBusy(ctx, func() error {
		return c.call(ctx, http.MethodDelete, serverPath(user, server), body, nil,
			http.StatusAccepted, http.StatusNoContent, http.StatusNotFound)
	})
}

// whileBusy repeats what the hub refuses with 400 while it still tidies up after a start or a stop of the same
// server, for a minute at most.
func whileBusy(ctx context.Context, ask func() error) error {
	for limit := time.Now().Add(time.Minute); ; {
		err := ask()
		if refused, ok := errors.AsType[*StatusError](err); !ok ||
			refused.Code != http.StatusBadRequest || time.Now().After(limit) {
			return err
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			return err
		}
	}
}

// Server is the hub's model of a started server.
type Server struct {
	Name        string         `json:"name"`
	Ready       bool           `json:"ready"`
	Stopped     bool           `json:"stopped"`
	Pending     string         `json:"pending"`
	URL         string         `json:"url"`
	UserOptions map[string]any `json:"user_options"`
}

// Servers returns a user's servers by name, including those that are starting or stopping.
func (c *Client) Servers(ctx context.Context, user string) (map[string]Server, error) {
	var model struct {
		Servers map[string]Server `json:"servers"`
	}
	err := c.call(ctx, http.MethodGet, "/hub/api/users/"+url.PathEscape(user), nil,
		&model, http.StatusOK)
	if err != nil {
		return nil, err
	}
	return model.Servers, nil
}

// AuthState returns what the hub's authenticator keeps of a user. It needs the scope admin:auth_state.
func (c *Client) AuthState(ctx context.Context, user string) (map[string]any, error) {
	var model struct {
		AuthState map[string]any `json:"auth_state"`
	}
	err := c.call(ctx, http.MethodGet, "/hub/api/users/"+url.PathEscape(user), nil, &model, http.StatusOK)
	return model.AuthState, err
}

// WaitGone waits until the hub no longer lists the server.
func (c *Client) WaitGone(ctx context.Context, user, server string) error {
	for {
		servers, err := c.Servers(ctx, user)
		if err != nil {
			return err
		}
		if s, there := servers[server]; !there || s.Stopped {
			return nil
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return fmt.Errorf("the hub still lists server %q: %w", server, err)
		}
	}
}

// Get opens a page of a running server through the proxy; path is what follows the server's prefix, as in
// "api/status". Any other answer than 200 is a StatusError; redirects are not followed, since they mean that the
// server is not running or wants a login.
func (c *Client) Get(ctx context.Context, user, server, path string) ([]byte, error) {
	return c.do(ctx, http.MethodGet, serverURL(user, server)+path, nil, http.StatusOK)
}

// WaitReachable opens api/status until it answers. It returns the last error when ctx ends first.
func (c *Client) WaitReachable(ctx context.Context, user, server string) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.Get(attempt, user, server, "api/status")
		cancel()
		if err == nil {
			return nil
		}
		if pause(ctx, 500*time.Millisecond) != nil {
			return err
		}
	}
}

func serverPath(user, server string) string {
	if server == "" {
		return "/hub/api/users/" + url.PathEscape(user) + "/server"
	}
	return "/hub/api/users/" + url.PathEscape(user) + "/servers/" + url.PathEscape(server)
}

func serverURL(user, server string) string {
	if server == "" {
		return "/user/" + url.PathEscape(user) + "/"
	}
	return "/user/" + url.PathEscape(user) + "/" + url.PathEscape(server) + "/"
}

func (c *Client) call(ctx context.Context, method, path string, in, out any, want ...int) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	answer, err := c.do(ctx, method, path, body, want...)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: answer is not the JSON expected: %w", method, path, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, want ...int) ([]byte, error) {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if slices.Contains(want, resp.StatusCode) {
		return answer, nil
	}
	return nil, &StatusError{Method: method, URL: req.URL.Redacted(), Code: resp.StatusCode, Message: message(answer)}
}

func (c *Client) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "token "+c.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

func (c *Client) client() *http.Client {
	client := http.Client{}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// message is the text of an error answer: JupyterHub's and Jupyter's are JSON with a key message.
func message(answer []byte) string {
	var body struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(answer, &body) == nil {
		return body.Message
	}
	return ""
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// IsCode reports whether err is a StatusError with this code.
func IsCode(err error, code int) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code == code
}
