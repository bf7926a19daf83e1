package server

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/outpost/outposttest"
)

// Audit lines are a stream of their own, tell a service's life, and hold no secret; after a restart too, when what is
// known of the service comes from the database.
func TestAuditLinesTellTheLifeOfAService(t *testing.T) {
	cfg, spawner := settings(t), outposttest.NewSpawner()
	cfg.AuditFile = "-"
	out := &logBuffer{}
	p := up(t, cfg, spawner, Options{Stdout: out})
	for range 2 { // the second one is refused
		p.ask("POST", "/services", "hub-a", password, startBody(t, "lab"))
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	p = up(t, cfg, spawner, Options{Stdout: out})
	p.ask("DELETE", labPath, "hub-a", password, "")
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		var r struct {
			Audit, Event, Outcome, Hub, User, Server, Pod string
			UserID                                        string `json:"user_id"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		got = append(got, strings.Join(
			[]string{r.Audit, r.Event, r.Outcome, r.Hub, r.User, r.UserID, r.Server, r.Pod}, " "))
	}
	pod := outposttest.Host(outposttest.Key("lab"))
	pod, _, _ = strings.Cut(pod, ".")
	want := []string{
		"outpost started running hub-a maria 42 lab " + pod, "outpost start_refused duplicate hub-a maria 42 lab ",
		"outpost stopped asked hub-a maria 42 lab " + pod,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, planted := range []string{password, token, cryptKey} {
		if strings.Contains(out.String(), planted) {
			t.Errorf("%s is in the audit lines", planted)
		}
	}
}

func TestAnAuditFileThatCannotBeWrittenIsRefused(t *testing.T) {
	cfg := settings(t)
	cfg.AuditFile = filepath.Join(t.TempDir(), "none", "audit.log")
	_, err := New(t.Context(), cfg, outposttest.NewSpawner(), Options{})
	if err == nil || !strings.Contains(err.Error(), "OUTPOST_AUDIT_FILE: open ") {
		t.Errorf("got %v", err)
	}
}
