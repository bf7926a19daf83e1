package sshd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/keys"
	"github.com/outposts-dev/outposts/server/sshd/wire"
)

// identification is what we send first, RFC 4253 section 4.2. It gives no version.
const identification = "SSH-2.0-Outpost"

// Algorithms. The client's order decides (RFC 4253 section 7.1), so what must not be chosen is not offered:
// OpenSSH would take chacha20-poly1305 first, which is a third as fast as AES-GCM here. No SHA-1, no CBC. Strict key
// exchange is the library's doing.
var (
	keyExchanges = []string{ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519}
	ciphers      = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM}
	// dropbear has no AES-GCM as Debian builds it, and no strict key exchange up to 2022.83: counter mode with a plain
	// MAC is what a prefix truncation (CVE-2023-48795) does not touch.
	dropbearCiphers = []string{ssh.CipherAES256CTR, ssh.CipherAES128CTR}
	macs            = []string{ssh.HMACSHA256}
	publicKeyAlgos  = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
	}
)

// keyOfHandshake is where the permissions of a handshake keep the authorized key.
type keyOfHandshake struct{}

var (
	// errNotAuthorized is the only reason that a key is refused for; a client must not learn more.
	errNotAuthorized = errors.New("not authorized")
	// errDropped means that another connection has taken the place of one in handshake.
	errDropped = errors.New("too many connections in handshake")
)

// handshake makes an SSH connection of an accepted one, within the deadline set on it, and notes the hub and the key
// that it has proved.
func (s *Server) handshake(c *conn) error {
	client, err := c.wire.Identify(identification)
	if err != nil {
		return err
	}
	c.place.Advance(stageIdentified)
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: keyExchanges, Ciphers: ciphers, MACs: macs, RekeyThreshold: s.limits.rekeyThreshold,
		},
		ServerVersion:           identification,
		PublicKeyAuthAlgorithms: publicKeyAlgos,
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if meta.User() != user {
				return nil, errNotAuthorized
			}
			_ = s.keys.Refresh() // reported
			k := s.keys.Find(key, c.source, s.now())
			if k == nil {
				return nil, errNotAuthorized
			}
			c.place.Advance(stageRecognized)
			// Not yet proved: nothing may follow from it until the handshake is finished.
			return &ssh.Permissions{ExtraData: map[any]any{keyOfHandshake{}: k}}, nil
		},
	}
	c.wire.Framing = wire.GCM
	if strings.HasPrefix(client, "SSH-2.0-dropbear") {
		config.Ciphers, c.wire.Framing = dropbearCiphers, wire.Opaque
	}
	for _, signer := range s.keys.Hosts().InUse() {
		config.AddHostKey(signer)
	}
	if c.ssh, c.openRequests, c.requests, err = ssh.NewServerConn(c.wire, config); err != nil {
		return err
	}
	k := c.ssh.Permissions.ExtraData[keyOfHandshake{}].(*keys.Authorized) // set for each key that is let in
	c.hub, c.counts, c.proved = k.Hub, s.hubs[k.Hub], k.Key
	c.log = s.opts.Logger.With("hub", c.hub, "key", k.Fingerprint, "remote", c.source.String())
	c.wire.Gather()
	return nil
}

// Names of OpenSSH's host key rotation, PROTOCOL section 2.5.
const (
	hostKeysAnnounce = "hostkeys-00@openssh.com"
	hostKeysProve    = "hostkeys-prove-00@openssh.com"
)

// announceHostKeys sends a client all our host keys, so that it can learn new ones before old ones go.
func announceHostKeys(sc *ssh.ServerConn, hosts *keys.Hosts) error {
	var payload []byte
	for _, signer := range hosts.Signers {
		payload = append(payload, ssh.Marshal(struct{ Key []byte }{signer.PublicKey().Marshal()})...)
	}
	_, _, err := sc.SendRequest(hostKeysAnnounce, false, payload)
	return err
}

// proveHostKeys signs the session with each of the host keys that a client asks for.
func proveHostKeys(sc *ssh.ServerConn, hosts *keys.Hosts, payload []byte) ([]byte, error) {
	var reply []byte
	for asked := 0; len(payload) > 0; asked++ {
		var next struct {
			Key  []byte
			Rest []byte `ssh:"rest"`
		}
		if err := ssh.Unmarshal(payload, &next); err != nil {
			return nil, err
		}
		payload = next.Rest
		signer := hosts.Find(next.Key)
		if signer == nil || asked >= len(hosts.Signers) {
			return nil, errors.New("a key is not one of ours")
		}
		signed := ssh.Marshal(struct {
			Name    string
			Session []byte
			Key     []byte
		}{hostKeysProve, sc.SessionID(), next.Key})
		algorithm := signer.PublicKey().Type()
		if algorithm == ssh.KeyAlgoRSA {
			algorithm = ssh.KeyAlgoRSASHA512 // the type stands for SHA-1
		}
		sig, err := signer.SignWithAlgorithm(rand.Reader, signed, algorithm)
		if err != nil {
			return nil, err
		}
		reply = append(reply, ssh.Marshal(struct{ Signature []byte }{ssh.Marshal(sig)})...)
	}
	return reply, nil
}

// failure sorts a failed handshake for metrics and log.
func (s *Server) failure(c *conn, took time.Duration, err error) (result, reason string) {
	switch {
	case errors.Is(err, errDropped):
		return HandshakeDropped, err.Error()
	case took >= s.limits.handshakeTimeout:
		return HandshakeTimeout, "handshake took too long"
	case c.wire.Received() == 0:
		return HandshakeEmpty, "closed without a byte"
	}
	var auth *ssh.ServerAuthError
	if errors.As(err, &auth) {
		return HandshakeFailed, "no authorized key was proved"
	}
	return HandshakeFailed, fmt.Sprintf("handshake: %v", err)
}
