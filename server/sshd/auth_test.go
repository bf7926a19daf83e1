package sshd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/server/sshd/keys"
	"github.com/outposts-dev/outposts/server/sshtest"
)

// letsIn reports whether a client can authenticate.
func (w *world) letsIn(user string, methods ...ssh.AuthMethod) bool {
	config := w.login(w.hubKey)
	config.User, config.Auth = user, methods
	c, err := ssh.Dial("tcp", w.addr, config)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// liar offers one key and signs with another.
type liar struct{ shown, signs ssh.Signer }

func (l liar) PublicKey() ssh.PublicKey { return l.shown.PublicKey() }
func (l liar) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return l.signs.Sign(r, data)
}

func signer(t *testing.T, key any) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func rsaKey(t *testing.T, bits int) ssh.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return signer(t, k)
}

func only(t *testing.T, s ssh.Signer, algorithm string) ssh.Signer {
	t.Helper()
	m, err := ssh.NewSignerWithAlgorithms(s.(ssh.AlgorithmSigner), []string{algorithm})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestLoginRefused(t *testing.T) {
	big := rsaKey(t, 2048)
	w := newWorld(t, func(w *world) {
		w.writeKeys(hubName, authorizedLine("", w.hubKey), authorizedLine("", big))
	})
	answers := func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return make([]string, len(questions)), nil
	}
	authority := sshtest.NewKey(t)
	cert := &ssh.Certificate{
		Key: w.hubKey.PublicKey(), CertType: ssh.UserCert,
		ValidPrincipals: []string{user}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	certified, err := ssh.NewCertSigner(cert, w.hubKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		user    string
		methods []ssh.AuthMethod
	}{
		{"no method", user, nil},
		{"password", user, []ssh.AuthMethod{ssh.Password("")}},
		{"keyboard-interactive", user, []ssh.AuthMethod{ssh.KeyboardInteractive(answers)}},
		{"unknown key", user, []ssh.AuthMethod{ssh.PublicKeys(sshtest.NewKey(t))}},
		{"other user", "root", []ssh.AuthMethod{ssh.PublicKeys(w.hubKey)}},
		{"empty user", "", []ssh.AuthMethod{ssh.PublicKeys(w.hubKey)}},
		{"key that is shown but not held", user, []ssh.AuthMethod{ssh.PublicKeys(liar{w.hubKey, sshtest.NewKey(t)})}},
		{"RSA with SHA-1", user, []ssh.AuthMethod{ssh.PublicKeys(only(t, big, ssh.KeyAlgoRSA))}},
		{"certificate of an authorized key", user, []ssh.AuthMethod{ssh.PublicKeys(certified)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if w.letsIn(tt.user, tt.methods...) {
				t.Error("let in")
			}
		})
	}
	if !w.letsIn(user, ssh.PublicKeys(w.hubKey)) {
		t.Error("the right key was refused")
	}
}

// See protocol 5.2.
func TestKeyTypes(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaSigner := rsaKey(t, 2048)
	keys := map[string]ssh.Signer{
		"ed25519": sshtest.NewKey(t), "ecdsa": signer(t, curve),
		"rsa-sha2-256": only(t, rsaSigner, ssh.KeyAlgoRSASHA256),
		"rsa-sha2-512": only(t, rsaSigner, ssh.KeyAlgoRSASHA512),
	}
	w := newWorld(t, func(w *world) {
		var lines []string
		for _, k := range keys {
			lines = append(lines, authorizedLine("", k))
		}
		w.writeKeys(hubName, lines...)
	})
	for name, k := range keys {
		if !w.letsIn(user, ssh.PublicKeys(k)) {
			t.Errorf("%s: refused", name)
		}
	}
}

// See protocol 5.3.
func TestKeyOptions(t *testing.T) {
	service := directTCPIP(serviceHost, servicePort)
	for _, tt := range []struct {
		options string
		login   bool
		opens   bool
	}{
		{"", true, true},
		{"restrict,port-forwarding", true, true},
		{`restrict,port-forwarding,command="/bin/echo \"no, really\""`, true, true},
		{"no-pty,no-agent-forwarding,no-X11-forwarding,no-user-rc", true, true},
		{"restrict", true, false},
		{"no-port-forwarding", true, false},
		{"port-forwarding,restrict", true, false},
		{`permitopen="` + serviceHost + `:8888"`, true, true},
		{`permitopen="*:8888"`, true, true},
		{`permitopen="*:*"`, true, true},
		{`permitopen="localhost:1",permitopen="` + serviceHost + `:*"`, true, true},
		{`permitopen="` + serviceHost + `:8889"`, true, false},
		{`permitopen="10.1.2.3:8888"`, true, false}, // the host as written counts, not its address
		{`restrict,permitopen="*:*"`, true, false},
		{`from="127.0.0.0/8"`, true, true},
		{`from="10.0.0.0/8, 127.0.0.1"`, true, true},
		{`from="127.?.0.*"`, true, true},
		{`from="::1,127.0.0.1"`, true, true},
		{`from="10.0.0.0/8"`, false, false},
		{`from="127.0.0.0/8,!127.0.0.1"`, false, false},
		{`from="!10.0.0.1"`, false, false},
		{`expiry-time="20991231Z"`, true, true},
		{`expiry-time="209912312359"`, true, true},
		{`expiry-time="20991231235959Z"`, true, true},
		{`expiry-time="20200101Z"`, false, false},
		{`expiry-time="20991231Z",expiry-time="20200101"`, false, false},
		{"RESTRICT,Port-Forwarding", true, true},
		// Lines that are refused.
		{"unknown-option", false, false},
		{`environment="A=B"`, false, false},
		{"cert-authority", false, false},
		{`principals="a"`, false, false},
		{`tunnel="1"`, false, false},
		{"command", false, false},
		{`restrict="yes"`, false, false},
		{`from=127.0.0.1`, false, false},
		{`from="127.0.0.1`, false, false},
		{`from=""`, false, false},
		{`from="127.0.0.1/8"`, false, false},
		{`from="127.0.0.1",from="127.0.0.1"`, false, false},
		{`permitopen="8888"`, false, false},
		{`permitopen="a:0"`, false, false},
		{`permitopen="::1:80"`, false, false},
		{`expiry-time="tomorrow"`, false, false},
		{`expiry-time="20991331"`, false, false},
		{"restrict,,pty", false, false},
		{",restrict", false, false},
	} {
		t.Run(tt.options, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.writeKeys(hubName, authorizedLine(tt.options, w.hubKey)) })
			c, err := w.client(w.hubKey)
			if (err == nil) != tt.login {
				t.Fatalf("login: got %v, want %v; log:\n%s", err, tt.login, w.log)
			}
			if err != nil {
				return
			}
			defer c.Close()
			if got := refusal(c, "direct-tcpip", service) == (ssh.OpenChannelError{}); got != tt.opens {
				t.Errorf("opens: got %v, want %v", got, tt.opens)
			}
		})
	}
}

// One bad line is reported by file and number, and locks nobody else out.
func TestBadLineIsNamed(t *testing.T) {
	bad := sshtest.NewKey(t)
	w := newWorld(t, func(w *world) {
		w.writeKeys(hubName,
			"# keys of the hub", "", authorizedLine("no-such-option", bad), authorizedLine("", w.hubKey))
	})
	if w.letsIn(user, ssh.PublicKeys(bad)) {
		t.Error("a line with an unknown option let its key in")
	}
	if !w.letsIn(user, ssh.PublicKeys(w.hubKey)) {
		t.Error("a bad line locked out another key")
	}
	const want = `jupyterhub line 3: option \"no-such-option\" is unknown`
	if !strings.Contains(w.log.String(), want) {
		t.Errorf("log does not say %q:\n%s", want, w.log)
	}
	err := keys.Check(w.hosts, w.keys, w.opts.Hubs)
	if err == nil || !strings.Contains(err.Error(), "jupyterhub line 3") {
		t.Errorf("keys.Check: %v", err)
	}
}

// A hub whose password is empty is none here, and its file of keys stays behind.
func TestKeysWithAFaultDoNotStopOtherHubs(t *testing.T) {
	faults := map[string]string{
		"hub-without-a-password": "hub-without-a-password: no hub has this name",
		"authorized_keys":        "authorized_keys: there are 2 hubs",
		"hub-b":                  "hub-b is not a file of at most",
	}
	w := newWorld(t, func(w *world) {
		w.opts.Hubs = append(w.opts.Hubs, "hub-b")
		w.writeKeys(hubName, authorizedLine("", w.hubKey))
		w.writeKeys("hub-without-a-password", authorizedLine("", sshtest.NewKey(t)))
		w.writeKeys("authorized_keys", authorizedLine("", sshtest.NewKey(t)))
		if err := os.Symlink(os.DevNull, filepath.Join(w.keys, "hub-b")); err != nil {
			t.Fatal(err)
		}
	})
	if !w.letsIn(user, ssh.PublicKeys(w.hubKey)) {
		t.Error("another hub's fault locked the hub out")
	}
	err := keys.Check(w.hosts, w.keys, w.opts.Hubs)
	for name, want := range faults {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("%s: the log does not say %q", name, want)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: CheckKeys does not say %q: %v", name, want, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"authorized_keys with two hubs", func(w *world) {
			w.opts.Hubs = append(w.opts.Hubs, "otherhub")
			w.writeKeys("authorized_keys", authorizedLine("", w.hubKey))
			os.Remove(filepath.Join(w.keys, hubName))
		}, "authorized_keys: there are 2 hubs; name one file after each hub"},
		{"file of no hub", func(w *world) {
			w.writeKeys("jupyterhub.pub", "")
			os.Remove(filepath.Join(w.keys, hubName))
		}, "jupyterhub.pub: no hub has this name"},
		{"no host key", func(w *world) {
			os.Remove(filepath.Join(w.hosts, "ssh_host_ed25519_key"))
		}, "no file is named ssh_host_*_key"},
		{"broken host key", func(w *world) {
			writeFile(w.t, filepath.Join(w.hosts, "ssh_host_ed25519_key"), "x")
		}, "ssh_host_ed25519_key: not a private key"},
		{"no directory of keys", func(w *world) { w.opts.AuthorizedKeysDir += "/none" }, "read authorized keys"},
		{"no hubs", func(w *world) { w.opts.Hubs = nil }, "Hubs is empty"},
		{"a hub listed twice", func(w *world) { w.opts.Hubs = append(w.opts.Hubs, hubName) }, "Hubs lists a hub twice"},
		{"no PermitOpen", func(w *world) { w.opts.PermitOpen = nil }, "PermitOpen is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{t: t, hosts: t.TempDir(), keys: t.TempDir()}
			w.writeHostKey("ssh_host_ed25519_key")
			w.hubKey = sshtest.NewKey(t)
			w.writeKeys(hubName, authorizedLine("", w.hubKey))
			w.opts = Options{
				Hubs: []string{hubName}, HostKeysDir: w.hosts, AuthorizedKeysDir: w.keys, PermitOpen: w.permit,
			}
			if _, err := New(w.opts); err != nil {
				t.Fatalf("before the change: %v", err)
			}
			tt.change(w)
			if _, err := New(w.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New: got %v, want %q", err, tt.want)
			}
		})
	}
}
