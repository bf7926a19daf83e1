package hubapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Login logs a user in by the hub's form, as a browser would, and returns a client with a token of that user.
func Login(ctx context.Context, hubURL, user, password string) (*Client, error) {
	hubURL = strings.TrimRight(hubURL, "/")
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Jar: jar}
	send := func(method, path, contentType, body string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, method, hubURL+path, strings.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Referer", hubURL+"/hub/login")
		req.Header.Set("X-XSRFToken", xsrf(jar, hubURL))
		resp, err := browser.Do(req)
		if err != nil {
			return nil, err
		}
		answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(strings.NewReader(string(answer)))
		if err == nil && resp.StatusCode >= http.StatusBadRequest {
			err = &StatusError{Method: method, URL: hubURL + path, Code: resp.StatusCode, Message: message(answer)}
		}
		return resp, err
	}
	if _, err := send(http.MethodGet, "/hub/login", "", ""); err != nil {
		return nil, err
	}
	form := url.Values{"username": {user}, "password": {password}, "_xsrf": {xsrf(jar, hubURL)}}
	if _, err := send(http.MethodPost, "/hub/login", "application/x-www-form-urlencoded", form.Encode()); err != nil {
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	resp, err := send(http.MethodPost, "/hub/api/users/"+url.PathEscape(user)+"/tokens", "application/json",
		`{"note":"test","expires_in":3600}`)
	if err != nil {
		return nil, fmt.Errorf("make a token for %s: %w", user, err)
	}
	var made struct {
		Token string `json:"token"`
	}
	if err := decode(resp.Body, &made); err != nil {
		return nil, fmt.Errorf("make a token for %s: %w", user, err)
	}
	return &Client{URL: hubURL, Token: made.Token}, nil
}

// xsrf is the value of the hub's cookie against forged requests.
func xsrf(jar http.CookieJar, hubURL string) string {
	address, err := url.Parse(hubURL + "/hub/")
	if err != nil {
		return ""
	}
	for _, cookie := range jar.Cookies(address) {
		if cookie.Name == "_xsrf" {
			return cookie.Value
		}
	}
	return ""
}
