package hubapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Browser is a browser in which a user has logged in at a hub.
type Browser struct {
	hubURL string
	pages  *url.URL // hubURL/hub/, whose cookies are the hub's
	client *http.Client
}

// OpenBrowser logs a user in by the hub's form.
func OpenBrowser(ctx context.Context, hubURL, user, password string) (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	hubURL = strings.TrimRight(hubURL, "/")
	pages, err := url.Parse(hubURL + "/hub/")
	if err != nil {
		return nil, err
	}
	b := &Browser{hubURL, pages, &http.Client{Jar: jar}}
	if _, err := b.Get(ctx, "/hub/login"); err != nil {
		return nil, err
	}
	form := url.Values{"username": {user}, "password": {password}, "_xsrf": {b.xsrf()}}
	// The home page starts nothing; where a hub leads to by itself may be a server.
	path := "/hub/login?next=" + url.QueryEscape(pages.Path+"home")
	if _, err := b.do(ctx, http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode()); err != nil {
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	return b, nil
}

// Get opens a page of the hub, such as /hub/home. Redirects are followed: a user who is not logged in gets the form.
func (b *Browser) Get(ctx context.Context, path string) ([]byte, error) {
	return b.do(ctx, http.MethodGet, path, "", "")
}

func (b *Browser) do(ctx context.Context, method, path, contentType, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.hubURL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Referer", b.hubURL+"/hub/login")
	req.Header.Set("X-XSRFToken", b.xsrf())
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = &StatusError{Method: method, URL: b.hubURL + path, Code: resp.StatusCode, Message: message(answer)}
	}
	return answer, err
}

// xsrf is the value of the hub's cookie against forged requests.
func (b *Browser) xsrf() string {
	for _, cookie := range b.client.Jar.Cookies(b.pages) {
		if cookie.Name == "_xsrf" {
			return cookie.Value
		}
	}
	return ""
}

// Login logs a user in by the hub's form, as a browser would, and returns a client with a token of that user.
func Login(ctx context.Context, hubURL, user, password string) (*Client, error) {
	b, err := OpenBrowser(ctx, hubURL, user, password)
	if err != nil {
		return nil, err
	}
	answer, err := b.do(ctx, http.MethodPost, "/hub/api/users/"+url.PathEscape(user)+"/tokens", "application/json",
		`{"note":"test","expires_in":3600}`)
	if err != nil {
		return nil, fmt.Errorf("make a token for %s: %w", user, err)
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return nil, fmt.Errorf("make a token for %s: %w", user, err)
	}
	return &Client{URL: b.hubURL, Token: made.Token}, nil
}
