package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
	"github.com/outposts-dev/outposts/server/watch"
)

// fake is a Manager that records what it is asked and answers what the test sets.
type fake struct {
	mu       sync.Mutex
	starts   []outpost.StartRequest
	polls    []outpost.Key
	stops    []outpost.StopOptions
	asked    []any // authentications
	users    []outpost.User
	catalog  catalog.Catalog
	collect  []bool
	address  string
	polled   outpost.PollResult
	logs     []string
	services []outpost.Summary
	flavors  map[string]flavor.Flavor
	known    []outpost.Key
	err      error
	block    chan struct{} // if set, Start waits for it or the request's end
}

func (f *fake) Start(ctx context.Context, r outpost.StartRequest) (string, error) {
	f.mu.Lock()
	f.starts = append(f.starts, r)
	f.mu.Unlock()
	if f.block != nil {
		select {
		case <-f.block:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return f.address, f.err
}

func (f *fake) Poll(_ context.Context, k outpost.Key, collect bool) (outpost.PollResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls, f.collect = append(f.polls, k), append(f.collect, collect)
	return f.polled, f.err
}

func (f *fake) Stop(_ context.Context, k outpost.Key, o outpost.StopOptions) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.polls, f.stops = append(f.polls, k), append(f.stops, o)
	return f.logs, f.err
}

func (f *fake) List(context.Context, string) ([]outpost.Summary, error) { return f.services, f.err }

func (f *fake) Flavors(context.Context, string) (map[string]flavor.Flavor, error) {
	return f.flavors, f.err
}

func (f *fake) UserFlavors(_ context.Context, _ string, authentication any) (map[string]flavor.Flavor, error) {
	f.asked = append(f.asked, authentication)
	return f.flavors, f.err
}

func (f *fake) Catalog(_ context.Context, u outpost.User) (catalog.Catalog, error) {
	f.users = append(f.users, u)
	return f.catalog, f.err
}

func (f *fake) Credits(string) map[string]flavor.Flavor { return f.flavors }

func (f *fake) UserCredits(_ string, authentication any) (map[string]flavor.Flavor, error) {
	f.asked = append(f.asked, authentication)
	return f.flavors, f.err
}

func (f *fake) Watch(context.Context, string) (*watch.Watch, error) { return nil, f.err }

func (f *fake) Known(_ context.Context, _ string, keys []outpost.Key) error {
	f.known = keys
	return f.err
}

// testUsers are the logins of every test.
var testUsers = map[string]outpost.Secret{"hub-a": "geheim:mit;doppelpunkt", "hub-b": "passwd2"}

// api is a running Server and the text that it logs.
type api struct {
	*Server
	address string
	base    string
	log     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func newAPI(t testing.TB, m Manager, o Options) *api {
	t.Helper()
	a := &api{base: o.BasePath, log: &lockedBuffer{}}
	if o.Users == nil {
		o.Users = testUsers
	}
	o.Logger = slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if a.Server, err = New(m, o); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(a.Server)
	t.Cleanup(server.Close)
	a.address = server.Listener.Addr().String()
	return a
}

// request is one request as it is sent, byte for byte: no client cleans its path.
type request struct {
	method, path, body string
	header             []string // lines
	user               string   // logs in as this hub with its right password
}

// reply is an answer: status, body, and the headers but for Date.
type reply struct {
	status int
	body   string
	header http.Header
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// do sends a request and holds the answer against docs/openapi.yaml.
func (a *api) do(t testing.TB, r request) reply {
	t.Helper()
	got := a.send(t, r)
	checkOpenAPI(t, strings.TrimPrefix(r.path, a.base), r.method, got)
	for name := range got.header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s %s: header %s", r.method, r.path, name)
		}
	}
	return got
}

func (a *api) send(t testing.TB, r request) reply {
	t.Helper()
	conn, err := net.Dial("tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := append([]string{r.method + " " + r.path + " HTTP/1.1", "Host: outpost", "Connection: close"}, r.header...)
	if r.user != "" {
		lines = append(lines, basic(r.user, testUsers[r.user].Reveal()))
	}
	if r.body != "" {
		lines = append(lines, "Content-Length: "+strconv.Itoa(len(r.body)))
	}
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+r.body); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.method})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.ContentLength < 0 {
		t.Errorf("%s %s: no Content-Length", r.method, r.path)
	}
	response.Header.Del("Date")
	return reply{response.StatusCode, string(body), response.Header}
}

var loadOpenAPI = sync.OnceValues(func() (*openapi3.T, error) {
	document, err := openapi3.NewLoader().LoadFromFile("../../docs/openapi.yaml")
	if err != nil {
		return nil, err
	}
	return document, document.Validate(context.Background())
})

var placeholder = regexp.MustCompile(`\\\{(\w+)\\\}`)

// operation finds what the document says about a path as it was sent. A name may be empty, a start id not.
func operation(document *openapi3.T, path, method string) *routers.Route {
	path, _, _ = strings.Cut(path, "?")
	for _, template := range document.Paths.InMatchingOrder() {
		pattern := placeholder.ReplaceAllStringFunc(regexp.QuoteMeta(template), func(p string) string {
			if template == "/services/{name}" || strings.Contains(p, "start_id") {
				return "[^/]+"
			}
			return "[^/]*"
		})
		item := document.Paths.Value(template)
		if regexp.MustCompile("^"+pattern+"$").MatchString(path) && item.GetOperation(method) != nil {
			return &routers.Route{
				Spec: document, Path: template, PathItem: item, Method: method,
				Operation: item.GetOperation(method),
			}
		}
	}
	return nil
}

// checkOpenAPI holds an answer against the document. Without an operation it must say that there is none.
func checkOpenAPI(t testing.TB, path, method string, got reply) {
	t.Helper()
	document, err := loadOpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	route := operation(document, path, method)
	if route == nil {
		if got.status != 404 && got.status != 405 && got.status != 307 && got.status != 401 {
			t.Errorf("%s %s is not in docs/openapi.yaml but answers %d", method, path, got.status)
		}
		return
	}
	sent, err := http.NewRequest(method, "http://outpost"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: sent, Route: route},
		Status:                 got.status, Header: got.header, Body: io.NopCloser(strings.NewReader(got.body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}); err != nil {
		t.Errorf("%s %s answers %d %s, which docs/openapi.yaml does not allow: %v", method, path,
			got.status, got.body, err)
	}
}

// want compares status and body of an answer.
func want(t testing.TB, what string, got reply, status int, body string) {
	t.Helper()
	if diff := cmp.Diff(fmt.Sprintf("%d %s", status, body), fmt.Sprintf("%d %s", got.status, got.body)); diff != "" {
		t.Errorf("%s (-want +got)\n%s", what, diff)
	}
}

// failureBody is the body of a 419 or 503.
func failureBody(class, sentence string) string {
	return `{"module":"","class":"` + class + `","traceback":"","args":[` + strconv.Quote(sentence) + `],"kwargs":{}}`
}
