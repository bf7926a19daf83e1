package config

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTunnelsFromEnv(t *testing.T) {
	env := map[string]string{
		"OUTPOST_TUNNELS_NAME": "hub", "OUTPOST_TUNNELS_NAMESPACE": "jupyter", "OUTPOST_TUNNELS_PORTS": "20000-20063",
		"OUTPOST_TUNNELS_SYSTEMS_FILE": "/s", "OUTPOST_TUNNELS_KEY_FILE": "/k", "OUTPOST_TUNNELS_DRAIN": "0",
		"OUTPOST_METRICS_LISTEN": "", "OUTPOST_LOG_LEVEL": "debug", "OUTPOST_LOG_FORMAT": "text",
		"OUTPOST_TUNNELS_DIAL_OUT_LISTEN": ":8082", "OUTPOST_TUNNELS_API_LISTEN": ":8083",
	}
	got, err := TunnelsFromEnv(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	want := Tunnels{
		Name: "hub", Namespace: "jupyter", Ports: "20000-20063", SystemsFile: "/s", KeyFile: "/k",
		DialOutListen: ":8082", APIListen: ":8083", LogLevel: slog.LevelDebug, LogFormat: "text",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	got, err = TunnelsFromEnv(func(name string) (string, bool) { return "hub", name == "OUTPOST_TUNNELS_NAME" })
	if err != nil || got.Drain != 5*time.Minute || got.MetricsListen != ":8081" || got.DialOutListen != "" {
		t.Errorf("defaults: %+v, %v", got, err)
	}
}

func TestTunnelsFromEnvRefuses(t *testing.T) {
	env := map[string]string{
		"OUTPOST_TUNNELS_NAME": "a hub", "OUTPOST_TUNNELS_DRAIN": "-1", "OUTPOST_METRICS_LISTEN": "8081",
		"OUTPOST_LOG_LEVEL": "loud", "OUTPOST_LOG_FORMAT": "xml", "OUTPOST_TUNNELS_DIAL_OUT_LISTEN": "8082",
		"OUTPOST_TUNNELS_API_LISTEN": ":http",
	}
	_, err := TunnelsFromEnv(func(name string) (string, bool) { value, ok := env[name]; return value, ok })
	var got Problems
	errors.As(err, &got)
	want := Problems{
		{Name: "OUTPOST_LOG_LEVEL", Message: `"loud" is not one of debug, info, warn, error`},
		{Name: "OUTPOST_TUNNELS_NAME", Message: `"a hub" cannot be the value of a label`},
		{Name: "OUTPOST_TUNNELS_DRAIN", Message: "-1s is less than 0"},
		{Name: "OUTPOST_METRICS_LISTEN", Message: `"8081" is not an address such as :8080`},
		{Name: "OUTPOST_TUNNELS_DIAL_OUT_LISTEN", Message: `"8082" is not an address such as :8080`},
		{Name: "OUTPOST_TUNNELS_API_LISTEN", Message: `port "http" is not a number from 0 to 65535`},
		{Name: "OUTPOST_LOG_FORMAT", Message: `"xml" is neither json nor text`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListenerIn(t *testing.T) {
	c := Tunnels{MetricsListen: "", DialOutListen: "127.0.0.1:8082", APIListen: ":8083"}
	for port, want := range map[int]string{
		8082: "OUTPOST_TUNNELS_DIAL_OUT_LISTEN", 8083: "OUTPOST_TUNNELS_API_LISTEN", 8081: "",
	} {
		if got := c.ListenerIn(func(p int) bool { return p == port }); got != want {
			t.Errorf("%d: got %q, want %q", port, got, want)
		}
	}
}
