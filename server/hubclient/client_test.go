package hubclient_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/hubclient"
	"github.com/outposts-dev/outposts/server/outpost"
)

var _ outpost.HubAPI = (*hubclient.Client)(nil)

const token = "planted-secret-token"

// got is one request as a hub saw it.
type got struct {
	Method, Path, Body string
	Header             http.Header
}

// hub answers every request with a status and a body and records it.
func hub(t *testing.T, status int, body string) (url string, requests *[]got) {
	t.Helper()
	requests = new([]got)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		r.Header.Del("Accept-Encoding")
		r.Header.Del("Content-Length")
		*requests = append(*requests, got{r.Method, r.URL.RequestURI(), string(data), r.Header})
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func newClient(t *testing.T, o hubclient.Options) *hubclient.Client {
	c := hubclient.New(o)
	t.Cleanup(c.Close)
	return c
}

func header(pairs ...string) http.Header {
	h := http.Header{"Authorization": {"token " + token}, "Accept": {"application/json"}, "User-Agent": {"outposts"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// See protocol 3.1.
func TestCalls(t *testing.T) {
	posted := header("Content-Type", "application/json")
	for _, tc := range []struct {
		name   string
		status int
		body   string
		call   func(context.Context, *hubclient.Client, outpost.HubCall) error
		want   got
	}{
		{"event", 204, "", func(ctx context.Context, c *hubclient.Client, h outpost.HubCall) error {
			return c.PostEvent(ctx, h, outpost.Event{Progress: 30, Message: "Pulling image"})
		}, got{"POST", "/hub/api/x", `{"progress":30,"message":"Pulling image"}`, posted}},
		{"failed event", 204, "", func(ctx context.Context, c *hubclient.Client, h outpost.HubCall) error {
			return c.PostEvent(ctx, h, outpost.Event{Progress: 100, Failed: true, HTMLMessage: "no"})
		}, got{"POST", "/hub/api/x", `{"progress":100,"html_message":"no","failed":true}`, posted}},
		{"flavors", 200, "", func(ctx context.Context, c *hubclient.Client, h outpost.HubCall) error {
			return c.PostFlavors(ctx, h, map[string]flavor.Flavor{"tiny": {"max": 5, "current": 3}})
		}, got{"POST", "/hub/api/x", `{"tiny":{"current":3,"max":5}}`, posted}},
		{"tunnel", 204, "", func(ctx context.Context, c *hubclient.Client, h outpost.HubCall) error {
			return c.PostTunnel(ctx, h, "http://jupyter-a.outpost.svc:8888")
		}, got{"POST", "/hub/api/x", `{"service":"http://jupyter-a.outpost.svc:8888"}`, posted}},
		{"restart", 202, "", func(ctx context.Context, c *hubclient.Client, h outpost.HubCall) error {
			return c.RestartTunnels(ctx, h)
		}, got{"GET", "/hub/api/x", "", header()}},
		{"servers", 200, `["42_lab_0f3c"]`, func(ctx context.Context, c *hubclient.Client, h outpost.HubCall) error {
			list, err := c.Servers(ctx, h)
			if err == nil && cmp.Diff([]string{"42_lab_0f3c"}, list) != "" {
				return errors.New("wrong list")
			}
			return err
		}, got{"GET", "/hub/api/x", "", header()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, requests := hub(t, tc.status, tc.body)
			if err := tc.call(t.Context(), newClient(t, hubclient.Options{}),
				outpost.HubCall{URL: url + "/hub/api/x", Token: token}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]got{tc.want}, *requests); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// See protocol 3.1.
func TestRefusalsAreFinalAndOthersAreNot(t *testing.T) {
	for status, want := range map[int]outpost.Kind{
		400: outpost.KindFailed, 403: outpost.KindFailed, 404: outpost.KindFailed,
		429: outpost.KindUnavailable, 500: outpost.KindUnavailable, 503: outpost.KindUnavailable,
		302: outpost.KindUnavailable,
	} {
		url, _ := hub(t, status, "")
		err := newClient(t, hubclient.Options{}).PostTunnel(t.Context(),
			outpost.HubCall{URL: url, Token: token}, "http://a:1")
		if err == nil || outpost.KindOf(err) != want {
			t.Errorf("status %d: %v (kind %v), want kind %v", status, err, outpost.KindOf(err), want)
		}
	}
}

// See protocol 3.5.
func TestBadListsOfServers(t *testing.T) {
	for name, body := range map[string]string{
		"object": `{}`, "numbers": `[1]`, "null": `null`, "nothing": ``, "html": `<html>`,
		"huge": `["` + strings.Repeat("x", 17<<20) + `"]`,
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := hub(t, 200, body)
			list, err := newClient(t, hubclient.Options{}).Servers(t.Context(), outpost.HubCall{URL: url, Token: token})
			if outpost.KindOf(err) != outpost.KindUnavailable || err == nil {
				t.Errorf("list of %d, error %v", len(list), err)
			}
		})
	}
}

// See protocol 3.1.
func TestCertificatesAreVerified(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := newClient(t, hubclient.Options{Roots: map[string]*x509.CertPool{"hub-a": roots}})
	call := outpost.HubCall{Hub: "hub-a", URL: s.URL, Token: token}
	if err := c.PostEvent(t.Context(), call, outpost.Event{}); err != nil {
		t.Errorf("hub with its own authority: %v", err)
	}
	err := c.PostEvent(t.Context(), outpost.HubCall{Hub: "hub-b", URL: s.URL, Token: token}, outpost.Event{})
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok {
		t.Errorf("other hub: %v", err)
	}
}

// See protocol 3.1.
func TestRedirectToAnotherHostIsNotFollowed(t *testing.T) {
	other, requests := hub(t, 204, "")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/same" {
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
			return
		}
		if r.URL.Path == "/there" {
			w.WriteHeader(204)
			return
		}
		http.Redirect(w, r, other, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(s.Close)
	c := newClient(t, hubclient.Options{})
	if err := c.PostEvent(t.Context(), outpost.HubCall{URL: s.URL, Token: token}, outpost.Event{}); err == nil {
		t.Error("no error")
	}
	if len(*requests) > 0 {
		t.Errorf("the other host got %v", *requests)
	}
	call := outpost.HubCall{URL: s.URL + "/same", Token: token}
	if err := c.PostEvent(t.Context(), call, outpost.Event{}); err != nil {
		t.Errorf("redirect on the same host: %v", err)
	}
}

func TestNoProxyIsUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	url, requests := hub(t, 204, "")
	// Proxies of the environment never apply to 127.0.0.1, so the name must be another one.
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "hub.example.org:80" {
			t.Errorf("dialled %s", address)
		}
		return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(url, "http://"))
	}
	c := newClient(t, hubclient.Options{DialContext: dial})
	call := outpost.HubCall{URL: "http://hub.example.org/x", Token: token}
	if err := c.PostEvent(t.Context(), call, outpost.Event{}); err != nil {
		t.Fatal(err)
	}
	if len(*requests) != 1 {
		t.Errorf("%d requests", len(*requests))
	}
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	refusing, _ := hub(t, 403, token)
	for _, call := range []outpost.HubCall{
		{URL: refusing + "/x?key=" + token, Token: token},
		{URL: "http://127.0.0.1:1/x?key=" + token, Token: token},
		{URL: "http://127.0.0.1:1/x", Token: token + "\n"},
		{URL: "http://\x7f/?key=" + token, Token: token},
	} {
		err := newClient(t, hubclient.Options{}).PostEvent(t.Context(), call, outpost.Event{})
		if err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("error %v", err)
		}
	}
}

func TestHubThatNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		dial := func(context.Context, string, string) (net.Conn, error) { return ours, nil }
		c := hubclient.New(hubclient.Options{DialContext: dial})
		defer c.Close()
		begin := time.Now()
		err := c.PostEvent(t.Context(), outpost.HubCall{URL: "http://hub/x", Token: token}, outpost.Event{})
		if outpost.KindOf(err) != outpost.KindUnavailable || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("after %v", took)
		}
	})
}
