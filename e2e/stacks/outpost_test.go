//go:build e2e

package stacks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/outposts-dev/outposts/infra/outpost"
)

// system is what the hub's stack tells of an outpost. Source: systemOutput in stacks/outputs.go.
type system struct {
	Hub           string           `json:"hub"`
	Address       string           `json:"address"`
	Exposure      outpost.Exposure `json:"exposure"`
	Password      string           `json:"password"`
	SSHPublicKeys []string         `json:"sshPublicKeys"`
	HostKey       string           `json:"hostKey"`
	HostKeys      []string         `json:"hostKeys"`
	TLSKey        string           `json:"tlsKey"`
	CAs           []string         `json:"cas"`
}

// system reads what the hub's stack tells of an outpost.
func (s *site) system(t *testing.T, name string) system {
	t.Helper()
	var all map[string]system
	s.output(t, "local", "systems", &all)
	return all[name]
}

// login is somebody who asks an outpost.
type login struct {
	api            string // URL without path
	user, password string
	cas            []string // PEM; none for the CAs that everybody trusts
}

// login is the hub's own way to the outpost: TLS by the CAs that the hub was given and no other.
func (s system) login() login {
	return login{s.Exposure.Endpoint(s.Address).API, s.Hub, s.Password, s.CAs}
}

// ask sends a request and returns code and body of the answer.
func (l login) ask(ctx context.Context, method, path string) (int, string, error) {
	pool := x509.NewCertPool()
	for _, ca := range l.cas {
		pool.AppendCertsFromPEM([]byte(ca))
	}
	client := http.Client{
		Timeout:   2 * time.Minute, // a stop waits for its pod
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
	}
	request, err := http.NewRequestWithContext(ctx, method, l.api+path, nil)
	if err != nil {
		return 0, "", err
	}
	request.SetBasicAuth(l.user, l.password)
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// gets holds that an outpost gives a path a code.
func (l login) gets(ctx context.Context, path string, want int) error {
	code, body, err := l.ask(ctx, http.MethodGet, path)
	if err == nil && code != want {
		err = fmt.Errorf("GET %s as %s: %d %s, want %d", path, l.user, code, body, want)
	}
	return err
}

// service is one server of a hub.
type service struct {
	Name    string `json:"name"`
	StartID string `json:"start_id"`
}

func (s service) path() string { return "/services/" + s.Name + "/" + s.StartID }

// services lists the servers of a hub.
func (l login) services(ctx context.Context) ([]service, error) {
	code, body, err := l.ask(ctx, http.MethodGet, "/services/")
	if err != nil {
		return nil, err
	}
	var all []service
	if err := json.Unmarshal([]byte(body), &all); err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("list of %s: %d %s", l.user, code, body)
	}
	return all, nil
}

// running holds that all servers of a hub run, which an outpost knows only if it can open their rows.
func (l login) running(ctx context.Context) error {
	all, err := l.services(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no server runs")
	}
	for _, one := range all {
		code, body, err := l.ask(ctx, http.MethodGet, one.path())
		if err != nil {
			return err
		}
		if code != http.StatusOK || !strings.Contains(body, `"status":null`) {
			return fmt.Errorf("poll of %s: %d %s", one.Name, code, body)
		}
	}
	return nil
}

// hostKey returns the host key that an outpost presents.
func (s system) hostKey() (string, error) {
	var presented string
	seen := errors.New("seen")
	_, err := s.dial(func(key ssh.PublicKey) error {
		presented = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
		return seen
	})
	if presented == "" {
		return "", fmt.Errorf("no host key: %w", err)
	}
	return presented, nil
}

// dial opens an SSH connection as a hub does. Without a check of the host key the first one of the system is expected.
func (s system) dial(check func(ssh.PublicKey) error, signers ...ssh.Signer) (*ssh.Client, error) {
	at := s.Exposure.Endpoint(s.Address)
	if check == nil {
		check = func(key ssh.PublicKey) error {
			got := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
			if got != plainKey(s.HostKeys[0]) {
				return fmt.Errorf("host key %s, want %s", got, s.HostKeys[0])
			}
			return nil
		}
	}
	return ssh.Dial("tcp", net.JoinHostPort(at.SSHHost, strconv.Itoa(at.SSHPort)), &ssh.ClientConfig{
		User: "jhuboutpost", Timeout: 10 * time.Second, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { return check(key) },
	})
}

// reaches returns an error unless a key can open an address behind the outpost.
func (s system) reaches(key ssh.Signer, address string) error {
	client, err := s.dial(nil, key)
	if err != nil {
		return err
	}
	defer client.Close()
	conn, err := client.Dial("tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// plainKey is a line of authorized_keys without its comment.
func plainKey(line string) string {
	return strings.Join(strings.Fields(line)[:2], " ")
}

// answersPinned holds that the outpost answers its hub, at the addresses that were agreed on, and nobody else.
func (s system) answersPinned(t *testing.T) {
	t.Helper()
	if err := s.login().gets(t.Context(), "/services/", http.StatusOK); err != nil {
		t.Error(err)
	}
	wrong := s.login()
	wrong.password = "wrong"
	if err := wrong.gets(t.Context(), "/services/", http.StatusUnauthorized); err != nil {
		t.Error(err)
	}
	public := s.login()
	public.cas = nil
	if code, _, err := public.ask(t.Context(), http.MethodGet, "/services/"); err == nil {
		t.Errorf("trusted by the public CAs: %d", code)
	}
	got, err := s.hostKey()
	if err != nil || got != plainKey(s.HostKeys[0]) {
		t.Errorf("host key %q, want %q: %v", got, s.HostKeys[0], err)
	}
}
