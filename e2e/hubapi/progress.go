package hubapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Event is one line of a start's progress, as the progress page shows it.
type Event struct {
	Progress    float64 `json:"progress"`
	Message     string  `json:"message"`
	HTMLMessage string  `json:"html_message"`
	Ready       bool    `json:"ready"`
	Failed      bool    `json:"failed"`
	URL         string  `json:"url"`
}

// StartError is a start that failed; Message is the reason that the user sees.
type StartError struct{ Message string }

// Error returns the reason as the user sees it.
func (e *StartError) Error() string { return e.Message }

// Progress follows a start until the server is ready (no error) or has failed (a StartError). Each event goes to see,
// unless that is nil.
func (c *Client) Progress(ctx context.Context, user, server string, see func(Event)) error {
	var resp *http.Response
	// a start that has just failed is "not starting" before its failure can be read
	err := whileBusy(ctx, func() error {
		req, err := c.request(ctx, http.MethodGet, serverPath(user, server)+"/progress", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", "text/event-stream")
		if resp, err = c.client().Do(req); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			_ = resp.Body.Close() // only its status is of interest
			return &StatusError{Method: http.MethodGet, URL: req.URL.Redacted(), Code: resp.StatusCode}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var last Event
	// The hub's own failure event repeats the reason, at times in fewer words: the longest is kept.
	failure := ""
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var event Event
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return fmt.Errorf("progress of server %q: %w", server, err)
		}
		if see != nil {
			see(event)
		}
		if event.Failed && len(event.Message) > len(failure) {
			failure = event.Message
		}
		last = event
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("progress of server %q: %w", server, err)
	}
	switch {
	case last.Ready:
		return nil
	case failure != "":
		return &StartError{Message: failure}
	default:
		return &StartError{Message: "the hub ended the progress without saying whether the server is ready"}
	}
}
