package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/outposts-dev/outposts/server/config"
)

const somePublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9FMVMsmBDDk4PWlkQDDtDgvVFzLWTY6SOPLQUOjXO"

// tunnelsConfig is the configuration of tunnels to one system, which nobody can reach.
func tunnelsConfig(t *testing.T) config.Tunnels {
	t.Helper()
	dir := t.TempDir()
	cfg := config.DefaultTunnels()
	cfg.Name, cfg.MetricsListen, cfg.Drain = "hub", "127.0.0.1:0", 0
	cfg.SystemsFile, cfg.KeyFile = filepath.Join(dir, "systems.yaml"), filepath.Join(dir, "key")
	systems := "systems: {remote: {host: 127.0.0.1, port: 1, hostKeys: [" + somePublicKey + "]}}"
	for name, text := range map[string]string{cfg.SystemsFile: systems, cfg.KeyFile: privateKey(t)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// privateKey is a private key in OpenSSH's format.
func privateKey(t *testing.T) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func TestTunnelsProcess(t *testing.T) {
	cfg, log := tunnelsConfig(t), &logBuffer{}
	settled := make(chan struct{})
	p, err := NewTunnels(t.Context(), cfg, fake.NewClientset(), Options{
		Namespace: "jupyter", Logger: slog.New(slog.NewTextHandler(log, nil)), Settled: func() { close(settled) },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.notice = 0
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	ask := func(path string) string {
		resp, err := http.Get("http://" + p.MetricsAddr().String() + path)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, " ", string(text))
	}
	want := func(path, want string) {
		t.Helper()
		eventually(t, path, func() bool { return strings.Contains(ask(path), want) })
	}
	want("/readyz", "200 stopping: ok\nservices: ok\n")
	want("/healthz", "200 ok")
	<-settled
	want("/systems/remote", `200 {"state":"unreachable"}`)
	want("/systems/north", "404 ")
	want("/services/lab", "404 ")
	want("/metrics", `outpost_tunnels_connected{system="remote"} 0`)
	want("/metrics", `outpost_tunnels_services{state="PortTaken"} 0`)
	for _, c := range []struct{ file, text, metric string }{
		{cfg.SystemsFile, "systems: [", `outpost_reloads_total{result="error",what="systems"} 1`},
		{cfg.SystemsFile, "systems: {}", `outpost_reloads_total{result="ok",what="systems"} 1`},
		{cfg.KeyFile, "none", `outpost_reloads_total{result="error",what="key"} 1`},
	} {
		if err := os.WriteFile(c.file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		want("/metrics", c.metric)
	}
	want("/systems/remote", "404 ")
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
}

func TestNewTunnelsNamesEveryFault(t *testing.T) {
	cfg := tunnelsConfig(t)
	cfg.Ports, cfg.SystemsFile = "8000-8100", cfg.KeyFile
	cfg.KeyFile = filepath.Join(t.TempDir(), "none")
	cfg.MetricsListen = ":8081"
	_, err := NewTunnels(t.Context(), cfg, fake.NewClientset(), Options{Namespace: "jupyter"})
	for _, want := range []string{
		"OUTPOST_METRICS_LISTEN: its port is one of OUTPOST_TUNNELS_PORTS", "OUTPOST_TUNNELS_SYSTEMS_FILE: ",
		"OUTPOST_TUNNELS_KEY_FILE: open ",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "BEGIN OPENSSH") {
		t.Errorf("the error repeats a private key: %v", err)
	}
}
