package remote

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/nettest"
	"github.com/outposts-dev/outposts/server/sshtest"
)

// silence is after which the connections of these tests are dead.
const silence = 15 * time.Second

// inTime runs a test of a connection under a clock of its own.
func inTime(t *testing.T, test func(t *testing.T, c *Conn, server *nettest.Conn)) {
	hostKey, key := sshtest.NewKey(t), sshtest.NewKey(t)
	synctest.Test(t, func(t *testing.T) {
		near, far := nettest.Pipe()
		config := &ssh.ServerConfig{
			PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil },
		}
		config.AddHostKey(hostKey)
		go sshtest.ServeEcho(far, config)
		system := System{DialsOut: true, User: DefaultUser, HostKeys: []ssh.PublicKey{hostKey.PublicKey()}}
		c, err := Login(t.Context(), near, system, key, Limits{Dial: 10 * time.Second, Silence: silence})
		if err != nil {
			t.Fatal(err)
		}
		test(t, c, far)
		c.End()
		c.Wait(time.Second)
	})
}

func TestIdleConnectionStays(t *testing.T) {
	inTime(t, func(t *testing.T, c *Conn, _ *nettest.Conn) {
		ch, err := c.Open(t.Context(), "lab", 8888, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conn := ch.NetConn()
		defer conn.Close()
		for _, idle := range []time.Duration{silence / 2, time.Minute, 24 * time.Hour} {
			time.Sleep(idle) // the clock of the test
			got := make([]byte, 3)
			if _, err := conn.Write([]byte("hey")); err != nil {
				t.Fatalf("after %v: %v", idle, err)
			}
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "hey" {
				t.Fatalf("after %v: %q, %v", idle, got, err)
			}
		}
	})
}

// Nothing tells that the network drops all packets. It is noticed in time, however the silence falls between the looks
// at it.
func TestSilentConnectionEnds(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, silence / 5, silence / 3, time.Hour} {
		inTime(t, func(t *testing.T, c *Conn, server *nettest.Conn) {
			time.Sleep(after)
			server.Freeze()
			begin := time.Now()
			<-c.Ended()
			if took := time.Since(begin); took > silence {
				t.Errorf("silent after %v: it has ended after %v", after, took)
			}
		})
	}
}
