package hubapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// Kernel is a running kernel of a server, with its WebSocket open. Source: Jupyter's messaging specification 5.3
// and the kernels API of jupyter_server; frames are JSON texts with the channel in them, as without a subprotocol.
type Kernel struct {
	client *Client
	conn   *websocket.Conn
	path   string
}

type message5 struct {
	Header       map[string]any  `json:"header"`
	ParentHeader map[string]any  `json:"parent_header"`
	Metadata     map[string]any  `json:"metadata"`
	Content      json.RawMessage `json:"content"`
	Channel      string          `json:"channel"`
	Buffers      []any           `json:"buffers"`
}

// OpenKernel starts a Python kernel on a running server and opens its channels through the proxy.
func (c *Client) OpenKernel(ctx context.Context, user, server string) (*Kernel, error) {
	prefix := serverURL(user, server)
	var kernel struct {
		ID string `json:"id"`
	}
	err := c.call(ctx, http.MethodPost, prefix+"api/kernels",
		map[string]any{"name": "python3"}, &kernel, http.StatusCreated)
	if err != nil {
		return nil, fmt.Errorf("start a kernel: %w", err)
	}
	k := &Kernel{client: c, path: prefix + "api/kernels/" + kernel.ID}
	return k, k.dial(ctx)
}

// Reopen opens the channels of the same kernel again, after its connection broke.
func (k *Kernel) Reopen(ctx context.Context) (*Kernel, error) {
	_ = k.conn.CloseNow()
	again := *k
	return &again, again.dial(ctx)
}

func (k *Kernel) dial(ctx context.Context) error {
	address := strings.Replace(strings.TrimRight(k.client.URL, "/"), "http", "ws", 1) + k.path + "/channels"
	conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: k.client.client(),
		HTTPHeader: http.Header{"Authorization": {"token " + k.client.Token}},
	})
	if err != nil {
		return fmt.Errorf("open the kernel's WebSocket: %w", err)
	}
	conn.SetReadLimit(16 << 20)
	k.conn = conn
	return nil
}

// Run executes a cell and returns what it printed; an exception in the cell is an error.
func (k *Kernel) Run(ctx context.Context, code string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute) // a lost message would never come
	defer cancel()
	id, err := randomID()
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(map[string]any{
		"code": code, "silent": false, "store_history": false, "stop_on_error": true,
	})
	if err != nil {
		return "", err
	}
	request := message5{
		Header: map[string]any{
			"msg_id": id, "msg_type": "execute_request", "username": "", "session": id, "version": "5.3",
		},
		ParentHeader: map[string]any{}, Metadata: map[string]any{}, Content: content,
		Channel: "shell", Buffers: []any{},
	}
	if err := wsjson.Write(ctx, k.conn, request); err != nil {
		return "", fmt.Errorf("send the cell: %w", err)
	}
	var printed strings.Builder
	var failed error
	replied, idle := false, false
	for !replied || !idle {
		var message message5
		if err := wsjson.Read(ctx, k.conn, &message); err != nil {
			return "", fmt.Errorf("wait for the cell: %w", err)
		}
		if message.ParentHeader["msg_id"] != id {
			continue
		}
		var content struct {
			Text           string `json:"text"`
			ExecutionState string `json:"execution_state"`
			Status         string `json:"status"`
			Name           string `json:"ename"`
			Value          string `json:"evalue"`
		}
		if err := json.Unmarshal(message.Content, &content); err != nil {
			return "", fmt.Errorf("read the kernel's answer: %w", err)
		}
		switch message.Header["msg_type"] {
		case "stream":
			printed.WriteString(content.Text)
		case "status":
			idle = idle || content.ExecutionState == "idle"
		case "execute_reply":
			replied = true
			if content.Status != "ok" {
				failed = fmt.Errorf("the cell raised %s: %s", content.Name, content.Value)
			}
		}
	}
	return printed.String(), failed
}

// Close ends the kernel and its connection.
func (k *Kernel) Close(ctx context.Context) error {
	_ = k.conn.Close(websocket.StatusNormalClosure, "")
	return k.client.call(ctx, http.MethodDelete, k.path, nil, nil, http.StatusNoContent, http.StatusNotFound)
}

// Witness is a kernel that was told something. While it knows it, it is the process that it was.
type Witness struct {
	kernel       *Kernel
	user, server string
}

// OpenWitness starts a kernel on a running server and tells it something.
func (c *Client) OpenWitness(ctx context.Context, user, server string) (*Witness, error) {
	kernel, err := c.OpenKernel(ctx, user, server)
	if err != nil {
		return nil, err
	}
	_, err = kernel.Run(ctx, "answer = 41")
	return &Witness{kernel, user, server}, err
}

// Knows waits until the server is reachable, and returns an error unless the kernel knows what it was told.
func (w *Witness) Knows(ctx context.Context) error {
	if err := w.kernel.client.WaitReachable(ctx, w.user, w.server); err != nil {
		return err
	}
	kernel, err := w.kernel.Reopen(ctx)
	if err != nil {
		return err
	}
	w.kernel = kernel
	out, err := kernel.Run(ctx, "print(answer + 1)")
	if err == nil && strings.TrimSpace(out) != "42" {
		err = fmt.Errorf("the kernel says %q", out)
	}
	return err
}

func randomID() (string, error) {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	return hex.EncodeToString(id), nil
}
