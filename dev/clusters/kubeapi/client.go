// Package kubeapi asks a cluster's API server the few things that the runner wants to know, without
// the weight of client-go.
package kubeapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Client talks to one API server as its administrator. It is safe for concurrent use.
type Client struct {
	server string
	http   *http.Client
}

// New returns a client for a server with the keys in the folder pki.
func New(server, pki string) (*Client, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(pki, "client-admin.crt"), filepath.Join(pki, "client-admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	// No proxy: the server is on a bridge of this machine, whatever the environment says.
	return &Client{server: server, http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: pool, Certificates: []tls.Certificate{pair},
			MinVersion: tls.VersionTLS12,
		},
	}}}, nil
}

// Get reads an object into out; nil out only asks.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, "", nil, out)
}

// Apply writes one object, given as YAML, to its path by server-side apply: made or changed, as needed.
func (c *Client) Apply(ctx context.Context, path string, object []byte) error {
	return c.do(ctx, http.MethodPatch, path+"?fieldManager=clusters&force=true",
		"application/apply-patch+yaml", object, nil)
}

// Uncordon lets a node take new pods if `kubectl cordon` keeps them off. It changes nothing of another node.
func (c *Client) Uncordon(ctx context.Context, name string) error {
	node, err := c.Node(ctx, name)
	if err != nil || !node.Spec.Unschedulable {
		return err
	}
	return c.do(ctx, http.MethodPatch, "/api/v1/nodes/"+name, "application/merge-patch+json",
		[]byte(`{"spec":{"unschedulable":null}}`), nil)
}

func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	response, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		var status struct{ Message string }
		if json.Unmarshal(text, &status) != nil || status.Message == "" {
			status.Message = string(text)
		}
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, status.Message)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// Node is what the runner looks at in a Node.
type Node struct {
	Metadata struct{ Name string }
	Spec     struct{ Unschedulable bool }
	Status   struct {
		Conditions []struct {
			Type, Status, Message string
			LastHeartbeatTime     time.Time
		}
		NodeInfo struct{ KubeletVersion, ContainerRuntimeVersion string }
	}
}

// Ready reports whether a node is ready by a heartbeat not older than since, and if not, why. A Node that was
// kept says Ready from before.
func (n Node) Ready(since time.Time) (bool, string) {
	for _, condition := range n.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		if condition.LastHeartbeatTime.Before(since.Truncate(time.Second)) {
			return false, "no heartbeat yet"
		}
		return condition.Status == "True", condition.Message
	}
	return false, "not registered yet"
}

// Node returns a node by name.
func (c *Client) Node(ctx context.Context, name string) (Node, error) {
	var node Node
	return node, c.Get(ctx, "/api/v1/nodes/"+name, &node)
}

// Version returns the version of the API server.
func (c *Client) Version(ctx context.Context) (string, error) {
	var version struct{ GitVersion string }
	return version.GitVersion, c.Get(ctx, "/version", &version)
}
