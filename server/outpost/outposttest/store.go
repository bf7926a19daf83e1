package outposttest

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/outposts-dev/outposts/server/flavor"
	"github.com/outposts-dev/outposts/server/outpost"
)

// Store is an outpost.Store in memory. Several Managers may share it, as processes share a database. The zero value
// is not usable: use NewStore.
type Store struct {
	mu       sync.Mutex
	onCall   func(op string)
	onDone   func(op string)
	rows     map[outpost.Key]row
	fail     func(op string) error
	afterErr bool
	calls    map[string]int

	maintenance *outpost.Maintenance
	homes       map[outpost.Home]time.Time
}

// row keeps the sealed columns as text, as a database does.
type row struct {
	service     outpost.Service // without Body and State
	body, state []byte
	unopened    bool
}

// NewStore returns an empty Store.
func NewStore() *Store {
	return &Store{rows: map[outpost.Key]row{}, calls: map[string]int{}, homes: map[outpost.Home]time.Time{}}
}

// OnCall lets f be called before each call does its work, without a lock.
func (s *Store) OnCall(f func(op string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCall = f
}

// OnDone is OnCall, but after a call has done its work.
func (s *Store) OnDone(f func(op string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onDone = f
}

// Fail lets every call return what f says for its name ("Insert", "Get", ...); nil ends it. An error without a kind
// stands for a database that does not answer.
func (s *Store) Fail(f func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.afterErr = f, false
}

// FailAfter is Fail, but the call has done its work before it fails, as when a connection breaks during the commit.
func (s *Store) FailAfter(f func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.afterErr = f, true
}

// Calls returns how often a method was called.
func (s *Store) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// Put sets a row as it is, made by another process or server.
func (s *Store) Put(service outpost.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[service.Key] = newRow(service)
}

// Spoil makes the sealed columns of a row unreadable, as a wrong key does.
func (s *Store) Spoil(k outpost.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[k]
	r.unopened = true
	s.rows[k] = r
}

// Rows returns the keys of all rows, sorted.
func (s *Store) Rows() []outpost.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sortedKeys(s.rows)
}

func newRow(service outpost.Service) row {
	r := row{body: mustJSON(service.Body), state: mustJSON(service.State)}
	service.Body, service.State = outpost.Body{}, nil
	r.service = service
	return r
}

func (r row) open() outpost.Service {
	service := r.service
	if err := json.Unmarshal(r.body, &service.Body); err != nil {
		panic(err)
	}
	if err := json.Unmarshal(r.state, &service.State); err != nil {
		panic(err)
	}
	return service
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// do runs one call under the lock, with the failures that the test asked for.
func (s *Store) do(ctx context.Context, op string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	called, done := s.onCall, s.onDone
	s.mu.Unlock()
	if called != nil {
		called(op)
	}
	if done != nil {
		defer done(op)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	if s.fail != nil && !s.afterErr {
		if err := s.fail(op); err != nil {
			return err
		}
	}
	err := f()
	if err == nil && s.fail != nil && s.afterErr {
		err = s.fail(op)
	}
	return err
}

// Insert implements outpost.Store.
func (s *Store) Insert(ctx context.Context, service outpost.Service, check func(flavor.Usage) error) error {
	return s.do(ctx, "Insert", func() error {
		if _, ok := s.rows[service.Key]; ok {
			return outpost.Duplicate(service.Key)
		}
		if err := check(s.usage(service.Hub)); err != nil {
			return err
		}
		s.rows[service.Key] = newRow(service)
		return nil
	})
}

// Get implements outpost.Store.
func (s *Store) Get(ctx context.Context, k outpost.Key) (service outpost.Service, err error) {
	err = s.do(ctx, "Get", func() error {
		r, ok := s.rows[k]
		switch {
		case !ok:
			return outpost.ErrNotFound
		case r.unopened:
			return outpost.Unopened(nil)
		}
		service = r.open()
		return nil
	})
	return service, err
}

// List implements outpost.Store.
func (s *Store) List(ctx context.Context, hub string) (list []outpost.Summary, err error) {
	list = []outpost.Summary{}
	err = s.do(ctx, "List", func() error {
		for k, r := range s.rows {
			if k.Hub == hub {
				list = append(list, r.service.Summary)
			}
		}
		return nil
	})
	slices.SortFunc(list, func(a, b outpost.Summary) int {
		return cmp.Or(a.StartDate.Compare(b.StartDate), compareKeys(a.Key, b.Key))
	})
	return list, err
}

// All implements outpost.Store.
func (s *Store) All(ctx context.Context) (list []outpost.Stored, err error) {
	err = s.do(ctx, "All", func() error {
		for _, k := range sortedKeys(s.rows) {
			r := s.rows[k]
			if r.unopened {
				v := r.service
				v.Address = ""
				list = append(list, outpost.Stored{Service: v, Unopened: true})
				continue
			}
			list = append(list, outpost.Stored{Service: r.open()})
		}
		return nil
	})
	return list, err
}

// change changes a row in place; KindNotFound if there is none.
func (s *Store) change(k outpost.Key, f func(*row) error) error {
	r, ok := s.rows[k]
	if !ok {
		return outpost.ErrNotFound
	}
	if err := f(&r); err != nil {
		return err
	}
	s.rows[k] = r
	return nil
}

// MarkStopping implements outpost.Store.
func (s *Store) MarkStopping(ctx context.Context, k outpost.Key) (first bool, err error) {
	err = s.do(ctx, "MarkStopping", func() error {
		return s.change(k, func(r *row) error {
			first, r.service.StopPending = !r.service.StopPending, true
			return nil
		})
	})
	return first, err
}

// FinishStart implements outpost.Store.
func (s *Store) FinishStart(
	ctx context.Context, k outpost.Key, state outpost.State, address string, end time.Time,
) error {
	return s.do(ctx, "FinishStart", func() error {
		return s.change(k, func(r *row) error {
			if r.service.StopPending {
				return outpost.Errorf(outpost.KindConflict, "the service is being stopped")
			}
			r.state = mustJSON(state)
			r.service.Address, r.service.EndDate = address, end
			r.service.StateStored, r.service.StartPending = true, false
			return nil
		})
	})
}

// Touch implements outpost.Store.
func (s *Store) Touch(ctx context.Context, at map[outpost.Key]time.Time) error {
	return s.do(ctx, "Touch", func() error {
		for k, t := range at {
			_ = s.change(k, func(r *row) error {
				if t.After(r.service.LastUpdate) {
					r.service.LastUpdate = t
				}
				return nil
			})
		}
		return nil
	})
}

// Delete implements outpost.Store.
func (s *Store) Delete(ctx context.Context, k outpost.Key) error {
	return s.do(ctx, "Delete", func() error {
		delete(s.rows, k)
		return nil
	})
}

// Usage implements outpost.Store.
func (s *Store) Usage(ctx context.Context, hub string) (u flavor.Usage, err error) {
	err = s.do(ctx, "Usage", func() error {
		u = s.usage(hub)
		return nil
	})
	return u, err
}

// UsageOf implements outpost.Store.
func (s *Store) UsageOf(ctx context.Context, hub string, _ int) (flavor.Usage, error) {
	return s.Usage(ctx, hub)
}

func (s *Store) usage(hub string) flavor.Usage {
	u := flavor.Usage{
		ByFlavor: map[string]int{}, TotalFlavor: map[string]int{},
		ByUser: map[int]int{}, ByUserFlavor: map[int]map[string]int{},
	}
	for k, r := range s.rows {
		v := r.service
		if v.StopPending {
			continue
		}
		u.TotalFlavor[v.Flavor]++
		if k.Hub != hub {
			continue
		}
		u.Hub++
		u.ByFlavor[v.Flavor]++
		u.ByUser[v.UserID]++
		if u.ByUserFlavor[v.UserID] == nil {
			u.ByUserFlavor[v.UserID] = map[string]int{}
		}
		u.ByUserFlavor[v.UserID][v.Flavor]++
	}
	return u
}

// Maintenance implements outpost.Store.
func (s *Store) Maintenance(ctx context.Context) (m *outpost.Maintenance, err error) {
	err = s.do(ctx, "Maintenance", func() error {
		m = s.maintenance
		return nil
	})
	return m, err
}

// SetMaintenance implements outpost.Store.
func (s *Store) SetMaintenance(ctx context.Context, m *outpost.Maintenance) error {
	return s.do(ctx, "SetMaintenance", func() error {
		s.maintenance = m
		return nil
	})
}

// UseHome implements outpost.Store.
func (s *Store) UseHome(ctx context.Context, h outpost.Home, at time.Time) error {
	return s.do(ctx, "UseHome", func() error {
		s.homes[h] = at
		return nil
	})
}

// Homes implements outpost.Store.
func (s *Store) Homes(ctx context.Context) (used map[outpost.Home]time.Time, err error) {
	err = s.do(ctx, "Homes", func() error {
		used = maps.Clone(s.homes)
		return nil
	})
	return used, err
}

// ForgetHome implements outpost.Store.
func (s *Store) ForgetHome(ctx context.Context, h outpost.Home) error {
	return s.do(ctx, "ForgetHome", func() error {
		delete(s.homes, h)
		return nil
	})
}

// Ping implements outpost.Store.
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, "Ping", func() error { return nil })
}

func sortedKeys[V any](m map[outpost.Key]V) []outpost.Key {
	keys := make([]outpost.Key, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

func compareKeys(a, b outpost.Key) int {
	return cmp.Or(cmp.Compare(a.Hub, b.Hub), cmp.Compare(a.Name, b.Name), cmp.Compare(a.StartID, b.StartID))
}
