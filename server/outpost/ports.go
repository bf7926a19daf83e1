package outpost

import (
	"context"
	"time"

	"github.com/outposts-dev/outposts/server/access"
	"github.com/outposts-dev/outposts/server/catalog"
	"github.com/outposts-dev/outposts/server/flavor"
)

// Store keeps services. Implementations: server/store (SQLite, PostgreSQL) and outposttest. All methods are safe
// for concurrent use; an error without a kind means that the database failed. storetest checks every sentence here.
type Store interface {
	// Insert adds a service in one transaction with the quota check: check gets the usage of the service's hub as
	// of this transaction and its error aborts the insert and is returned. No two inserts of one hub overlap,
	// also between processes. A row with the same key is [Duplicate]. The hub's row is made if it is missing.
	Insert(ctx context.Context, s Service, check func(flavor.Usage) error) error
	// Get returns a service with its sealed columns opened; [ErrNotFound] if there is none, [Unopened] if the
	// key ring does not open it.
	Get(ctx context.Context, k Key) (Service, error)
	// List returns what can be shown of a hub's services, by start date.
	List(ctx context.Context, hub string) ([]Summary, error)
	// All returns every service of every hub with its sealed columns opened; one that cannot be opened is
	// returned with empty Body, State and Address and Unopened set, never left out.
	All(ctx context.Context) ([]Stored, error)
	// MarkStopping sets StopPending and reports whether this call was the one that set it. KindNotFound if gone.
	MarkStopping(ctx context.Context, k Key) (first bool, err error)
	// FinishStart stores state, address and end date, sets StateStored and clears StartPending.
	// KindNotFound if the row is gone, KindConflict if it is being stopped; then nothing is changed.
	FinishStart(ctx context.Context, k Key, state State, address string, end time.Time) error
	// Touch sets LastUpdate of many services in one statement or transaction, never back; missing rows are ignored.
	Touch(ctx context.Context, at map[Key]time.Time) error
	// Delete removes a row; removing one that does not exist is not an error.
	Delete(ctx context.Context, k Key) error
	// Usage counts the hub's services that are not being stopped, by flavor; users may be left out.
	Usage(ctx context.Context, hub string) (flavor.Usage, error)
	// UsageOf is Usage with what one user of the hub has: what the check of an insert for that user would get.
	UsageOf(ctx context.Context, hub string, user int) (flavor.Usage, error)
	// Maintenance returns the planned or present maintenance, with times to the microsecond; nil if there is none.
	Maintenance(ctx context.Context) (*Maintenance, error)
	// SetMaintenance replaces it for all processes; nil ends it.
	SetMaintenance(ctx context.Context, m *Maintenance) error
	// UseHome notes when a home was last used, with a time to the microsecond.
	UseHome(ctx context.Context, h Home, at time.Time) error
	// Homes returns the homes of which that is noted.
	Homes(ctx context.Context) (map[Home]time.Time, error)
	// ForgetHome forgets one; forgetting one of which nothing is noted is not an error.
	ForgetHome(ctx context.Context, h Home) error
	// Ping reports whether the database answers.
	Ping(ctx context.Context) error
}

// Stored is a service as All returns it.
type Stored struct {
	Service
	Unopened bool // the sealed columns could not be opened with any key
}

// Spawner makes, finds and removes the pods of services. Implementations: server/kube and outposttest.
type Spawner interface {
	// Run keeps up to date what the other methods read from memory, until ctx ends; it is called once, and Ready
	// returns an error before. installation names the Store's database: pods of any other are left alone. changed is
	// called when a poll of a start may be answered otherwise than before, also for keys that nobody knows; it does not
	// block, and may be nil.
	Run(ctx context.Context, installation string, changed func(Key)) error
	// Plan checks a request and names its objects without making any: every wrong option or name is reported
	// (KindInvalid, naming all of them). The returned state is stored before Start makes anything, so that an
	// interrupted start can be found again.
	Plan(ctx context.Context, hub Hub, r StartRequest, flavor flavor.Flavor) (Plan, error)
	// Offer returns the profiles of a hub that a form shows to a user of these groups: those that a start of this user
	// may name, and those that it may not and that have words for it; and the home of a start that names none. It makes
	// no request.
	Offer(hub Hub, groups access.Groups) catalog.Offer
	// Start makes the planned objects and waits until the server is ready, its start time-out is over, it cannot
	// succeed any more (KindFailed, with the reason in plain words), or ctx ends. It reports progress by calling
	// progress, never concurrently, first with "Server requested", and never waits for anybody's answer. Objects of a
	// failed start are left for Stop. A pod that already carries this key's labels is adopted, not made again.
	Start(ctx context.Context, p Plan, progress func(Event)) (Started, error)
	// Poll returns from memory what is known of a service; it makes no request while the cache is fresh.
	Poll(ctx context.Context, k Key, s State) (Status, error)
	// Stop removes the service's objects and waits until its pod is gone. Nothing there is success. It may be called in
	// every state, while a Start of the same key is being cancelled, and with a state of the Python outpost.
	Stop(ctx context.Context, k Key, s State) error
	// Restore returns the state of a stored service. The Python outpost stores an empty one until a start has finished:
	// it is then worked out from what was asked for, so that the pod of an interrupted start can be stopped. It makes
	// no request.
	Restore(hub Hub, s Service) State
	// Logs returns the last lines of the server's log, oldest first; having none is not an error.
	Logs(ctx context.Context, k Key, s State, lines int) ([]string, error)
	// Found lists the keys of all pods that this outpost made, for reconciliation: those of this database, not of
	// another in the same namespace. unseen names the configured namespaces whose pods cannot be listed, sorted: that a
	// pod of one of them is not in found says nothing about it. The error is for when nothing can be said at all.
	Found(ctx context.Context) (found []Found, unseen []string, err error)
	// Ready reports whether caches are filled and Kubernetes answers; nil if so.
	Ready(ctx context.Context) error
}

// Plan is a checked start: what Start will make.
type Plan struct {
	Key
	State   State // names of the objects to be made
	Objects any   // the spawner's own; not stored
}

// Started is the result of a start.
type Started struct {
	Address string // "http://host:port", nothing else: the hub's client puts it into a command line
	State   State
}

// Status is what a poll knows. The zero value means running.
type Status struct {
	Ended    bool
	ExitCode int    // meaningful if Ended
	Gone     bool   // Ended, and no pod exists any more
	Reason   string // in plain words, if Ended with an error
	// KubeReason is Kubernetes' own word, such as OOMKilled, Error or Evicted; empty if it gave none.
	KubeReason string
}

// Found is an object of ours in the cluster.
type Found struct {
	Key     Key
	State   State
	Created time.Time
}

// HubAPI calls back to hubs. Implementations: server/hubclient and outposttest. The caller has checked the URL
// against Hub.CallbackURLs; implementations verify TLS and bound each call's time.
type HubAPI interface {
	// PostEvent delivers a progress event: POST to the service's JUPYTERHUB_EVENTS_URL.
	PostEvent(ctx context.Context, c HubCall, e Event) error
	// PostFlavors tells the hub its flavors with their current counts.
	PostFlavors(ctx context.Context, c HubCall, flavors map[string]flavor.Flavor) error
	// PostTunnel asks the hub for a new tunnel to address. A 400 is final (KindFailed).
	PostTunnel(ctx context.Context, c HubCall, address string) error
	// RestartTunnels asks a hub to renew all tunnels of a system: GET on its recreateforward route.
	RestartTunnels(ctx context.Context, c HubCall) error
	// Servers returns "<user id>_<server name>_<start id>" of each server the hub knows.
	Servers(ctx context.Context, c HubCall) ([]string, error)
}
