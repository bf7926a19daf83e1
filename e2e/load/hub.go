package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// patience is how long a hub waits for an answer.
const patience = 10 * time.Second

// running is the answer to a poll of a server that runs.
const running = `{"status":null,"logs":[]}`

// hub is a JupyterHub as an outpost sees it.
type hub struct {
	outpost        *outpost
	name, password string
	signer         ssh.Signer
	kept           *http.Client // keeps its connections
	fresh          *http.Client // makes one for each request
}

func newHub(o *outpost, name string, signer ssh.Signer) *hub {
	client := func(keep bool) *http.Client {
		return &http.Client{Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // on loopback, made for this run
			DisableKeepAlives: !keep, MaxIdleConnsPerHost: 16,
		}}
	}
	return &hub{
		outpost: o, name: name, password: "Sj3Vb0kQ1xWmT8eYp6uL4hZr9cDfGnAa-" + name, signer: signer,
		kept: client(true), fresh: client(false),
	}
}

// send sends a request and returns what came back.
func (h *hub) send(ctx context.Context, client *http.Client, method, path, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+h.outpost.api+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.SetBasicAuth(h.name, h.password)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// ask sends a request and refuses any other answer than the right one, which begins with want.
func (h *hub) ask(ctx context.Context, client *http.Client, method, path, body, want string) (string, error) {
	code, text, err := h.send(ctx, client, method, path, body)
	if err == nil && (code != http.StatusOK || !strings.HasPrefix(text, want)) {
		err = fmt.Errorf("%s %s: %d %.200s", method, path, code, text)
	}
	return text, err
}

// server is one that a hub has started. It is at an IP address unless it has a Service.
type server struct{ name, address string }

// start starts a server, as the hub's client does.
func (h *hub) start(ctx context.Context, name string, service bool) (server, error) {
	body := fmt.Sprintf(`{"name":%q,"env":{"JUPYTERHUB_USER":"%s","JUPYTERHUB_USER_ID":"7",`+
		`"JUPYTERHUB_API_TOKEN":"0123456789abcdef0123456789abcdef"},`+
		`"user_options":{"start_id":"s","system":["north"]},`+
		`"misc":{"port":%d,"ip":"0.0.0.0","services_enabled":%v,`+
		`"pod_name_template":"jupyter-{username}--{servername}"}}`,
		name, h.name+"-"+name, serverPort, service)
	text, err := h.ask(ctx, h.kept, http.MethodPost, "/services", body, `{"service":"http://`)
	address := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), `{"service":"http://`), `"}`)
	return server{name, address}, err
}

// stop stops a server.
func (h *hub) stop(ctx context.Context, name string) error {
	_, err := h.ask(ctx, h.kept, http.MethodDelete, "/services/"+name+"/s", "", `{"logs":`)
	return err
}

// poll asks whether a server runs, on a connection that is kept or on one of its own.
func (h *hub) poll(ctx context.Context, client *http.Client, name string) error {
	_, err := h.ask(ctx, client, http.MethodGet, "/services/"+name+"/s", "", running)
	return err
}

// dial logs in by SSH.
func (h *hub) dial(ctx context.Context) (*ssh.Client, error) {
	return dialSSH(ctx, h.outpost.ssh, h.signer)
}

func dialSSH(ctx context.Context, address string, signer ssh.Signer) (*ssh.Client, error) {
	conn, err := dialFrom(ctx, hubAddress, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the handshake
	c, channels, requests, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: "jhuboutpost", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // on loopback, made for this run
		Config:          ssh.Config{Ciphers: []string{ssh.CipherAES128GCM}},
	})
	if !stop() || err != nil {
		_ = conn.Close() // the handshake may have closed it
		return nil, errors.Join(err, ctx.Err())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// login logs in by SSH and sends something to a server of the hub and back.
func (h *hub) login(ctx context.Context, s server) error {
	client, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { _ = client.Close() })() // ends what is under way
	channel, err := client.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	return echo(channel)
}

// echo sends something to a server and back.
func echo(channel net.Conn) error {
	message := []byte("a message that comes back")
	if _, err := channel.Write(append([]byte{askEcho}, message...)); err != nil {
		return err
	}
	if _, err := io.ReadFull(channel, message); err != nil {
		return err
	}
	return channel.Close()
}
