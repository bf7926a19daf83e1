// Package catalog has the words in which an outpost tells a hub what one of its users may start, and how full it is
// (protocol 1.14). Nothing in them is secret.
package catalog

import "time"

// Version is that of the form: it changes if a key changes its meaning, not if one is added.
const Version = 1

// Catalog is what one user of a hub may start. It is encoded as JSON.
type Catalog struct {
	Version int    `json:"version"`
	Outpost string `json:"outpost"` // the program's version
	// Denied says why the user may start nothing, perhaps without a word; nil if they may. What follows is empty then.
	Denied *string `json:"denied"`
	// Maintenance is the present one, or the next; nil if none is known.
	Maintenance *Maintenance `json:"maintenance"`
	User        Use          `json:"user"` // services of any flavor
	Hub         Use          `json:"hub"`  // those of all users of the hub
	// Flavors are by falling weight, then in the order of the file; nil if none are configured.
	Flavors []Flavor `json:"flavors"`
	Offer
	// Images are globs, one of which an image of the user's own must match; none if the hub may send none.
	Images []string `json:"images"`
	// Registries are globs of hosts, to whose registries the user may bring a login for such an image; none if the hub
	// may send none.
	Registries []string `json:"registries"`
}

// Maintenance is a time in which nothing is started.
type Maintenance struct {
	From   time.Time  `json:"from"`
	Until  *time.Time `json:"until"` // nil until somebody ends it
	Text   string     `json:"text"`
	Evict  bool       `json:"evict"`  // servers that run are stopped when it begins
	Active bool       `json:"active"` // it has begun
}

// Offer is what the spawner's options say of the servers of a hub's user.
type Offer struct {
	Home     *Home     `json:"home"`     // what is kept of a server when it ends; nil is nothing
	Shared   []Shared  `json:"shared"`   // data that the user's servers get
	Profiles []Profile `json:"profiles"` // in the order of the operator's list
}

// Shared is data that servers of several users get.
type Shared struct {
	Name     string `json:"name"`
	Mount    string `json:"mount"`
	ReadOnly bool   `json:"readOnly"`
}

// Home is what is kept of a server when it ends.
type Home struct {
	Size  *string `json:"size"` // a quantity; nil if it is not known
	Mount string  `json:"mount"`
	Per   string  `json:"per"` // "user": all servers of a user have the same; "server": each has its own
}

// Use is how much of a limit is used; nil is no limit.
type Use struct {
	Limit *int `json:"limit"`
	Used  int  `json:"used"`
}

// Flavor is a flavor that the user is offered, or denied with the operator's words.
type Flavor struct {
	Name        string `json:"name"`
	DisplayName string `json:"display_name"`
	Description string `json:"description"`
	Default     bool   `json:"default"` // the first that the user may start and that is not full
	Use
	User    Use  `json:"user"`    // of this flavor
	Runtime *int `json:"runtime"` // seconds; nil is without end
	// Until is when a server that is started now is stopped for a maintenance, if that is before its run time is over.
	Until  *time.Time `json:"until"`
	Denied *string    `json:"denied"` // why the user may not start it; nil if they may
}

// Profile is an entry of KubeSpawner's profile_list that the user is offered, or denied with the operator's words.
// Only what a form shows is in it.
type Profile struct {
	Slug        string                   `json:"slug"`
	DisplayName string                   `json:"display_name"`
	Description string                   `json:"description"`
	Default     bool                     `json:"default"` // taken if a start names none
	Denied      *string                  `json:"denied"`  // why the user may not start it; nil if they may
	Options     map[string]ProfileOption `json:"profile_options"`
}

// ProfileOption is a question that a profile asks. A start answers it by a key of Choices, or by a value of the user's
// own if there is an UnlistedChoice.
type ProfileOption struct {
	DisplayName    string            `json:"display_name"`
	Choices        map[string]Choice `json:"choices"`
	UnlistedChoice *UnlistedChoice   `json:"unlisted_choice"`
}

// Choice is an answer that a profile knows.
type Choice struct {
	DisplayName string `json:"display_name"`
	Default     bool   `json:"default"` // taken if a start names none
}

// UnlistedChoice says which values of their own users may write.
type UnlistedChoice struct {
	DisplayName string  `json:"display_name"`
	Regex       *string `json:"validation_regex"` // RE2, matched from the beginning; nil accepts any
	Message     string  `json:"validation_message"`
}
