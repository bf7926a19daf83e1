package kubespawner

import (
	"encoding/json"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/kubespawner/options"
	"github.com/outposts-dev/outposts/server/outpost"
)

// A Trial is a start of a made-up user that is planned, but not made.
type Trial struct {
	Namespace string         // of the outpost
	General   map[string]any // the operator's options for all hubs, checked
	Hub       outpost.Hub
	Flavor    flavor.Flavor
	Selection options.Selection
}

// Problems returns what is wrong with the plan; problems of one layer by itself (see [options.Check]) are among them,
// with their source.
func (t Trial) Problems() []options.Problem {
	nothing := func(string) (string, bool) { return "", false }
	b := newBuilder(t.Namespace, t.General, 0, nothing)
	r := outpost.StartRequest{
		Key: outpost.Key{Hub: t.Hub.Name, StartID: "0"},
		Body: outpost.Body{
			Env: map[string]string{
				"JUPYTERHUB_USER": "made-up-user", "JUPYTERHUB_USER_ID": "1",
				"JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/made-up-user/",
			},
			UserOptions: map[string]json.RawMessage{},
		},
	}
	if t.Selection.Groups != nil {
		groups := make([]any, len(t.Selection.Groups))
		for i, group := range t.Selection.Groups {
			groups[i] = group
		}
		r.Authentication = map[string]any{"groups": groups}
	}
	for name, value := range t.Selection.UserOptions {
		r.Body.UserOptions[name], _ = json.Marshal(value) // strings
	}
	if internalTLS(t.General, t.Hub) {
		r.Certs = map[string]string{"keyfile": "key", "certfile": "certificate", "cafile": "CA"}
	}
	var p options.Problems
	b.objects("", t.Hub, r, t.Flavor, "", &p)
	return p.All()
}

// internalTLS reports whether the operator enables internal_ssl for a hub.
func internalTLS(general map[string]any, hub outpost.Hub) bool {
	enabled, set := hub.Options["internal_ssl"]
	if !set {
		enabled = general["internal_ssl"]
	}
	return enabled == true
}
