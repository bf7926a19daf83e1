package sshd

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshtest"
)

// rawClient speaks SSH packet by packet, so that a test can break the protocol where a real client cannot. It does
// curve25519 and aes128-gcm only, checks nothing of the server, and never exchanges keys again.
type rawClient struct {
	t       *testing.T
	conn    net.Conn
	r       *bufio.Reader
	out, in cipher.AEAD // nil before the keys are exchanged
	outIV   []byte
	inIV    []byte
	session []byte
}

// raw connects and authenticates.
func (w *world) raw() *rawClient {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	c := &rawClient{t: w.t.(*testing.T), conn: conn, r: bufio.NewReader(conn)}
	c.exchange()
	c.authenticate(w.hubKey)
	return c
}

func (c *rawClient) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// send writes a packet, RFC 4253 section 6 and RFC 5647 section 7.2.
func (c *rawClient) send(payload []byte) error {
	pad := 16 - (1+len(payload))%16
	if c.out == nil {
		pad = 16 - (5+len(payload))%16
	}
	if pad < 4 {
		pad += 16
	}
	length := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+pad))
	body := append(append([]byte{byte(pad)}, payload...), make([]byte, pad)...)
	if c.out != nil {
		body = c.out.Seal(nil, c.outIV, body, length)
		count(c.outIV)
	}
	_, err := c.conn.Write(append(length, body...))
	return err
}

// count steps the invocation counter of a nonce.
func count(iv []byte) {
	binary.BigEndian.PutUint64(iv[4:], binary.BigEndian.Uint64(iv[4:])+1)
}

func (c *rawClient) receive() ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(c.r, length); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(length))
	if c.in != nil {
		n += 16 // the tag
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, err
	}
	if c.in != nil {
		var err error
		if body, err = c.in.Open(nil, c.inIV, body, length); err != nil {
			return nil, err
		}
		count(c.inIV)
	}
	return body[1 : len(body)-int(body[0])], nil
}

// until receives until a packet of a type comes.
func (c *rawClient) until(kind byte) []byte {
	c.t.Helper()
	for {
		p, err := c.receive()
		c.check(err)
		if p[0] == kind {
			return p
		}
	}
}

// field is a string on the wire, RFC 4251 section 5.
func field(s string) []byte { return ssh.Marshal(struct{ S string }{s}) }

func (c *rawClient) exchange() {
	c.t.Helper()
	const own = "SSH-2.0-raw"
	_, err := io.WriteString(c.conn, own+"\r\n")
	c.check(err)
	line, err := c.r.ReadString('\n')
	c.check(err)
	init := append([]byte{20}, random(16)...)
	for _, list := range []string{
		"curve25519-sha256", "ssh-ed25519", ssh.CipherAES128GCM, ssh.CipherAES128GCM,
		"hmac-sha2-256", "hmac-sha2-256", "none", "none", "", "",
	} {
		init = append(init, field(list)...)
	}
	init = append(init, 0, 0, 0, 0, 0)
	c.check(c.send(init))
	theirs := c.until(20)
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	c.check(err)
	c.check(c.send(append([]byte{30}, field(string(private.PublicKey().Bytes()))...)))
	var reply struct {
		HostKey   string
		Public    string
		Signature []byte
	}
	c.check(ssh.Unmarshal(c.until(31)[1:], &reply))
	public, err := ecdh.X25519().NewPublicKey([]byte(reply.Public))
	c.check(err)
	secret, err := private.ECDH(public)
	c.check(err)
	k := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(secret)})
	h := sha256.New()
	for _, s := range []string{
		own, strings.TrimRight(line, "\r\n"), string(init), string(theirs),
		reply.HostKey, string(private.PublicKey().Bytes()), reply.Public,
	} {
		h.Write(field(s))
	}
	h.Write(k)
	c.session = h.Sum(nil)
	c.check(c.send([]byte{21}))
	c.until(21)
	derive := func(letter byte, n int) []byte {
		h := sha256.New()
		h.Write(k)
		h.Write(c.session)
		h.Write([]byte{letter})
		h.Write(c.session)
		return h.Sum(nil)[:n]
	}
	gcm := func(key []byte) cipher.AEAD {
		block, err := aes.NewCipher(key)
		c.check(err)
		aead, err := cipher.NewGCM(block)
		c.check(err)
		return aead
	}
	c.outIV, c.inIV = derive('A', 12), derive('B', 12)
	c.out, c.in = gcm(derive('C', 16)), gcm(derive('D', 16))
}

func (c *rawClient) authenticate(key ssh.Signer) {
	c.t.Helper()
	c.check(c.send(append([]byte{5}, field("ssh-userauth")...)))
	c.until(6)
	request := []byte{50}
	for _, s := range []string{user, "ssh-connection", "publickey"} {
		request = append(request, field(s)...)
	}
	request = append(request, 1)
	request = append(append(request, field(key.PublicKey().Type())...), field(string(key.PublicKey().Marshal()))...)
	sig, err := key.Sign(rand.Reader, append(field(string(c.session)), request...))
	c.check(err)
	c.check(c.send(append(request, field(string(ssh.Marshal(sig)))...)))
	c.until(52)
}

// libraryHangs is for a client that breaks the protocol: the library may not let go of its connection.
func libraryHangs(w *world) { w.limits.libraryGrace = time.Second }

// A client may break the protocol with many packets on their way. The library does not get out of that by itself; the
// connection must end all the same, and the server must stop.
func TestProtocolErrorsEndTheConnection(t *testing.T) {
	unknown := binary.BigEndian.AppendUint32([]byte{94}, 77) // data for a channel that is not there
	unknown = append(unknown, field("x")...)
	for _, tt := range []struct {
		name   string
		packet []byte
	}{
		{"data for no channel", unknown},
		{"empty channel open", []byte{90}},
		{"unknown message", []byte{199, 0, 0, 0, 0}},
		{"channel message without a number", []byte{94, 0}},
		{"malformed global request", []byte{80, 0xff, 0xff, 0xff, 0xff}},
		{"close of no channel", binary.BigEndian.AppendUint32([]byte{97}, 9)},
	} {
		for _, more := range []int{0, 500} {
			t.Run(fmt.Sprintf("%s and %d more", tt.name, more), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, libraryHangs)
				c := w.raw()
				go func() {
					for range 1 + more {
						if c.send(tt.packet) != nil {
							return
						}
					}
				}()
				for {
					if _, err := c.receive(); err != nil {
						break
					}
				}
				w.seen.wait("connections", 0)
				w.openService(w.mustClient())
				w.stop()
			})
		}
	}
}

// A hub that does it again and again is locked out; the others are not.
func TestProtocolErrorsAreCounted(t *testing.T) {
	otherKey := sshtest.NewKey(t)
	w := newWorld(t, func(w *world) {
		w.opts.Hubs = append(w.opts.Hubs, "otherhub")
		w.writeKeys("otherhub", authorizedLine("", otherKey))
	})
	w.server.hubs[hubName].stuck.Store(maxStuck)
	c, err := w.client(w.hubKey)
	if err == nil {
		err = c.Wait()
	}
	if err == nil {
		t.Error("let in")
	}
	other, err := w.client(otherKey)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if ok, _, err := other.SendRequest("keepalive@openssh.com", true, nil); ok || err != nil {
		t.Errorf("the other hub: %v, %v", ok, err)
	}
	w.stop()
	w.logged(endStuck)
}
