package sshd

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/outposts-dev/outposts/server/sshtest"
)

// A removed key opens nothing from that moment, without anybody telling the server (protocol 5.3).
func TestRemovedKeyOpensNothing(t *testing.T) {
	w := newWorld(t, nil) // nobody polls within the test
	c := w.mustClient()
	w.openService(c)
	w.writeKeys(hubName, authorizedLine("", sshtest.NewKey(t)))
	if diff := cmp.Diff(notPermitted, refusal(c, "direct-tcpip", directTCPIP(serviceHost, servicePort))); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
	if _, err := w.client(w.hubKey); err == nil {
		t.Error("the removed key was let in")
	}
	w.seen.wait("connections", 0)
	w.stop()
	w.logged(endKey)
}

// Its live channels close, by the poll alone, well within 5 s at the default interval.
func TestRemovedKeyClosesChannels(t *testing.T) {
	for _, tt := range []struct {
		name   string
		remove func(w *world)
	}{
		{"line removed", func(w *world) { w.writeKeys(hubName, "# nobody") }},
		{"file removed", func(w *world) { os.Remove(filepath.Join(w.keys, hubName)) }},
		{"directory removed", func(w *world) { os.RemoveAll(w.keys) }},
		{"line with an unknown option", func(w *world) { w.writeKeys(hubName, authorizedLine("none-such", w.hubKey)) }},
		{"key expired", func(w *world) { w.writeKeys(hubName, authorizedLine(`expiry-time="19991231"`, w.hubKey)) }},
		{"key of another hub now", func(w *world) {
			os.Remove(filepath.Join(w.keys, hubName))
			w.writeKeys("otherhub", authorizedLine("", w.hubKey))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			twoHubs := func(w *world) {
				w.limits.reloadInterval = limitsFor(usualMemory).reloadInterval
				w.opts.Hubs = append(w.opts.Hubs, "otherhub")
			}
			inTime(t, twoHubs, func(x *timed) {
				c, _ := x.connect()
				defer c.Close()
				conn := x.w.openService(c)
				begin := time.Now()
				tt.remove(x.w)
				if _, err := io.ReadAll(conn); err != nil {
					t.Logf("the channel ended by %v", err)
				}
				if took := time.Since(begin); took == 0 || took > 5*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		})
	}
}

// A key stays while others come and go, and while another line is bad; a new key works at once.
func TestReloadKeepsTheRest(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.openService(w.mustClient())
	added := sshtest.NewKey(t)
	w.writeKeys(hubName, "bad line", authorizedLine("", added), authorizedLine("", w.hubKey))
	if err := w.server.keys.Refresh(); err == nil {
		t.Error("the bad line is not reported")
	}
	c, err := w.client(added)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	sent := []byte("as before")
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != string(sent) {
		t.Errorf("got %q, %v", got, err)
	}
	w.writeKeys(hubName, authorizedLine("", w.hubKey))
	if err := w.server.keys.Refresh(); err != nil {
		t.Error(err)
	}
}

// permitopen is that of the line as it is now.
func TestReloadNarrowsOptions(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	w.openService(c)
	w.writeKeys(hubName, authorizedLine(`permitopen="other:1"`, w.hubKey))
	if diff := cmp.Diff(notPermitted, refusal(c, "direct-tcpip", directTCPIP(serviceHost, servicePort))); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
}

// See protocol 5.6.
func TestHostKeysReload(t *testing.T) {
	w := newWorld(t, nil)
	first := w.hostKey
	writeFile(t, filepath.Join(w.hosts, "ssh_host_ed25519_key"), "broken")
	if err := w.server.keys.Refresh(); err == nil {
		t.Error("a broken host key is not reported")
	}
	w.mustClient() // by the key from before
	w.hostKey = w.writeHostKey("ssh_host_ed25519_key")
	if err := w.server.keys.Refresh(); err != nil {
		t.Fatal(err)
	}
	w.mustClient()
	w.hostKey = first
	if _, err := w.client(w.hubKey); err == nil {
		t.Error("the old host key still serves")
	}
	if n := len(w.server.keys.Hosts().Signers); n != 1 {
		t.Errorf("%d host keys, want 1", n)
	}
}

// Host keys are the same after a restart.
func TestHostKeyIsStable(t *testing.T) {
	w := newWorld(t, nil)
	again, err := New(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	if string(again.keys.Hosts().Signers[0].PublicKey().Marshal()) != string(w.hostKey.PublicKey().Marshal()) {
		t.Error("another host key")
	}
}
