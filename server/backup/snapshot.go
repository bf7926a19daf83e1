// Package backup is the file that keeps what an outpost's database holds: rows, the id of the installation, and
// fingerprints of the keys that go with them. It is sealed with the keys that seal the rows, and read as a whole or not
// at all.
package backup

import "time"

// Snapshot is what a database held at one moment.
type Snapshot struct {
	Made         time.Time  `json:"made"`
	Version      string     `json:"version"` // of the program that made it
	Schema       int64      `json:"schema"`  // last migration of the database
	Installation string     `json:"installation"`
	Place        Place      `json:"place"` // zero if the database was bound to none
	CryptKeys    []string   `json:"crypt_keys"`
	HostKeys     []string   `json:"host_keys"` // as ssh-keygen -l prints them: SHA256:...
	Hubs         []string   `json:"hubs"`
	Homes        []Home     `json:"homes"`
	Maintenance  *Announced `json:"maintenance"`
	Services     []Service  `json:"-"` // in parts of the file of their own
}

// Place is where the outpost was whose database it is: uid and name of its namespace.
type Place struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
}

// Home is a home of which a use is noted.
type Home struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Used      time.Time `json:"used"`
}

// Announced is a maintenance that the database says.
type Announced struct {
	From  time.Time  `json:"from"`
	Until *time.Time `json:"until"`
	Text  string     `json:"text"`
	Evict bool       `json:"evict"`
}

// Service is a row of table service without its id; nil is NULL. The last three are sealed, and stay so.
type Service struct {
	Name          *string    `json:"name"`
	StartID       *string    `json:"start_id"`
	Hub           string     `json:"hub"`
	LastUpdate    *time.Time `json:"last_update"`
	StartDate     *time.Time `json:"start_date"`
	EndDate       *time.Time `json:"end_date"`
	StateStored   *bool      `json:"state_stored"`
	StartPending  *bool      `json:"start_pending"`
	StopPending   *bool      `json:"stop_pending"`
	UserID        *int64     `json:"user_id"`
	Flavor        *string    `json:"flavor"`
	Body          []byte     `json:"body"`
	State         []byte     `json:"state"`
	StartResponse []byte     `json:"start_response"`
}
