package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/infra/infratest"
)

var issued = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func golden(t *testing.T, name, got string) {
	t.Helper()
	infratest.Golden(t, name, []byte(got))
}

func newTestCertificate(t *testing.T, seed []byte, addresses ...string) Certificate {
	t.Helper()
	made, err := NewCertificate(seed, "outpost-remote", addresses, issued)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestCertificateRefuses(t *testing.T) {
	for _, tt := range []struct {
		name      string
		seed      []byte
		addresses []string
		want      string
	}{
		{"short seed", testSeed(1)[:5], []string{"10.0.0.3"}, "make certificate of x: seed has 5 bytes, want 32"},
		{"no address", testSeed(1), nil, "make certificate of x: no address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewCertificate(tt.seed, "x", tt.addresses, issued)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// TestCertificateGolden holds that the same seed gives the same certificate, run after run and byte for byte.
func TestCertificateGolden(t *testing.T) {
	made := newTestCertificate(t, testSeed(9), "10.77.0.3", "outpost.example.org")
	golden(t, "certificate.golden.pem", made.CA+made.Cert+made.Key)
	if want := issued.Add(-time.Hour).Add(CertificateLifetime); !made.Ends.Equal(want) {
		t.Errorf("ends %s, want %s", made.Ends, want)
	}
}

// TestCertificateServes holds that a client which trusts the CA, and only the CA, connects to the addresses of the
// certificate, and to no other.
func TestCertificateServes(t *testing.T) {
	made := newTestCertificate(t, testSeed(9), "127.0.0.1", "outpost.example.org")
	other := newTestCertificate(t, testSeed(10), "127.0.0.1", "outpost.example.org")
	pair, err := tls.X509KeyPair([]byte(made.Cert), []byte(made.Key))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).HandshakeContext(t.Context()) // what the client says counts
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	for _, tt := range []struct {
		name, ca, server string
		ok               bool
	}{
		{"address", made.CA, "127.0.0.1", true},
		{"name", made.CA, "outpost.example.org", true},
		{"another name", made.CA, "other.example.org", false},
		{"another address", made.CA, "127.0.0.2", false},
		{"another CA", other.CA, "127.0.0.1", false},
		{"public CAs", "", "127.0.0.1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := &tls.Config{ServerName: tt.server, Time: func() time.Time { return issued.Add(time.Minute) }}
			if tt.ca != "" {
				config.RootCAs = x509.NewCertPool()
				config.RootCAs.AppendCertsFromPEM([]byte(tt.ca))
			}
			dialer := &tls.Dialer{Config: config}
			conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
			if conn != nil {
				conn.Close()
			}
			if (err == nil) != tt.ok {
				t.Errorf("connect: %v, want success %v", err, tt.ok)
			}
		})
	}
}

// TestCertificateSteadyCA holds that another address needs no new trust, and that another seed or time does.
func TestCertificateSteadyCA(t *testing.T) {
	made := newTestCertificate(t, testSeed(9), "10.0.0.1")
	if moved := newTestCertificate(t, testSeed(9), "10.0.0.2"); moved.CA != made.CA || moved.Cert == made.Cert {
		t.Error("another address: want the same CA and another certificate")
	}
	if rotated := newTestCertificate(t, testSeed(10), "10.0.0.1"); rotated.CA == made.CA || rotated.Key == made.Key {
		t.Error("another seed: want another CA and key")
	}
	serials := map[string]bool{}
	for _, text := range []string{made.CA, made.Cert, newTestCertificate(t, testSeed(9), "10.0.0.2").Cert} {
		block, _ := pem.Decode([]byte(text))
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		serials[cert.SerialNumber.String()] = true
	}
	if len(serials) != 3 {
		t.Errorf("%d serial numbers of 3 certificates differ", len(serials))
	}
}

func TestSeedForms(t *testing.T) {
	seed := testSeed(3)
	golden(t, "forms.golden.txt",
		"fernet "+FernetKey(seed)+"\npassword "+Password(seed)+"\nhex "+Hex(seed)+"\n")
	// No form tells of another: they share no part of eight characters.
	forms := []string{FernetKey(seed), Password(seed), Hex(seed)}
	for i, form := range forms {
		for k, other := range forms {
			for at := 0; i != k && at+8 <= len(form); at++ {
				if strings.Contains(other, form[at:at+8]) {
					t.Errorf("forms %d and %d share %q", i, k, form[at:at+8])
				}
			}
		}
	}
}

// TestPassword holds that passwords mean nothing to a shell, a URL, Basic auth or a list of passwords.
func TestPassword(t *testing.T) {
	for fill := range 256 {
		password := Password(testSeed(byte(fill)))
		if len(password) != 43 ||
			strings.Trim(password, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" ||
			password[0] == '-' {
			t.Errorf("seed %d: password %q", fill, password)
		}
	}
}
