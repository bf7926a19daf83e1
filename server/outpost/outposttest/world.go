package outposttest

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/outposts-dev/outposts/server/lifecycle"
	"github.com/outposts-dev/outposts/server/outpost"
)

// World is a Manager on a store, a spawner and hubs in memory.
type World struct {
	*lifecycle.Manager
	Store   *Store
	Spawner *Spawner
	HubAPI  *HubAPI
	stop    func()
}

// NewWorld makes a Manager on an empty World; Start it before use. Without hubs in the options there are "hub-a" and
// "hub-b".
func NewWorld(t testing.TB, o lifecycle.Options) *World {
	t.Helper()
	return NewWorldOn(t, NewStore(), NewSpawner(), NewHubAPI(), o)
}

// NewWorldOn is NewWorld on what another World has used: a restarted or second process.
func NewWorldOn(t testing.TB, store *Store, spawner *Spawner, hubAPI *HubAPI, o lifecycle.Options) *World {
	t.Helper()
	if o.Hubs == nil {
		o.Hubs = []outpost.Hub{{Name: "hub-a"}, {Name: "hub-b"}}
	}
	m, err := lifecycle.New(store, spawner, hubAPI, o)
	if err != nil {
		t.Fatal(err)
	}
	return &World{Manager: m, Store: store, Spawner: spawner, HubAPI: hubAPI}
}

// settle is how long Up waits for left-overs to be dealt with: they never are while a test keeps database or cluster
// down.
const settle = 3 * time.Second

// Up runs the Manager, as leader too, until Down or the end of the test. It returns when polls are answered in full.
func (w *World) Up(t testing.TB) *World {
	t.Helper()
	return w.run(t, w.Run, w.RunLeader)
}

// UpFollower runs the Manager without the leader's work.
func (w *World) UpFollower(t testing.TB) *World {
	t.Helper()
	return w.run(t, w.Run)
}

func (w *World) run(t testing.TB, parts ...func(context.Context) error) *World {
	parts = append(parts, func(ctx context.Context) error { return w.Spawner.Run(ctx, "", w.Changed) })
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	for _, part := range parts {
		loops.Go(func() {
			if err := part(ctx); err != nil {
				t.Errorf("manager: %v", err)
			}
		})
	}
	w.stop = func() {
		cancel()
		loops.Wait()
	}
	t.Cleanup(w.stop)
	select {
	case <-w.Reconciled():
	case <-time.After(settle):
	}
	return w
}

// Down ends the Manager, as a signal does. Calling it twice is harmless.
func (w *World) Down() { w.stop() }

// Key is a key of hub-a with start id "0f3c".
func Key(name string) outpost.Key { return outpost.Key{Hub: "hub-a", Name: name, StartID: "0f3c"} }

// Request is a sound request of user 42 for Key(name), with what the hub's client always sends in misc.
func Request(name string) outpost.StartRequest {
	const userID = 42
	misc := map[string]json.RawMessage{}
	for option, value := range map[string]any{
		"dns_name_template": "{name}.{namespace}.svc.cluster.local",
		"pod_name_template": "jupyter-{username}--{servername}",
		"internal_ssl":      false, "port": 41234, "ip": "0.0.0.0", "services_enabled": true,
		"extra_labels": map[string]string{},
	} {
		misc[option] = mustJSON(value)
	}
	return outpost.StartRequest{Key: Key(name), UserID: userID, Body: outpost.Body{
		Env: map[string]string{
			"JUPYTERHUB_USER": "maria", "JUPYTERHUB_USER_ID": strconv.Itoa(userID),
			"JUPYTERHUB_API_TOKEN": "token-" + name,
		},
		Misc:        misc,
		UserOptions: map[string]json.RawMessage{"system": json.RawMessage(`["north"]`)},
	}}
}
