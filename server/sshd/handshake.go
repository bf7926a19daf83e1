package sshd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// identification is what we say first, RFC 4253 section 4.2. It tells no version.
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

// errNotAuthorized is the only reason that a key is refused for; a peer must not learn more.
var errNotAuthorized = errors.New("not authorized")

// handshake makes an SSH connection of a fresh one, within the deadline set on it.
func (s *Server) handshake(w *wire, source netip.Addr) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	peer, err := w.identify(identification)
	if err != nil {
		return nil, nil, nil, err
	}
	config := &ssh.ServerConfig{
		Config: ssh.Config{
			KeyExchanges: keyExchanges, Ciphers: ciphers, MACs: macs, RekeyThreshold: s.opts.RekeyThreshold,
		},
		ServerVersion:           identification,
		PublicKeyAuthAlgorithms: publicKeyAlgos,
		PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if meta.User() != s.opts.User {
				return nil, errNotAuthorized
			}
			s.keys.refresh()
			k := s.keys.authorized.Load().find(key, source, s.now())
			if k == nil {
				return nil, errNotAuthorized
			}
			// Not yet proved: nothing may follow from it until the handshake is finished.
			return &ssh.Permissions{ExtraData: map[any]any{keyOfHandshake{}: k}}, nil
		},
	}
	if strings.HasPrefix(peer, "SSH-2.0-dropbear") {
		config.Ciphers = dropbearCiphers
	}
	for _, signer := range s.keys.hosts.Load().inUse() {
		config.AddHostKey(signer)
	}
	return ssh.NewServerConn(w, config)
}

// keyOf returns the key that a finished handshake has proved.
func keyOf(sc *ssh.ServerConn) (*authorizedKey, error) {
	if sc.Permissions != nil {
		if k, ok := sc.Permissions.ExtraData[keyOfHandshake{}].(*authorizedKey); ok {
			return k, nil
		}
	}
	return nil, errors.New("the handshake has proved no key")
}

// usesGCM tells whether what we write carries packet lengths in clear.
func usesGCM(sc *ssh.ServerConn) bool {
	meta, ok := sc.Conn.(ssh.AlgorithmsConnMetadata)
	if !ok {
		return false
	}
	c := meta.Algorithms().Write.Cipher
	return c == ssh.CipherAES128GCM || c == ssh.CipherAES256GCM
}

// Names of OpenSSH's host key rotation, PROTOCOL section 2.5.
const (
	hostKeysAnnounce = "hostkeys-00@openssh.com"
	hostKeysProve    = "hostkeys-prove-00@openssh.com"
)

// announceHostKeys tells a client all our host keys, so that it can learn new ones before old ones go.
func announceHostKeys(sc *ssh.ServerConn, hosts *hostKeys) error {
	var payload []byte
	for _, signer := range hosts.signers {
		payload = append(payload, ssh.Marshal(struct{ Key []byte }{signer.PublicKey().Marshal()})...)
	}
	_, _, err := sc.SendRequest(hostKeysAnnounce, false, payload)
	return err
}

// proveHostKeys signs the session with each of the host keys that a client asks for.
func proveHostKeys(sc *ssh.ServerConn, hosts *hostKeys, payload []byte) ([]byte, error) {
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
		signer := hosts.find(next.Key)
		if signer == nil || asked >= len(hosts.signers) {
			return nil, errors.New("a key is not ours")
		}
		signed := ssh.Marshal(struct {
			Name    string
			Session []byte
			Key     []byte
		}{hostKeysProve, sc.SessionID(), next.Key})
		sig, err := sign(signer, signed)
		if err != nil {
			return nil, err
		}
		reply = append(reply, ssh.Marshal(struct{ Signature []byte }{ssh.Marshal(sig)})...)
	}
	return reply, nil
}

func sign(signer ssh.Signer, data []byte) (*ssh.Signature, error) {
	if as, ok := signer.(ssh.AlgorithmSigner); ok && signer.PublicKey().Type() == ssh.KeyAlgoRSA {
		return as.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
	}
	return signer.Sign(rand.Reader, data)
}

// failure sorts a failed handshake for metrics and log.
func failure(w *wire, kept bool, took, limit time.Duration, err error) (result, why string) {
	switch {
	case !kept:
		return HandshakeDropped, "too many connections in handshake"
	case w.received.Load() == 0 && took < limit:
		return HandshakeEmpty, "closed without a byte"
	case took >= limit:
		return HandshakeTimeout, "handshake took too long"
	}
	var auth *ssh.ServerAuthError
	if errors.As(err, &auth) {
		return HandshakeFailed, "no authorized key was proved"
	}
	return HandshakeFailed, fmt.Sprintf("handshake: %v", err)
}
