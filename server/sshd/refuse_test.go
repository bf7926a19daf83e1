package sshd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

// directTCPIP is the payload of RFC 4254 section 7.2.
func directTCPIP(host string, port uint32) []byte {
	return ssh.Marshal(struct {
		Host       string
		Port       uint32
		Origin     string
		OriginPort uint32
	}{host, port, "127.0.0.1", 40000})
}

// refusal opens a channel and returns why it was rejected; the zero value if it was not.
func refusal(c *ssh.Client, kind string, payload []byte) ssh.OpenChannelError {
	ch, reqs, err := c.OpenChannel(kind, payload)
	if err == nil {
		go ssh.DiscardRequests(reqs)
		_ = ch.Close()
		return ssh.OpenChannelError{}
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		return *refused
	}
	return ssh.OpenChannelError{Message: err.Error()}
}

var notPermitted = ssh.OpenChannelError{Reason: ssh.Prohibited, Message: "not permitted"}

// See protocol 5.1.
func TestChannelTypesRefused(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	want := ssh.OpenChannelError{Reason: ssh.UnknownChannelType, Message: "only direct-tcpip is served"}
	for _, kind := range []string{
		"session", "x11", "forwarded-tcpip", "direct-streamlocal@openssh.com", "forwarded-streamlocal@openssh.com",
		"auth-agent@openssh.com", "tun@openssh.com", "direct-tcpip@openssh.com", "DIRECT-TCPIP", "",
	} {
		t.Run(kind, func(t *testing.T) {
			got := refusal(c, kind, directTCPIP(serviceHost, servicePort))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
		})
	}
	w.openService(c) // the connection works as before
}

func TestSessionRequestsNeverReachAnything(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.mustClient().NewSession(); err == nil {
		t.Error("a session was opened")
	}
}

func TestPayloadsRefused(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	good := directTCPIP(serviceHost, servicePort)
	for _, tt := range []struct {
		name    string
		payload []byte
	}{
		{"empty", nil},
		{"cut short", good[:len(good)-1]},
		{"more than needed", append(append([]byte{}, good...), 0)},
		{"length beyond the end", []byte{0xff, 0xff, 0xff, 0xff, 'a'}},
		{"port 0", directTCPIP(serviceHost, 0)},
		{"port beyond 16 bits that would wrap to the service's", directTCPIP(serviceHost, 65536+servicePort)},
		{"no host", directTCPIP("", servicePort)},
		{"host with a zero byte", directTCPIP(serviceHost+"\x00.evil", servicePort)},
		{"host with a blank", directTCPIP(serviceHost+" ", servicePort)},
		{"host with a slash", directTCPIP("/run/secrets", servicePort)},
		{"host too long", directTCPIP(strings.Repeat("a", 254), servicePort)},
		{"IPv6 literal", directTCPIP("::1", servicePort)},
		{"IPv6 literal in brackets", directTCPIP("[::1]", servicePort)},
		{"address with a zone", directTCPIP("fe80::1%eth0", servicePort)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(notPermitted, refusal(c, "direct-tcpip", tt.payload)); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
		})
	}
	w.openService(c)
}

// See protocol 5.1.
func TestGlobalRequestsRefused(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	for _, name := range []string{
		"tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com",
		"cancel-streamlocal-forward@openssh.com", "hostkeys-prove-01@openssh.com", "anything", "",
		"keepalive@openssh.com",
	} {
		ok, reply, err := c.SendRequest(name, true, ssh.Marshal(struct {
			Addr string
			Port uint32
		}{"0.0.0.0", 0}))
		if ok || len(reply) > 0 || err != nil {
			t.Errorf("%q: got %v, %q, %v; want a refusal", name, ok, reply, err)
		}
	}
	if _, err := c.Listen("tcp", "0.0.0.0:0"); err == nil {
		t.Error("a remote forwarding was set up")
	}
	w.openService(c)
}

// Only the address of a live service, as it is written, is permitted, whatever else would lead to the same place or to
// one that must not be reached (protocol 5.4).
func TestTargetsRefused(t *testing.T) {
	const other = "jupyter-bob-1.outpost.svc.cluster.local"
	w := newWorld(t, func(w *world) {
		w.opts.Hubs = append(w.opts.Hubs, "otherhub")
		w.serve("otherhub", other, servicePort, netip.MustParseAddr("10.1.2.4"), echo)
		// Every name resolves, so that only the permission stands between the client and the address.
		w.opts.Resolve = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{serviceAddr}, nil }
	})
	c := w.mustClient()
	for _, target := range []struct {
		host string
		port uint32
	}{
		{"127.0.0.1", servicePort},
		{"127.1", servicePort},
		{"0", servicePort},
		{"0.0.0.0", servicePort},
		{"2130706433", servicePort},
		{"0177.0.0.1", servicePort},
		{"0x7f000001", servicePort},
		{"localhost", servicePort},
		{"169.254.169.254", 80},
		{"2852039166", 80},
		{"metadata.google.internal", 80},
		{"kubernetes.default.svc", 443},
		{"10.96.0.1", 443},
		{"10.0.0.1", 10250},
		{serviceAddr.String(), servicePort},         // by address
		{serviceHost + ".", servicePort},            // trailing dot
		{strings.ToUpper(serviceHost), servicePort}, // other case
		{strings.TrimSuffix(serviceHost, ".cluster.local"), servicePort},
		{serviceHost, servicePort + 1},
		{serviceHost, 22},
		{serviceHost, 2222},
		{serviceHost, 8081},
		{other, servicePort}, // another hub's
	} {
		t.Run(fmt.Sprintf("%s:%d", target.host, target.port), func(t *testing.T) {
			got := refusal(c, "direct-tcpip", directTCPIP(target.host, target.port))
			if diff := cmp.Diff(notPermitted, got); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
		})
	}
	if len(w.dialled) > 0 {
		t.Errorf("dialled %v", w.dialled)
	}
	w.openService(c)
}

// A permitted name may still resolve to anything: by mistake, or by somebody's doing (protocol 5.4).
func TestResolvedAddressesRefused(t *testing.T) {
	apiServer := netip.MustParsePrefix("10.96.0.1/32")
	const own = "10.7.7.7"
	for _, answer := range []string{
		"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
		"0.0.0.0", "::", "0.1.2.3", "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
		"fe80::1", "fe80::1%eth0",
		"fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"224.0.0.1", "ff02::1", "255.255.255.255", "250.0.0.1", "100::1",
		"10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::a60:1",
		own, "::ffff:" + own,
	} {
		t.Run(answer, func(t *testing.T) {
			w := newWorld(t, func(w *world) {
				w.opts.RefusedAddresses = []netip.Prefix{apiServer}
				// A good address beside the bad one does not help.
				w.names[serviceHost] = []netip.Addr{serviceAddr, netip.MustParseAddr(answer)}
			})
			addrs := append(*w.server.own.Load(), netip.MustParseAddr(own))
			w.server.own.Store(&addrs)
			got := refusal(w.mustClient(), "direct-tcpip", directTCPIP(serviceHost, servicePort))
			if diff := cmp.Diff(notPermitted, got); diff != "" {
				t.Errorf("refusal (-want +got):\n%s", diff)
			}
			if len(w.dialled) > 0 {
				t.Errorf("dialled %v", w.dialled)
			}
		})
	}
}

// See protocol 5.4.
func TestClusterPortsRefused(t *testing.T) {
	for _, port := range []uint16{10250, 10255, 6443, 2379} {
		w := newWorld(t, func(w *world) { w.allow(hubName, serviceHost, port) })
		got := refusal(w.mustClient(), "direct-tcpip", directTCPIP(serviceHost, uint32(port)))
		if diff := cmp.Diff(notPermitted, got); diff != "" {
			t.Errorf("port %d: refusal (-want +got):\n%s", port, diff)
		}
	}
}

// The addresses of this machine's interfaces are among those never dialled.
func TestOwnInterfacesAreRefused(t *testing.T) {
	own, err := ownAddresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		if !refusedAddress(netip.AddrPortFrom(a, 2222), own, nil) {
			t.Errorf("%v may be dialled", a)
		}
	}
	if refusedAddress(netip.AddrPortFrom(serviceAddr, servicePort), own, nil) {
		t.Errorf("%v may not be dialled", serviceAddr)
	}
}

func TestStoppedServiceRefused(t *testing.T) {
	w := newWorld(t, nil)
	c := w.mustClient()
	w.openService(c)
	w.remove(hubName, serviceHost, servicePort)
	if diff := cmp.Diff(notPermitted, refusal(c, "direct-tcpip", directTCPIP(serviceHost, servicePort))); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
}

// A name server that answers a second question differently gains nothing: there is no second question (protocol 5.4).
func TestNameThatChangesItsAnswer(t *testing.T) {
	asked := 0
	w := newWorld(t, func(w *world) {
		w.opts.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			asked++
			if asked == 1 {
				return []netip.Addr{serviceAddr}, nil
			}
			return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
		}
	})
	c := w.mustClient()
	w.openService(c)
	if want := []netip.AddrPort{netip.AddrPortFrom(serviceAddr, servicePort)}; !slices.Equal(w.dialled, want) {
		t.Errorf("dialled %v, want %v", w.dialled, want)
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
	if diff := cmp.Diff(notPermitted, refusal(c, "direct-tcpip", directTCPIP(serviceHost, servicePort))); diff != "" {
		t.Errorf("second channel: refusal (-want +got):\n%s", diff)
	}
}

// See protocol 5.4.
func TestUnreachableTarget(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.allow(hubName, "nowhere.svc", 80)
		w.allow(hubName, "silent.svc", 80)
		w.names["silent.svc"] = []netip.Addr{netip.MustParseAddr("10.1.2.99")} // no backend
	})
	c := w.mustClient()
	want := ssh.OpenChannelError{Reason: ssh.ConnectionFailed, Message: "not reachable"}
	for _, host := range []string{"nowhere.svc", "silent.svc"} {
		if diff := cmp.Diff(want, refusal(c, "direct-tcpip", directTCPIP(host, 80))); diff != "" {
			t.Errorf("%s: refusal (-want +got):\n%s", host, diff)
		}
	}
}

// A packet longer than anybody must take ends the connection as soon as its length is known, also before a login:
// nothing is kept for it.
func TestLongPacketsEndTheConnection(t *testing.T) {
	long := binary.BigEndian.AppendUint32(nil, 256<<10)
	t.Run("before a login", func(t *testing.T) {
		w := newWorld(t, nil)
		for _, c := range w.flood("127.0.0.1", 20, "SSH-2.0-long\r\n"+string(long)+"\x04\x14") {
			if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
				t.Error(err)
			}
		}
		w.seen.wait("handshake "+HandshakeFailed, 20)
	})
	t.Run("after it", func(t *testing.T) {
		w := newWorld(t, libraryHangs)
		c := w.raw()
		w.seen.wait("connections", 1)
		if _, err := c.conn.Write(long); err != nil {
			t.Fatal(err)
		}
		w.seen.wait("connections", 0)
		w.stop()
		w.logged(endProtocol)
	})
}
