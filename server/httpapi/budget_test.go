package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// startOf is a start with a body of about n bytes.
func startOf(hub string, n int) request {
	body := `{"name":"lab","user_options":{"x":"` + strings.Repeat("x", n) + `"}}`
	return request{method: "POST", path: "/services", body: body, user: hub}
}

func TestHubHoldsNoMoreThanItsShareOfBodies(t *testing.T) {
	f := &fake{address: "http://p:1", block: make(chan struct{})}
	a := newAPI(t, f, Options{HubBodies: 100_000})
	// A body that is announced and does not come holds nothing.
	conn, err := net.Dial("tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	login := basic("hub-a", testUsers["hub-a"].Reveal())
	if _, err := io.WriteString(conn, "POST /services HTTP/1.1\r\nHost: x\r\n"+login+
		"\r\nContent-Length: 99999\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	first := make(chan reply, 1)
	go func() { first <- a.send(t, startOf("hub-a", 60_000)) }()
	waitFor(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.starts) == 1 })

	got := a.do(t, startOf("hub-a", 60_000))
	if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "large requests") {
		t.Errorf("more than the share: %d %s", got.status, got.body)
	}
	long := `"` + strings.Repeat("x", 60_000) + `"`
	got = a.do(t, request{method: "POST", path: "/userflavors", user: "hub-a", body: long})
	if got.status != 503 {
		t.Errorf("another route: %d", got.status)
	}
	want(t, "a poll", a.do(t, request{method: "GET", path: "/services/lab/1", user: "hub-a"}), 200,
		`{"status":null,"logs":[]}`)
	other := make(chan reply, 1)
	go func() { other <- a.send(t, startOf("hub-b", 60_000)) }()
	waitFor(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.starts) == 2 })
	close(f.block)
	for name, answers := range map[string]chan reply{"first": first, "another hub's": other} {
		if got := <-answers; got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	_ = conn.Close()
	waitFor(t, func() bool { a.bodies.mu.Lock(); defer a.bodies.mu.Unlock(); return len(a.bodies.held) == 0 })
	if got := a.do(t, startOf("hub-a", 60_000)); got.status != 200 {
		t.Errorf("when all is given back: %d", got.status)
	}
}

// patience is how long a test waits for what must come; only a fault makes it wait as long.
const patience = 5 * time.Minute

// waitFor waits until something holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v", patience)
		}
	}
}

func TestStartBringsNoMoreThanAPodHolds(t *testing.T) {
	variables := map[string]string{}
	for i := range maxVariables {
		variables[fmt.Sprint("V", i)] = "x"
	}
	more := map[string]string{"ONE": "more"}
	for name, value := range variables {
		more[name] = value
	}
	half := strings.Repeat("x", maxCertificates/2)
	for _, test := range []struct {
		name string
		body map[string]any
		want string
	}{
		{"as many variables as allowed", map[string]any{"env": variables}, ""},
		{
			"one variable more",
			map[string]any{"env": more},
			"The environment has 4097 variables; at most 4096 are allowed.",
		},
		{"the longest value", map[string]any{"env": map[string]string{"X": strings.Repeat("x", maxEnvironment-1)}}, ""},
		{
			"a longer value",
			map[string]any{"env": map[string]string{"X": strings.Repeat("x", maxEnvironment)}},
			"The environment has 1048577 bytes; at most 1048576 are allowed.",
		},
		{
			"a longer name",
			map[string]any{"env": map[string]string{strings.Repeat("x", maxEnvironment): "x"}},
			"The environment has 1048577 bytes; at most 1048576 are allowed.",
		},
		{
			"certificates and bundles together",
			map[string]any{
				"certs": map[string]string{"": half}, "internal_trust_bundles": map[string]string{"x": half},
			},
			"The certificates have 1048577 bytes; at most 1048576 are allowed.",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fake{address: "http://p:1"}
			a := newAPI(t, f, Options{})
			test.body["name"] = "lab"
			text, err := json.Marshal(test.body)
			if err != nil {
				t.Fatal(err)
			}
			got := a.do(t, request{method: "POST", path: "/services", body: string(text), user: "hub-a"})
			if test.want == "" {
				want(t, test.name, got, 200, `{"service":"http://p:1"}`)
				return
			}
			if got.status != statusFailed || !strings.Contains(got.body, `"args":["`+test.want+`"]`) {
				t.Errorf("%d %.300s", got.status, got.body)
			}
			if len(f.starts) != 0 {
				t.Error("it was started")
			}
		})
	}
}
