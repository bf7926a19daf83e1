package httpapi

import (
	"strconv"
	"time"

	"github.com/outposts-dev/outposts/server/outpost"
)

// startAnswer is the body of a synchronous start (protocol 1.7).
type startAnswer struct {
	Service string `json:"service"`
}

// pollAnswer is the body of a poll: status null while the server runs. Logs are a list in every case.
type pollAnswer struct {
	Status *int     `json:"status"`
	Logs   []string `json:"logs"`
}

// stopAnswer is the body of a synchronous stop; logs are null if it joined one that was under way.
type stopAnswer struct {
	Logs []string `json:"logs"`
}

// serviceRow is a service in the list, its keys in the order of the Python outpost.
type serviceRow struct {
	Name         string    `json:"name"`
	StartID      string    `json:"start_id"`
	StartDate    timestamp `json:"start_date"`
	EndDate      timestamp `json:"end_date"`
	Hub          string    `json:"jupyterhub"`
	UserID       string    `json:"jupyterhub_userid"` // a string on the wire
	LastUpdate   timestamp `json:"last_update"`
	StateStored  bool      `json:"state_stored"`
	StartPending bool      `json:"start_pending"`
	StopPending  bool      `json:"stop_pending"`
}

func rowOf(s outpost.Summary) serviceRow {
	return serviceRow{
		Name: s.Name, StartID: s.StartID, StartDate: timestamp(s.StartDate), EndDate: timestamp(s.EndDate),
		Hub: s.Hub, UserID: strconv.Itoa(s.UserID), LastUpdate: timestamp(s.LastUpdate),
		StateStored: s.StateStored, StartPending: s.StartPending, StopPending: s.StopPending,
	}
}

// timestamp is a time as ISO 8601 with microseconds, always UTC with a Z (protocol 1.9). time.Time itself refuses the
// year 10000, which the last day of 9999 is east of Greenwich.
type timestamp time.Time

// MarshalText implements encoding.TextMarshaler.
func (t timestamp) MarshalText() ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(nil, "2006-01-02T15:04:05.000000Z"), nil
}
