// Package outpost has the words of the domain: hubs and what they may ask for, services and their rows, the kinds of
// errors, and the interfaces [Store], [Spawner] and [HubAPI] behind which database, Kubernetes and hubs are.
//
// Package lifecycle starts, polls and stops services in these words; the packages that implement the interfaces or
// call it know nothing else of one another.
package outpost

import (
	"encoding/json"
	"html"
	"time"
)

// NoEnd is the end date of a service without a limit, as the Python outpost stores it (UTC).
var NoEnd = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)

// Key identifies one start of one single-user server. The user is not part of it: two users of a hub
// may both have a server "lab"; the start id tells them apart. Name is empty for the default server.
type Key struct {
	Hub     string // the hub's name, its Basic-auth user
	Name    string // the hub's server name
	StartID string // the client's id of this start, "0" if it sent none; never empty for a stored service
}

// Summary is what a list shows of a service: its row without the sealed columns (protocol 6.2).
type Summary struct {
	Key
	UserID       int    // JUPYTERHUB_USER_ID, 0 if the hub sent none
	Flavor       string // empty for none (NULL in the database)
	StartDate    time.Time
	LastUpdate   time.Time // of the start, then of each poll
	EndDate      time.Time // NoEnd, or when the flavor's run time is over
	StateStored  bool      // State holds what the start returned
	StartPending bool
	StopPending  bool
}

// Service is one started single-user server: a row of table "service".
type Service struct {
	Summary
	Body    Body   // what the hub asked for, sealed in the database
	State   State  // the spawner's state, sealed; empty until the start has begun to make objects
	Address string // the start response "http://host:port", sealed; empty until started
}

// Body is what is kept of a request; certificates and trust bundles never are.
type Body struct {
	Env         map[string]string          `json:"env"`
	Misc        map[string]json.RawMessage `json:"misc"`
	UserOptions map[string]json.RawMessage `json:"user_options"`
}

// State is what the spawner must know to find a service's objects again. The keys are KubeSpawner's, so that
// either server reads the other's rows: kubespawner_version, pod_name, namespace, dns_name, pvc_name.
// Further keys are kept as they are.
type State map[string]any

// StartRequest is a hub's request for one single-user server, decoded and of sound types, not yet judged.
type StartRequest struct {
	Key
	StartDate      time.Time // when it was accepted, the row's; the Manager fills it in
	UserID         int
	Flavor         string // user_options.flavor, else the top-level flavor
	Body           Body
	Certs          map[string]string // keyfile, certfile, cafile as PEM text; non-empty switches internal TLS on
	TrustBundles   map[string]string // PEM text by name: hub-ca, ...
	Login          *Login            // to the registry of the image in Body.Misc; nil for none, never stored
	Authentication any               // decoded JSON for flavor matching only, never stored; nil if absent
	// AuthState is from auth-state-* headers, never stored. No option that is data reads it, so polls and stops bring
	// none.
	AuthState map[string]string
	Async     bool
	// Resumed says that it was accepted by an earlier process: groups, which only the hub's request says, are judged.
	Resumed bool
}

// Home is a claim that servers use, and that outlives them.
type Home struct{ Namespace, Name string }

// User is a user of a hub, as the hub describes them.
type User struct {
	Hub            string
	ID             int // JUPYTERHUB_USER_ID, 0 if the hub sent none
	Authentication any // decoded JSON, nil or an object; never stored
}

// Event is a progress event as the hub takes it at JUPYTERHUB_EVENTS_URL.
type Event struct {
	Progress    int    `json:"progress"`
	Message     string `json:"message,omitempty"`
	HTMLMessage string `json:"html_message,omitempty"` // escaped HTML
	Failed      bool   `json:"failed,omitempty"`
	Notice      bool   `json:"notice,omitempty"` // it is for the user of a server that runs
}

// Notice is a sentence for the user of a server that runs. To hubs that know no notices it is progress of a start.
func Notice(sentence string) Event {
	return Event{Progress: 99, Message: sentence, HTMLMessage: html.EscapeString(sentence), Notice: true}
}

// PollResult is what a poll tells the hub. The zero value means running.
type PollResult struct {
	Ended      bool
	ExitCode   int      // meaningful if Ended
	KubeReason string   // Kubernetes' word for the end, such as OOMKilled; may be empty
	Logs       []string // oldest first; nil if none were asked for or there are none
	LogsDue    bool     // of an end: the log is still being read
}

// StopOptions says how a hub asked for a stop.
type StopOptions struct {
	Async       bool // answer at once, stop in the background
	CollectLogs bool // return the last log lines; ignored if Async
}
